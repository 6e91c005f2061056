"""How many processes a service has where nobody says it."""

import itertools
import os
import sys
from pathlib import Path

import pytest

from matchka.cli.serving.serve import _suitable_processes
from matchka.runtime.processes.count import (
    MEMORY_SHARE,
    MOST,
    NEEDED_MIB,
    files_of_cgroups,
    suitable_count,
    usable_cores,
    usable_memory_mib,
)
from matchka.settings import read_settings


def test_suitable_count_fits_half_of_the_memory_and_leaves_two_cores_to_each():
    def fits(count: int, cores: int, memory_mib: float, enrolled_mib: float, own_share: float) -> bool:
        needed_mib = enrolled_mib + count * NEEDED_MIB + (count - 1) * own_share * enrolled_mib
        return needed_mib <= MEMORY_SHARE * memory_mib and 2 * count <= cores and count <= MOST

    for given in itertools.product(range(1, 33), (256, 1024, 4096, 24_000), (0, 130, 1500), (0.2, 1.0)):
        assert suitable_count(*given) == max([1, *(count for count in range(1, 33) if fits(count, *given))])


def test_usable_memory_is_the_lowest_limit_that_is_said(tmp_path: Path):
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
    none, whole, low = (tmp_path / name for name in ("none", "whole", "low"))
    whole.write_text("max\n")
    low.write_text(f"{64 << 20}\n")
    assert usable_memory_mib((none, whole)) == machine
    assert usable_memory_mib((whole, low)) == 64
    low.write_text(f"{1 << 62}\n")  # as an older kernel says that there is none
    assert usable_memory_mib((low,)) == machine


def test_usable_cores_are_as_many_as_the_lowest_quota_allows(tmp_path: Path):
    none, whole, small, tiny = (tmp_path / name for name in ("none", "whole", "small", "tiny"))
    whole.write_text("max 100000\n")
    small.write_text("250000 100000\n")
    tiny.write_text("5000 100000\n")
    assert [usable_cores(8, found) for found in ((none, whole), (whole, small), (small, tiny))] == [8, 3, 1]
    assert usable_cores(2, [small]) == 2


def test_files_of_cgroups_are_those_of_the_process_and_of_all_groups_that_hold_its_own(tmp_path: Path):
    of_self = tmp_path / "cgroup"
    of_self.write_text("4:cpu,memory:/a/b\n2:pids:/p\n0::/system.slice/x:y.service\n")
    found = files_of_cgroups("memory.max", "memory.limit_in_bytes", tmp_path, of_self)
    assert [str(file.relative_to(tmp_path)) for file in found] == [
        "memory/a/b/memory.limit_in_bytes",
        "memory/a/memory.limit_in_bytes",
        "memory/memory.limit_in_bytes",
        "system.slice/x:y.service/memory.max",
        "system.slice/memory.max",
        "memory.max",
    ]
    assert [file.parent for file in files_of_cgroups("cpu.max", "", tmp_path, of_self)] == [f.parent for f in found[3:]]
    assert files_of_cgroups("cpu.max", "", tmp_path, tmp_path / "none") == []


def test_suitable_processes_of_a_folder_that_cannot_be_entered_are_those_of_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(_path: Path) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    settings = read_settings({"MATCHKA_CORES": "1", "MATCHKA_DATA_DIR": str(tmp_path)})
    monkeypatch.setattr(Path, "stat", refuse)
    assert _suitable_processes(settings) == 1


def test_suitable_processes_count_what_is_enrolled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("matchka.cli.serving.serve.usable_memory_mib", lambda _limits: 4096.0)
    monkeypatch.setattr("matchka.cli.serving.serve.usable_cores", lambda cores, _quotas: cores)
    settings = read_settings({"MATCHKA_CORES": "8", "MATCHKA_DATA_DIR": str(tmp_path)})
    assert _suitable_processes(settings) == 4
    with (tmp_path / "matchka.sqlite").open("wb") as file:
        file.truncate(512 << 20)  # a hole, which takes no place
    assert _suitable_processes(settings) == 2


@pytest.mark.parametrize(
    ("given", "platform", "count"),
    [
        ({}, "linux", 7),
        ({"MATCHKA_PROCESSES": ""}, "linux", 7),
        ({"MATCHKA_PROCESSES": "3"}, "linux", 3),
        ({"MATCHKA_DEVICE": "gpu"}, "linux", 1),
        ({"MATCHKA_DATABASE_URL": "postgresql+psycopg://h/a"}, "linux", 1),
        ({"MATCHKA_GALLERY": "milvus", "MATCHKA_MILVUS__URI": "galleries.db"}, "linux", 1),
        ({"MATCHKA_GALLERY": "milvus", "MATCHKA_MILVUS__URI": "http://h:19530"}, "linux", 7),
        ({}, "win32", 1),
        ({}, "darwin", 1),
    ],
)
def test_with_processes_asks_only_where_several_were_measured_to_be_better(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], platform: str, count: int
):
    settings = read_settings(given)
    monkeypatch.setattr(sys, "platform", platform)
    found = settings.with_processes(lambda _settings: 7)
    assert found.processes == count
    assert found.model_copy(update={"processes": settings.processes}) == settings
