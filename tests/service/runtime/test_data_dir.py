"""The data folder's rights, as a serving process of its own leaves them."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from matchka.runtime.data_dir import owned_data_dir
from tests.factories.bundles import write_bundle
from tests.factories.checkout import ROOT
from tests.factories.samples import sample
from tests.factories.server_process import RunningServer, start, stop

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="rights are those of POSIX")


@contextmanager
def running(folder: Path) -> Iterator[RunningServer]:
    """`matchka serve` with a small bundle and the data folder `data`."""
    write_bundle(folder / "models" / "voice")
    server = start(folder / "models", folder / "data")
    try:
        yield server
    finally:
        stop(server.process)


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.slow
def test_serve_closes_a_data_folder_that_was_open_to_others_and_says_so(tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o755)
    with running(tmp_path) as server:
        server.client().enroll("ada", [sample(1)])
        assert rights(server.data_dir) == 0o700
        written = [path for path in server.data_dir.rglob("*") if path.is_file()]
        assert written
        assert all(rights(path) & 0o077 == 0 for path in written)
    assert "was open to other users (rights 0755) and is closed now" in server.log.read_text()


@pytest.mark.slow
def test_serve_says_nothing_of_a_data_folder_that_was_closed(tmp_path: Path):
    with running(tmp_path) as server:
        assert rights(server.data_dir) == 0o700
    assert "other users" not in server.log.read_text()


def test_data_folder_that_everybody_may_use_keeps_its_rights_and_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    tmp_path.chmod(0o1777)
    with owned_data_dir(tmp_path):
        assert rights(tmp_path) == 0o1777
    assert "is everybody's (rights 1777)" in caplog.text


# A process without root's rights, on a folder of root's that it may write into.
UNPRIVILEGED = """
import logging, os, sys
from pathlib import Path
from matchka.runtime.data_dir import owned_data_dir

logging.basicConfig(format="%(message)s")
os.setgid(65534)
os.setuid(65534)
with owned_data_dir(Path(sys.argv[1])):
    pass
"""


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root can give up its rights")
def test_data_folder_of_another_user_that_stays_open_is_warned_about_and_used():
    with tempfile.TemporaryDirectory() as parent:  # pytest's own folders are closed to other users
        Path(parent).chmod(0o755)
        folder = Path(parent) / "data"
        folder.mkdir()
        folder.chmod(0o777)
        done = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED, str(folder)],
            check=True,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert rights(folder) == 0o777
    assert f"other users can look into the data folder {folder} (rights 0777)" in done.stderr
