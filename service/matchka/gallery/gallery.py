"""The contract of a gallery."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from matchka.gallery.faiss_cpu.policy import Method
from matchka.vectors import FloatArray

SubjectKeys: TypeAlias = Sequence[int] | npt.NDArray[np.int64]


@dataclass(frozen=True)
class GallerySpace:
    """What the galleries of one version of a model hold, those of all tenants.

    Attributes:
        newer: versions; subjects that have a reference of one of them are left out.
        full_dim: components of a reference.
    """

    model: str
    version: str
    newer: tuple[str, ...]
    full_dim: int


@dataclass(frozen=True)
class SearchHit:
    """A subject found by a search. Attributes: similarity: cosine at the dim searched, in [-1, 1]."""

    subject_key: int
    similarity: float


class Gallery(Protocol):
    """References of one tenant, model and version, searched by cosine at any trained dim. Safe to use from threads."""

    def __len__(self) -> int: ...

    @property
    def memory_bytes(self) -> int:
        """The machine's memory that the subjects held take: references, keys, and what searches need besides.

        Room for subjects to come is not counted, nor what a GPU holds of it.
        """
        ...

    def searches(self) -> dict[Method, int]:
        """Searches made so far, by the method that the policy chose."""
        ...

    def count_of(self, subject_keys: SubjectKeys) -> int:
        """How many of some subjects are in the gallery."""
        ...

    def put(self, subject_keys: SubjectKeys, references: FloatArray) -> None:
        """Add references, replacing those of subjects already there.

        Args:
            subject_keys: one for each row, without repeats.
            references: float32, (subjects, full_dim); rows need not be unit length.
        """
        ...

    def remove(self, subject_key: int) -> None:
        """Remove a subject; one that is not there is no error.

        No search that begins after this has returned shows it, and none of its numbers stay in the gallery's memory.
        """
        ...

    def search(self, probe: FloatArray, dim: int, top_k: int) -> list[SearchHit]:
        """The most similar subjects, most similar first; equal ones among those found by their keys.

        Args:
            probe: float32, (full_dim,), not zero.
            dim: a trained dim.
            top_k: at most this many, >= 1.
        """
        ...
