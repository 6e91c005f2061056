"""Identity-disjoint parts of data sets."""

from collections.abc import Iterable, Sequence

import numpy as np

from matchka_train.datasets.sample import Sample
from matchka_train.errors import DatasetError, IdentityOverlapError


def flat(datasets: Sequence[Sequence[Sample]]) -> list[Sample]:
    """The samples of several data sets, one behind the other."""
    return [sample for samples in datasets for sample in samples]


def identity_fold(samples: list[Sample], fold: int, folds: int, seed: int) -> list[Sample]:
    """Keep the identities of one fold; the folds share none and together hold all.

    Identities are sorted, shuffled by the seed and dealt in turn.

    Args:
        samples: of any number of identities.
        fold: the fold kept, 0 <= fold < folds.
        folds: how many folds there are.
        seed: the same seed deals the same folds.

    Returns: the samples of that fold, in their order.
    """
    names = sorted({sample.subject for sample in samples})
    dealt = np.random.default_rng(seed).permutation(len(names)) % folds
    kept = {name for name, number in zip(names, dealt, strict=True) if number == fold}
    return [sample for sample in samples if sample.subject in kept]


def first_clips(samples: list[Sample], identities: int, clips_each: int) -> list[Sample]:
    """The first clips of the first identities.

    Args:
        samples: of any number of identities.
        identities: kept, or all where there are fewer.
        clips_each: kept of each identity, or all where it has fewer.
    """
    kept: list[Sample] = []
    counts: dict[str, int] = {}
    for sample in samples:
        if sample.subject in counts or len(counts) < identities:
            counts[sample.subject] = counts.get(sample.subject, 0) + 1
            if counts[sample.subject] <= clips_each:
                kept.append(sample)
    return kept


def require_disjoint(train: Iterable[Sample], validation: Iterable[Sample]) -> None:
    """Refuse to validate on an identity, or a file, that is trained on.

    Raises: IdentityOverlapError: names the identities or files in both.
    """
    train, validation = list(train), list(validation)
    identities = {sample.subject for sample in train} & {sample.subject for sample in validation}
    if identities:
        raise IdentityOverlapError(
            f"{len(identities)} identities are both trained on and validated on.",
            value=", ".join(sorted(identities)),
            remedy="Give the two parts different identities (split, where, or folds in the recipe).",
        )
    files = {sample.path.resolve() for sample in train} & {sample.path.resolve() for sample in validation}
    if files:
        raise IdentityOverlapError(
            f"{len(files)} files are both trained on and validated on, under different names of identity.",
            value=", ".join(sorted(str(file) for file in files)),
            remedy="Give one corpus name to data sets that share recordings.",
        )


def require_identities(samples: list[Sample], least: int = 2) -> None:
    """Refuse a data set with too few identities to tell any apart, or without a second sample of any.

    Raises: DatasetError.
    """
    subjects = [sample.subject for sample in samples]
    distinct = set(subjects)
    if len(distinct) < least:
        raise DatasetError(
            f"A data set needs at least {least} identities.",
            value=f"{len(distinct)} ({', '.join(sorted(distinct))})",
            remedy="Check its path and columns, or add people.",
        )
    if len(subjects) == len(distinct):
        raise DatasetError(
            "No identity of the data set has a second sample.",
            value=f"{len(distinct)} identities",
            remedy="Add samples, or cut long clips with clip_parts: 2.",
        )
