"""Phrases: drawn at random out of a vocabulary, and decided by a threshold of the bundle."""

from collections.abc import Mapping, Sequence
from math import lgamma, log
from secrets import SystemRandom
from typing import Final

from matchka.bundles.outputs.phoneme_posteriors import PhrasePoint
from matchka.errors import InvalidFieldError
from matchka.tasks.speech.results import PhraseDecision

DEFAULT_WORDS: Final = 6
MOST_IN_COMMON: Final = 2  # words; phrases are told apart by at least four of six


def draw_phrase(vocabulary: Sequence[str], words: int, earlier: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Different words in random order, at most two of them in any earlier phrase.

    Args:
        vocabulary: of at least 200 words, so that a few draws suffice.
        words: how many, 4 to 10.
        earlier: the subject's last phrases.
    """
    random = SystemRandom()
    taken = [set(phrase) for phrase in earlier]
    while True:
        drawn = tuple(random.sample(vocabulary, words))
        if all(len(phrase.intersection(drawn)) <= MOST_IN_COMMON for phrase in taken):
            return drawn


def phrase_bits(vocabulary: int, words: int) -> float:
    """The entropy of a phrase that is drawn without anything to avoid.

    >>> round(phrase_bits(1024, 6), 1)
    60.0
    """
    return (lgamma(vocabulary + 1) - lgamma(vocabulary - words + 1)) / log(2)


def decide_phrase(
    llr: float, words: int, points: Mapping[str, Sequence[PhrasePoint]], max_far: float
) -> PhraseDecision:
    """Hold a phrase's ratio against the threshold that keeps a rate for so many words.

    Of a number of words that was not measured, the nearest one's threshold is taken and called not measured.

    Args:
        llr: of the phrase.
        words: of it.
        points: of the bundle, by number of words.
        max_far: the rate to keep; a point of a lower rate keeps it as well.

    Raises: InvalidFieldError: the bundle has no point that keeps it.
    """
    count = min((int(known) for known in points), key=lambda known: (abs(known - words), known))
    keeping = [point for point in points[str(count)] if point.far <= max_far]
    if not keeping:
        least = points[str(count)][-1].far
        raise InvalidFieldError(
            f"The least max_far of this model is {least:g}.", value=max_far, remedy=f"Ask for {least:g} or more."
        )
    point = keeping[0]
    return PhraseDecision(llr, point.threshold, point.measured and count == words, point.far)
