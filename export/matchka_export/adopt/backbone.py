"""The `backbone` of a recipe, from a name of the catalogue or a file."""

import re
from pathlib import Path
from typing import Any, Final

from matchka_train.backbones.onnx_interface import Declared, recipe_of_file
from matchka_train.errors import BackboneFileError, UnknownWeightsError
from matchka_train.weights.hub import HubWeights, named

LONGEST_NAME: Final = 64


def published(name_or_file: str, downloads_dir: Path) -> HubWeights | None:
    """The catalogue's entry; None where there is a file or folder of that path.

    Args:
        name_or_file: a name of `matchka-train backbones list`, or a path.
        downloads_dir: folder of what is fetched, and of a catalogue of the user's own.

    Raises: UnknownWeightsError: neither. CatalogueError: the user's own catalogue is none.
    """
    if Path(name_or_file).exists():
        return None
    try:
        return named(name_or_file, downloads_dir)
    except UnknownWeightsError as error:
        raise UnknownWeightsError(
            "No file is there, and no weights of this name are known.", value=name_or_file, remedy=error.remedy
        ) from error


def backbone_of_file(path: Path, kind: str | None, declared: Declared, licence: str | None) -> dict[str, Any]:
    """The `backbone` keys of a file or folder on this machine.

    Args:
        path: an ONNX file, a checkpoint, or a folder of a speech transformer.
        kind: of backbone, for what is no ONNX file.
        declared: what the user says of an ONNX file's input.
        licence: of the weights, for the bundle.

    Raises: BackboneFileError: the kind cannot be told, or the ONNX file takes something unknown.
    """
    said = {} if licence is None else {"licence": licence}
    if path.suffix == ".onnx" and kind in (None, "onnx"):
        return {"name": model_name(path.stem), **recipe_of_file(path, declared), **said}
    if kind is None and (path / "config.json").is_file():
        kind = "speech_transformer"
    if kind is None:
        raise BackboneFileError(
            "A checkpoint does not say which network it belongs to.",
            value=path,
            remedy="Give --kind redimnet, or --kind edgeface with --set backbone.variant=xs.",
        )
    return {"kind": kind, "path": str(path), **said}


def model_name(text: str) -> str:
    """A name that recipes and bundles may have.

    >>> model_name("wespeaker-voxceleb-resnet34-LM"), model_name("S-vb2+vox2.onnx")
    ('wespeaker-voxceleb-resnet34-lm', 's-vb2-vox2-onnx')
    """
    return re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:LONGEST_NAME] or "model"
