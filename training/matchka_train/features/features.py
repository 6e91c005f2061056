"""Frozen features of a data set: what every fit and every validation works on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
import numpy.typing as npt

from matchka.vectors import FloatArray, mean_by_group
from matchka_train.datasets.reader import read_pairs
from matchka_train.datasets.recipe import DatasetRecipe
from matchka_train.datasets.sample import Sample
from matchka_train.errors import DatasetError, FeatureError
from matchka_train.modalities.skipped import Skipped


@dataclass(frozen=True)
class Features:
    """Backbone embeddings of the windows of every readable sample; of a picture, its one chip is the one window.

    Attributes:
        windows: float32, (w, dim), each of unit length; memory-mapped where it comes from the cache.
        window_counts: int64, (n,), windows of each sample, each >= 1, in order.
        subjects: identity of each sample.
        domains: domain of each sample.
        paths: file of each sample.
        spans: float32, (n, 2), which part of its file each sample is, as fractions from 0 to 1.
        trials: int64, (trials, 2), the pairs of samples to compare; None compares all.
        skipped: samples that could not be read and are in none of the above.
    """

    windows: FloatArray
    window_counts: npt.NDArray[np.int64]
    subjects: tuple[str, ...]
    domains: tuple[str, ...]
    paths: tuple[str, ...]
    spans: FloatArray
    skipped: tuple[Skipped, ...] = ()
    trials: npt.NDArray[np.int64] | None = None

    def pooled(self) -> FloatArray:
        """The mean of each sample's windows: float32, (n, dim), not rescaled."""
        return mean_by_group(self.windows, self.window_counts.tolist())

    def select(self, kept: npt.NDArray[np.bool_]) -> "Features":
        """Only some of the samples; a list of trials, which counts samples, is dropped.

        Args: kept: bool, (n,).
        """
        rows = np.repeat(kept, self.window_counts)
        return Features(
            self.windows[rows],
            self.window_counts[kept],
            tuple(compress(self.subjects, kept)),
            tuple(compress(self.domains, kept)),
            tuple(compress(self.paths, kept)),
            self.spans[kept],
            self.skipped,
        )

    def of_domain(self, domain: str) -> "Features":
        """Only the samples of one domain."""
        return self.select(np.asarray(self.domains) == domain)


def join_features(parts: Sequence[Features]) -> Features:
    """Put several sets of features behind one another (in memory).

    Raises: FeatureError: they are of different widths, or there are none.
    """
    widths = {part.windows.shape[1] for part in parts}
    if len(widths) != 1:
        raise FeatureError(
            "Only features of one backbone can be joined.",
            value=sorted(widths),
            remedy="Extract them with one backbone.",
        )
    return Features(
        np.concatenate([part.windows for part in parts]),
        np.concatenate([part.window_counts for part in parts]),
        tuple(subject for part in parts for subject in part.subjects),
        tuple(domain for part in parts for domain in part.domains),
        tuple(path for part in parts for path in part.paths),
        np.concatenate([part.spans for part in parts]),
        tuple(skipped for part in parts for skipped in part.skipped),
    )


def with_trials(features: Features, dataset: DatasetRecipe, samples: Sequence[Sample], seed: int) -> Features:
    """The features with the pairs their data set lists.

    Raises: DatasetError: the list is not one of these clips, or a listed clip could not be read.
    """
    pairs = read_pairs(dataset, samples, seed)
    if pairs is not None and features.skipped:
        raise DatasetError(
            "A data set with listed pairs must be readable as a whole.",
            value=features.skipped[0].path,
            remedy="Repair that clip, or remove it from the list and the data set.",
        )
    return features if pairs is None else replace(features, trials=pairs)
