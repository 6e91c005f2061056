"""What a challenge costs, on a small bundle and a store of its own."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.factories.spoken_tones import write_phoneme_bundle
from tests.service.tasks.challenges.measure_cost import WARM_UP, Redemptions, measure_hearing, measure_redeeming


def test_measure_hearing_of_a_bundle_takes_processor_time_for_hearing_and_for_deciding(tmp_path: Path) -> None:
    write_phoneme_bundle(tmp_path / "phonemes")
    for taken in measure_hearing(tmp_path / "phonemes", repeats=3):
        assert len(taken) == 3
        assert min(taken) > 0


def test_measure_redeeming_redeems_a_challenge_each_time_and_writes_as_often_beside(tmp_path: Path) -> None:
    found = measure_redeeming(tmp_path, repeats=3)
    with closing(sqlite3.connect(tmp_path / "store.db")) as database:
        (used,) = database.execute("SELECT count(*) FROM challenges WHERE used_at IS NOT NULL").fetchone()
    assert used == WARM_UP + 3
    assert (tmp_path / "page").stat().st_size == 4096 * used
    assert all(len(taken) == 3 for taken in (found.cpu, found.clock, found.bare))


def test_ratio_of_redemptions_is_the_median_of_pairs() -> None:
    assert Redemptions([1.0] * 3, [2.0, 9.0, 8.0], [1.0, 3.0, 1.0]).ratio == 3.0
