"""Phrases: drawn at random out of a vocabulary, and decided by a threshold of the bundle."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import lgamma, log
from secrets import SystemRandom
from typing import Final

from matchka.bundles.outputs.phoneme_posteriors import PhonemePosteriorsOutput, PhrasePoint
from matchka.errors import InvalidFieldError
from matchka.phrases.lattice import Text
from matchka.phrases.scores import free_log_posterior, heard_share, phrase_score
from matchka.tasks.speech.results import PhraseDecision
from matchka.vectors import FloatArray

DEFAULT_WORDS: Final = 6
MOST_IN_COMMON: Final = 2  # words
LEAST_DIFFERENT: Final = 4  # of a phrase's words from any earlier one's: fewer are told apart too badly


def draw_phrase(vocabulary: Sequence[str], words: int, earlier: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Different words in random order: at most two of them in any earlier phrase, and at least four in none.

    Args:
        vocabulary: of at least 600 words, so that draws suffice even where the earlier phrases have 500 of them.
        words: how many, 4 to 10.
        earlier: the subject's last phrases.
    """
    random = SystemRandom()
    taken = [set(phrase) for phrase in earlier]
    most_in_common = min(MOST_IN_COMMON, words - LEAST_DIFFERENT)
    while True:
        drawn = tuple(random.sample(vocabulary, words))
        if all(len(phrase.intersection(drawn)) <= most_in_common for phrase in taken):
            return drawn


def phrase_bits(vocabulary: int, words: int) -> float:
    """The entropy of a phrase that is drawn without anything to avoid.

    >>> round(phrase_bits(1024, 6), 1)
    60.0
    """
    return (lgamma(vocabulary + 1) - lgamma(vocabulary - words + 1)) / log(2)


def decide_phrase(
    log_posteriors: FloatArray, text: Text, output: PhonemePosteriorsOutput, max_far: float
) -> PhraseDecision:
    """Hold a text's ratio against the threshold that keeps a rate for so many words.

    Of a number of words that was not measured, the nearest one's threshold is taken and called not measured. A clip in
    which little is heard of the text, or nothing clearly, has to keep the lowest rate that the bundle has.

    Args:
        log_posteriors: of the clip, float32, (frames, 1 + phones).
        text: as the lexicon says it.
        output: of the bundle.
        max_far: the rate to keep; a point of a lower rate keeps it as well.

    Raises: InvalidFieldError: the bundle has no point that keeps it.
    """
    count = min((int(known) for known in output.phrase_points), key=lambda known: (abs(known - len(text)), known))
    points = output.phrase_points[str(count)]
    asked = _point(points, max_far)
    if asked is None:
        raise _unkept(points[-1].far, max_far)
    hearing = _hear(log_posteriors, text, output)
    point = points[-1] if hearing.is_doubtful else asked
    return PhraseDecision(
        phrase_score(log_posteriors, text),
        point.threshold,
        point.measured and count == len(text),
        point.far,
        hearing.is_possible,
    )


def require_rate(output: PhonemePosteriorsOutput, max_far: float) -> None:
    """Refuse a rate that the bundle keeps for no number of words.

    Raises: InvalidFieldError: it keeps it for none.
    """
    if not any(_point(points, max_far) for points in output.phrase_points.values()):
        raise _unkept(min(points[-1].far for points in output.phrase_points.values()), max_far)


@dataclass(frozen=True)
class _Hearing:
    """Whether a clip can say a text at all, and whether that is to be doubted."""

    is_possible: bool
    is_doubtful: bool


def _hear(log_posteriors: FloatArray, text: Text, output: PhonemePosteriorsOutput) -> _Hearing:
    free, share = free_log_posterior(log_posteriors), heard_share(log_posteriors, text)
    is_sure = output.least_free_log_posterior is None or free >= output.least_free_log_posterior
    bounds = output.heard
    if bounds is None:
        return _Hearing(is_sure, is_doubtful=False)
    return _Hearing(
        is_sure and share <= bounds.most_share,
        is_doubtful=free < bounds.clear_free_log_posterior or share < bounds.least_share,
    )


def _point(points: Sequence[PhrasePoint], max_far: float) -> PhrasePoint | None:
    return next((point for point in points if point.far <= max_far), None)


def _unkept(least: float, max_far: float) -> InvalidFieldError:
    return InvalidFieldError(
        f"The least max_far of this model is {least:g}.", value=max_far, remedy=f"Ask for {least:g} or more."
    )
