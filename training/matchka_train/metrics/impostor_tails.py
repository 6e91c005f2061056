"""Upper tails of impostors' similarities, and the thresholds that keep an FPIR at any gallery size.

Comparisons of one probe are not independent: some impostors resemble everybody. A false match rate over pairs cannot
say how the best of N references behaves as N grows, so each impostor gets a tail of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtri

from matchka.vectors import FloatArray
from matchka_train.errors import NoThresholdError, NoTrialsError
from matchka_train.metrics.calibration import LARGEST_COSINE
from matchka_train.metrics.identity_bootstrap import CONFIDENCE, LEAST_PEOPLE, RESAMPLES, draw_people
from matchka_train.metrics.pairs import number_subjects
from matchka_train.metrics.scored_embeddings import Embeddings, ScoredEmbeddings, scored

UPPER_SHARE: Final = 0.2  # of an impostor's similarities, through which its tail is laid; docs/decisions/062
KEPT_SHARE: Final = 0.45  # of them that are kept: in a draw of people the upper fifth of the weight may reach so far
HIGHEST_Z: Final = 12.0  # artanh of a cosine that no float32 tells from 1
SMALLEST_DEVIATION: Final = 1e-6  # of similarities that are all the same
QUANTILE_STEPS: Final = 2**18  # of the table of normal quantiles that draws look ranks up in
TABLE_STEPS, TABLE_END = 512, 10  # of normal shares: steps in one standard deviation, deviations on either side
GRID_STEP: Final = 0.04  # on Fisher's z, between the thresholds whose rates a draw computes
GRID_BELOW, GRID_ABOVE = 0.3, 0.6  # how far from the thresholds of everybody a draw looks for its own

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ImpostorTails:
    """The upper tails of impostors' similarities to references, each normal on Fisher's z.

    Attributes:
        means: (impostors,), of artanh(similarity).
        deviations: (impostors,), > 0.
        weights: (impostors,), how much each counts; None: all the same.
    """

    means: Values
    deviations: Values
    weights: Values | None = None

    def false_positive_rate(self, threshold: float, gallery_size: int) -> float:
        """FPIR: the share of impostors whose best of so many references reaches the threshold.

        Args:
            threshold: cosine.
            gallery_size: subjects, each drawn independently of the others.

        >>> one = ImpostorTails(np.array([0.0]), np.array([1.0]))
        >>> one.false_positive_rate(0.0, 1), round(one.false_positive_rate(0.0, 2), 6)
        (0.5, 0.75)
        """
        return self._rate_at(float(np.arctanh(threshold)), gallery_size)

    def threshold(self, max_fpir: float, gallery_size: int) -> float:
        """The cosine that keeps a false positive identification rate, in (0, 1), over so many subjects.

        Raises: NoThresholdError: no similarity keeps it.
        """
        return min(float(np.tanh(self.threshold_z(max_fpir, gallery_size))), LARGEST_COSINE)

    def threshold_z(self, max_fpir: float, gallery_size: int) -> float:
        """The same on Fisher's z; raises the same."""
        lowest, highest = (self._rate_at(z, gallery_size) for z in (-HIGHEST_Z, HIGHEST_Z))
        if not highest <= max_fpir <= lowest:
            raise NoThresholdError(
                f"No similarity keeps a false positive rate (FPIR) of {max_fpir:g} over {gallery_size} subjects.",
                value=f"rates from {highest:.3g} to {lowest:.3g}",
                remedy="Compare by another scorer: many strangers get the highest or lowest similarity there is.",
            )
        found = brentq(lambda z: self._rate_at(z, gallery_size) - max_fpir, -HIGHEST_Z, HIGHEST_Z, xtol=1e-9)
        return float(found)

    def thresholds_z(self, max_fpirs: Values, gallery_sizes: Values, grid: Values) -> Values:
        """The same for many rates and sizes, to a grid's precision: (rates, sizes), on Fisher's z.

        Args:
            max_fpirs: (rates,).
            gallery_sizes: (sizes,).
            grid: rising z that the answers lie between.
        """
        means, deviations = self.means.astype(np.float32), self.deviations.astype(np.float32)
        none_passes = _log_shares_below((grid.astype(np.float32)[:, None] - means) / deviations)
        weights = np.ones_like(means) if self.weights is None else self.weights.astype(np.float32)
        found = np.empty((len(max_fpirs), len(gallery_sizes)))
        asked = -ndtri(max_fpirs)
        for column, size in enumerate(gallery_sizes.tolist()):
            rates = (-np.expm1(np.float32(size) * none_passes) @ weights / weights.sum()).astype(np.float64)
            # against the normal quantile of the rate the threshold is almost straight between two points of the grid
            found[:, column] = np.interp(asked, -ndtri(np.clip(rates, 1e-12, 1.0 - 1e-7)), grid)
        return found

    def _rate_at(self, z: float, gallery_size: int) -> float:
        none_passes = gallery_size * log_ndtr((z - self.means) / self.deviations)
        return float(np.average(-np.expm1(none_passes), weights=self.weights))


@dataclass(frozen=True)
class GalleryBounds:
    """Cosine thresholds that keep an FPIR; neither falls where a gallery grows or a rate falls.

    Attributes:
        bounds: (rates, sizes), the 95 % quantile over draws of people.
        estimates: (rates, sizes), with everybody counted once.
        people: who own a reference.
    """

    bounds: Values
    estimates: Values
    people: int


def gallery_thresholds(
    impostors: "RankedImpostors",
    max_fpirs: Sequence[float],
    gallery_sizes: Sequence[int],
    seed: int,
    resamples: int = RESAMPLES,
) -> GalleryBounds:
    """The thresholds that keep false positive identification rates for 95 of 100 draws of people.

    Every tail is laid anew in each draw, through references weighed by how often their owners were drawn; an impostor
    counts as often as it was drawn itself.

    Args:
        impostors: samples against references of others.
        max_fpirs: in (0, 1), falling.
        gallery_sizes: subjects, rising.
        seed: the same seed draws the same people.
        resamples: draws.

    Raises: NoThresholdError: no similarity keeps one of the rates.
    """
    everybody = impostors.fit(np.ones(impostors.count, np.int64))
    plain = np.array([[everybody.threshold_z(fpir, size) for size in gallery_sizes] for fpir in max_fpirs])
    rates, sizes = np.asarray(max_fpirs), np.asarray(gallery_sizes, np.float64)
    tails = [impostors.fit(draw) for draw in draw_people(impostors.numbers, impostors.count, resamples, seed)]
    highest = float(plain.max())
    while True:
        highest += GRID_ABOVE
        grid = np.arange(plain.min() - GRID_BELOW, highest, GRID_STEP)
        bounds = np.quantile([tail.thresholds_z(rates, sizes, grid) for tail in tails], CONFIDENCE, axis=0)
        if bounds.max() < grid[-1] - GRID_STEP or highest > HIGHEST_Z:  # otherwise the grid may have ended too early
            return GalleryBounds(_table(bounds), _table(plain), impostors.people)


def _table(z: Values) -> Values:
    rising = np.maximum.accumulate(np.maximum.accumulate(z, axis=0), axis=1)
    cosines: Values = np.minimum(np.tanh(rising), LARGEST_COSINE)
    return cosines


class RankedImpostors:
    """The highest similarities of every sample to references of all other subjects, sorted once for many draws.

    On a normal distribution the order statistics against the normal quantiles of their ranks lie on a straight line,
    whose offset is the mean and whose slope the deviation; here through the upper fifth only, because the rest says
    nothing about who might be taken for somebody else.

    Args:
        embeddings: float32, (n, full_dim), not truncated; compared by their scorer.
        subjects: the subject of each row.
        dim: components compared.
        templates: samples in a reference; with 1, every sample is one.
        draws: references of each subject where it is more than one sample.
        seed: the same seed draws the same references.
        least_people: who must be able to have such a reference.
        probes: the same samples as they are looked up, where that differs from how they are enrolled.

    Raises:
        NoTrialsError: fewer can have one.
        DimensionError: dim out of range. ZeroVectorError: a truncated embedding is all zero.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        subjects: list[str],
        dim: int,
        templates: int,
        draws: int,
        seed: int,
        least_people: int = LEAST_PEOPLE,
        probes: Embeddings | None = None,
    ) -> None:
        self.numbers, self.count = number_subjects(subjects)
        generator = np.random.default_rng(seed)
        samples = scored(embeddings)
        references, owners = _references(samples, self.numbers, self.count, templates, draws, generator)
        self._references = np.bincount(owners, minlength=self.count)
        self.people = int(np.count_nonzero(self._references))
        if self.people < least_people:
            raise NoTrialsError(
                f"Tails of impostors need {least_people} subjects with {templates} samples.",
                value=self.people,
                remedy="Give more subjects, or fewer templates.",
            )
        similarities = (samples if probes is None else scored(probes)).similarities(references, dim)
        similarities[self.numbers[:, None] == owners] = -np.inf
        kept = np.argsort(-similarities, axis=1, kind="stable")[:, : max(2, int(KEPT_SHARE * len(owners)))]
        highest = np.take_along_axis(similarities, kept, axis=1)
        own = np.isneginf(highest)  # where one subject owns most of the references, its own may be among them
        z = np.arctanh(np.clip(highest, -LARGEST_COSINE, LARGEST_COSINE, dtype=np.float64))
        self._z = np.where(own, 0.0, z).astype(np.float32)
        self._owners = np.where(own, self.count, owners[kept]).astype(
            np.int32
        )  # the last number is nobody: never drawn

    def fit(self, drawn: npt.NDArray[np.integer]) -> ImpostorTails:
        """The tails of the impostors that were drawn.

        Args: drawn: (subjects,), how often each counts.
        """
        rows = np.flatnonzero(drawn[self.numbers])
        counts = np.append(drawn, 0).astype(np.int32)[self._owners[rows]]
        of_others = drawn @ self._references - (drawn * self._references)[self.numbers[rows]]
        halves = (0.5 / np.maximum(of_others, 1)).astype(np.float32)[:, None]
        # the middle of the ranks that a reference takes up when it is there several times
        ranks = (2 * np.cumsum(counts, axis=1, dtype=np.int32) - counts) * halves
        width = int(np.count_nonzero((ranks <= UPPER_SHARE).any(axis=0)))
        ranks, z = ranks[:, :width], self._z[rows, :width]
        weights = np.where(ranks <= UPPER_SHARE, counts[:, :width], 0).astype(np.float32)
        quantiles = _UPPER_QUANTILES[np.minimum((ranks * QUANTILE_STEPS).astype(np.int32), len(_UPPER_QUANTILES) - 1)]
        return ImpostorTails(*_weighted_lines(quantiles, z, weights), drawn[self.numbers[rows]].astype(np.float64))


def fit_tails(
    embeddings: Embeddings, subjects: list[str], dim: int, templates: int, draws: int, seed: int
) -> ImpostorTails:
    """The tails of all samples, everybody counted once; arguments and errors as RankedImpostors."""
    impostors = RankedImpostors(embeddings, subjects, dim, templates, draws, seed)
    return impostors.fit(np.ones(impostors.count, np.int64))


def _references(
    samples: ScoredEmbeddings,
    numbers: npt.NDArray[np.int32],
    count: int,
    templates: int,
    draws: int,
    generator: np.random.Generator,
) -> tuple[ScoredEmbeddings, npt.NDArray[np.int64]]:
    if templates == 1:
        return samples, numbers.astype(np.int64)
    chosen: list[npt.NDArray[np.int64]] = []
    owners: list[int] = []
    for subject in range(count):
        rows = np.flatnonzero(numbers == subject)
        if rows.size < templates:
            continue
        for _ in range(draws):
            chosen.append(generator.choice(rows, templates, replace=False))
            owners.append(subject)
    return samples.references(chosen) if chosen else samples[:0], np.asarray(owners, np.int64)


def _weighted_lines(x: FloatArray, y: FloatArray, weights: FloatArray) -> tuple[Values, Values]:
    """Least squares of every row at once: offset and slope of y against x."""
    total = np.maximum(weights.sum(axis=1, dtype=np.float64), 1.0)
    weighted = weights * x
    mean_x = weighted.sum(axis=1, dtype=np.float64) / total
    mean_y = np.einsum("ij,ij->i", weights, y) / total
    spread = np.einsum("ij,ij->i", weighted, x) / total - mean_x**2
    slope = (np.einsum("ij,ij->i", weighted, y) / total - mean_x * mean_y) / np.maximum(spread, 1e-12)
    slope = np.maximum(slope, SMALLEST_DEVIATION)
    return mean_y - slope * mean_x, slope


def _log_shares_below(x: FloatArray) -> FloatArray:
    """log_ndtr from a table, ten times as fast."""
    at = (x + np.float32(TABLE_END)) * np.float32(TABLE_STEPS)
    shares: FloatArray = _LOG_SHARES[np.clip(at, 0, len(_LOG_SHARES) - 1).astype(np.int32)]
    return shares


# What draws would spend most of their time on: normal quantiles of ranks, rounded to 4e-6, and shares below a value.
_UPPER_QUANTILES: Final = -ndtri((np.arange(int(UPPER_SHARE * QUANTILE_STEPS) + 2) + 0.5) / QUANTILE_STEPS).astype(
    np.float32
)
_LOG_SHARES: Final = log_ndtr((np.arange(2 * TABLE_END * TABLE_STEPS) + 0.5) / TABLE_STEPS - TABLE_END).astype(
    np.float32
)
