"""Duplicate samples: an exact copy of a template would only add weight to the reference."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from matchka.errors import DuplicateSampleError
from matchka.vectors import FloatArray, cosine_similarity

SAME_SAMPLE_COSINE: Final = 1.0 - 1e-5  # between copies and the most similar different samples: docs/decisions/034


def copies_among(templates: Mapping[str, FloatArray], new: Sequence[str]) -> list[int]:
    """Places of the new templates that are, but for rounding, one that the subject has already, or an earlier new one.

    Args:
        templates: id -> embedding, float32, (full_dim,): all of a subject's templates of one version.
        new: ids of those among them that are to be added, in the order of their files.
    """
    if not new:
        return []
    numbers = {template_id: number for number, template_id in enumerate(new, start=1)}
    # the templates that were there first, so that of two equal files the second is named
    ordered = sorted(templates, key=lambda template_id: numbers.get(template_id, 0))
    embeddings = np.stack([templates[template_id] for template_id in ordered])
    similarities = cosine_similarity(embeddings[-len(new) :], embeddings, embeddings.shape[1])
    earlier = np.tri(len(new), len(ordered), len(ordered) - len(new) - 1, dtype=bool)
    copies: list[int] = np.flatnonzero((earlier & (similarities >= SAME_SAMPLE_COSINE)).any(axis=1)).tolist()
    return copies


def duplicate_of(file: str, subject_id: str) -> DuplicateSampleError:
    """The refusal of a file of a subject, by what an error calls it."""
    return DuplicateSampleError(
        f"{file} is enrolled for this subject already, or was sent twice.",
        value=subject_id,
        remedy="Send another sample; a copy of one says nothing new about a person.",
    )
