"""Two ways to watch a face model: the similarity of two views of one photograph, and a gallery against probes."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from matchka.vectors import FloatArray, cosine_similarity, mean_reference, truncate_and_normalise
from matchka_train.errors import NoTrialsError
from matchka_train.metrics.error_rates import equal_error_rate
from matchka_train.metrics.pairs import number_subjects

TEMPLATES: Final = 3  # photographs in a reference at most, as matchka_train.evaluation.identification
FIXED_FMR: Final = 1e-3  # at which the untouched backbone sets the threshold


@dataclass(frozen=True)
class GalleryProbe:
    """Probes against the gallery of everybody; fractions, not per cent.

    Attributes:
        references: people in the gallery.
        probes: photographs of them that are in no reference.
        mated: mean similarity of a probe and its own reference.
        non_mated: mean similarity of a probe and the others.
        rank_1: share of probes whose most similar reference is their own.
        eer: of probes against references.
        threshold: which lets through FIXED_FMR of the non-mated ones, or that which was given.
        accepted: share of probes whose most similar reference is their own and passes the threshold.
        false_matches: share of the non-mated similarities that pass it.
    """

    references: int
    probes: int
    mated: float
    non_mated: float
    rank_1: float
    eer: float
    threshold: float
    accepted: float
    false_matches: float


def gallery_probe(
    gallery: FloatArray, probes: FloatArray, subjects: list[str], threshold: float | None = None
) -> GalleryProbe:
    """Enrol everybody, and look for the photographs that are left.

    A reference is the mean of a person's first photographs, at most three and never the last one, which is a probe; a
    person of one photograph is in the gallery and never looked for.

    Args:
        gallery: float32, (n, dim), embeddings of photographs as they are enrolled.
        probes: float32, (n, dim), of the same photographs as they are looked up.
        subjects: the person on each.
        threshold: to be passed; None sets it.

    Raises: NoTrialsError: nobody has two photographs, or there is one person.
    """
    numbers, count = number_subjects(subjects)
    references, probed = [], np.zeros(len(numbers), bool)
    for subject in range(count):
        rows = np.flatnonzero(numbers == subject)
        enrolled = min(TEMPLATES, max(1, len(rows) - 1))
        references.append(mean_reference(gallery[rows[:enrolled]]))
        probed[rows[enrolled:]] = True
    if count < 2 or not probed.any():
        raise NoTrialsError("A gallery needs two people, one of them with two photographs.", remedy="Add photographs.")
    similarities = cosine_similarity(probes[probed], np.stack(references), probes.shape[1])
    own = numbers[probed][:, None] == np.arange(count)
    right = similarities.argmax(axis=1) == numbers[probed]
    if threshold is None:
        threshold = float(np.quantile(similarities[~own], 1.0 - FIXED_FMR))
    return GalleryProbe(
        references=count,
        probes=int(probed.sum()),
        mated=float(similarities[own].mean()),
        non_mated=float(similarities[~own].mean()),
        rank_1=float(right.mean()),
        eer=equal_error_rate(similarities[own], similarities[~own]),
        threshold=threshold,
        accepted=float(np.mean(right & (similarities.max(axis=1) >= threshold))),
        false_matches=float(np.mean(similarities[~own] >= threshold)),
    )


def paired_similarity(first: FloatArray, second: FloatArray) -> float:
    """Mean cosine of row i of one and row i of the other: two views of the same photograph.

    >>> paired_similarity(np.array([[3, 4], [1, 0]], np.float32), np.array([[6, 8], [0, 2]], np.float32))
    0.5
    """
    dim = first.shape[1]
    return float(np.mean(np.sum(truncate_and_normalise(first, dim) * truncate_and_normalise(second, dim), axis=1)))
