"""What an ONNX file says of its input, as the keys of a recipe; the rest is asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from matchka.errors import BundleError
from matchka.inference.session import open_ort_session
from matchka_train.backbones.face.edgeface import EDGEFACE_INPUT
from matchka_train.backbones.onnx_file import THREADS
from matchka_train.backbones.speaker.fbank import FRAME_MS, HOP_MS
from matchka_train.errors import BackboneFileError

Axes = tuple[int | str | None, ...]
BESIDE: Final = (".yaml", ".yml")  # of a file that says what the graph does not
LEVEL_DBFS: Final = -30.0  # as every voice backbone here


@dataclass(frozen=True)
class Declared:
    """What the user says of a file.

    Attributes:
        sample_rate_hz: of the audio it was trained on.
        window_s: length of a window, where the file leaves it free.
        fbank: the taper of the filter bank, where it takes mel frames.
    """

    sample_rate_hz: int = 16_000
    window_s: float = 3.0
    fbank: str | None = None


def recipe_of_file(path: Path, declared: Declared) -> dict[str, Any]:
    """The `backbone` keys of an ONNX file: those of the YAML file beside it, or what its input and output show.

    Args:
        path: the file.
        declared: what the user says of it.

    Raises: BackboneFileError: it is no graph, or takes something that no front end makes.
    """
    keys = {"kind": "onnx", "path": str(path)}
    for suffix in BESIDE:
        beside = path.with_suffix(suffix)
        if beside.is_file():
            return {**keys, **_read(beside)}
    try:
        session = open_ort_session(path, THREADS)
    except BundleError as error:
        raise BackboneFileError(error.detail, value=error.value, remedy="Bring an ONNX file.") from error
    inputs = [(entry.type, tuple(entry.shape)) for entry in session.get_inputs()]
    outputs = [(entry.type, tuple(entry.shape)) for entry in session.get_outputs()]
    if len(inputs) != 1 or len(outputs) != 1 or isinstance(inputs[0][1][0] if inputs[0][1] else 1, int):
        raise _unknown(path, inputs, "It must have one input and one output, with a free batch axis.")
    (kind, axes), (_, returned) = inputs[0], outputs[0]
    reader = _READERS.get((kind, len(axes)))
    if reader is None:
        raise _unknown(path, inputs, "")
    if len(returned) != 2 or not isinstance(returned[1], int):
        raise BackboneFileError(
            f"{path} does not say how many components an embedding has.",
            value=outputs,
            remedy=f"Write {path.with_suffix(BESIDE[0]).name} beside it, with embedding_dim, input and front_end.",
        )
    return {**keys, **reader(path, axes, declared), "embedding_dim": returned[1]}


def _windows(_path: Path, axes: Axes, declared: Declared) -> dict[str, Any]:
    """float32 (batch, samples)."""
    samples = axes[1] if isinstance(axes[1], int) else round(declared.window_s * declared.sample_rate_hz)
    return {"input": _audio(samples, declared)}


def _frames(path: Path, axes: Axes, declared: Declared) -> dict[str, Any]:
    """float32 (batch, frames, bands)."""
    bands = axes[2]
    if not isinstance(bands, int):
        raise _unknown(path, [axes], "The last axis of a mel matrix must be its bands.")
    if declared.fbank is None:
        raise BackboneFileError(
            f"{path} takes mel frames of {bands} bands, and does not say how they are made.",
            value=axes,
            remedy="Give --fbank hamming for files of WeSpeaker, --fbank povey where Kaldi's default was trained with.",
        )
    frame, hop = (declared.sample_rate_hz * length // 1000 for length in (FRAME_MS, HOP_MS))
    free = round(declared.window_s * declared.sample_rate_hz)
    samples = frame + hop * (axes[1] - 1) if isinstance(axes[1], int) else free
    front_end = {"kind": "kaldi_fbank", "bands": bands, "taper": declared.fbank}
    return {"input": _audio(samples, declared), "front_end": front_end}


def _chips(path: Path, axes: Axes, _declared: Declared) -> dict[str, Any]:
    """uint8 (batch, side, side, 3)."""
    if axes[1] != axes[2] or axes[3] != 3:
        raise _unknown(path, [axes], "Pictures must be square, with three channels last.")
    return {"input": _faces(axes[1])}


def _pixels(path: Path, axes: Axes, _declared: Declared) -> dict[str, Any]:
    """float32 (batch, 3, side, side)."""
    if axes[2] != axes[3] or axes[1] != 3:
        raise _unknown(path, [axes], "Pictures must be square, with three channels first.")
    return {"input": _faces(axes[2]), "front_end": {"kind": "pixels"}}


_READERS: Final[Mapping[tuple[str, int], Callable[[Path, Axes, Declared], dict[str, Any]]]] = {
    ("tensor(float)", 2): _windows,
    ("tensor(float)", 3): _frames,
    ("tensor(uint8)", 4): _chips,
    ("tensor(float)", 4): _pixels,
}


def _audio(samples: int, declared: Declared) -> dict[str, Any]:
    return {
        "kind": "audio",
        "sample_rate_hz": declared.sample_rate_hz,
        "window_samples": samples,
        "hop_samples": (samples + 1) // 2,
        "context_samples": 0,
        "level_dbfs": LEVEL_DBFS,
    }


def _faces(side: int | str | None) -> dict[str, Any]:
    """Chips aligned as ArcFace's, scaled to the side; 112 pixels where it is free."""
    chip_px = side if isinstance(side, int) else EDGEFACE_INPUT.chip_px
    scale = chip_px / EDGEFACE_INPUT.chip_px
    points = [[scale * x, scale * y] for x, y in EDGEFACE_INPUT.template_points]
    weights = list(EDGEFACE_INPUT.template_weights)
    return {"kind": "image", "chip_px": chip_px, "template_points": points, "template_weights": weights}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BackboneFileError(f"{path} cannot be read.", value=error, remedy="Check its YAML.") from error
    if not isinstance(content, dict):
        raise BackboneFileError(
            f"{path} must hold keys of a recipe's backbone.", value=content, remedy="For example embedding_dim: 256."
        )
    return content


def _unknown(path: Path, found: object, reason: str) -> BackboneFileError:
    return BackboneFileError(
        f"{path} takes something that cannot be made of a recording or a picture. {reason}".rstrip(),
        value=found,
        remedy="Known are float32 (batch, samples), float32 (batch, frames, bands), uint8 (batch, side, side, 3) and "
        "float32 (batch, 3, side, side); export it again so.",
    )
