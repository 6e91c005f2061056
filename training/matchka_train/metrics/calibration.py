"""From similarities to decisions: calibration to a log-likelihood ratio, and thresholds at stated false match rates."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import isotonic_regression

from matchka.vectors import FloatArray
from matchka_train.metrics.error_rates import require_trials
from matchka_train.metrics.identity_bootstrap import RESAMPLES, Values, bounded_thresholds, draw_people
from matchka_train.metrics.pairs import PairSimilarities

TEMPLATE_COUNTS: Final = (1, 2, 3, 5, 10)
FALSE_MATCH_RATES: Final = (1e-1, 1e-2, 1e-3, 1e-4)
RULE_OF: Final = 30  # errors needed for a rate within +-30 % at 90 % confidence (Doddington et al. 2000)
NEWTON_STEPS: Final = 50  # a logistic fit of two or three parameters needs about ten
RIDGE: Final = 1e-6  # keeps the fit finite where the two kinds of pairs are separated perfectly
SMALLEST_SPREAD: Final = 1e-12  # of scores that are all the same
LARGEST_COSINE: Final = 1.0 - 1e-7  # copies of one clip have similarity 1, whose Fisher value is infinite


@dataclass(frozen=True)
class CalibrationFit:
    """Log-likelihood ratio (natural logarithm) = scale * similarity + offset.

    Attributes:
        scale: > 0.
        offset: of the line.
        cllr: cost of the ratios, in bits, on identities that did not set the line.
        min_cllr: the least cost any rising map of the same similarities could have.
    """

    scale: float
    offset: float
    cllr: float
    min_cllr: float


@dataclass(frozen=True)
class ThresholdAt:
    """The threshold that keeps a false match rate.

    Attributes:
        fmr: the rate.
        threshold: a pair matches where its score >= threshold; upper 95 % bound over draws of people.
        measured: whether 30 false matches of independent pairs of people are expected at it.
        estimate: the threshold that keeps the rate for these very people.
        people: who own the references it was set with.
    """

    fmr: float
    threshold: float
    measured: bool
    estimate: float
    people: int | None = None


def fit_logistic(mated: FloatArray, non_mated: FloatArray) -> tuple[float, float]:
    """Fit the line that turns similarities into log-likelihood ratios, both kinds of pairs weighing the same.

    Args:
        mated: (m,), m >= 1, finite.
        non_mated: (k,), k >= 1, finite.

    Returns: scale and offset, of the natural logarithm.

    Raises: NoTrialsError: no pair of one kind, or a similarity that is not finite.
    """
    require_trials(mated, non_mated)
    scale, offset = logistic_regression(mated.astype(np.float64)[:, None], non_mated.astype(np.float64)[:, None])
    return float(scale[0]), offset


def logistic_regression(mated: Values, non_mated: Values) -> tuple[Values, float]:
    """Logistic regression of the kind of a pair on k scores of it, both kinds of pairs weighing the same.

    Args:
        mated: float64, (m, k), m >= 1.
        non_mated: float64, (n, k), n >= 1.

    Returns: a slope for each score, (k,), and the offset; the log-likelihood ratio (natural logarithm) of a pair is
        slopes . scores + offset.

    Source: Bruemmer and du Preez 2006, Application-independent evaluation of speaker detection; Newton's method.
    """
    scores = np.concatenate([mated, non_mated])
    target = np.repeat([1.0, 0.0], [len(mated), len(non_mated)])
    weight = np.repeat([0.5 / len(mated), 0.5 / len(non_mated)], [len(mated), len(non_mated)])
    centre, spread = scores.mean(axis=0), np.maximum(scores.std(axis=0), SMALLEST_SPREAD)
    design = np.column_stack([(scores - centre) / spread, np.ones(len(scores))])
    line = np.zeros(design.shape[1])
    for _ in range(NEWTON_STEPS):
        posterior = 1.0 / (1.0 + np.exp(-np.clip(design @ line, -500, 500)))
        gradient = design.T @ (weight * (posterior - target)) + RIDGE * line
        curvature = (design * (weight * posterior * (1.0 - posterior))[:, None]).T @ design + RIDGE * np.eye(line.size)
        step = np.linalg.solve(curvature, gradient)
        # a full Newton step may overshoot where the data are nearly separable: never move by more than 5
        step *= min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-300))
        line -= step
        if float(np.abs(step).max()) < 1e-10:
            break
    slopes: Values = line[:-1] / spread
    return slopes, float(line[-1] - slopes @ centre)


def cllr(mated_llr: Values, non_mated_llr: Values) -> float:
    """The cost of log-likelihood ratios in bits: 0 is perfect, 1 is no information.

    Args:
        mated_llr: (m,), natural logarithm, may hold +-infinity.
        non_mated_llr: (k,), likewise.

    Source: Bruemmer and du Preez 2006.

    >>> cllr(np.zeros(3), np.zeros(5))
    1.0
    """
    misses = np.logaddexp(0.0, -mated_llr).mean()
    false_alarms = np.logaddexp(0.0, non_mated_llr).mean()
    return float((misses + false_alarms) / (2.0 * np.log(2.0)))


def min_cllr(mated: FloatArray, non_mated: FloatArray) -> float:
    """The least Cllr any rising map of these similarities could reach (pool adjacent violators).

    Args:
        mated: (m,), m >= 1, finite.
        non_mated: (k,), k >= 1, finite.

    Returns: bits, in [0, 1].

    Raises: NoTrialsError: no pair of one kind, or a similarity that is not finite.
    """
    require_trials(mated, non_mated)
    similarities = np.concatenate([mated, non_mated])
    target = np.concatenate([np.ones(mated.size), np.zeros(non_mated.size)])
    values, run = np.unique(similarities, return_inverse=True)  # equal similarities must share one ratio
    per_value = np.bincount(run, minlength=values.size).astype(np.float64)
    share = np.bincount(run, weights=target, minlength=values.size) / per_value
    posterior = isotonic_regression(share, weights=per_value).x[run]
    with np.errstate(divide="ignore"):
        llr = np.log(posterior) - np.log1p(-posterior) - np.log(mated.size / non_mated.size)
    return cllr(llr[: mated.size], llr[mated.size :])


def calibrate(pairs: PairSimilarities, seed: int) -> CalibrationFit:
    """Fit the line on all pairs, and measure its cost on identities that did not set it.

    For the cost the subjects are dealt into two halves; the line fitted on each is judged on the other.

    Args:
        pairs: similarities at one dim.
        seed: of the deal.

    Raises: NoTrialsError: a half has no mated or no non-mated pair (fewer than four subjects, for example).
    """
    scale, offset = fit_logistic(pairs.mated, pairs.non_mated)
    half = np.random.default_rng(seed).permutation(pairs.subject_count) % 2
    costs = []
    for fitted, judged in ((0, 1), (1, 0)):
        own, other = pairs.within(half == fitted), pairs.within(half == judged)
        slope, shift = fit_logistic(own.mated, own.non_mated)
        costs.append(cllr(*(slope * kind.astype(np.float64) + shift for kind in (other.mated, other.non_mated))))
    return CalibrationFit(scale, offset, float(np.mean(costs)), min_cllr(pairs.mated, pairs.non_mated))


def thresholds_at(
    pairs: PairSimilarities,
    seed: int,
    rates: tuple[float, ...] = FALSE_MATCH_RATES,
    people: int | None = None,
    resamples: int = RESAMPLES,
) -> tuple[ThresholdAt, ...]:
    """The threshold that keeps each false match rate for 95 of 100 draws of the people, and the plain one beside it.

    A rate is measured where 30 false matches of *independent* pairs of subjects would be expected: all pairs of clips
    of the same two subjects count once. Where fewer than three would be, the tail of the non-mated similarities is
    taken as normal on Fisher's scale (the inverse hyperbolic tangent, on which correlations of few components are near
    normal).

    Args:
        pairs: cosine similarities at one dim and one number of templates.
        seed: the same seed draws the same people.
        rates: false match rates in (0, 1).
        people: who own a reference, where that is not everybody.
        resamples: draws.

    Returns: one for each rate, in falling order of rate.

    Raises: NoTrialsError: no pair of one kind, or a similarity that is not finite.

    Source: Fisher 1915, on the distribution of the correlation coefficient; docs/decisions/022 shows how well it holds,
        docs/decisions/026 what the bound is worth.
    """
    require_trials(pairs.mated, pairs.non_mated)
    subject_pairs = independent_subject_pairs(pairs)
    falling = sorted(rates, reverse=True)
    draws = draw_people(pairs.non_mated_subjects, pairs.subject_count, resamples, seed)
    found = bounded_thresholds(pairs.non_mated, pairs.non_mated_subjects, subject_pairs, falling, draws, FisherScale())
    own = np.unique(pairs.non_mated_subjects).size if people is None else people
    bounds, estimates = (np.minimum(values, LARGEST_COSINE) for values in (found.bounds, found.estimates))
    return tuple(
        ThresholdAt(rate, float(bound), subject_pairs * rate >= RULE_OF, float(estimate), int(own))
        for rate, bound, estimate in zip(falling, bounds, estimates, strict=True)
    )


class FisherScale:
    """Cosines as Fisher's z, and back."""

    def forth(self, scores: Values) -> Values:
        """Artanh; copies of one clip have similarity 1, whose value would be infinite."""
        transformed: Values = np.arctanh(np.clip(scores, -LARGEST_COSINE, LARGEST_COSINE))
        return transformed

    def back(self, values: Values) -> Values:
        """Tanh."""
        cosines: Values = np.tanh(values)
        return cosines


def independent_subject_pairs(pairs: PairSimilarities) -> int:
    """How many different pairs of subjects the non-mated similarities come from.

    Returns: at most N (N - 1) / 2 of N subjects.
    """
    ordered = np.sort(pairs.non_mated_subjects, axis=1).astype(np.int64)
    return int(np.unique(ordered[:, 0] * pairs.subject_count + ordered[:, 1]).size)
