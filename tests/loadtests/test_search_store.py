"""Stores that are written past the service are such as the service itself would have written."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from matchka.store.integrity.digest import digests
from matchka.store.store import opened_store
from tests.conftest import ROOT

BENCH = ROOT / "loadtests" / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("search_store")


def test_digests_of_rows_written_past_the_service_are_its_own(bench: ModuleType):
    rows = np.random.default_rng(0).normal(size=(5, 256)).astype(np.float32)
    np.testing.assert_array_equal(bench.digests_of(rows), digests(rows))


def test_store_of_drawn_subjects_is_intact_and_serves_each_reference(
    bench: ModuleType, models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bench, "SUBJECTS_AT_ONCE", 4)
    rows = np.random.default_rng(1).normal(size=(10, 256)).astype(np.float32)
    bench.write_store(models_dir, tmp_path / "data", rows)
    with opened_store(f"sqlite:///{tmp_path / 'data' / 'matchka.sqlite'}") as store:
        store.require_intact()
        held = store.subjects("default", 100, None)
        assert [summary.subject_id for summary in held] == [f"s{number:07d}" for number in range(10)]
        version = store.subject("default", "s0000000").templates[0].version
        for number, summary in enumerate(held):
            reference = store.reference("default", summary.subject_id, "voice", version)
            np.testing.assert_array_equal(reference.embedding, rows[number])


def teardown_module() -> None:
    for name in ("search_store", "search_server"):
        sys.modules.pop(name, None)
