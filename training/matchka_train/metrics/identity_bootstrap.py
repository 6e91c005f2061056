"""What a threshold would have been with other people: thresholds of weighted scores, over draws of identities."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from matchka_train.errors import NoTrialsError

RESAMPLES: Final = (
    1000  # the 95 % quantile then moves by a few per cent of the rate from seed to seed; docs/decisions/026
)
CONFIDENCE: Final = 0.95
LEAST_PEOPLE: Final = 30  # with a reference: fewer say too little about who looks like whom
METHOD: Final = "bootstrap by identity"
SUPPORT: Final = 3  # false matches of independent pairs of people, below which a draw follows its tail
HIGHEST_RATE: Final = 0.1  # where the tail begins
LOWEST_EMPIRICAL: Final = 0.05  # however few pairs there are, the tail has two ends
TAIL_POINTS: Final = 12  # rates that the tail is laid through
TOP_SHARE: Final = 0.3  # of the scores, looked through first: the rest hardly ever matters

Values = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


class Scale(Protocol):
    """Scores on a scale on which their upper tail is normal, and back."""

    def forth(self, scores: Values) -> Values:
        """To the scale."""
        ...

    def back(self, values: Values) -> Values:
        """From it."""
        ...


@dataclass(frozen=True)
class BoundedThresholds:
    """Thresholds for rates in falling order.

    Attributes:
        bounds: (rates,), the 95 % quantile over draws of people of the threshold that keeps the rate.
        estimates: (rates,), the threshold that keeps it with everybody counted once.
    """

    bounds: Values
    estimates: Values


def draw_people(numbers: npt.NDArray[np.integer], count: int, resamples: int, seed: int) -> Counts:
    """Draw people with replacement, as many as there are: how often each is drawn.

    Args:
        numbers: people to draw from, each in 0..count-1; repeats count once.
        count: length of a row.
        resamples: draws, >= 1.
        seed: the same seed draws the same people.

    Returns: int64, (resamples, count).

    >>> draws = draw_people(np.array([0, 2, 2, 3]), 5, 4, seed=0)
    >>> draws.sum(axis=1).tolist(), draws[:, [1, 4]].sum()
    ([3, 3, 3, 3], np.int64(0))
    """
    people = np.unique(numbers)
    generator = np.random.default_rng(seed)
    return np.stack(
        [np.bincount(generator.choice(people, people.size), minlength=count) for _ in range(resamples)]
    ).astype(np.int64)


def bounded_thresholds(
    scores: npt.NDArray[np.floating],
    people: npt.NDArray[np.integer],
    independent_pairs: int,
    rates: Sequence[float],
    draws: Counts,
    scale: Scale,
) -> BoundedThresholds:
    """The thresholds that keep false match rates for 95 of 100 draws of people.

    In each draw a score weighs the product of how often its people were drawn. Where the rate is at least that of three
    false matches of independent pairs, the threshold is the smallest whose weighted share does not pass it. Below, it
    lies on a straight line of the scaled threshold against the normal quantile, through rates from .1 to that rate.

    Args:
        scores: of non-mated pairs, (k,), finite; a pair matches where score >= threshold.
        people: (k, c), the c people behind each score.
        independent_pairs: different pairs of people among them, >= 1.
        rates: in (0, 1), falling.
        draws: (resamples, people), how often each was drawn.
        scale: on which the tail is normal.

    Raises: NoTrialsError: no draw holds two people of one score.

    Source: Poh and Bengio 2007, subset bootstrap by client.
    """
    tail = WeightedTail(scores, people)
    once = np.zeros(draws.shape[1], np.int64)
    once[np.unique(people)] = 1
    estimates = _kept(tail, once[None, :], independent_pairs, rates, scale)
    drawn = _kept(tail, draws, independent_pairs, rates, scale)
    if not len(drawn):
        raise NoTrialsError("No draw of people holds a pair of them.", value=len(draws), remedy="Give more people.")
    return BoundedThresholds(np.quantile(drawn, CONFIDENCE, axis=0), estimates[0])


def _kept(tail: "WeightedTail", draws: Counts, pairs: int, rates: Sequence[float], scale: Scale) -> Values:
    """The thresholds of every draw that holds a pair: (draws, rates), not falling along the rates."""
    asked = np.asarray(rates)
    lowest = min(LOWEST_EMPIRICAL, SUPPORT / pairs)
    grid = np.geomspace(HIGHEST_RATE, lowest, TAIL_POINTS)
    found = [tail.thresholds(draw, np.concatenate([asked, grid])) for draw in draws]
    counted = np.array([row for row in found if row is not None]).reshape(-1, asked.size + grid.size)
    # the least-squares line of every draw at once: its values at the rates are fixed sums over the points
    through = np.linalg.pinv(np.column_stack([norm.isf(grid), np.ones(grid.size)]))
    sums = np.column_stack([norm.isf(asked), np.ones(asked.size)]) @ through
    tails = scale.back(scale.forth(counted[:, asked.size :]) @ sums.T)
    kept: Values = np.maximum.accumulate(np.where(asked >= lowest, counted[:, : asked.size], tails), axis=1)
    return kept


class WeightedTail:
    """Scores sorted once, so that every draw of people costs one pass over the highest of them.

    Args:
        scores: (k,), finite.
        people: (k, c), numbers of the people behind each.
    """

    def __init__(self, scores: npt.NDArray[np.floating], people: npt.NDArray[np.integer]) -> None:
        base = int(people.max()) + 1
        codes = np.zeros(len(people), np.int64)
        for column in people.T:
            codes = codes * base + column
        # all scores of the same people weigh the same: the weight is computed once for them
        _, first, groups, self._sizes = np.unique(codes, return_index=True, return_inverse=True, return_counts=True)
        self._people = people[first]
        order = np.argsort(-scores, kind="stable")
        self._scores = scores[order]
        self._groups = groups[order].astype(np.int32)

    def thresholds(self, drawn: npt.NDArray[np.integer], rates: Values) -> Values | None:
        """The smallest threshold whose weighted share of scores does not pass each rate; None where all weigh nothing.

        Args:
            drawn: (people,), how often each counts.
            rates: in (0, 1).
        """
        weights = np.ones(len(self._people), np.int64)
        for column in self._people.T:
            weights *= drawn[column]
        total = float(weights @ self._sizes)
        if total == 0.0:
            return None
        allowed = rates * total * (1.0 + 1e-9)
        running = np.cumsum(weights[self._groups[: int(TOP_SHARE * len(self._groups))]])
        if not running.size or running[-1] <= allowed.max():
            running = np.cumsum(weights[self._groups])
        # the first score that would pass the rate: the threshold is just above it, and above all that are equal to it
        at = np.minimum(np.searchsorted(running, allowed, side="right"), len(self._scores) - 1)
        highest = np.asarray(np.inf, self._scores.dtype)
        found: Values = np.nextafter(self._scores[at], highest).astype(np.float64)
        return found
