"""The words of spoken challenges: short, said in few ways, and none like another."""

from itertools import combinations, product
from pathlib import Path

import pytest

from matchka_export.errors import VocabularyError
from matchka_export.phonemes.phone_distance import PHONES, Pronunciations, substitution_costs
from matchka_export.phonemes.vocabulary import (
    LEAST_DISTANCE,
    LEXICON_NAME,
    VOCABULARY_NAME,
    WORDS,
    candidate_words,
    choose_words,
    parse_dictionary,
    write_vocabulary,
)
from matchka_train.errors import DownloadError
from tests.factories.checkout import ROOT

SAID = """\
about AH B AW T
abrupt AH B R AH P T
better B EH T ER
bitter B IH T ER
catalogue K AE T AH L AO G
either IY DH ER
either(2) AY DH ER
eye AY
idea AY D IY AH
united Y UW N AY T IH D
"""


def slow_distance(one: tuple[str, ...], other: tuple[str, ...]) -> float:
    """The edit distance by its definition: the cheapest of the three last steps."""
    costs = substitution_costs()

    def between(i: int, j: int) -> float:
        if i == 0 or j == 0:
            return float(i + j)
        cost = float(costs[PHONES.index(one[i - 1]), PHONES.index(other[j - 1])])
        return min(between(i - 1, j) + 1, between(i, j - 1) + 1, between(i - 1, j - 1) + cost)

    return between(len(one), len(other))


def test_nearest_among_words_of_many_lengths_is_the_least_of_the_slow_distances() -> None:
    words = list(parse_dictionary(SAID).values())
    probe = ("B", "IH", "D", "ER")
    said = Pronunciations()
    for phones, *_ in words:
        said.add(phones)
    assert said.nearest(probe) == min(slow_distance(probe, phones) for (phones, *_) in words) == 0.5


def test_choose_words_keeps_the_first_of_two_that_sound_alike_and_no_word_of_one_syllable() -> None:
    dictionary = parse_dictionary(SAID)
    candidates = ["bitter", "better", "eye", "unheard", "catalogue", "about", "united"]
    assert choose_words(candidates, dictionary, count=4) == ["about", "bitter", "catalogue", "united"]


def test_choose_words_from_too_few_raises_and_names_how_many_there_were() -> None:
    with pytest.raises(VocabularyError, match="it takes 3") as raised:
        choose_words(["bitter", "better", "united"], parse_dictionary(SAID), count=3)
    assert raised.value.value == "2"


def test_parse_dictionary_with_a_phone_of_another_alphabet_raises_and_names_it() -> None:
    with pytest.raises(VocabularyError, match="ARPABET") as raised:
        parse_dictionary("bitter b IH T ER\n")
    assert raised.value.value == "b"


def test_parse_dictionary_keeps_a_pronunciation_that_is_written_twice_once() -> None:
    assert parse_dictionary("a AH\na(2) EY\na(3) AH\n") == {"a": (("AH",), ("EY",))}


def test_candidate_words_are_plain_and_stand_there_once() -> None:
    words = candidate_words()
    assert len(set(words)) == len(words) >= WORDS
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words)
    assert not [word for word in words if f"{word}s" in words]  # however the dictionary says the two


@pytest.mark.slow
def test_write_vocabulary_from_the_pinned_dictionary_keeps_every_two_words_apart(tmp_path: Path) -> None:
    try:
        write_vocabulary(tmp_path, ROOT / "build" / "downloads")
    except DownloadError as error:
        pytest.skip(f"the dictionary is neither in the cache nor to be fetched: {error}")
    words = (tmp_path / VOCABULARY_NAME).read_text().splitlines()
    lines = (tmp_path / LEXICON_NAME).read_text().splitlines()
    assert len(words) == len(set(words)) == WORDS
    ways: dict[str, list[tuple[str, ...]]] = {}
    for line in lines:
        word, *phones = line.split(" ")
        ways.setdefault(word, []).append(tuple(phones))
    assert len(ways) > 120_000
    assert sorted(" ".join(phones) for phones in ways["tomato"]) == ["T AH M AA T OW", "T AH M EY T OW"]
    for one, other in combinations(words[::40], 2):
        for first, second in product(ways[one], ways[other]):
            said = Pronunciations()
            said.add(second)
            assert said.nearest(first) >= LEAST_DISTANCE
