"""Pairs of settings: of one word or of two, and how well similarities tell these apart across contributors."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from matchka.vectors import FloatArray, truncate_and_normalise
from matchka_train.heads.words.table import Presets, Values
from matchka_train.metrics.error_rates import Rates, crossing
from matchka_train.metrics.pairs import PairSimilarities


@dataclass(frozen=True)
class WordPairs:
    """Which rows are compared: each with each other one of another contributor, once.

    Attributes:
        first: (pairs,), number of a row.
        second: (pairs,).
        is_mated: (pairs,), whether both were given one word.
        people: (rows,), number of each row's contributor.
    """

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    is_mated: npt.NDArray[np.bool_]
    people: npt.NDArray[np.int64]

    @property
    def people_count(self) -> int:
        """Contributors."""
        return int(self.people.max()) + 1

    def similarities(self, embeddings: FloatArray, dim: int) -> FloatArray:
        """Cosines of all pairs at a dim, (pairs,)."""
        unit = truncate_and_normalise(embeddings, dim)
        found: FloatArray = np.einsum("pd,pd->p", unit[self.first], unit[self.second])
        return found

    def as_trials(self, similarities: FloatArray) -> PairSimilarities:
        """The pairs as verification has them, contributors in the place of subjects."""
        ends = np.stack([self.people[self.first], self.people[self.second]], axis=1).astype(np.int32)
        mated = self.is_mated
        return PairSimilarities(
            similarities[mated], similarities[~mated], ends[mated, 0], ends[~mated], self.people_count
        )


def pairs_across(presets: Presets) -> WordPairs:
    """All pairs of rows of two contributors."""
    people = np.unique(presets.contributors, return_inverse=True)[1].astype(np.int64)
    first, second = np.triu_indices(len(people), 1)
    apart = people[first] != people[second]
    first, second = first[apart], second[apart]
    return WordPairs(first, second, presets.words[first] == presets.words[second], people)


class DrawnPairs:
    """Sorted once, so that the EER of every draw of contributors costs one pass.

    Args:
        pairs: which rows are compared.
        similarities: (pairs,).
    """

    def __init__(self, pairs: WordPairs, similarities: FloatArray) -> None:
        order = np.argsort(-similarities, kind="stable")
        falling = similarities[order]
        self._last = np.append(falling[1:] != falling[:-1], True)
        self._one, self._other = pairs.people[pairs.first[order]], pairs.people[pairs.second[order]]
        self._is_mated = pairs.is_mated[order]

    def eer(self, weights: Rates) -> float | None:
        """EER where contributors have weights and a pair that of both; None where pairs of one kind have none."""
        both = weights[self._one] * weights[self._other]
        fmr, hits = self._shares(both * ~self._is_mated), self._shares(both * self._is_mated)
        return None if fmr is None or hits is None else crossing(fmr, 1.0 - hits)

    def _shares(self, weights: Values) -> Rates | None:
        total = weights.sum()
        return np.concatenate([[0.0], np.cumsum(weights)[self._last] / total]) if total else None
