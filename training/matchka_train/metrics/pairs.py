"""Which pairs are compared, and their similarities: all pairs, listed pairs, and references of several templates."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from matchka.vectors import FloatArray
from matchka_train.errors import NoTrialsError
from matchka_train.metrics.scored_embeddings import Embeddings, scored

Indices = npt.NDArray[np.int32]


@dataclass(frozen=True)
class PairSimilarities:
    """Similarities of pairs, with the identities each came from (a bootstrap by identity needs them).

    Attributes:
        mated: float32, (m,).
        non_mated: float32, (k,).
        mated_subjects: int32, (m,), number of the one subject of each mated pair, in 0..subject_count-1.
        non_mated_subjects: int32, (k, 2), numbers of the two subjects of each non-mated pair.
        subject_count: how many subjects took part.
    """

    mated: FloatArray
    non_mated: FloatArray
    mated_subjects: Indices
    non_mated_subjects: Indices
    subject_count: int

    def within(self, chosen: npt.NDArray[np.bool_]) -> "PairSimilarities":
        """Only the pairs that lie wholly within the chosen subjects: bool, (subject_count,)."""
        mated, non_mated = chosen[self.mated_subjects], chosen[self.non_mated_subjects].all(axis=1)
        return PairSimilarities(
            self.mated[mated],
            self.non_mated[non_mated],
            self.mated_subjects[mated],
            self.non_mated_subjects[non_mated],
            self.subject_count,
        )


def number_subjects(subjects: list[str]) -> tuple[Indices, int]:
    """Number subjects in the order of their sorted names.

    Returns: int32 (n,) and how many there are.

    >>> number_subjects(["b", "a", "b"])
    (array([1, 0, 1], dtype=int32), 2)
    """
    names, numbers = np.unique(np.asarray(subjects), return_inverse=True)
    return numbers.astype(np.int32), len(names)


def all_pairs(embeddings: Embeddings, subjects: list[str]) -> PairSimilarities:
    """Compare every sample with every other one once.

    Args:
        embeddings: float32, (n, dim), already truncated to the dim that is measured; rows need not be unit length.
            An array is compared by cosine, scored embeddings by their scorer.
        subjects: the subject of each row, n of them.

    Returns: n (n - 1) / 2 similarities in all.

    Raises: NoTrialsError: no mated or no non-mated pair. ZeroVectorError: a row is zero.

    >>> pairs = all_pairs(np.array([[1, 0], [1, 0], [0, 2]], np.float32), ["a", "a", "b"])
    >>> pairs.mated.tolist(), pairs.non_mated.tolist()
    ([1.0], [0.0, 0.0])
    """
    numbers, count = number_subjects(subjects)
    samples = scored(embeddings)
    first, second = np.triu_indices(len(samples), k=1)
    similarities = samples.similarities(samples, embeddings.shape[1])[first, second]
    return _split(similarities, numbers[first], numbers[second], count)


def listed_pairs(embeddings: Embeddings, subjects: list[str], pairs: npt.NDArray[np.int64]) -> PairSimilarities:
    """Compare only the pairs of a list (a published trial list, or the balanced generator's).

    Args:
        embeddings: float32, (n, dim), as for all_pairs().
        subjects: the subject of each row, n of them.
        pairs: int64, (trials, 2), row numbers.

    Raises: NoTrialsError: no pair of one kind. ZeroVectorError: an embedding is all zero.
    """
    numbers, count = number_subjects(subjects)
    samples, (first, second) = scored(embeddings), pairs.T
    similarities = samples[first].similarities_of_pairs(samples[second], embeddings.shape[1])
    return _split(similarities, numbers[first], numbers[second], count)


def balanced_pairs(subjects: list[str], per_kind: int, seed: int) -> npt.NDArray[np.int64]:
    """Draw as many mated as non-mated pairs, each pair once.

    Args:
        subjects: the subject of each sample.
        per_kind: pairs of each kind; fewer where there are not so many.
        seed: the same seed draws the same pairs.

    Returns: int64, (trials, 2), row numbers, mated pairs first.

    Raises: NoTrialsError: no pair of one kind exists.

    >>> balanced_pairs(["a", "a", "b"], 1, seed=0)[0].tolist()
    [0, 1]
    """
    numbers, _ = number_subjects(subjects)
    generator = np.random.default_rng(seed)
    first, second = np.triu_indices(len(numbers), k=1)
    same = numbers[first] == numbers[second]
    chosen = []
    for kind, where in (("mated", np.flatnonzero(same)), ("non-mated", np.flatnonzero(~same))):
        if where.size == 0:
            raise _no_pair(kind)
        chosen.append(np.sort(generator.permutation(where)[:per_kind]))
    rows = np.concatenate(chosen)
    return np.stack([first[rows], second[rows]], axis=1).astype(np.int64)


def reference_pairs(
    embeddings: Embeddings,
    subjects: list[str],
    dim: int,
    templates: int,
    draws: int,
    seed: int,
    probes: Embeddings | None = None,
) -> PairSimilarities:
    """Compare probes with references that are the mean of several templates, as the service does.

    From every subject with more than `templates` samples, `draws` references are made of randomly chosen samples; each
    is compared with the subject's other samples and with all samples of the other subjects.

    Args:
        embeddings: float32, (n, full_dim), not truncated: a reference averages unit-length full embeddings.
        subjects: the subject of each row.
        dim: components compared.
        templates: samples in a reference, >= 1.
        draws: references per subject, >= 1.
        seed: the same seed draws the same references.
        probes: the same samples as they are looked up, where that differs from how they are enrolled.

    Raises:
        NoTrialsError: no subject has more than `templates` samples.
        DimensionError: dim out of range. ZeroVectorError: a truncated embedding is all zero.
    """
    numbers, count = number_subjects(subjects)
    generator = np.random.default_rng(seed)
    owners: list[int] = []
    members: list[npt.NDArray[np.int64]] = []
    for subject in range(count):
        rows = np.flatnonzero(numbers == subject)
        if rows.size <= templates:
            continue
        for _ in range(draws):
            chosen = generator.choice(rows, templates, replace=False)
            owners.append(subject)
            members.append(chosen)
    if not members:
        raise _no_pair("mated")
    samples = scored(embeddings)
    looked_up = samples if probes is None else scored(probes)
    similarities = samples.references(members).similarities(looked_up, dim)
    probed = np.ones(similarities.shape, bool)
    for row, chosen in enumerate(members):
        probed[row, chosen] = False
    first, second = np.nonzero(probed)
    return _split(similarities[first, second], np.asarray(owners, np.int32)[first], numbers[second], count)


def _split(similarities: FloatArray, first: Indices, second: Indices, count: int) -> PairSimilarities:
    same = first == second
    if not same.any():
        raise _no_pair("mated")
    if same.all():
        raise _no_pair("non-mated")
    return PairSimilarities(
        mated=similarities[same],
        non_mated=similarities[~same],
        mated_subjects=first[same],
        non_mated_subjects=np.stack([first[~same], second[~same]], axis=1),
        subject_count=count,
    )


def _no_pair(kind: str) -> NoTrialsError:
    return NoTrialsError(
        f"There is no {kind} pair.", remedy="Give at least two subjects, one of them with two samples."
    )
