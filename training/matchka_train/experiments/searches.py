"""Searches of real galleries: the best similarity of strangers, and that of enrolled people where it is their own."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from matchka.vectors import FloatArray
from matchka_train.metrics.pairs import number_subjects
from matchka_train.metrics.scored_embeddings import Embeddings, scored

NOT_FOUND: Final = -2.0  # below every similarity


@dataclass(frozen=True)
class Searches:
    """Galleries of one size.

    Attributes:
        impostors: similarity of every probe and the most similar reference of others.
        found: of every probe of somebody enrolled, the similarity of its own reference; -2 where another is
            more similar.
    """

    impostors: FloatArray
    found: FloatArray


def search_galleries(
    embeddings: Embeddings, subjects: list[str], dim: int, templates: int, size: int, galleries: int, seed: int
) -> dict[int, Searches]:
    """Look every sample up in galleries of others: small ones, and those of all people who can be enrolled.

    Of n + 1 people each is a stranger to the n others, whose references alone count then; for everybody else the first
    n of them are enrolled.

    Args:
        embeddings: float32, (n, full_dim); compared by their scorer.
        subjects: of each row.
        dim: compared.
        templates: samples in a reference.
        size: others in the small galleries; left out where there are not so many.
        galleries: drawn of each size.
        seed: of the draws.

    Returns: others in the gallery -> what was found.
    """
    numbers, count = number_subjects(subjects)
    samples = scored(embeddings)
    rows = [np.flatnonzero(numbers == subject) for subject in range(count)]
    people = np.array([subject for subject in range(count) if len(rows[subject]) >= templates])
    generator = np.random.default_rng(seed)
    found = {}
    for others in sorted({size, len(people) - 1}):
        if others >= len(people):
            continue
        impostors, own_found = [], []
        for _ in range(galleries):
            enrolled = generator.permutation(people)[: others + 1]
            used = [generator.choice(rows[subject], templates, replace=False) for subject in enrolled]
            similarities = samples.similarities(samples.references(used), dim)
            own = numbers[:, None] == enrolled
            left_out = own.copy()
            left_out[~own.any(axis=1), -1] = True
            best = np.where(left_out, np.float32(NOT_FOUND), similarities).max(axis=1)
            of_own = np.where(own, similarities, np.float32(NOT_FOUND)).max(axis=1)
            probes = own.any(axis=1)
            probes[np.concatenate(used)] = False
            impostors.append(best)
            own_found.append(np.where(of_own >= best, of_own, np.float32(NOT_FOUND))[probes])
        found[others] = Searches(np.concatenate(impostors), np.concatenate(own_found))
    return found
