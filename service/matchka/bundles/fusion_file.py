"""Two modalities, one decision: calibrated log-likelihood ratios added with learned weights (late fusion)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import from_json

from matchka.bundles.content import Sha256, refuse_links, require_digest
from matchka.bundles.manifest import REPORT_NAME, DatasetUse, Manifest
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.bundles.outputs.measurements import Promise
from matchka.bundles.outputs.output import is_absent
from matchka.bundles.outputs.scoring import CosineScoring
from matchka.errors import BundleError

FUSION_NAME: Final = "fusion.json"
JOINT: Final = "+"  # joins the names of the models in a fusion's name


class _StrictModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FusedPoint(_StrictModel):
    """A false match rate and the fused log-likelihood ratio that keeps it; `estimate` as of an OperatingPoint."""

    fmr: float = Field(gt=0, lt=1)
    threshold: float = Field(allow_inf_nan=False)
    measured: bool
    estimate: float | None = Field(default=None, allow_inf_nan=False, exclude_if=is_absent)


class Fusion(_StrictModel):
    """fusion.json: how the ratios of two models at full dim become one; learned on pairs of identities of both kinds.

    Fused ratio = sum of weight * ratio, plus offset; natural logarithms.

    Attributes:
        format: of this file; that of the first has no digest, and those before the third have no `reports`.
        models: name -> version of the models it was learned with.
        reports: name -> sha256 of that bundle's report.json, its calibration and scorer; None before the third format.
        weights: name -> weight, of exactly these models.
        operating_points: for references of one template of each kind, falling in rate.
        eer: what was measured, for people to read, on the same pairs of people put together: `name/dim` -> EER alone,
            `name/dim+name/dim` -> EER of both.
        content_digest: of all the rest, by matchka.bundles.content.
        promise: how far the thresholds are kept; people by the name of the model; None where they are estimates.
    """

    format: Literal["matchka-fusion-1", "matchka-fusion-2", "matchka-fusion-3"]
    models: dict[str, str] = Field(min_length=2, max_length=2)
    reports: dict[str, Sha256] | None = Field(default=None, exclude_if=is_absent)
    weights: dict[str, float]
    offset: float = Field(allow_inf_nan=False)
    operating_points: tuple[FusedPoint, ...] = Field(min_length=1)
    eer: dict[str, float]
    datasets: tuple[DatasetUse, ...]
    promise: Promise | None = Field(default=None, exclude_if=is_absent)
    content_digest: Sha256 | None = Field(default=None, exclude_if=is_absent)

    @model_validator(mode="after")
    def _is_consistent(self) -> "Fusion":
        if (self.content_digest is None) != (self.format == "matchka-fusion-1"):
            raise ValueError("content_digest belongs to matchka-fusion-2 and later, and to no earlier format")
        if (self.reports is None) != (self.format != "matchka-fusion-3"):
            raise ValueError("reports belongs to matchka-fusion-3, and to no earlier format")
        for field, named in (("weights", self.weights), ("reports", self.reports)):
            if named is not None and named.keys() != self.models.keys():
                raise ValueError(f"{field} must name exactly the models {', '.join(self.models)}")
        return self

    @property
    def name(self) -> str:
        """The name callers ask for, for example `voice+face`."""
        return JOINT.join(self.models)

    def was_learned_with(self, manifest: Manifest) -> bool:
        """Whether a bundle of one of its models has the version, calibration and scorer that it was learned with.

        Earlier formats name versions only; when they were written, all bundles compared by cosine.
        """
        if self.models[manifest.name] != manifest.version:
            return False
        if self.reports is None:
            return isinstance(manifest.output(EmbeddingOutput).scorer, CosineScoring)
        return self.reports[manifest.name] == manifest.files.get(REPORT_NAME)


def require_learned_with(fusion: Fusion, manifests: Mapping[str, Manifest]) -> None:
    """Refuse a fusion beside bundles that were measured anew since: its weights are for other ratios.

    Args:
        fusion: what was learned.
        manifests: name -> bundle's manifest; those of all its models.

    Raises: BundleError: a bundle has another calibration or another scorer than the one it was learned with.
    """
    for name in fusion.models:
        manifest = manifests[name]
        if not fusion.was_learned_with(manifest):
            raise BundleError(
                f"The fusion {fusion.name} was learned with other measurements of {name} {manifest.version} than its "
                "bundle has.",
                value=manifest.files.get(REPORT_NAME),
                remedy="Build the default models again with `matchka-export defaults`; for others learn it again with "
                f"`matchka-export fuse`, or remove its folder {fusion.name}.",
            )


def read_fusion(path: Path) -> Fusion:
    """Read a fusion.

    Raises: BundleError: no such file, not one of a fusion, or one that was edited.
    """
    try:
        document = from_json(path.read_bytes())
        fusion = Fusion.model_validate(document)
    except (OSError, ValueError) as error:
        raise BundleError(
            f"{path} cannot be read.", value=error, remedy="Build it again with `matchka-export defaults`."
        ) from error
    if fusion.content_digest is not None:
        require_digest(document, path)
    return fusion


def read_fusions(models_dir: Path) -> dict[Path, Fusion]:
    """Every fusion in a folder of bundles, by its own folder.

    Raises: BundleError: a file that is not a fusion or was edited; a symbolic link beside it.
    """
    folders = sorted(path.parent for path in models_dir.glob(f"*/{FUSION_NAME}"))
    for folder in folders:
        refuse_links(folder)
    return {folder: read_fusion(folder / FUSION_NAME) for folder in folders}
