"""How many processes a service has where nobody says it."""

import itertools
import os
import sys
from pathlib import Path

import pytest

from matchka.cli.serve import _suitable_processes
from matchka.runtime.processes.count import MEMORY_SHARE, MOST, NEEDED_MIB, suitable_count, usable_memory_mib
from matchka.settings import read_settings


def test_suitable_count_fits_half_of_the_memory_and_leaves_two_cores_to_each():
    def fits(count: int, cores: int, memory_mib: float, enrolled_mib: float) -> bool:
        needed_mib = count * (NEEDED_MIB + enrolled_mib)
        return needed_mib <= MEMORY_SHARE * memory_mib and 2 * count <= cores and count <= MOST

    for given in itertools.product(range(1, 33), (256, 1024, 4096, 24_000), (0, 130, 1500)):
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


def test_suitable_processes_count_what_is_enrolled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("matchka.cli.serve.usable_memory_mib", lambda: 4096.0)
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
