"""Stores that are written past the service are such as the service itself would have written."""

from pathlib import Path

import numpy as np
import pytest

from loadtests.bench.search import search_store
from matchka.store.integrity.digest import digests
from matchka.store.store import opened_store


def test_digests_of_rows_written_past_the_service_are_its_own():
    rows = np.random.default_rng(0).normal(size=(5, 256)).astype(np.float32)
    np.testing.assert_array_equal(search_store.digests_of(rows), digests(rows))


def test_store_of_drawn_subjects_is_intact_and_serves_each_reference(
    models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(search_store, "SUBJECTS_AT_ONCE", 4)
    rows = np.random.default_rng(1).normal(size=(10, 256)).astype(np.float32)
    search_store.write_store(models_dir, tmp_path / "data", rows)
    with opened_store(f"sqlite:///{tmp_path / 'data' / 'matchka.sqlite'}") as store:
        store.require_sound_pages()
        held = store.subjects("default", 100, None)
        assert [summary.subject_id for summary in held] == [f"s{number:07d}" for number in range(10)]
        version = store.subject("default", "s0000000").templates[0].version
        for number, summary in enumerate(held):
            reference = store.reference("default", summary.subject_id, "voice", version)
            np.testing.assert_array_equal(reference.embedding, rows[number])
