"""How far a head agrees with people about pronunciation: correlation, who was given a low mark, and a line to marks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from matchka.phrases.scores import phrase_score
from matchka.vectors import FloatArray
from matchka_train.errors import NoTrialsError
from matchka_train.metrics.bootstrap import RESAMPLES
from matchka_train.metrics.error_rates import det_curve
from matchka_train.metrics.pairs import number_subjects

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """Scores of clips beside the marks that people gave.

    Attributes:
        pearson: correlation over clips; marks that are only known to be at most 7 count as 7.
        auc: share of pairs of a clip with a low mark and one with a higher one in which the score says the same.
        clips: how many.
        speakers: how many.
    """

    pearson: float
    auc: float
    clips: int
    speakers: int


@dataclass(frozen=True)
class AgreementIntervals:
    """Where 95 % of draws of speakers lie. Attributes: pearson: lowest and highest. auc: lowest and highest."""

    pearson: tuple[float, float]
    auc: tuple[float, float]


@dataclass(frozen=True)
class MarkLine:
    """A line from scores to marks: slope * score + offset, between low and high.

    Attributes:
        slope: marks for each unit of the score.
        offset: the mark of a score of 0.
        low: the lowest mark that people gave.
        high: the highest.
        error: mean absolute difference from the marks of people whom the line was not fitted to.
        constant_error: the same of a line without a slope, the mean mark: what the score has to beat.
    """

    slope: float
    offset: float
    low: float
    high: float
    error: float
    constant_error: float


def text_scores(log_posteriors: Sequence[FloatArray], phones: Sequence[tuple[int, ...]]) -> Values:
    """How well each clip says its phones: the log-likelihood ratio for each phone, (clips,)."""
    return np.array([phrase_score(clip, [[said]]) for clip, said in zip(log_posteriors, phones, strict=True)])


def agreement(scores: Values, marks: Values, is_low: npt.NDArray[np.bool_], speakers: Sequence[str]) -> Agreement:
    """Compare scores with marks.

    Args:
        scores: (clips,), higher is better.
        marks: (clips,), of people.
        is_low: (clips,), the clips that should be found.
        speakers: of each clip.

    Raises: NoTrialsError: all marks are low, or none is, or a score is not a number.

    >>> agreement(np.array([1.0, 3.0, 2.0]), np.array([7.0, 9.0, 8.0]), np.array([True, False, False]), ["a", "b", "b"])
    Agreement(pearson=1.0, auc=1.0, clips=3, speakers=2)
    """
    if not np.all(np.isfinite(scores)):
        raise NoTrialsError("A score is not a number.", remedy="Leave out clips that are too short for their text.")
    curve = det_curve(scores[~is_low].astype(np.float32), scores[is_low].astype(np.float32))
    auc = float(np.trapezoid(1.0 - curve.fnmr, curve.fmr))
    pearson = float(np.corrcoef(scores, marks)[0, 1])
    return Agreement(round(pearson, 12), auc, len(scores), len(set(speakers)))


def agreement_intervals(
    scores: Values,
    marks: Values,
    is_low: npt.NDArray[np.bool_],
    speakers: Sequence[str],
    seed: int,
    resamples: int = RESAMPLES,
) -> AgreementIntervals:
    """How far the agreement moves as speakers are drawn anew, with all their clips.

    Args:
        scores: (clips,), higher is better.
        marks: (clips,), of people.
        is_low: (clips,), the clips that should be found.
        speakers: of each clip.
        seed: the same seed draws the same speakers.
        resamples: draws, >= 1; one without a clip to be found, or without any other, is left out.

    Raises: NoTrialsError: no draw is left, or a score is not a number.
    """
    numbers, count = number_subjects(list(speakers))
    clips_of = [np.flatnonzero(numbers == number) for number in range(count)]
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        drawn = np.concatenate([clips_of[number] for number in generator.integers(0, count, count)])
        if 0 < np.count_nonzero(is_low[drawn]) < len(drawn):
            one = agreement(scores[drawn], marks[drawn], is_low[drawn], speakers)
            found.append((one.pearson, one.auc))
    if not found:
        raise NoTrialsError("No draw of speakers has low marks and others.", value=count, remedy="Give more speakers.")
    low, high = np.quantile(found, [0.025, 0.975], axis=0).tolist()
    return AgreementIntervals((low[0], high[0]), (low[1], high[1]))


def fit_line(scores: Values, marks: Values, folds: npt.NDArray[np.int64]) -> MarkLine:
    """The line of least squares, and how far it is off where it was not fitted.

    Args:
        scores: (clips,), finite.
        marks: (clips,), of people.
        folds: (clips,), part of the people that each clip belongs to; a part's error is that of the line of the others.
    """
    low, high = float(marks.min()), float(marks.max())
    errors, constant_errors = [], []
    for fold in np.unique(folds):
        own = folds == fold
        slope, offset = np.polyfit(scores[~own], marks[~own], 1)
        errors.append(np.abs(np.clip(slope * scores[own] + offset, low, high) - marks[own]))
        constant_errors.append(np.abs(marks[~own].mean() - marks[own]))
    slope, offset = np.polyfit(scores, marks, 1)
    return MarkLine(
        float(slope),
        float(offset),
        low,
        high,
        float(np.concatenate(errors).mean()),
        float(np.concatenate(constant_errors).mean()),
    )
