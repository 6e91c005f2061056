"""Does a clip say a text? Scores of the right texts and of wrong ones, and the thresholds that keep false accepts rare.

A trial is a clip and a text. The mated ones are clips with what is said in them; a non-mated one takes the text of
another person's clip. Both people of a non-mated trial are drawn anew by a bootstrap: who speaks, and whose text it is.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from matchka.phrases.lattice import Text
from matchka.phrases.scores import phrase_scores
from matchka.vectors import FloatArray
from matchka_train.errors import NoTrialsError
from matchka_train.metrics.calibration import RULE_OF
from matchka_train.metrics.error_rates import require_trials
from matchka_train.metrics.identity_bootstrap import RESAMPLES, Values, bounded_thresholds, draw_people
from matchka_train.metrics.pairs import PairSimilarities, number_subjects

WRONG_TEXTS: Final = 40  # for each clip
# a text that shares most words with what is said is no other text: one wrong word of five is found three times in four
LEAST_OTHER_WORDS: Final = 4
LOWEST_SCORE: Final = -50.0  # of a text that the clip is too short to say: a number, and below any that is said
FALSE_ACCEPT_RATES: Final = (1e-1, 1e-2, 1e-3)
# longer phrases are no harder to tell apart, and few clips are so long: they count as of this many words
LONGEST_APART: Final = 8


@dataclass(frozen=True)
class ReadText:
    """What somebody reads.

    Attributes:
        words: of the text.
        text: how they are pronounced, see matchka.phrases.lattice.Text.
        speaker: who reads.
    """

    words: tuple[str, ...]
    text: Text
    speaker: str


@dataclass(frozen=True)
class PhraseTrials:
    """Which texts are held against which clips.

    Attributes:
        read: what each clip says.
        clips: int64, (trials,), the clip of each non-mated trial.
        texts: int64, (trials,), the clip whose text it is held against.
    """

    read: tuple[ReadText, ...]
    clips: npt.NDArray[np.int64]
    texts: npt.NDArray[np.int64]


@dataclass(frozen=True)
class PhraseScores:
    """Scores of trials; see matchka.phrases.scores.phrase_score.

    Attributes:
        trials: that were scored.
        right: float64, (clips,), of each clip with what it says.
        wrong: float64, (trials,), of the non-mated trials.
    """

    trials: PhraseTrials
    right: Values
    wrong: Values

    def pairs(self, clips: npt.NDArray[np.bool_] | None = None) -> PairSimilarities:
        """The scores as mated and non-mated pairs of people; clips without a wrong text take no part.

        Args: clips: bool, (clips,), those that take part; all by default.
        """
        speakers, count = number_subjects([read.speaker for read in self.trials.read])
        kept = np.bincount(self.trials.clips, minlength=len(self.right)) > 0
        if clips is not None:
            kept &= clips
        wrong = kept[self.trials.clips]
        people = np.stack([speakers[self.trials.clips[wrong]], speakers[self.trials.texts[wrong]]], axis=1)
        right, others = (scores.astype(np.float32) for scores in (self.right[kept], self.wrong[wrong]))
        return PairSimilarities(right, others, speakers[kept], people.astype(np.int32), count)

    def of_length(self, words: int) -> npt.NDArray[np.bool_]:
        """Which clips say so many words, or at least LONGEST_APART."""
        counts = np.array([len(read.words) for read in self.trials.read])
        return counts >= LONGEST_APART if words >= LONGEST_APART else counts == words


@dataclass(frozen=True)
class AcceptThreshold:
    """The score that keeps a false accept rate.

    Attributes:
        far: the rate.
        threshold: a phrase is accepted where its score >= threshold; upper 95 % bound over draws of people.
        estimate: the score that keeps the rate for these very people.
        measured: whether 30 false accepts of different pairs of a speaker and a text's reader are expected at it.
    """

    far: float
    threshold: float
    estimate: float
    measured: bool


def draw_trials(read: Sequence[ReadText], seed: int, per_clip: int = WRONG_TEXTS) -> PhraseTrials:
    """Hold each clip against texts of other people that have as many words, at least four of them others.

    Args:
        read: what each clip says.
        seed: the same seed draws the same texts.
        per_clip: how many, or as many as there are.

    Raises: NoTrialsError: no clip has such a text.
    """
    generator = np.random.default_rng(seed)
    counted = [Counter(one.words) for one in read]
    by_length: dict[int, list[int]] = {}
    for clip, one in enumerate(read):
        by_length.setdefault(len(one.words), []).append(clip)
    clips: list[int] = []
    texts: list[int] = []
    for clip, one in enumerate(read):
        chosen: dict[tuple[str, ...], int] = {}
        for other in generator.permutation(by_length[len(one.words)]).tolist():
            shared = (counted[clip] & counted[other]).total()
            if read[other].speaker != one.speaker and len(one.words) - shared >= LEAST_OTHER_WORDS:
                chosen.setdefault(read[other].words, other)
            if len(chosen) == per_clip:
                break
        clips += [clip] * len(chosen)
        texts += chosen.values()
    if not clips:
        raise NoTrialsError(
            "No clip has a wrong text.", remedy=f"Give texts of {LEAST_OTHER_WORDS} words and more, of several people."
        )
    return PhraseTrials(tuple(read), np.asarray(clips, np.int64), np.asarray(texts, np.int64))


def score_trials(log_posteriors: Iterable[FloatArray], trials: PhraseTrials) -> PhraseScores:
    """Score every trial.

    Args:
        log_posteriors: of each clip, (frames, 1 + phones).
        trials: of as many clips.
    """
    right, wrong = np.zeros(len(trials.read)), np.zeros(trials.clips.size)
    for clip, posteriors in enumerate(log_posteriors):
        at = np.flatnonzero(trials.clips == clip)
        texts = [trials.read[clip].text, *(trials.read[other].text for other in trials.texts[at])]
        found = np.maximum(phrase_scores(posteriors, texts), LOWEST_SCORE)
        right[clip], wrong[at] = found[0], found[1:]
    return PhraseScores(trials, right, wrong)


def accept_thresholds(
    pairs: PairSimilarities, seed: int, rates: Sequence[float] = FALSE_ACCEPT_RATES, resamples: int = RESAMPLES
) -> tuple[AcceptThreshold, ...]:
    """The score that keeps each false accept rate for 95 of 100 draws of the people, and the plain one beside it.

    Args:
        pairs: of PhraseScores.
        seed: the same seed draws the same people.
        rates: in (0, 1).
        resamples: draws.

    Returns: one for each rate, falling.

    Raises: NoTrialsError: no trial of one kind.
    """
    require_trials(pairs.mated, pairs.non_mated)
    falling = sorted(rates, reverse=True)
    independent = len(np.unique(pairs.non_mated_subjects, axis=0))
    draws = draw_people(pairs.non_mated_subjects, pairs.subject_count, resamples, seed)
    found = bounded_thresholds(pairs.non_mated, pairs.non_mated_subjects, independent, falling, draws, _PlainScale())
    return tuple(
        AcceptThreshold(rate, float(bound), float(estimate), independent * rate >= RULE_OF)
        for rate, bound, estimate in zip(falling, found.bounds, found.estimates, strict=True)
    )


def false_reject_rate(mated: Values | FloatArray, threshold: float) -> float:
    """Share of right texts below a threshold."""
    return float(np.mean(mated < threshold))


def halves(speakers: Sequence[str], splits: int, seed: int) -> list[npt.NDArray[np.bool_]]:
    """Ways to deal speakers into two halves: bool, (clips,), whose clips are in the first.

    >>> [half.tolist() for half in halves(["a", "a", "b"], 1, seed=0)]
    [[True, True, False]]
    """
    numbers, count = number_subjects(list(speakers))
    generator = np.random.default_rng(seed)
    return [(generator.permutation(count) % 2 == 0)[numbers] for _ in range(splits)]


class _PlainScale:
    """Log-likelihood ratios are sums over many frames: their tails are taken as normal where they are."""

    def forth(self, scores: Values) -> Values:
        return scores

    def back(self, values: Values) -> Values:
        return values
