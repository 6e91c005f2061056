"""Small probes against references of full size: different samples of the same people, and of others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from matchka.vectors import FloatArray, cosine_similarity
from matchka_train.errors import NoTrialsError
from matchka_train.evaluation.validation import Accuracy, measure
from matchka_train.metrics.pairs import PairSimilarities, number_subjects, reference_pairs

FIXED_THRESHOLD: Final = 0.35  # a threshold that some copy from model to model; misleading
BALANCED: Final = 0.5


@dataclass(frozen=True)
class ProbeAccuracy:
    """What was found of one kind of probes at one dim; fractions, not per cent.

    Attributes:
        accuracy: of probes against single samples of full size, never the same one.
        paired: mean cosine of a probe and the very sample it was made of; misleading: it says nothing of identities.
        fixed: balanced accuracy at a cosine of FIXED_THRESHOLD; misleading: the threshold belongs to no model.
        fmr_at_full: share of non-mated pairs that pass the threshold which full-size samples have at an FMR of 1e-3.
    """

    accuracy: Accuracy
    paired: float
    fixed: float
    fmr_at_full: float


def probe_pairs(
    references: FloatArray, probes: FloatArray, subjects: Sequence[str], dim: int, templates: int = 1, seed: int = 0
) -> PairSimilarities:
    """Similarities of every probe to references of other samples.

    Args:
        references: float32, (n, full_dim), of samples as they are enrolled.
        probes: float32, (n, full_dim), of the same samples as they are looked up.
        subjects: of each.
        dim: components compared.
        templates: samples in a reference; with 1, each is one, and beyond, four references of each subject are drawn.
        seed: of that draw.

    Raises: NoTrialsError: no pair of one kind.
    """
    names = list(subjects)
    if templates > 1:
        return reference_pairs(references, names, dim, templates, 4, seed, probes=probes)
    numbers, count = number_subjects(names)
    if count < 2 or count == len(names):
        raise NoTrialsError("Probes need two people, one of them with two samples.", remedy="Add samples.")
    similarities = cosine_similarity(probes, references, dim)
    same = numbers[:, None] == numbers[None, :]
    mated, non_mated = np.nonzero(same & ~np.eye(len(names), dtype=bool)), np.nonzero(~same)
    return PairSimilarities(
        mated=similarities[mated],
        non_mated=similarities[non_mated],
        mated_subjects=numbers[mated[0]],
        non_mated_subjects=np.stack([numbers[non_mated[0]], numbers[non_mated[1]]], axis=1),
        subject_count=count,
    )


def judge_probes(
    references: FloatArray, probes: FloatArray, subjects: Sequence[str], dim: int, full_threshold: float
) -> ProbeAccuracy:
    """Measure one kind of probes at one dim.

    Args:
        references: as probe_pairs.
        probes: as probe_pairs.
        subjects: of each.
        dim: components compared.
        full_threshold: which keeps an FMR of 1e-3 among samples of full size.

    Raises: NoTrialsError: no pair of one kind.
    """
    pairs = probe_pairs(references, probes, subjects, dim)
    own = np.sum(_unit(references[:, :dim]) * _unit(probes[:, :dim]), axis=1)
    rates = np.mean(pairs.mated >= FIXED_THRESHOLD), np.mean(pairs.non_mated < FIXED_THRESHOLD)
    return ProbeAccuracy(
        accuracy=measure(pairs),
        paired=float(own.mean()),
        fixed=float(BALANCED * sum(rates)),
        fmr_at_full=float(np.mean(pairs.non_mated >= full_threshold)),
    )


def full_size_threshold(references: FloatArray, subjects: Sequence[str], dim: int, fmr: float = 1e-3) -> float:
    """The cosine that keeps a false match rate among samples of full size, by counting."""
    pairs = probe_pairs(references, references, subjects, dim)
    return float(np.quantile(pairs.non_mated, 1.0 - fmr, method="higher"))


def _unit(rows: FloatArray) -> FloatArray:
    unit: FloatArray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
