"""How clips are put together for the figures about replays and splices, and which texts clips are held against."""

import numpy as np
import pytest

from tests.factories.samples import RATE_HZ
from tests.service.tasks.challenges.measure_replays import WRONG_TEXTS, beside, splices, under, wrong_texts

PHRASE = np.sin(np.arange(2 * RATE_HZ)).astype(np.float32)
PERSON = np.cos(3 * np.arange(RATE_HZ // 2)).astype(np.float32) / 10


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


@pytest.mark.parametrize("behind", [False, True])
def test_beside_puts_the_person_before_or_behind_the_phrase_as_loud(behind: bool) -> None:
    found = beside(PHRASE, PERSON, 1, behind)
    assert found.size == PHRASE.size + RATE_HZ
    phrase, person = (found[: PHRASE.size], found[PHRASE.size :]) if behind else (found[RATE_HZ:], found[:RATE_HZ])
    assert np.corrcoef(phrase, PHRASE)[0, 1] > 0.999
    assert np.corrcoef(person, np.tile(PERSON, 2))[0, 1] > 0.999
    assert rms(person) == pytest.approx(rms(phrase), rel=1e-4)


@pytest.mark.parametrize(("level_db", "share"), [(0, 1.0), (-5, 0.5623), (-10, 0.3162)])
def test_under_adds_the_person_quieter_by_so_many_db(level_db: float, share: float) -> None:
    alone = under(PHRASE, np.zeros(1, np.float32), 0)
    added = under(PHRASE, PERSON, level_db) - alone
    assert np.corrcoef(added, np.tile(PERSON, 4))[0, 1] > 0.999
    assert rms(added) / rms(alone) == pytest.approx(share, rel=1e-3)


def test_nothing_beside_the_phrase_is_the_phrase() -> None:
    assert np.corrcoef(splices(behind=True)["nothing"](PHRASE, PERSON), PHRASE)[0, 1] > 0.999


def test_wrong_texts_have_as_many_words_and_four_others() -> None:
    words = ["a", "b", "c", "d", "e"]
    fitting = [[*"pqrs", str(number)] for number in range(WRONG_TEXTS + 5)]
    texts = [words, [*"abxyz"], [*"pqrst", "u"], *fitting]
    found = wrong_texts(words, texts, np.random.default_rng(0))
    assert len(found) == WRONG_TEXTS
    assert all(text in fitting for text in found)
