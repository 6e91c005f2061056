"""Score fusion of two modalities: chimeric subjects, weights of calibrated log-likelihood ratios, and error rates.

Nobody in the data has both a voice and a face, so people are put together: a speaker of one data set with a person of
another. The two are independent by construction; with real people they would be nearly so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from matchka.vectors import FloatArray
from matchka_train.errors import NoTrialsError
from matchka_train.metrics.calibration import RULE_OF, ThresholdAt, logistic_regression
from matchka_train.metrics.error_rates import equal_error_rate
from matchka_train.metrics.identity_bootstrap import RESAMPLES, Counts, Values, bounded_thresholds, draw_people
from matchka_train.metrics.pairs import Indices, PairSimilarities, all_pairs, number_subjects
from matchka_train.metrics.scored_embeddings import Embeddings

Numbers = npt.NDArray[np.int64]

DRAWS: Final = 20  # pairings of speakers with faces
MOST_SAMPLES: Final = 8  # of one person; some have fifty pictures, most have two
RATES: Final = (1e-1, 1e-2, 1e-3, 1e-4)


@dataclass(frozen=True)
class Modality:
    """Embeddings of one kind of sample, float32 (n, full_dim), and the subject of each."""

    embeddings: Embeddings
    subjects: list[str]


@dataclass(frozen=True)
class Line:
    """Calibration of one modality at one dim: log-likelihood ratio = scale * similarity + offset."""

    scale: float
    offset: float


@dataclass(frozen=True)
class Draw:
    """One pairing: for every chimeric sample the row of each modality, and the number of its person as text."""

    rows: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
    people: list[str]


@dataclass(frozen=True)
class FusionFit:
    """Fused ratio = weights . ratios + offset, natural logarithms."""

    weights: tuple[float, float]
    offset: float

    def apply(self, ratios: Values) -> Values:
        """Fuse: float64, (n, 2) -> (n,)."""
        fused: Values = ratios @ np.asarray(self.weights) + self.offset
        return fused


@dataclass(frozen=True)
class FusionResult:
    """What fusion is worth at one pair of dims; error rates are fractions.

    Attributes:
        fit: on all chimeric people.
        eers: of the first modality, of the second, and of both with weights learned on other people; on the same pairs.
        points: thresholds on the fused ratio.
    """

    fit: FusionFit
    eers: tuple[float, float, float]
    points: tuple[ThresholdAt, ...]


def draw_chimeras(first: Modality, second: Modality, seed: int, draws: int = DRAWS) -> list[Draw]:
    """Pair subjects that have two samples or more at random, one to one, several times.

    Args:
        first: one modality.
        second: the other.
        seed: the same seed draws the same pairings.
        draws: how many.

    Raises: NoTrialsError: fewer than four subjects of one modality have two samples.
    """
    generator = np.random.default_rng(seed)
    rows = [_rows_by_subject(modality) for modality in (first, second)]
    count = min(len(part) for part in rows)
    if count < 4:
        raise NoTrialsError(
            "Fusion needs four subjects with two samples in both modalities.", value=count, remedy="Add samples."
        )
    return [_draw(rows[0], rows[1], count, generator) for _ in range(draws)]


def learn_fusion(
    first: Modality,
    second: Modality,
    dims: tuple[int, int],
    lines: tuple[Line, Line],
    draws: Sequence[Draw],
    seed: int,
    resamples: int = RESAMPLES,
) -> FusionResult:
    """Learn the weights, and measure them on people that did not set them.

    In every draw the chimeric people are dealt into two halves; the weights learned on one fuse the pairs of the other.

    Args:
        first: one modality.
        second: the other.
        dims: components compared of each.
        lines: calibration of each at its dim.
        draws: the pairings.
        seed: of the deal, and of the draws of people behind the thresholds.
        resamples: such draws.

    Raises: NoTrialsError: a half has no mated pair.
    """
    generator = np.random.default_rng(seed)
    numbers, counts = zip(*(number_subjects(modality.subjects) for modality in (first, second)), strict=True)
    everyone: list[tuple[Values, Values]] = []
    behind: list[Numbers] = []
    held: list[tuple[Values, Values, FusionFit]] = []
    for draw in draws:
        pairs = _pairs_of(first, second, dims, draw)
        everyone.append(_ratios(pairs, lines))
        behind.append(_behind(pairs[0], draw, numbers, counts))
        half = generator.permutation(pairs[0].subject_count) % 2
        parts = [_ratios((pairs[0].within(half == side), pairs[1].within(half == side)), lines) for side in (0, 1)]
        held += [(*judged, fit_fusion(*fitted)) for fitted, judged in ((parts[0], parts[1]), (parts[1], parts[0]))]
    mated = np.concatenate([np.column_stack([part, fit.apply(part)]) for part, _, fit in held])
    non_mated = np.concatenate([np.column_stack([part, fit.apply(part)]) for _, part, fit in held])
    rates = [equal_error_rate(_f32(mated[:, column]), _f32(non_mated[:, column])) for column in range(3)]
    fit = fit_fusion(*(np.concatenate([part[kind] for part in everyone]) for kind in (0, 1)))
    fused = fit.apply(np.concatenate([part[1] for part in everyone]))
    people = np.concatenate(behind)
    # each modality's people are drawn apart: nobody has both
    drawn = [
        draw_people(people[:, columns], sum(counts), resamples, seed + side)
        for side, columns in enumerate((slice(0, 2), slice(2, 4)))
    ]
    points = ratio_thresholds(fused, people, _independent_pairs(draws), drawn[0] + drawn[1])
    return FusionResult(fit, (rates[0], rates[1], rates[2]), points)


def fit_fusion(mated: Values, non_mated: Values) -> FusionFit:
    """Logistic regression on two ratios, both kinds of pairs weighing the same.

    Args:
        mated: float64, (m, 2).
        non_mated: float64, (k, 2).

    Source: Bruemmer et al. 2007, linear logistic regression fusion.
    """
    slopes, offset = logistic_regression(mated, non_mated)
    return FusionFit((float(slopes[0]), float(slopes[1])), offset)


def ratio_thresholds(
    non_mated: Values, people: npt.NDArray[np.int64], independent_pairs: int, draws: Counts
) -> tuple[ThresholdAt, ...]:
    """The fused ratio that keeps each false match rate for 95 of 100 draws of the people of both modalities.

    Args:
        non_mated: fused ratios, (k,).
        people: (k, 4), the two people of each modality behind each, numbered through.
        independent_pairs: different pairs of chimeric people; a measured rate needs 30 false matches among these.
        draws: (resamples, people), how often each was drawn.

    Returns: one for each of RATES, falling in rate.
    """
    found = bounded_thresholds(non_mated, people, independent_pairs, RATES, draws, PlainScale())
    return tuple(
        ThresholdAt(rate, float(bound), independent_pairs * rate >= RULE_OF, float(estimate))
        for rate, bound, estimate in zip(RATES, found.bounds, found.estimates, strict=True)
    )


class PlainScale:
    """Log-likelihood ratios, whose tail is near normal as they are."""

    def forth(self, scores: Values) -> Values:
        """As they are."""
        return scores

    def back(self, values: Values) -> Values:
        """As they are."""
        return values


def _behind(pairs: PairSimilarities, draw: Draw, numbers: Sequence[Indices], counts: Sequence[int]) -> Numbers:
    """Who is behind each non-mated pair of chimeric people: (pairs, 4), the second modality's after the first's."""
    _, first_rows = np.unique(draw.people, return_index=True)  # in the order in which subjects are numbered
    own = np.stack([numbers[0][draw.rows[0][first_rows]], counts[0] + numbers[1][draw.rows[1][first_rows]]])
    behind: Numbers = own[:, pairs.non_mated_subjects].transpose(1, 0, 2).reshape(-1, 4).astype(np.int64)
    return behind


def _draw(
    first: list[npt.NDArray[np.int64]], second: list[npt.NDArray[np.int64]], count: int, generator: np.random.Generator
) -> Draw:
    rows: tuple[list[npt.NDArray[np.int64]], list[npt.NDArray[np.int64]]] = ([], [])
    people: list[str] = []
    chosen = zip(generator.permutation(len(first))[:count], generator.permutation(len(second))[:count], strict=True)
    for person, pair in enumerate(chosen):
        own = first[pair[0]], second[pair[1]]
        size = min(len(own[0]), len(own[1]), MOST_SAMPLES)
        for modality in (0, 1):
            rows[modality].append(generator.permutation(own[modality])[:size])
        people += [f"{person:06d}"] * size
    return Draw((np.concatenate(rows[0]), np.concatenate(rows[1])), people)


def _rows_by_subject(modality: Modality) -> list[npt.NDArray[np.int64]]:
    numbers, count = number_subjects(modality.subjects)
    rows = [np.flatnonzero(numbers == subject) for subject in range(count)]
    return [part for part in rows if len(part) > 1]


def _pairs_of(
    first: Modality, second: Modality, dims: tuple[int, int], draw: Draw
) -> tuple[PairSimilarities, PairSimilarities]:
    """Similarities of the same pairs of chimeric samples in both modalities."""
    voice, face = (
        all_pairs(modality.embeddings[rows, :dim], draw.people)
        for modality, rows, dim in zip((first, second), draw.rows, dims, strict=True)
    )
    return voice, face


def _ratios(pairs: tuple[PairSimilarities, PairSimilarities], lines: tuple[Line, Line]) -> tuple[Values, Values]:
    """Calibrated ratios (pairs, 2) of mated and of non-mated pairs."""
    mated, non_mated = (
        np.column_stack(
            [
                line.scale * similarity.astype(np.float64) + line.offset
                for line, similarity in zip(lines, kind, strict=True)
            ]
        )
        for kind in ((pairs[0].mated, pairs[1].mated), (pairs[0].non_mated, pairs[1].non_mated))
    )
    return mated, non_mated


def _independent_pairs(draws: Sequence[Draw]) -> int:
    """Pairs of people in one draw: other draws put the same people together anew."""
    people = len(set(draws[0].people))
    return people * (people - 1) // 2


def _f32(values: Values) -> FloatArray:
    return values.astype(np.float32)
