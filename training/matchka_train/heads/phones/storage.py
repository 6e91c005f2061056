"""A trained head on disk: one .safetensors file that says what it is and which encoders it belongs to."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from safetensors import SafetensorError

from matchka_train.backbones.frames.encoder import FrameEncoder
from matchka_train.errors import CheckpointError, HeadError
from matchka_train.heads.phones.head import EncoderShape, PhoneHead
from matchka_train.heads.phones.recipe import HeadRecipe
from matchka_train.weights.tensor_file import read_tensors, write_tensors

FORMAT: Final = "matchka-phone-head-1"


@dataclass(frozen=True)
class EncoderInfo:
    """An encoder that a head was trained on; it fits no other.

    Attributes:
        name: short name.
        sha256: of its weights.
        layers: of each frame.
        dim: components of each layer.
    """

    name: str
    sha256: str
    layers: int
    dim: int


@dataclass(frozen=True)
class HeadInfo:
    """What a head's file says about itself.

    Attributes:
        recipe: the head's parts.
        encoders: in the order in which the head takes them.
        classes: what comes out: the blank, then the phones.
        frame_period_s: from one frame to the next.
        datasets: {name, source, licence, use} of what it was trained on and measured on.
        record: hashes of the recipe and of what each data set held.
    """

    recipe: HeadRecipe
    encoders: tuple[EncoderInfo, ...]
    classes: tuple[str, ...]
    frame_period_s: float
    datasets: tuple[dict[str, str], ...] = ()
    record: Mapping[str, str] = field(default_factory=dict)

    def build(self) -> PhoneHead:
        """A head of this kind, at a random start."""
        shapes = [EncoderShape(encoder.layers, encoder.dim) for encoder in self.encoders]
        return PhoneHead(self.recipe, shapes, len(self.classes))


def encoder_info(encoder: FrameEncoder) -> EncoderInfo:
    """What a head's file says of an encoder."""
    return EncoderInfo(encoder.name, encoder.source.sha256, encoder.layers, encoder.dim)


def save_head(path: Path, head: PhoneHead, info: HeadInfo) -> None:
    """Write a head.

    Args:
        path: ends in .safetensors.
        head: of the kind that `info` builds.
        info: goes into the file's metadata.
    """
    description = {
        "format": FORMAT,
        "recipe": info.recipe.model_dump_json(),
        "encoders": json.dumps([asdict(encoder) for encoder in info.encoders]),
        "classes": json.dumps(info.classes),
        "frame_period_s": json.dumps(info.frame_period_s),
        "datasets": json.dumps(info.datasets),
        "record": json.dumps(dict(info.record)),
    }
    write_tensors(path, head.state_dict(), description)


def load_head(path: Path) -> tuple[PhoneHead, HeadInfo]:
    """Read a head: the module in evaluation mode, its parameters frozen, and what it is.

    Raises: HeadError: not such a file.
    """
    try:
        tensors, written = read_tensors(path)
        if written.pop("format", None) != FORMAT:
            raise HeadError("The file is not a phone head of this project.", value=path, remedy=_FIT)
        values = {name: json.loads(value) for name, value in written.items()}
        info = HeadInfo(
            HeadRecipe.model_validate(values["recipe"]),
            tuple(EncoderInfo(**entry) for entry in values["encoders"]),
            tuple(values["classes"]),
            values["frame_period_s"],
            tuple(values["datasets"]),
            values["record"],
        )
        head = info.build()
        head.load_state_dict(tensors)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, ValidationError, RuntimeError) as error:
        raise HeadError(f"The head {path} cannot be read.", value=error, remedy=_FIT) from error
    return head.eval().requires_grad_(requires_grad=False), info


def require_encoders(info: HeadInfo, encoders: Sequence[FrameEncoder]) -> None:
    """Refuse a head that was trained on other encoders.

    Raises: CheckpointError.
    """
    found = tuple(encoder_info(encoder) for encoder in encoders)
    if found != info.encoders:
        raise CheckpointError(
            "The head was trained on other encoders.", value=found, remedy="Train again on these encoders."
        )


_FIT: Final = "Train one with `matchka-train run`."
