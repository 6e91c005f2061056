"""Similarity + operating point -> Decision. No input or output here: arithmetic on what a bundle states."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import Final, Protocol, TypeAlias

from matchka.bundles.outputs.measurements import BandReport, DimReport, GalleryThresholds
from matchka.errors import InvalidFieldError

Report: TypeAlias = DimReport | BandReport  # what a bundle states of a dim, or of one band of it
LARGEST_COSINE: Final = 1.0 - 1e-7  # Fisher's z of 1 is infinite


class Point(Protocol):
    """A false match rate and the threshold that keeps it."""

    @property
    def fmr(self) -> float:
        """In (0, 1)."""
        ...

    @property
    def threshold(self) -> float:
        """On the scale of what is compared with it."""
        ...

    @property
    def measured(self) -> bool:
        """Whether counted errors support it."""
        ...


@dataclass(frozen=True)
class ScaledPoint:
    """A point whose threshold stands on a scale that goes on beyond 1."""

    fmr: float
    threshold: float
    measured: bool


@dataclass(frozen=True)
class Threshold:
    """A threshold of similarity. `measured`: whether counted errors support it rather than the normal tail."""

    value: float
    measured: bool


@dataclass(frozen=True)
class Decision:
    """The answer to a comparison of one probe with one reference.

    Attributes:
        match: similarity >= threshold.
        similarity: in [-1, 1], by the bundle's scorer.
        threshold: the operating point's threshold.
        probability: calibrated posterior of a mated pair at prior 0.5, or None without calibration.
    """

    match: bool
    similarity: float
    threshold: Threshold
    probability: float | None


def decide(report: Report, similarity: float, template_count: int, fmr: float) -> Decision:
    """Hold a similarity against the threshold that keeps a false match rate.

    Args:
        report: what the bundle states of the dim compared.
        similarity: in [-1, 1], by the bundle's scorer.
        template_count: templates in the reference, >= 1.
        fmr: the false match rate to keep, in (0, 1).

    Raises: InvalidFieldError: fmr out of range.
    """
    threshold = threshold_at(report, template_count, fmr)
    return Decision(
        match=similarity >= threshold.value,
        similarity=similarity,
        threshold=threshold,
        probability=probability_of(report, similarity, template_count),
    )


def strictest(reports: Sequence[Report], template_count: int, fmr: float) -> Report:
    """Of reports that may each decide, the one with the highest threshold, which keeps the rate by all of them.

    Args:
        reports: at least one; see EmbeddingOutput.reports_for().
        template_count: templates in the reference, >= 1.
        fmr: the false match rate to keep, in (0, 1).

    Raises: InvalidFieldError: fmr out of range.
    """
    return max(reports, key=lambda report: threshold_at(report, template_count, fmr).value)


def threshold_at(report: Report, template_count: int, fmr: float) -> Threshold:
    """The threshold for a false match rate, interpolated between operating points.

    Fisher's z (the inverse hyperbolic tangent) of non-mated cosines is close to normal, so that z against the normal
    quantile of the rate is close to a straight line; beyond the last point its slope goes on, and no threshold passes
    1. The points of the next larger number of templates are used, because more templates raise the non-mated
    similarities and the larger threshold keeps the rate.

    Args:
        report: what the bundle states of the dim.
        template_count: templates in the reference, >= 1.
        fmr: false match rate, in (0, 1).

    Raises: InvalidFieldError: fmr out of range.
    """
    points = report.operating_points[_key_for(report.operating_points, template_count)]
    on_fisher_scale = [ScaledPoint(point.fmr, _fisher_z(point.threshold), point.measured) for point in points]
    threshold = threshold_among(on_fisher_scale, fmr)
    return Threshold(math.tanh(threshold.value), threshold.measured)


def threshold_among(points: Sequence[Point], fmr: float) -> Threshold:
    """The threshold for a false match rate, on the straight line through the two points nearest to it.

    Args:
        points: falling in fmr; at least one.
        fmr: false match rate, in (0, 1).

    Raises: InvalidFieldError: fmr out of range.
    """
    if not 0.0 < fmr < 1.0:
        raise InvalidFieldError(
            "max_fmr and max_fpir must lie between 0 and 1, both excluded.", value=fmr, remedy="0.001 is usual."
        )
    if len(points) == 1:
        return Threshold(points[0].threshold, points[0].measured and math.isclose(points[0].fmr, fmr))
    lower, upper = _neighbours(points, fmr)
    x, x_lower, x_upper = (_quantile(rate) for rate in (fmr, lower.fmr, upper.fmr))
    share = (x - x_lower) / (x_upper - x_lower)
    value = lower.threshold + share * (upper.threshold - lower.threshold)
    # exactly at a point only that point counts; between two, both
    measured = (share <= 0.0 or upper.measured) and (share >= 1.0 or lower.measured)
    return Threshold(value, measured and -1e-9 <= share <= 1.0 + 1e-9)


def fmr_for_fpir(max_fpir: float, gallery_size: int) -> float:
    """The false match rate per comparison that keeps a false positive identification rate over a whole gallery.

    Args:
        max_fpir: FPIR: share of impostors that may be given a name, in (0, 1).
        gallery_size: subjects compared with, >= 0; an empty gallery counts as one.

    Source: FPIR = 1 - (1 - FMR)^N for independent comparisons, ISO/IEC 19795-1.

    >>> round(fmr_for_fpir(0.01, 1), 6), round(fmr_for_fpir(0.01, 100), 6)
    (0.01, 0.0001)
    """
    if not 0.0 < max_fpir < 1.0:
        raise InvalidFieldError(
            "max_fpir must lie between 0 and 1, both excluded.", value=max_fpir, remedy="0.01 is usual."
        )
    # expm1 and log1p keep the precision that 1 - (1 - p)^(1/N) loses when N is a million
    return -math.expm1(math.log1p(-max_fpir) / max(1, gallery_size))


def identification_threshold(report: Report, template_count: int, max_fpir: float, gallery_size: int) -> Threshold:
    """The threshold that keeps a false positive identification rate over a whole gallery.

    It is the higher of two: that of independent comparisons at fmr_for_fpir, and that of impostors some of whom
    resemble many people, where the bundle states it. The second overtakes the first as the gallery grows.

    Args:
        report: what the bundle states of the dim.
        template_count: templates in the reference compared with, >= 1.
        max_fpir: FPIR: share of impostors that may be given a name, in (0, 1).
        gallery_size: subjects compared with, >= 0.

    Raises: InvalidFieldError: max_fpir out of range.
    """
    of_pairs = threshold_at(report, template_count, fmr_for_fpir(max_fpir, gallery_size))
    if not report.identification:
        return of_pairs
    table = report.identification[_key_for(report.identification, template_count)]
    of_impostors = _table_threshold(table, max_fpir, gallery_size)
    return of_pairs if of_pairs.value >= of_impostors else Threshold(of_impostors, measured=False)


def _table_threshold(table: GalleryThresholds, max_fpir: float, gallery_size: int) -> float:
    """Between the table's entries: straight on Fisher's z, in the logarithm of the size and the rate's quantile.

    Beyond its largest size and its rarest rate the last slopes go on; below its smallest size the smallest serves.
    """
    sizes = [math.log(size) for size in table.gallery_sizes]
    quantiles = [_quantile(rate) for rate in table.max_fpirs]
    size = max(sizes[0], math.log(max(1, gallery_size)))
    by_rate = [_on_line(sizes, [_fisher_z(value) for value in row], size) for row in table.thresholds]
    return math.tanh(_on_line(quantiles, by_rate, _quantile(max_fpir)))


def _on_line(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    """The piecewise straight line through points of rising x, its ends going on."""
    right = next((number for number in range(1, len(xs) - 1) if x <= xs[number]), len(xs) - 1)
    share = (x - xs[right - 1]) / (xs[right] - xs[right - 1])
    return ys[right - 1] + share * (ys[right] - ys[right - 1])


def probability_of(report: Report, similarity: float, template_count: int) -> float | None:
    """Posterior of a mated pair at prior 0.5: the logistic function of the calibrated log-likelihood ratio."""
    if not report.calibration:
        return None
    ratio = log_likelihood_ratio_of(report, similarity, template_count)
    return 0.5 * (1.0 + math.tanh(0.5 * ratio))  # the logistic function, without overflow


def log_likelihood_ratio_of(report: Report, similarity: float, template_count: int) -> float:
    """The calibrated log-likelihood ratio (natural logarithm) of a similarity; the bundle must be calibrated."""
    calibration = report.calibration[_key_for(report.calibration, template_count)]
    return calibration.scale * similarity + calibration.offset


def _key_for(by_count: Mapping[str, object], template_count: int) -> str:
    counts = sorted(int(key) for key in by_count)
    return str(next((count for count in counts if count >= template_count), counts[-1]))


def _neighbours(points: Sequence[Point], fmr: float) -> tuple[Point, Point]:
    """The two points around a rate, or the two nearest where it lies outside all of them; points fall in fmr."""
    for lower, upper in pairwise(points):
        if fmr >= upper.fmr:
            return lower, upper
    return points[-2], points[-1]


def _fisher_z(cosine: float) -> float:
    return math.atanh(max(-LARGEST_COSINE, min(LARGEST_COSINE, cosine)))


def _quantile(fmr: float) -> float:
    """How many standard deviations above the mean a normal variable stays with probability 1 - fmr."""
    return -NormalDist().inv_cdf(fmr)
