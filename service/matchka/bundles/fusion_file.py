"""Two modalities, one decision: calibrated log-likelihood ratios added with learned weights (late fusion)."""

from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from matchka.bundles.manifest import DatasetUse
from matchka.errors import BundleError

FUSION_NAME: Final = "fusion.json"
JOINT: Final = "+"  # joins the names of the models in a fusion's name


class _StrictModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FusedPoint(_StrictModel):
    """A false match rate and the fused log-likelihood ratio that keeps it."""

    fmr: float = Field(gt=0, lt=1)
    threshold: float = Field(allow_inf_nan=False)
    measured: bool


class Fusion(_StrictModel):
    """fusion.json: how the ratios of two models at full dim become one; learned on pairs of identities of both kinds.

    Fused ratio = sum of weight * ratio, plus offset; natural logarithms.

    Attributes:
        models: name -> version of the models it was learned with.
        weights: name -> weight.
        operating_points: for references of one template of each kind, falling in rate.
        eer: what was measured, for people to read, on the same pairs of people put together: `name/dim` -> EER alone,
            `name/dim+name/dim` -> EER of both.
    """

    format: Literal["matchka-fusion-1"]
    models: dict[str, str] = Field(min_length=2, max_length=2)
    weights: dict[str, float]
    offset: float = Field(allow_inf_nan=False)
    operating_points: tuple[FusedPoint, ...] = Field(min_length=1)
    eer: dict[str, float]
    datasets: tuple[DatasetUse, ...]

    @property
    def name(self) -> str:
        """The name callers ask for, for example `voice+face`."""
        return JOINT.join(self.models)


def read_fusion(path: Path) -> Fusion:
    """Read a fusion.

    Raises: BundleError: no such file, or not one of a fusion.
    """
    try:
        return Fusion.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise BundleError(
            f"{path} cannot be read.", value=error, remedy="Build it again with `matchka-export defaults`."
        ) from error


def read_fusions(models_dir: Path) -> list[Fusion]:
    """Every fusion in a folder of bundles.

    Raises: BundleError: a file that is not a fusion.
    """
    return [read_fusion(path) for path in sorted(models_dir.glob(f"*/{FUSION_NAME}"))]
