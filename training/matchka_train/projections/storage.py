"""A fitted projection on disk: one .safetensors file that says what it is and which backbone it belongs to."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError

from matchka_train.backbones.backbone import Backbone
from matchka_train.errors import CheckpointError, ProjectionError
from matchka_train.projections.affine import AffineProjection
from matchka_train.projections.layer_sum import LayerSum, SummedProjection
from matchka_train.projections.mlp import MlpProjection, MlpRecipe
from matchka_train.weights.tensor_file import read_tensors, write_tensors

FORMAT: Final = "matchka-projection-1"
AFFINE: Final = "affine"
MLP: Final = "mlp"
LAYER_SUM: Final = "layer_sum"


@dataclass(frozen=True)
class ProjectionInfo:
    """What a projection file says about itself.

    Attributes:
        family: how it was fitted (rotation, whitening, linear, mlp, ...).
        kind: what it is: affine (weight, bias), layer_sum (weights of layers before an affine one) or mlp.
        dims: the dims it was trained and validated for, rising; the last is full_dim.
        backbone: name of the backbone.
        backbone_sha256: of the backbone's weights; it fits no other.
        datasets: JSON list of {name, source, licence, use} of what it was fitted on and validated on.
        record: hashes of the recipe and of what each data set held; empty in files written before there were any.
    """

    family: str
    kind: str
    dims: tuple[int, ...]
    backbone: str
    backbone_sha256: str
    datasets: tuple[dict[str, str], ...]
    record: Mapping[str, str] = field(default_factory=dict)


def save_projection(path: Path, module: torch.nn.Module, info: ProjectionInfo) -> None:
    """Write a projection.

    Args:
        path: ends in .safetensors.
        module: an AffineProjection, SummedProjection or MlpProjection.
        info: goes into the file's metadata; its kind is that of the module.

    Raises: ProjectionError: a module of another kind.
    """
    info = replace(info, kind=_kind_of(module))
    metadata = {name: json.dumps(value) for name, value in asdict(info).items()} | {"format": FORMAT}
    write_tensors(path, module.state_dict(), metadata)


def load_projection(path: Path) -> tuple[torch.nn.Module, ProjectionInfo]:
    """Read a projection: the module (n, in_dim) -> (n, full_dim) in evaluation mode, and what it is.

    Raises: ProjectionError: not such a file.
    """
    try:
        tensors, metadata = read_tensors(path)
        if metadata.pop("format", None) != FORMAT:
            raise ProjectionError("The file is not a projection of this project.", value=path, remedy=_FIT)
        values = {name: json.loads(value) for name, value in metadata.items()}
        info = ProjectionInfo(**values | {"dims": tuple(values["dims"]), "datasets": tuple(values["datasets"])})
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ProjectionError(f"The projection {path} cannot be read.", value=error, remedy=_FIT) from error
    return _rebuild(info.kind, tensors).eval(), info


def require_backbone(info: ProjectionInfo, backbone: Backbone) -> None:
    """Refuse a projection that was fitted on another backbone.

    Raises: CheckpointError.
    """
    if (info.backbone, info.backbone_sha256) != (backbone.name, backbone.source.sha256):
        raise CheckpointError(
            f"The projection was fitted on the backbone {info.backbone} with sha256 {info.backbone_sha256}.",
            value=f"{backbone.name}, {backbone.source.sha256}",
            remedy="Train again on this backbone.",
        )


def _kind_of(module: torch.nn.Module) -> str:
    if isinstance(module, AffineProjection):
        return AFFINE
    if isinstance(module, SummedProjection):
        return LAYER_SUM
    if isinstance(module, MlpProjection):
        return MLP
    raise ProjectionError(
        "Such a module cannot be saved.", value=type(module).__name__, remedy="Save module.exported()."
    )


def _rebuild(kind: str, tensors: dict[str, torch.Tensor]) -> torch.nn.Module:
    if kind == AFFINE and set(tensors) == {"weight", "bias"}:
        return AffineProjection(tensors["weight"].numpy(), tensors["bias"].numpy())
    if kind == LAYER_SUM and set(tensors) == {"layer_sum.weights", "affine.weight", "affine.bias"}:
        affine = AffineProjection(tensors["affine.weight"].numpy(), tensors["affine.bias"].numpy())
        return SummedProjection(LayerSum(tensors["layer_sum.weights"]), affine)
    if kind == MLP and {"first.weight", "second.weight"} <= set(tensors):
        hidden, in_dim = tensors["first.weight"].shape
        module = MlpProjection(in_dim, tensors["second.weight"].shape[0], MlpRecipe(hidden=hidden))
        module.load_state_dict(tensors)
        return module.requires_grad_(requires_grad=False)
    raise ProjectionError("The projection is of an unknown kind.", value=f"{kind}: {sorted(tensors)}", remedy=_FIT)


_FIT: Final = "Fit one with `matchka-train run`."
