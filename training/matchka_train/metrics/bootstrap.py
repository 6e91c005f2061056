"""Confidence interval of a difference of EERs: paired bootstrap by identity."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from matchka_train.errors import NoTrialsError
from matchka_train.metrics.error_rates import Rates, crossing
from matchka_train.metrics.pairs import PairSimilarities

RESAMPLES: Final = 500  # the 2.5 % quantile then rests on a dozen draws


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

    Raises: NoTrialsError: the two were not measured on the same pairs.

    Source: Poh and Bengio 2007, subset bootstrap by client.
    """
    if not (
        np.array_equal(first.mated_subjects, second.mated_subjects)
        and np.array_equal(first.non_mated_subjects, second.non_mated_subjects)
    ):
        raise NoTrialsError(
            "The two systems were not measured on the same pairs.", remedy="Give both the same samples in one order."
        )
    generator = np.random.default_rng(seed)
    systems = [_Ranked(first), _Ranked(second)]
    once = np.ones(first.subject_count)
    differences: list[float] = []
    while len(differences) < resamples:
        drawn = generator.integers(0, first.subject_count, first.subject_count)
        weights = np.bincount(drawn, minlength=first.subject_count).astype(np.float64)
        rate, other_rate = (system.eer(weights) for system in systems)
        if rate is not None and other_rate is not None:  # a draw without any mated pair says nothing
            differences.append(rate - other_rate)
    low, high = np.quantile(differences, [0.025, 0.975])
    return Difference(systems[0].require_eer(once), systems[1].require_eer(once), float(low), float(high))


class _Ranked:
    """Pairs sorted once, so that each draw costs one pass."""

    def __init__(self, pairs: PairSimilarities) -> None:
        similarities = np.concatenate([pairs.mated, pairs.non_mated])
        order = np.argsort(-similarities, kind="stable")
        falling = similarities[order]
        self._last_of_run = np.append(falling[1:] != falling[:-1], True)
        self._mated_at = np.flatnonzero(order < pairs.mated.size)
        self._non_mated_at = np.flatnonzero(order >= pairs.mated.size)
        self._mated_subjects = pairs.mated_subjects[order[self._mated_at]]
        self._non_mated_subjects = pairs.non_mated_subjects[order[self._non_mated_at] - pairs.mated.size]

    def eer(self, weights: npt.NDArray[np.float64]) -> float | None:
        """EER with subjects weighted; None where no mated or no non-mated pair has weight."""
        hits, false_alarms = np.zeros(self._last_of_run.size), np.zeros(self._last_of_run.size)
        hits[self._mated_at] = weights[self._mated_subjects]
        false_alarms[self._non_mated_at] = weights[self._non_mated_subjects].prod(axis=1)
        fmr, tar = self._shares(false_alarms), self._shares(hits)
        return None if fmr is None or tar is None else crossing(fmr, 1.0 - tar)

    def require_eer(self, weights: npt.NDArray[np.float64]) -> float:
        """EER with every subject weighted once."""
        found = self.eer(weights)
        if found is None:
            raise NoTrialsError("There is no pair of one kind.", remedy="Give more subjects and samples.")
        return found

    def _shares(self, weights: Rates) -> Rates | None:
        """Share of the weight at or above each distinct similarity, from 0 to 1."""
        running = np.cumsum(weights)
        if running[-1] == 0:
            return None
        return np.concatenate([[0.0], running[self._last_of_run] / running[-1]])
