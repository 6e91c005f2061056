"""How well groups of vectors stand apart: silhouette and Davies-Bouldin index, both by cosine or by distance."""

import numpy as np
import numpy.typing as npt

from matchka_train.errors import NoTrialsError

Vectors = npt.NDArray[np.float64]
Labels = npt.NDArray[np.str_]


def silhouette(distances: Vectors, labels: Labels) -> float:
    """The mean silhouette of all rows.

    Args:
        distances: (rows, rows), symmetric.
        labels: (rows,); at least two groups of at least two rows.

    Returns: in [-1, 1]; 1 where every row is far nearer to its own group than to the next one.

    Raises: NoTrialsError: fewer groups, or a group of one.

    Source: Rousseeuw 1987.
    """
    groups = _groups(labels)
    means = np.stack([distances[:, labels == group].sum(axis=1) for group in groups], axis=1)
    counts = np.array([(labels == group).sum() for group in groups])
    own = np.searchsorted(groups, labels)
    rows = np.arange(len(labels))
    within = means[rows, own] / (counts[own] - 1)
    others = means / counts
    others[rows, own] = np.inf
    nearest = others.min(axis=1)
    scores = (nearest - within) / np.maximum(np.maximum(nearest, within), 1e-12)
    return float(scores.mean())


def davies_bouldin(vectors: Vectors, labels: Labels) -> float:
    """The Davies-Bouldin index: spread within groups over the distance of their centres; lower is better.

    Args:
        vectors: (rows, dim).
        labels: (rows,); at least two groups of at least two rows.

    Raises: NoTrialsError: fewer groups, or a group of one.

    Source: Davies and Bouldin 1979, with Euclidean distances.
    """
    groups = _groups(labels)
    centres = np.stack([vectors[labels == group].mean(axis=0) for group in groups])
    spreads = np.array(
        [
            np.linalg.norm(vectors[labels == group] - centre, axis=1).mean()
            for group, centre in zip(groups, centres, strict=True)
        ]
    )
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    ratios = (spreads[:, None] + spreads[None]) / apart
    np.fill_diagonal(ratios, -np.inf)
    return float(ratios.max(axis=1).mean())


def _groups(labels: Labels) -> Labels:
    groups, counts = np.unique(labels, return_counts=True)
    if len(groups) < 2 or counts.min() < 2:
        raise NoTrialsError("It takes two groups of two rows each.", remedy="Give more labelled rows.")
    return groups
