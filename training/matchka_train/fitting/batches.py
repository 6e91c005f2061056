"""Batches of training clips: a few identities of one domain, a few clips or views of clips of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from matchka_train.errors import DatasetError
from matchka_train.features.features import Features
from matchka_train.metrics.pairs import number_subjects

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClipBatch:
    """Clips of one domain; also matchka_train.fitting.losses.Batch.

    Attributes:
        rows: float32, (r, in_dim), what is projected: windows, or already pooled clips.
        clip_of_row: int64, (r,), the clip each row belongs to, in 0..n-1.
        rows_of_clip: float32, (n,), how many rows each clip has.
        raw: float32, (n, in_dim), pooled clips.
        labels: int64, (n,).
        clips: int64, (n,).
        spans: float32, (n, 2).
        domain: number of the domain.
    """

    rows: torch.Tensor
    clip_of_row: torch.Tensor
    rows_of_clip: torch.Tensor
    raw: torch.Tensor
    labels: torch.Tensor
    clips: torch.Tensor
    spans: torch.Tensor
    domain: int

    def pool(self, projected: torch.Tensor) -> torch.Tensor:
        """The mean of each clip's projected rows: (r, full_dim) -> (n, full_dim)."""
        sums = torch.zeros(len(self.labels), projected.shape[1]).index_add(0, self.clip_of_row, projected)
        return sums / self.rows_of_clip[:, None]


class ClipSource(Protocol):
    """Where the loop draws batches from.

    Attributes:
        identities: how many there are over all domains; labels count up to it.
        domains: their names, in the order of their numbers.
    """

    identities: int
    domains: list[str]

    def __len__(self) -> int:
        """Clips of all domains."""

    def refresh(self) -> None:
        """Called before every epoch."""

    def draw(self, domain: int, identities: int, clips_each: int, generator: np.random.Generator) -> ClipBatch:
        """One batch of one domain: identities without repeats, clips of each without repeats."""


class TrainingClips:
    """All training clips, their views among them, and the batches drawn from them.

    Args:
        features: of one or more domains; a view of a clip is one more clip of its identity.
        pooled: whether a batch holds pooled clips (exact for affine projections, and several times faster) or windows.

    Raises: DatasetError: a domain has fewer than two identities.
    """

    def __init__(self, features: Features, *, pooled: bool) -> None:
        self._raw = torch.from_numpy(features.pooled())
        self._rows = self._raw if pooled else torch.from_numpy(np.array(features.windows))
        counts = np.ones_like(features.window_counts) if pooled else features.window_counts
        self._counts, self._starts = counts, np.cumsum(counts) - counts
        labels, self.identities = number_subjects(list(features.subjects))
        self._labels = labels.astype(np.int64)
        self._clips = np.unique(np.asarray(features.paths), return_inverse=True)[1].astype(np.int64)
        self._spans = features.spans
        self.domains = sorted(set(features.domains))
        self._members = [self._by_identity(np.asarray(features.domains) == domain, domain) for domain in self.domains]

    def __len__(self) -> int:
        return len(self._labels)

    def refresh(self) -> None:
        """Nothing to do: features are cached."""

    def draw(self, domain: int, identities: int, clips_each: int, generator: np.random.Generator) -> ClipBatch:
        """One batch: identities without repeats, clips of each without repeats.

        Args:
            domain: number of the domain.
            identities: how many, or all where there are fewer.
            clips_each: of each identity, or all where it has fewer.
            generator: draws them.
        """
        members = self._members[domain]
        chosen = generator.permutation(len(members))[:identities]
        clips = np.concatenate([generator.permutation(members[who])[:clips_each] for who in chosen])
        sizes = self._counts[clips]
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        rows = np.repeat(self._starts[clips], sizes) + within
        return ClipBatch(
            rows=self._rows[torch.from_numpy(rows)],
            clip_of_row=torch.from_numpy(np.repeat(np.arange(len(clips)), sizes)),
            rows_of_clip=torch.from_numpy(sizes.astype(np.float32)),
            raw=self._raw[torch.from_numpy(clips)],
            labels=torch.from_numpy(self._labels[clips]),
            clips=torch.from_numpy(self._clips[clips]),
            spans=torch.from_numpy(self._spans[clips]),
            domain=domain,
        )

    def _by_identity(self, here: npt.NDArray[np.bool_], domain: str) -> list[Rows]:
        rows = np.flatnonzero(here)
        rows = rows[np.argsort(self._labels[rows], kind="stable")]
        members = np.split(rows, np.flatnonzero(np.diff(self._labels[rows])) + 1)
        if len(members) < 2:
            raise DatasetError(
                f"The domain {domain} has one identity to train on.", value=len(members), remedy="Add people."
            )
        return members


def epoch_of_batches(
    data: ClipSource, identities: int, clips_each: int, generator: np.random.Generator, steps: int | None = None
) -> Iterator[list[ClipBatch]]:
    """Steps of one batch of every domain each: as many as it takes to draw about every clip once, unless told."""
    for _ in range(count_steps(data, identities, clips_each) if steps is None else steps):
        yield [data.draw(domain, identities, clips_each, generator) for domain in range(len(data.domains))]


def count_steps(data: ClipSource, identities: int, clips_each: int) -> int:
    """Steps that draw about every clip once; they are drawn one at a time, as all would be as large as the features."""
    return max(1, -(-len(data) // (len(data.domains) * identities * clips_each)))
