"""Bundles: their dims, rates, sources and calibration."""

from typing import Any, Literal

from pydantic import Field

from matchka.client.answers.answer import Answer


class Metrics(Answer):
    """Verification accuracy in one domain: rates are fractions in [0, 1]; counts say how much they rest on."""

    eer: float
    min_dcf: float
    tar_at_fmr: dict[str, float]
    subjects: int
    mated_pairs: int
    non_mated_pairs: int


class OperatingPoint(Answer):
    """A false match rate and the threshold of similarity that keeps it; `measured` is false where it was extrapolated.

    `threshold` keeps the rate as the `promise` of the dim says; `estimate` keeps it for the very `people` it was set
    with. Without a promise both are absent, and the threshold is an estimate.
    """

    fmr: float
    threshold: float
    measured: bool
    estimate: float | None = None
    people: int | None = None


class Promise(Answer):
    """How far thresholds are kept for people who were never seen: in the share `confidence` of `resamples` draws.

    `people` are those drawn from, by domain; `selected_on` says what else they decided.
    """

    confidence: float
    method: str
    resamples: int
    seed: int
    people: dict[str, int]
    selected_on: Literal["nothing", "these people"]


class Calibration(Answer):
    """Log-likelihood ratio (natural logarithm) = scale * similarity + offset, with its cost on held-out identities."""

    scale: float
    offset: float
    cllr: float
    min_cllr: float


class GalleryThresholds(Answer):
    """Thresholds that keep an FPIR: a row for each of `max_fpirs`, a column for each of `gallery_sizes`."""

    max_fpirs: tuple[float, ...]
    gallery_sizes: tuple[int, ...]
    thresholds: tuple[tuple[float, ...], ...]


class GateComparison(Answer):
    """The EER of a dim beside that of a reference in one domain; `upper` bounds the difference at `confidence`."""

    reference: str
    unit: str
    eer: float
    reference_eer: float
    upper: float
    margin: float
    subjects: int
    mated_pairs: int
    confidence: float
    resamples: int
    verdict: Literal["passed", "refused", "undecidable"]


class BandReport(Answer):
    """What decides in one band of an embedding's condition; keyed as in a DimReport.

    `metrics` and `gate` are empty where a band was not measured for itself.
    """

    metrics: dict[str, Metrics] = Field(default_factory=dict)
    calibration: dict[str, Calibration]
    operating_points: dict[str, tuple[OperatingPoint, ...]]
    identification: dict[str, GalleryThresholds] = Field(default_factory=dict)
    gate: dict[str, GateComparison] = Field(default_factory=dict)


class DimOrder(Answer):
    """The EER of a dim minus that of the next shorter one; with `lower` above 0 the longer one is worse."""

    against_dim: int
    difference: float
    lower: float


class DimReport(Answer):
    """All that was measured at one dim. Metrics, `gate` and `order` are keyed by domain.

    Calibration, operating points and identification are keyed by the number of templates ("1", "3"). `bands` are those
    of the embedding's condition, the worst first; the dim's own figures are then of all together.
    """

    metrics: dict[str, Metrics]
    backbone_metrics: dict[str, Metrics]
    calibration: dict[str, Calibration]
    operating_points: dict[str, tuple[OperatingPoint, ...]]
    identification: dict[str, GalleryThresholds] = Field(default_factory=dict)
    gate: dict[str, GateComparison] = Field(default_factory=dict)
    order: dict[str, DimOrder] = Field(default_factory=dict)
    promise: Promise | None = None
    bands: tuple[BandReport, ...] | None = None


class Source(Answer):
    """Where a part of a bundle came from: its place, version, sha256 of the file taken, and licence."""

    name: str
    source: str
    version: str
    sha256: str
    licence: str


class DatasetUse(Answer):
    """A data set that shaped or measured a bundle, its licence and what it was used for."""

    name: str
    source: str
    licence: str
    use: str


class ModelAnswer(Answer):
    """A served bundle: what it takes and returns, the dims of its embedding, and for each what was measured.

    `input` is how samples become what the graph takes, for example the sizes of faces that are enhanced before.
    `outputs` are by name; each has a `kind` and what belongs to it, for example `labels`. Of older services
    there are none, nor an input, and both memories are 0.
    A bundle without an embedding has no dims, and a full_dim of 0.
    Enrolments go to the `current` version of a name. `subjects` are those that this version answers for;
    `subjects_to_reenroll` those that have no template of the current one.

    Two measures of its memory: `graph_bytes`, what the weights of its graphs take, which is the size of their files,
    each as often as it is opened; `gallery_bytes`, what the references of `subjects` take, with all that searches keep
    beside them. What runs and requests need while they last is in neither, nor what a GPU holds of a gallery.

    `graph` is what the graph that runs here computes in: `float`, or `int8` where the bundle has one for this CPU.
    """

    name: str
    version: str
    task: str
    input_kind: str
    input: dict[str, Any] = Field(default_factory=dict)
    outputs: dict[str, dict[str, Any]] = Field(default_factory=dict)
    full_dim: int
    dims: list[int]
    per_dim: dict[str, DimReport]
    backbone: Source
    projection: Source
    datasets: list[DatasetUse]
    accepted_worse: str | None
    current: bool
    subjects: int
    subjects_to_reenroll: int
    graph_bytes: int = 0
    gallery_bytes: int = 0
    graph: str = "float"


class ModelsAnswer(Answer):
    """Every served bundle, and the kinds of challenges that are given: none where an older service does not tell."""

    models: list[ModelAnswer]
    challenges: list[str] = Field(default_factory=list)
