"""How sure an error rate is: bootstrap by identity, and the paired difference of two systems' EERs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from matchka_train.errors import NoTrialsError
from matchka_train.metrics.error_rates import Rates, crossing, equal_error_rate
from matchka_train.metrics.pairs import PairSimilarities

RESAMPLES: Final = 500  # the 2.5 % quantile then rests on a dozen draws
RANKED_PER_EER: Final = 2.0  # how far down the non-mated pairs are ranked: rarely are a draw's errors equal below that
RANKED_AT_LEAST: Final = 0.02

WeightedRate = Callable[[Rates], float | None]  # weights (units,) -> error rate; None where no trial has weight


@dataclass(frozen=True)
class DrawnRate:
    """An error rate, and what it is as the units it was measured on are drawn anew.

    Attributes:
        rate: with every unit once; a fraction.
        draws: float64, (resamples,); the same row of several systems is of the same draw.
    """

    rate: float
    draws: Rates


@dataclass(frozen=True)
class Difference:
    """EER of one system minus that of another on the same trials; fractions.

    Attributes:
        eer: of the first.
        other_eer: of the second.
        low: 2.5 % quantile of the difference.
        high: 97.5 % quantile of the difference.
    """

    eer: float
    other_eer: float
    low: float
    high: float

    @property
    def significantly_worse(self) -> bool:
        """The first has the higher EER, and the 95 % interval of the difference lies above 0."""
        return self.low > 0

    @property
    def significantly_better(self) -> bool:
        """The first has the lower EER, and the 95 % interval of the difference lies below 0."""
        return self.high < 0


def draw_rates(
    systems: Sequence[WeightedRate], unit_count: int, seed: int, resamples: int = RESAMPLES
) -> list[DrawnRate]:
    """Measure error rates again and again on units drawn with replacement, all systems on the same draws.

    Args:
        systems: each gives an error rate where units have weights (how often each was drawn).
        unit_count: people, or whatever else moves together.
        seed: the same seed draws the same units.
        resamples: draws, >= 1; one in which a system has no rate is drawn again.

    Raises: NoTrialsError: a system has no rate even with every unit once.
    """
    rates = [system(np.ones(unit_count)) for system in systems]
    if any(rate is None for rate in rates):
        raise NoTrialsError("There is no pair of one kind.", remedy="Give more subjects and samples.")
    generator = np.random.default_rng(seed)
    rows: list[list[float | None]] = []
    while len(rows) < resamples:
        drawn = generator.integers(0, unit_count, unit_count)
        weights = np.bincount(drawn, minlength=unit_count).astype(np.float64)
        row = [system(weights) for system in systems]
        if all(rate is not None for rate in row):  # a draw without any mated pair says nothing
            rows.append(row)
    columns = np.asarray([rates, *rows], np.float64).T
    return [DrawnRate(float(column[0]), column[1:]) for column in columns]


def paired_difference(
    first: PairSimilarities, second: PairSimilarities, seed: int, resamples: int = RESAMPLES
) -> Difference:
    """Compare two systems on the same pairs, drawing identities with replacement.

    A subject drawn w times gives its mated pairs the weight w, and its non-mated pairs with a subject drawn v times
    the weight w v; both systems see the same draw. All pairs of one person move together, which a bootstrap over
    pairs would ignore.

    Args:
        first: similarities of the system in question.
        second: of the other one, pair by pair of the same subjects.
        seed: the same seed draws the same identities.
        resamples: draws, >= 1.

    Raises: NoTrialsError: the two were not measured on the same pairs, or a similarity is not finite.

    Source: Poh and Bengio 2007, subset bootstrap by client.
    """
    one, other = draw_eers([first, second], seed, resamples)
    low, high = np.quantile(one.draws - other.draws, [0.025, 0.975])
    return Difference(one.rate, other.rate, float(low), float(high))


def draw_eers(systems: Sequence[PairSimilarities], seed: int, resamples: int = RESAMPLES) -> list[DrawnRate]:
    """EERs of several systems on the same pairs and the same draws of identities, as `paired_difference`.

    Raises: NoTrialsError: they were not measured on the same pairs, or a similarity is not finite.
    """
    first = systems[0]
    for other in systems[1:]:
        if not (
            np.array_equal(first.mated_subjects, other.mated_subjects)
            and np.array_equal(first.non_mated_subjects, other.non_mated_subjects)
        ):
            raise NoTrialsError(
                "The two systems were not measured on the same pairs.",
                remedy="Give both the same samples in one order.",
            )
    return draw_rates([RankedPairs(pairs).eer for pairs in systems], first.subject_count, seed, resamples)


class RankedPairs:
    """Pairs sorted once, so that each draw costs one pass over the most similar of them.

    Errors are equal among the most similar pairs in nearly every draw, so the others are only counted; where they are
    not, all pairs are looked through. The result is the same to the last bit, as weights are whole numbers.

    Args:
        pairs: finite similarities.
        ranked: share of the non-mated pairs looked through first, in (0, 1]; by default it follows the EER.

    Raises: NoTrialsError: no pair of one kind, or a similarity that is not finite.
    """

    def __init__(self, pairs: PairSimilarities, ranked: float | None = None) -> None:
        rate = equal_error_rate(pairs.mated, pairs.non_mated)
        share = min(1.0, RANKED_PER_EER * rate + RANKED_AT_LEAST) if ranked is None else ranked
        count = max(1, int(np.ceil(share * pairs.non_mated.size)))
        lowest = np.partition(pairs.non_mated, pairs.non_mated.size - count)[pairs.non_mated.size - count]
        self._pairs = pairs
        self._top = _Ranking(pairs, float(lowest))
        self._all: _Ranking | None = None
        self._mated_counts = np.bincount(pairs.mated_subjects, minlength=pairs.subject_count)
        one, other = pairs.non_mated_subjects.astype(np.int64).T
        pairings, self._pair_counts = np.unique(one * pairs.subject_count + other, return_counts=True)
        self._one, self._other = np.divmod(pairings, pairs.subject_count)

    def eer(self, weights: Rates) -> float | None:
        """EER with subjects weighted by whole numbers; None where no mated or no non-mated pair has weight."""
        mated = float(weights @ self._mated_counts)
        non_mated = float((weights[self._one] * weights[self._other]) @ self._pair_counts)
        if mated == 0 or non_mated == 0:
            return None
        found = self._top.eer(weights, mated, non_mated)
        if found is not None:
            return found
        if self._all is None:
            self._all = _Ranking(self._pairs, -np.inf)
        return self._all.eer(weights, mated, non_mated)


class _Ranking:
    """The pairs at or above a similarity, falling."""

    def __init__(self, pairs: PairSimilarities, lowest: float) -> None:
        mated, non_mated = np.flatnonzero(pairs.mated >= lowest), np.flatnonzero(pairs.non_mated >= lowest)
        similarities = np.concatenate([pairs.mated[mated], pairs.non_mated[non_mated]])
        order = np.argsort(-similarities, kind="stable")
        falling = similarities[order]
        self._last_of_run = np.append(falling[1:] != falling[:-1], True)
        self._mated_at = np.flatnonzero(order < mated.size)
        self._non_mated_at = np.flatnonzero(order >= mated.size)
        self._mated_subjects = pairs.mated_subjects[mated[order[self._mated_at]]]
        subjects = pairs.non_mated_subjects[non_mated[order[self._non_mated_at] - mated.size]]
        self._one, self._other = np.ascontiguousarray(subjects[:, 0]), np.ascontiguousarray(subjects[:, 1])

    def eer(self, weights: Rates, mated: float, non_mated: float) -> float | None:
        """EER where all pairs weigh `mated` and `non_mated`; None where the errors are equal further down."""
        hits, false_alarms = np.zeros(self._last_of_run.size), np.zeros(self._last_of_run.size)
        hits[self._mated_at] = weights[self._mated_subjects]
        false_alarms[self._non_mated_at] = weights[self._one] * weights[self._other]
        fmr, fnmr = self._shares(false_alarms, non_mated), 1.0 - self._shares(hits, mated)
        return crossing(fmr, fnmr) if fmr[-1] >= fnmr[-1] else None

    def _shares(self, weights: Rates, total: float) -> Rates:
        """Share of the total weight at or above each distinct similarity."""
        return np.concatenate([[0.0], np.cumsum(weights)[self._last_of_run] / total])
