"""Identities of training and of validation that are likely to be one person: what no name and no hash can tell."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student_t

from matchka.vectors import FloatArray, truncate_and_normalise
from matchka_train.errors import LookalikeError
from matchka_train.features.features import Features

NEAREST_ONE: Final = 1 - 1e-7  # Fisher's scale is infinite at 1
SMALLEST_SPREAD: Final = 1e-6
GRID_POINTS: Final = 20_000
MOST_SHOWN: Final = 20

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Lookalike:
    """A pair of identities.

    Attributes:
        trained: one that is trained on.
        validated: one that is validated on.
        similarity: cosine between the means of their samples, after the mean of the domain is taken off.
        level: where one person under two names becomes the likelier explanation.
    """

    trained: str
    validated: str
    similarity: float
    level: float


def require_no_lookalikes(
    train: Sequence[Features], validation: Sequence[Features], is_confirmed: Callable[[str, str], bool]
) -> None:
    """Refuse data sets in which somebody seems to be trained on and validated on under two names.

    Args:
        train: of one backbone.
        validation: of the same backbone.
        is_confirmed: whether somebody made sure that two identities are two people.

    Raises: LookalikeError: lists the pairs that nobody confirmed.
    """
    found = [pair for pair in find_lookalikes(train, validation) if not is_confirmed(pair.trained, pair.validated)]
    if not found:
        return
    lines = [
        f"{pair.trained} and {pair.validated} ({pair.similarity:.3f}, likely from {pair.level:.3f})"
        for pair in found[:MOST_SHOWN]
    ]
    raise LookalikeError(
        f"{len(found)} pairs of identities seem to be one person under two names, both trained on and validated on: "
        f"{'; '.join(lines)}{'; ...' if len(found) > MOST_SHOWN else ''}.",
        value=len(found),
        remedy="Give one person one identity, leave files out, or confirm that they are two people "
        "(data.confirmed_lookalikes: first, second, reason).",
    )


def find_lookalikes(train: Sequence[Features], validation: Sequence[Features]) -> list[Lookalike]:
    """The pairs that are one person rather than two by chance so similar, given how many pairs there are.

    For each domain of validation: the level of same_person_level, with as many pairs as there are of an identity that
    is trained on, of any domain, and one of this domain. Similarities are of means of all samples of an identity, in
    the frozen backbone's embedding after taking off the domain's mean, which all of its samples share. What one person
    and two people look like is measured within the domain: means of every other sample of an identity against means
    of the remaining ones.

    Args:
        train: of one backbone.
        validation: of the same backbone.

    Returns: the most similar pair first. None where fewer than two identities of a domain have two samples.
    """
    trained = _samples_of(train)
    found = []
    for domain in sorted({domain for features in validation for domain in features.domains}):
        judged = _samples_of([features.of_domain(domain) for features in validation if domain in features.domains])
        centre = np.concatenate(list(judged.values())).mean(axis=0)
        names, others = list(trained), list(judged)
        pairs = len(names) * len(others)
        mated, non_mated = _halves_compared(list(judged.values()), centre)
        level = same_person_level(mated, non_mated, len(mated), pairs)
        similarities = _means(list(trained.values()), centre) @ _means(list(judged.values()), centre).T
        found += [
            Lookalike(names[row], others[column], float(similarities[row, column]), level)
            for row, column in np.argwhere(similarities > level).tolist()
        ]
    return sorted(found, key=lambda pair: -pair.similarity)


def same_person_level(mated: FloatArray, non_mated: FloatArray, people: int, pairs: int) -> float:
    """The similarity above which one person is likelier than two, where one of so many pairs is expected to be one.

    Both kinds are taken as normal on Fisher's scale (the inverse hyperbolic tangent) with a mean and a spread that are
    only as well known as so many people allow, which makes the next one's distribution Student's t. The level is where
    the log-likelihood ratio first reaches log(pairs), the odds against any given pair.

    Args:
        mated: (m,), cosine similarities of one person.
        non_mated: (n,), of two.
        people: from whom both come.
        pairs: how many are looked at, >= 1.

    Returns: in (-1, 1]; infinity where no similarity is enough, or there are fewer than two people.

    >>> few, more = [
    ...     same_person_level(np.float32([0.8, 0.9]), np.float32([0.0, 0.2]), 10, pairs) for pairs in (1, 100)
    ... ]
    >>> 0.2 < few < more < 0.9
    True
    """
    if people < 2:
        return float("inf")
    one, two = (_predicted(_fisher(values), people) for values in (mated, non_mated))
    grid = np.linspace(float(two.mean()), float(np.arctanh(NEAREST_ONE)), GRID_POINTS)
    enough = np.flatnonzero(one.logpdf(grid) - two.logpdf(grid) >= np.log(pairs))
    return float(np.tanh(grid[enough[0]])) if enough.size else float("inf")


def _predicted(values: Values, people: int) -> Any:
    """The distribution of the next value, after those of so many people: scipy's, frozen."""
    spread = max(float(values.std()), SMALLEST_SPREAD) * np.sqrt((people + 1) / (people - 1))
    return student_t(people - 1, loc=float(values.mean()), scale=spread)


def _samples_of(data: Sequence[Features]) -> dict[str, FloatArray]:
    """Identity -> its samples' embeddings, each of unit length."""
    embeddings = [truncate_and_normalise(pooled, pooled.shape[1]) for pooled in (one.pooled() for one in data)]
    rows: dict[str, list[FloatArray]] = {}
    for features, units in zip(data, embeddings, strict=True):
        for subject, unit in zip(features.subjects, units, strict=True):
            rows.setdefault(subject, []).append(unit)
    return {subject: np.stack(found) for subject, found in rows.items()}


def _halves_compared(samples: Sequence[FloatArray], centre: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Similarities of every other sample of a person with the remaining ones, of the same person and of others."""
    several = [rows for rows in samples if len(rows) > 1]
    if not several:
        return np.zeros(0, np.float32), np.zeros(0, np.float32)
    first, second = (_means([rows[start::2] for rows in several], centre) for start in (0, 1))
    similarities = first @ second.T
    own = np.eye(len(several), dtype=bool)
    return similarities[own], similarities[~own]


def _means(samples: Sequence[FloatArray], centre: FloatArray) -> FloatArray:
    """Each person's mean, the centre taken off, of unit length: (people, dim)."""
    means = np.stack([rows.mean(axis=0) for rows in samples]) - centre
    return truncate_and_normalise(means.astype(np.float32), means.shape[1])


def _fisher(similarities: FloatArray) -> Values:
    return np.arctanh(np.clip(similarities.astype(np.float64), -NEAREST_ONE, NEAREST_ONE))
