"""A file is there whole or not at all, whatever happens while it is written."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from matchka.runtime.atomic_file import atomic_file, put_in_place, write_atomically
from tests.factories.checkout import ROOT


def test_write_whole_in_a_folder_that_is_not_there_makes_it_and_leaves_nothing_else(tmp_path: Path):
    write_atomically(tmp_path / "a" / "b" / "file.json", b"new")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["file.json"]
    assert (tmp_path / "a" / "b" / "file.json").read_bytes() == b"new"


def test_atomic_file_while_it_is_written_still_shows_the_old_bytes_and_then_the_new(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with atomic_file(path) as partial:
        partial.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_atomic_file_when_its_block_fails_keeps_the_old_bytes_and_nothing_else(tmp_path: Path):
    def interrupted(path: Path) -> None:
        with atomic_file(path) as partial:
            partial.write_bytes(b"half")
            raise KeyboardInterrupt

    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "file")
    assert {found.name: found.read_bytes() for found in tmp_path.iterdir()} == {"file": b"old"}


def test_write_whole_when_the_disk_does_not_take_the_bytes_keeps_the_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        write_atomically(path, b"new")
    assert {found.name: found.read_bytes() for found in tmp_path.iterdir()} == {"file": b"old"}


def test_atomic_file_when_the_process_dies_while_it_is_written_keeps_the_old_bytes_and_is_written_again(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    code = """
import os, sys
from pathlib import Path
from matchka.runtime.atomic_file import atomic_file
with atomic_file(Path(sys.argv[1])) as partial:
    partial.write_bytes(b"half" * 1000)
    os._exit(9)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "service")}
    assert subprocess.run([sys.executable, "-c", code, str(path)], env=environment, check=False).returncode == 9
    assert path.read_bytes() == b"old"
    write_atomically(path, b"new")
    assert {found.name: found.read_bytes() for found in tmp_path.iterdir()} == {"file": b"new"}


def test_put_in_place_of_a_file_that_is_not_there_leaves_the_old_one(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(FileNotFoundError):
        put_in_place(tmp_path / "absent", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"old"
