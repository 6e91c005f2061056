"""FPIR and FNIR of galleries drawn from real people, and a model of them beyond the size of the data."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr, ndtri

from loadtests.identification.people import Person
from loadtests.scoring import Comparison, Counted, joined

DRAWS = 60
RESAMPLES = 1_000
LARGEST_COSINE = 1 - 1e-7
UPPER_SHARE = 0.2  # of an impostor's similarities, through which its tail is laid

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Draw:
    """One gallery and who is held against it.

    Attributes:
        enrolled: people in the gallery, first the unseen ones, whose other samples are the probes.
        probed: how many of them are unseen.
        chosen: for each of the enrolled, which of their samples are templates.
        impostors: unseen people who are not enrolled.
    """

    enrolled: list[int]
    probed: int
    chosen: list[npt.NDArray[np.int64]]
    impostors: list[int]

    def cut_to(self, size: int) -> "Draw":
        """Only the first so many of the enrolled; at least those who are probed."""
        size = max(size, self.probed)
        return Draw(self.enrolled[:size], self.probed, self.chosen[:size], self.impostors)


@dataclass(frozen=True)
class Held:
    """All similarities of one draw at one dim.

    Attributes:
        impostors: similarities, (samples, gallery).
        impostor_people: person of each row.
        probes: similarities, (samples, gallery).
        owners: column of each probe's own reference.
        probe_people: person of each probe.
    """

    impostors: Floats
    impostor_people: npt.NDArray[np.int64]
    probes: Floats
    owners: npt.NDArray[np.int64]
    probe_people: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rate:
    """A share with its 95 % interval, resampled by identity."""

    value: float
    low: float
    high: float


def draw_gallery(
    people: Sequence[Person], counts: Sequence[int], size: int, templates: int, generator: np.random.Generator
) -> Draw:
    """Enrol from a random half of the unseen people, and fill the gallery with people that training saw.

    Args:
        people: everybody.
        counts: embedded samples of each.
        size: subjects wanted; fewer where the data have no more.
        templates: samples in each reference.
        generator: of random numbers.
    """
    unseen = generator.permutation([n for n, person in enumerate(people) if person.unseen and counts[n]])
    half = len(unseen) // 2
    able = [int(n) for n in unseen[:half] if counts[n] > templates][:size]
    fillers = [n for n, person in enumerate(people) if not person.unseen and counts[n] >= templates]
    filled = generator.permutation(fillers)[: size - len(able)]
    enrolled = able + [int(n) for n in filled]
    chosen = [generator.permutation(counts[n])[:templates] for n in enrolled]
    return Draw(enrolled, len(able), chosen, [int(n) for n in unseen[half:]])


def hold(draw: Draw, embedded: Sequence[Counted], dim: int, comparison: Comparison) -> Held:
    """Compare impostors and probes with every reference of a gallery.

    A reference is the mean of unit-length full embeddings, cut to dim and normalised.
    """
    chosen = zip(draw.enrolled, draw.chosen, strict=True)
    references = joined([embedded[n].of(rows).reference() for n, rows in chosen])
    probes, owners = [references.of(slice(0))], []
    for column in range(draw.probed):
        others = embedded[draw.enrolled[column]].without(draw.chosen[column])
        probes.append(others)
        owners += [column] * len(others)
    impostors = joined([embedded[n] for n in draw.impostors])
    impostor_people = np.repeat(draw.impostors, [len(embedded[n]) for n in draw.impostors])
    own = np.asarray(owners, np.int64)
    return Held(
        comparison.table(impostors, references, dim),
        impostor_people,
        comparison.table(joined(probes), references, dim),
        own,
        np.asarray(draw.enrolled, np.int64)[own],
    )


def false_positive_rate(draws: Sequence[Held], threshold: float, generator: np.random.Generator) -> Rate:
    """FPIR: the share of impostors' samples that some reference takes for its own."""
    found = [(held.impostors.max(axis=1) >= threshold, held.impostor_people) for held in draws]
    return by_identity(found, generator)


def false_negative_rate(draws: Sequence[Held], threshold: float, generator: np.random.Generator) -> Rate:
    """FNIR: the share of probes whose own reference is not the most similar one, or is below the threshold."""
    found = []
    for held in draws:
        own = held.probes[np.arange(len(held.probes)), held.owners]
        found.append(((own < held.probes.max(axis=1)) | (own < threshold), held.probe_people))
    return by_identity(found, generator)


def by_identity(
    found: Sequence[tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]], generator: np.random.Generator
) -> Rate:
    """The share of errors over all draws; its interval draws whole people, because their samples err together."""
    errors = np.concatenate([flags for flags, _ in found]).astype(np.float64)
    people = np.concatenate([names for _, names in found])
    _, numbers = np.unique(people, return_inverse=True)
    sums, totals = np.bincount(numbers, errors), np.bincount(numbers).astype(np.float64)
    picks = generator.integers(0, len(sums), (RESAMPLES, len(sums)))
    shares = sums[picks].sum(axis=1) / totals[picks].sum(axis=1)
    low, high = np.quantile(shares, (0.025, 0.975))
    return Rate(float(errors.mean()), float(low), float(high))


@dataclass(frozen=True)
class ImpostorModel:
    """The upper tail of each impostor's similarities to references, normal on Fisher's z.

    Impostors differ in how alike they are to everybody, so each has a mean and a deviation of its own; the best of N
    independent draws passes a threshold with 1 - F(threshold)^N.

    Attributes:
        means: (samples,), of artanh(similarity).
        deviations: (samples,), its standard deviation.
    """

    means: Floats
    deviations: Floats

    def false_positive_rate(self, threshold: float, size: int) -> float:
        """The FPIR to expect in a gallery of so many subjects."""
        below = size * log_ndtr((_fisher_z(threshold) - self.means) / self.deviations)
        return float(np.mean(-np.expm1(below)))


def fit_impostors(draws: Sequence[Held]) -> ImpostorModel:
    """Lay each impostor's line through the upper fifth of the order statistics of the galleries given."""
    means, deviations = [], []
    for held in draws:
        z = np.sort(_fisher_z(held.impostors), axis=1)
        count = z.shape[1]
        start = count - max(2, round(UPPER_SHARE * count))
        x = ndtri((np.arange(start, count) + 0.5) / count)
        slopes = (z[:, start:] * (x - x.mean())).sum(axis=1) / ((x - x.mean()) ** 2).sum()
        means.append(z[:, start:].mean(axis=1) - slopes * x.mean())
        deviations.append(np.maximum(slopes, 1e-6))
    return ImpostorModel(np.concatenate(means), np.concatenate(deviations))


def below_threshold(draws: Sequence[Held], threshold: float) -> float:
    """The share of probes whose own reference is below a threshold: FNIR where nobody else is more alike."""
    own = np.concatenate([held.probes[np.arange(len(held.probes)), held.owners] for held in draws])
    return float(np.mean(own < threshold))


def _fisher_z(cosine: Floats | float) -> Floats:
    return np.arctanh(np.clip(cosine, -LARGEST_COSINE, LARGEST_COSINE))
