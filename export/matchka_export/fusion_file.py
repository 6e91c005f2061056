"""A fusion on disk: numbers that name the versions of the two models they hold for; imports nothing heavy."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from matchka.bundles.bundle import Bundle
from matchka.bundles.manifest import DatasetUse
from matchka_export.errors import EvidenceError

FUSION_NAME: Final = "fusion.json"  # as the service reads it
JOINT: Final = "+"


class FusedPoint(BaseModel):
    """A false match rate and the fused log-likelihood ratio that keeps it, for references of one template."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fmr: float = Field(gt=0, lt=1)
    threshold: float
    measured: bool


class FusionFile(BaseModel):
    """fusion.json: fused ratio = sum of weight * ratio of each model, plus offset; natural logarithms, full dims.

    Attributes:
        models: name -> version they were learned with.
        weights: name -> weight.
        operating_points: falling in rate.
        eer: `name/dim` -> EER alone, `name/dim+name/dim` -> EER of both, on the same chimeric pairs.
        datasets: who was put together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["matchka-fusion-1"] = "matchka-fusion-1"
    models: dict[str, str] = Field(min_length=2, max_length=2)
    weights: dict[str, float]
    offset: float
    operating_points: tuple[FusedPoint, ...]
    eer: dict[str, float]
    datasets: tuple[DatasetUse, ...]


def read_fusion(path: Path) -> FusionFile:
    """Read a fusion.

    Raises: EvidenceError: no such file, or not one of a fusion.
    """
    try:
        return FusionFile.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise EvidenceError(
            f"The fusion {path} cannot be read.", value=error, remedy="Learn it with `matchka-export fuse`."
        ) from error


def write_fusion(path: Path, fusion: FusionFile) -> None:
    """Write a fusion; the file is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(fusion.model_dump_json(indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def install_fusion(shipped: Path, bundles: Mapping[str, Bundle], models_dir: Path) -> Path | None:
    """Put the shipped fusion beside the bundles, if it was learned with exactly these versions.

    Args:
        shipped: the fusion's file.
        bundles: name -> bundle on disk.
        models_dir: folder of the bundles.

    Returns: the file written, or None: weights learned with other versions would not hold, and one that lies there is
        taken away.

    Raises: EvidenceError: the shipped file cannot be read.
    """
    fusion = read_fusion(shipped)
    target = models_dir / JOINT.join(fusion.models) / FUSION_NAME
    versions = {name: bundle.manifest.version for name, bundle in bundles.items()}
    if any(versions.get(name) != version for name, version in fusion.models.items()):
        target.unlink(missing_ok=True)
        return None
    if not target.is_file() or target.read_bytes() != shipped.read_bytes():
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{FUSION_NAME}.partial")
        partial.write_bytes(shipped.read_bytes())
        partial.replace(target)
    return target
