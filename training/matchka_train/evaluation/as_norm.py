"""Adaptive score normalisation (AS-norm): similarities normalised by both sides' similarities to a cohort.

It can hurt as easily as it helps where the cohort is of another domain, so it is an option of evaluation, reported per
domain, and never part of a model.
"""

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import Field

from matchka.vectors import FloatArray, truncate_and_normalise
from matchka_train.errors import DatasetError
from matchka_train.features.features import Features
from matchka_train.metrics.pairs import PairSimilarities, all_pairs, listed_pairs
from matchka_train.metrics.scored_embeddings import Embeddings, scored
from matchka_train.strict_model import StrictModel

SMALLEST_SPREAD: Final = 1e-6  # a cohort of copies has no spread to divide by


class AsNormRecipe(StrictModel):
    """Adaptive score normalisation, measured beside the plain cosine and never part of the model.

    Attributes:
        cohort_domain: training domain whose identities' means are the cohort; all domains where not given.
        top: how many of the most similar cohort identities each side is normalised by.
    """

    cohort_domain: str | None = None
    top: int = Field(default=100, ge=2)


def as_norm_pairs(
    embeddings: Embeddings,
    subjects: list[str],
    cohort: Embeddings,
    top: int,
    trials: npt.NDArray[np.int64] | None = None,
) -> PairSimilarities:
    """Pairs of samples, each similarity normalised by both sides' most similar cohort members.

    Args:
        embeddings: float32, (n, dim), already truncated; compared by their scorer.
        subjects: the subject of each row.
        cohort: float32, (c, dim), one row for each identity, none of them among the subjects.
        top: cohort members each side is normalised by, 2 <= top <= c.
        trials: int64, (trials, 2), the pairs to compare; None compares all.

    Returns: normalised similarities; no longer in [-1, 1].

    Raises: DatasetError: the cohort has fewer than `top` members. NoTrialsError: no pair of one kind.

    Source: Matejka et al. 2017, Analysis of score normalization in multilingual speaker recognition.
    """
    if not 2 <= top <= len(cohort):
        raise DatasetError(
            f"AS-norm needs 2 to {len(cohort)} cohort identities.", value=top, remedy="Lower as_norm.top."
        )
    samples, dim = scored(embeddings), embeddings.shape[1]
    nearest = np.sort(samples.similarities(scored(cohort), dim), axis=1)[:, -top:].astype(np.float64)
    means, spreads = nearest.mean(axis=1), np.maximum(nearest.std(axis=1), SMALLEST_SPREAD)
    similarities = samples.similarities(samples, dim).astype(np.float64)
    normalised = (similarities - means[:, None]) / spreads[:, None] + (similarities - means[None]) / spreads[None]
    pairs = all_pairs(embeddings, subjects) if trials is None else listed_pairs(embeddings, subjects, trials)
    first, second = np.triu_indices(len(samples), k=1) if trials is None else trials.T
    values = (0.5 * normalised)[first, second].astype(np.float32)
    names = np.asarray(subjects)
    same = names[first] == names[second]
    return replace(pairs, mated=values[same], non_mated=values[~same])


def cohort_embeddings(embeddings: FloatArray, features: Features, domain: str | None) -> FloatArray:
    """One embedding for each training identity: the mean of its clips' unit-length embeddings.

    Args:
        embeddings: float32, (n, full_dim), of the clips of `features`.
        features: training features.
        domain: only identities of this domain; None takes all.

    Returns: float32, (identities, full_dim).

    Raises: DatasetError: there is no such domain.
    """
    chosen = np.asarray([domain in (None, other) for other in features.domains])
    if not chosen.any():
        raise DatasetError(
            f"There is no training domain of that name; there are {', '.join(sorted(set(features.domains)))}.",
            value=domain,
            remedy="Set as_norm.cohort_domain to one of them.",
        )
    unit = truncate_and_normalise(embeddings[chosen], embeddings.shape[1])
    names = np.asarray(features.subjects)[chosen]
    means: FloatArray = np.stack([unit[names == name].mean(axis=0) for name in np.unique(names)])
    return means
