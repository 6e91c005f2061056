"""What was measured of an embedding at one dim: accuracy, thresholds and what the gate found."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, model_validator

from matchka.bundles.outputs.output import FrozenModel, is_absent

TemplateCount = Annotated[str, Field(pattern=r"^[1-9][0-9]*$")]
SelectedOn = Literal["nothing", "these people"]


class Metrics(FrozenModel):
    """Verification accuracy in one domain: rates are fractions in [0, 1]; counts say how much they rest on."""

    eer: float = Field(ge=0, le=1)
    min_dcf: float = Field(ge=0)
    tar_at_fmr: dict[str, float]
    subjects: int = Field(ge=2)
    mated_pairs: int = Field(ge=1)
    non_mated_pairs: int = Field(ge=1)


class OperatingPoint(FrozenModel):
    """A false match rate and the threshold that keeps it, on the scale of the scorer's similarity.

    `measured` is false where too few independent identities support the rate (rule of 30). `estimate` is the threshold
    that keeps the rate for the very `people` it was set with, who own a reference; `threshold` keeps it as the
    `promise` of the dim says. Both are absent in bundles written before there were promises: their thresholds are
    estimates.
    """

    fmr: float = Field(gt=0, lt=1)
    threshold: float = Field(gt=-1, lt=1)
    measured: bool
    estimate: float | None = Field(default=None, gt=-1, lt=1, exclude_if=is_absent)
    people: int | None = Field(default=None, ge=2, exclude_if=is_absent)


class Promise(FrozenModel):
    """How far thresholds are kept for people who were never seen.

    Attributes:
        confidence: share of draws of the people who set them in which they keep their rate.
        method: how people were drawn.
        resamples: how often.
        seed: the same seed draws the same people.
        people: domain -> people drawn from.
        selected_on: what else these people decided before: nothing, or which epoch or family was kept.
    """

    confidence: float = Field(gt=0, lt=1)
    method: str
    resamples: int = Field(ge=1)
    seed: int = Field(ge=0)
    people: dict[str, Annotated[int, Field(ge=2)]]
    selected_on: SelectedOn


class Calibration(FrozenModel):
    """Log-likelihood ratio (natural logarithm) = scale * similarity + offset, with its cost on held-out identities."""

    scale: float = Field(gt=0, allow_inf_nan=False)
    offset: float = Field(allow_inf_nan=False)
    cllr: float = Field(ge=0)
    min_cllr: float = Field(ge=0)


class GalleryThresholds(FrozenModel):
    """Thresholds of similarity that keep a false positive identification rate in galleries of several sizes.

    `thresholds` has a row for each of `max_fpirs` (falling) and a column for each of `gallery_sizes` (rising). They
    come from the tails of single impostors (matchka_train.metrics.impostor_tails), measured at no more subjects than
    validated it.
    """

    max_fpirs: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(min_length=2)
    gallery_sizes: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=2)
    thresholds: tuple[tuple[Annotated[float, Field(gt=-1, lt=1)], ...], ...]

    @model_validator(mode="after")
    def _is_a_rising_table(self) -> "GalleryThresholds":
        if list(self.max_fpirs) != sorted(set(self.max_fpirs), reverse=True):
            raise ValueError("max_fpirs must fall, without repeats")
        if list(self.gallery_sizes) != sorted(set(self.gallery_sizes)):
            raise ValueError("gallery_sizes must rise, without repeats")
        if [len(row) for row in self.thresholds] != [len(self.gallery_sizes)] * len(self.max_fpirs):
            raise ValueError("thresholds must have a row for each of max_fpirs and a column for each of gallery_sizes")
        columns = list(zip(*self.thresholds, strict=True))
        if any(list(line) != sorted(line) for line in [*self.thresholds, *columns]):
            raise ValueError("thresholds must not fall where a gallery grows or a rate falls")
        return self


class GateComparison(FrozenModel):
    """The EER of a dim beside that of a reference, on the same trials of one domain; rates are fractions in [0, 1].

    Attributes:
        reference: what it is compared with, in words.
        unit: what was drawn anew to find the bound: all trials of one move together.
        eer: of the graph.
        reference_eer: of the reference.
        upper: upper bound of eer - reference_eer, at `confidence`, one-sided.
        margin: what the bound must stay below.
        subjects: people compared.
        mated_pairs: pairs of one person's samples.
        confidence: of the bound.
        resamples: draws it was found with.
        verdict: `undecidable` where there are too few people or mated pairs to decide.
    """

    reference: str
    unit: str
    eer: float = Field(ge=0, le=1)
    reference_eer: float = Field(ge=0, le=1)
    upper: float = Field(ge=-1, le=1)
    margin: float = Field(ge=0, le=1)
    subjects: int = Field(ge=2)
    mated_pairs: int = Field(ge=1)
    confidence: float = Field(gt=0.5, lt=1)
    resamples: int = Field(ge=1)
    verdict: Literal["passed", "refused", "undecidable"]


class BandReport(FrozenModel):
    """What decides in one band of a condition: keyed as in a DimReport, and measured on pairs of that band alone.

    `metrics` and `gate` are by domain, and absent where a band was not measured for itself.
    """

    metrics: dict[str, Metrics] = Field(default={}, exclude_if=is_absent)
    calibration: dict[TemplateCount, Calibration]
    operating_points: dict[TemplateCount, tuple[OperatingPoint, ...]]
    identification: dict[TemplateCount, GalleryThresholds] = Field(default={}, exclude_if=is_absent)
    gate: dict[str, GateComparison] = Field(default={}, exclude_if=is_absent)

    @model_validator(mode="after")
    def _has_points_for_one_template(self) -> "BandReport":
        _require_rising_points(self.operating_points)
        return self

    @cached_property
    def unmeasured(self) -> "BandReport":
        """The same for pairs that it was not measured on: nothing supports its rates."""
        points = {
            count: tuple(point.model_copy(update={"measured": False}) for point in of_count)
            for count, of_count in self.operating_points.items()
        }
        return self.model_copy(update={"operating_points": points})


class DimOrder(FrozenModel):
    """The EER of a dim minus that of the next shorter one in one domain; above 0 where the longer one is worse.

    Attributes:
        against_dim: the shorter one.
        difference: a fraction.
        lower: 2.5 % quantile of the difference, people drawn anew; above 0, the longer dim is significantly worse.
    """

    against_dim: int = Field(ge=1)
    difference: float = Field(ge=-1, le=1)
    lower: float = Field(ge=-1, le=1)


class DimReport(FrozenModel):
    """All that was measured at one dim. Dictionaries of metrics are keyed by domain.

    `calibration`, `operating_points` and `identification` are keyed by the number of templates in the reference ("1",
    "2", "3", "5", "10"): the mean of several templates shifts the similarities. `identification` is empty in bundles
    written before there was one, and lacks numbers of templates that too few subjects had. `gate` and `order` say by
    domain what the gate found; bundles written before it had a margin lack both. `promise` is absent where the
    thresholds are estimates. `bands` has an entry for each band of the embedding's condition, the worst first, and is
    absent without one; the dim's own figures are then of all bands together, or of the last one where readers measure
    the condition.
    """

    metrics: dict[str, Metrics]
    backbone_metrics: dict[str, Metrics]
    calibration: dict[TemplateCount, Calibration]
    operating_points: dict[TemplateCount, tuple[OperatingPoint, ...]]
    identification: dict[TemplateCount, GalleryThresholds] = Field(default={})
    gate: dict[str, GateComparison] = Field(default={}, exclude_if=is_absent)
    order: dict[str, DimOrder] = Field(default={}, exclude_if=is_absent)
    promise: Promise | None = Field(default=None, exclude_if=is_absent)
    bands: tuple[BandReport, ...] | None = Field(default=None, exclude_if=is_absent)

    @model_validator(mode="after")
    def _has_points_for_one_template(self) -> "DimReport":
        _require_rising_points(self.operating_points)
        return self


def _require_rising_points(by_count: Mapping[str, Sequence[OperatingPoint]]) -> None:
    if not by_count.get("1"):
        raise ValueError("operating_points must hold at least those of a reference of one template")
    for points in by_count.values():
        rates = [point.fmr for point in points]
        if rates != sorted(set(rates), reverse=True):
            raise ValueError("operating points must fall in fmr, without repeats")
        thresholds = [point.threshold for point in points]
        if thresholds != sorted(thresholds):
            raise ValueError("thresholds must not fall where fmr falls")
