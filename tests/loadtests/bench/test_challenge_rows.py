"""What a challenge costs, on a small bundle and a store of its own."""

import sqlite3
from pathlib import Path

from loadtests.bench.challenge_rows import WARM_UP, hearing_rows, redeeming_rows
from tests.factories.spoken_tones import write_phoneme_bundle


def test_hearing_rows_of_a_bundle_are_processor_times_of_hearing_and_deciding(tmp_path: Path) -> None:
    write_phoneme_bundle(tmp_path / "phonemes")
    rows = hearing_rows(tmp_path / "phonemes", repeats=3)
    assert [row.id for row in rows] == ["challenge/hearing", "challenge/deciding"]
    assert all(0 < row.spread[0] <= row.ours <= row.spread[1] for row in rows)


def test_redeeming_rows_redeem_a_challenge_each_time_and_write_as_often_beside(tmp_path: Path) -> None:
    cpu, clock = redeeming_rows(tmp_path, repeats=3)
    with sqlite3.connect(tmp_path / "store.db") as database:
        (used,) = database.execute("SELECT count(*) FROM challenges WHERE used_at IS NOT NULL").fetchone()
    database.close()
    assert used == WARM_UP + 3
    assert (tmp_path / "page").stat().st_size == 4096 * used
    assert cpu.ours > 0
    assert clock.reference is not None
    assert clock.spread[0] > 0
