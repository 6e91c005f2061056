"""A bundle: the folder that carries a model and says where every number in it came from; read and verified here."""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from matchka.errors import BundleError, UntrainedDimError
from matchka.modalities import AnyInputSpec

MANIFEST_NAME: Final = "manifest.json"
GRAPH_NAME: Final = "model.onnx"
SCHEMA_VERSION: Final = 1


TemplateCount = Annotated[str, Field(pattern=r"^[1-9][0-9]*$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Metrics(_Frozen):
    """Verification accuracy in one domain: rates are fractions in [0, 1]; counts say how much they rest on."""

    eer: float = Field(ge=0, le=1)
    min_dcf: float = Field(ge=0)
    tar_at_fmr: dict[str, float]
    subjects: int = Field(ge=2)
    mated_pairs: int = Field(ge=1)
    non_mated_pairs: int = Field(ge=1)


class OperatingPoint(_Frozen):
    """A false match rate and the cosine threshold that keeps it.

    `measured` is false where too few independent identities support the rate (rule of 30); the threshold then comes
    from a normal tail through the measured ones.
    """

    fmr: float = Field(gt=0, lt=1)
    threshold: float = Field(gt=-1, lt=1)
    measured: bool


class Calibration(_Frozen):
    """Log-likelihood ratio (natural logarithm) = scale * similarity + offset, with its cost on unseen identities."""

    scale: float = Field(gt=0, allow_inf_nan=False)
    offset: float = Field(allow_inf_nan=False)
    cllr: float = Field(ge=0)
    min_cllr: float = Field(ge=0)


class GalleryThresholds(_Frozen):
    """Cosine thresholds that keep a false positive identification rate in galleries of several sizes.

    `thresholds` has a row for each of `max_fpirs` (falling) and a column for each of `gallery_sizes` (rising). They
    come from the tails of single strangers (matchka_train.metrics.impostor_tails), measured at no more subjects than
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


class DimReport(_Frozen):
    """All that was measured at one dim. Dictionaries of metrics are keyed by domain.

    `calibration`, `operating_points` and `identification` are keyed by the number of templates in the reference ("1",
    "2", "3", "5", "10"): the mean of several templates shifts the similarities. `identification` is empty in bundles
    written before there was one, and lacks numbers of templates that too few subjects had.
    """

    metrics: dict[str, Metrics]
    backbone_metrics: dict[str, Metrics]
    calibration: dict[TemplateCount, Calibration]
    operating_points: dict[TemplateCount, tuple[OperatingPoint, ...]]
    identification: dict[TemplateCount, GalleryThresholds] = {}

    @model_validator(mode="after")
    def _has_points_for_one_template(self) -> "DimReport":
        if not self.operating_points.get("1"):
            raise ValueError("operating_points must hold at least those of a reference of one template")
        for points in self.operating_points.values():
            rates = [point.fmr for point in points]
            if rates != sorted(set(rates), reverse=True):
                raise ValueError("operating points must fall in fmr, without repeats")
            thresholds = [point.threshold for point in points]
            if thresholds != sorted(thresholds):
                raise ValueError("thresholds must not fall where fmr falls")
        return self


class Source(_Frozen):
    """Where a part came from: its place, version, sha256 of the file taken, and licence."""

    name: str
    source: str
    version: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    licence: str


class DatasetUse(_Frozen):
    """A data set that shaped or measured the bundle, its licence and what it was used for."""

    name: str
    source: str
    licence: str
    use: str


class Detector(_Frozen):
    """The graphs that find faces, and where they came from; each takes `pixels`, uint8 (n, rows, columns, 3)."""

    kind: Literal["mtcnn"]
    sources: dict[Literal["pnet.onnx", "rnet.onnx", "onet.onnx"], Source] = Field(min_length=3)


class SpeechActivity(_Frozen):
    """The graph `speech.onnx` that tells speech from other sounds at enrolment, and where it came from."""

    kind: Literal["silero"]
    source: Source


class Output(_Frozen):
    """What the graph returns; only embeddings are served today."""

    kind: Literal["embedding"]


class Manifest(_Frozen):
    """The whole of manifest.json."""

    schema_version: Literal[1]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    version: str = Field(pattern=r"^[0-9A-Za-z.+-]{1,64}$")
    task: str
    input: AnyInputSpec
    detector: Detector | None = None
    speech_activity: SpeechActivity | None = None  # bundles written before there was one judge by level alone
    output: Output
    full_dim: int = Field(gt=0)
    dims: tuple[int, ...]
    per_dim: dict[str, DimReport]
    backbone: Source
    projection: Source
    datasets: tuple[DatasetUse, ...]
    files: dict[str, str]
    libraries: dict[str, str]
    accepted_worse: str | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> "Manifest":
        if list(self.dims) != sorted(set(self.dims)) or not self.dims or self.dims[-1] != self.full_dim:
            raise ValueError("dims must rise, without repeats, and end with full_dim")
        if set(self.per_dim) != {str(dim) for dim in self.dims}:
            raise ValueError("per_dim must have exactly one entry for each of dims")
        known, named = self.input.auxiliary_graphs(), self._named_graphs
        if wrong := named - known.keys():
            raise ValueError(f"{', '.join(sorted(wrong))} does not belong to this input of the kind {self.input.kind}")
        if missing := {name for name, graphs in known.items() if graphs.required} - named:
            raise ValueError(f"an input of the kind {self.input.kind} needs {', '.join(sorted(missing))}")
        graphs = {GRAPH_NAME, *self.auxiliary_files}
        if not graphs <= set(self.files):
            raise ValueError(f"files must hold the sha256 of {', '.join(sorted(graphs))}")
        return self

    @property
    def auxiliary_files(self) -> frozenset[str]:
        """Files of the graphs that stand beside the one that embeds."""
        known = self.input.auxiliary_graphs()
        return frozenset(file for name in self._named_graphs for file in known[name].files)

    @property
    def _named_graphs(self) -> set[str]:
        return {name for name in ("detector", "speech_activity") if getattr(self, name) is not None}

    def require_dim(self, dim: int | None) -> int:
        """The dim asked for, or full_dim where none was; refuses one that was not trained.

        Raises: UntrainedDimError: dim is not one of dims.
        """
        if dim is None:
            return self.full_dim
        if dim not in self.dims:
            allowed = ", ".join(str(known) for known in self.dims)
            raise UntrainedDimError(
                f"Model {self.name} {self.version} was trained and validated at the dims {allowed}.",
                value=dim,
                remedy=f"Ask for one of {allowed}, or leave dim out for {self.full_dim}.",
            )
        return dim


_REBUILD: Final = "Build the bundle again with `matchka-export defaults`."


def read_manifest(path: Path) -> Manifest:
    """Read a bundle's manifest; the files it names are not looked at.

    Raises: BundleError: there is none, or it does not validate.
    """
    try:
        text = (path / MANIFEST_NAME).read_text(encoding="utf-8")
        return Manifest.model_validate_json(text)
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"The manifest of {path} cannot be read.", value=error, remedy=_REBUILD) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise BundleError(
            f"The manifest of {path} is not valid at {where}: {first['msg']}.", value=first["input"], remedy=_REBUILD
        ) from error
