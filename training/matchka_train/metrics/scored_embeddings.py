"""Embeddings that know how they are compared, so that pairs, galleries and tails are drawn without knowing it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from matchka.scorers import COSINE, CountedEmbeddings, Scorer, Values
from matchka.vectors import FloatArray, mean_reference


@dataclass(frozen=True)
class ScoredEmbeddings:
    """Embeddings of samples or references, and the scorer that compares them; indexed as an array of vectors is.

    Attributes:
        vectors: float32, (n, dim); rows need not be unit length.
        row_counts: float64, (n,): of how many rows (windows of a clip) each is the mean; of a reference the sum over
            its templates; infinite where not known.
        scorer: compares them at the dim that they have.
    """

    vectors: FloatArray
    row_counts: Values
    scorer: Scorer

    @property
    def shape(self) -> tuple[int, int]:
        """(n, dim)."""
        count, dim = self.vectors.shape
        return count, dim

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, key: Any) -> "ScoredEmbeddings":
        """Some of them, or with a second index their first components."""
        rows, components = key if isinstance(key, tuple) else (key, slice(None))
        return ScoredEmbeddings(self.vectors[rows][:, components], self.row_counts[rows], self.scorer)

    def similarities(self, others: "ScoredEmbeddings", dim: int) -> FloatArray:
        """Every one with every one of the others at a dim: float32, (n, m), in [-1, 1]."""
        return self.scorer.similarities(self.counted, others.counted, dim)

    def similarities_of_pairs(self, others: "ScoredEmbeddings", dim: int) -> FloatArray:
        """Each with the other in the same place at a dim: float32, (n,), in [-1, 1]."""
        return self.scorer.similarities_of_pairs(self.counted, others.counted, dim)

    def references(self, chosen: Sequence[npt.NDArray[np.int64]]) -> "ScoredEmbeddings":
        """The mean of each choice of rows, as the service makes a reference of templates."""
        return ScoredEmbeddings(
            np.stack([mean_reference(self.vectors[rows]) for rows in chosen]),
            np.asarray([self.row_counts[rows].sum() for rows in chosen]),
            self.scorer,
        )

    @property
    def counted(self) -> CountedEmbeddings:
        """What scorers take."""
        return CountedEmbeddings(self.vectors, self.row_counts)


Embeddings: TypeAlias = FloatArray | ScoredEmbeddings  # an array is compared by cosine


def scored(embeddings: Embeddings) -> ScoredEmbeddings:
    """Embeddings with their scorer: cosine, where they are a mere array.

    >>> scored(np.eye(2, dtype=np.float32)).similarities(scored(np.eye(2, dtype=np.float32)), 2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    if isinstance(embeddings, ScoredEmbeddings):
        return embeddings
    return ScoredEmbeddings(embeddings, np.full(len(embeddings), np.inf), COSINE)
