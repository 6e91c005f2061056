"""A head with the encoders that it was trained on, opened."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from matchka.bundles.bundle import sha256_of
from matchka.modalities.audio.spec import AudioInputSpec
from matchka_export.errors import ParityError
from matchka_export.phonemes.graph import ClipsToPosteriors, clip_spec
from matchka_train.backbones.frames.encoder import GraphFrameEncoder
from matchka_train.backbones.frames.ge2e import Ge2eFrames
from matchka_train.backbones.frames.log_mel import LogMel
from matchka_train.heads.phones.storage import HeadInfo, load_head, require_encoders

# encoders that a fresh machine has: others are for experiments, and their weights are no part of this project
OPENERS: Final[Mapping[str, Callable[[Path], GraphFrameEncoder]]] = {
    "ge2e": Ge2eFrames,
    "log_mel": lambda _: LogMel(),
}


@dataclass(frozen=True)
class OpenedHead:
    """A head behind its encoders.

    Attributes:
        model: clips -> log-posteriors.
        info: what the head's file says of it.
        encoders: in the order in which the head takes them.
        sha256: of the head's file.
    """

    model: ClipsToPosteriors
    info: HeadInfo
    encoders: tuple[GraphFrameEncoder, ...]
    sha256: str

    @property
    def spec(self) -> AudioInputSpec:
        """The input of its graph."""
        return clip_spec(self.encoders[0].input)

    @property
    def encoder_sha256(self) -> tuple[str, ...]:
        """Of the weights of each encoder."""
        return tuple(encoder.source.sha256 for encoder in self.encoders)


def open_head(path: Path, downloads: Path) -> OpenedHead:
    """Read a head and the encoders that it names.

    Args:
        path: the head's file.
        downloads: the folder that keeps package files.

    Raises:
        HeadError: not such a file.
        ParityError: an encoder that no graph of ours can hold.
        CheckpointError: it was trained on other weights.
        DownloadError, ChecksumError: the weights are not to be had, or are others.
    """
    head, info = load_head(path)
    unknown = [encoder.name for encoder in info.encoders if encoder.name not in OPENERS]
    if unknown:
        raise ParityError(
            "The head reads from encoders that a bundle cannot hold.",
            value=", ".join(unknown),
            remedy=f"Train it on {' and '.join(OPENERS)}.",
        )
    encoders = tuple(OPENERS[encoder.name](downloads) for encoder in info.encoders)
    require_encoders(info, encoders)
    model = ClipsToPosteriors([encoder.module() for encoder in encoders], head)
    return OpenedHead(model, info, encoders, sha256_of(path))
