"""ReDimNet as a frozen backbone: fixed windows of a clip -> embeddings of unit length."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor, nn

from matchka.modalities.audio.spec import AudioInputSpec
from matchka_train.backbones.auxiliary import RequiredPart
from matchka_train.backbones.speaker.redimnet.checkpoint import build_network, read_checkpoint
from matchka_train.backbones.speaker.redimnet.config import RedimnetConfig
from matchka_train.backbones.speaker.redimnet.front_end import RATE_HZ
from matchka_train.backbones.speaker.redimnet.network import Redimnet
from matchka_train.backbones.speaker.repeated_tail import RepeatedTail
from matchka_train.errors import ChecksumError
from matchka_train.weights.source import WeightSource

Layer: TypeAlias = Literal["pooled", "embedding"]

WINDOW_SAMPLES: Final = 48_000  # 3 s, the crop of the reference recipe (docs/decisions/070)
HOP_SAMPLES: Final = 24_000  # every second of a clip is heard twice, and a last window is at least half full
LEVEL_DBFS: Final = -30.0  # as every voice backbone here
SMALLEST_NORM: Final = 1e-12  # as in matchka_train.backbones.speaker.ge2e


class FrozenRedimnet(nn.Module):
    """Windows -> features of one layer, of unit length.

    Args:
        network: with its weights.
        layer: `pooled`, the features before the published head, or `embedding`, behind it.
    """

    def __init__(self, network: Redimnet, layer: Layer) -> None:
        super().__init__()
        self.tail = RepeatedTail()
        self.network = network
        self.layer = layer
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, windows: Tensor) -> Tensor:
        """Embed waveform windows: float32, (n, samples) -> (n, embedding_dim), each of unit length.

        Raises: FeatureError: windows too short for one spectrum.
        """
        filled = self.tail(windows)
        raw: Tensor = self.network.pooled(filled) if self.layer == "pooled" else self.network(filled)
        unit: Tensor = raw / torch.linalg.vector_norm(raw, dim=1, keepdim=True).clamp(min=SMALLEST_NORM)
        return unit


@dataclass(frozen=True)
class RedimnetFile:
    """A ReDimNet of any size, given as its makers' checkpoint.

    Attributes:
        checkpoint: the file.
        source: where it came from; its sha256 must be that of the file.
        name: short name.
        layer: which features are the backbone's embedding.
        window_samples: of one window.
        hop_samples: between windows.
    """

    checkpoint: Path
    source: WeightSource
    name: str = "redimnet"
    layer: Layer = "pooled"
    window_samples: int = WINDOW_SAMPLES
    hop_samples: int = HOP_SAMPLES
    auxiliary: tuple[RequiredPart, ...] = ()

    @property
    def input(self) -> AudioInputSpec:
        """Windows of a clip; they share no context, because the front end reflects their ends."""
        return AudioInputSpec(
            sample_rate_hz=RATE_HZ,
            window_samples=self.window_samples,
            hop_samples=self.hop_samples,
            context_samples=0,
            level_dbfs=LEVEL_DBFS,
        )

    @cached_property
    def config(self) -> RedimnetConfig:
        """The network the checkpoint describes.

        Raises: ChecksumError, WeightsError: as module.
        """
        return read_checkpoint(self.checkpoint, self._content())[0]

    @property
    def embedding_dim(self) -> int:
        """Components of the layer; 2,304 pooled ones for the published b2, or 192 of its embedding."""
        return self.config.pooled_dim if self.layer == "pooled" else self.config.embed_dim

    @property
    def published(self) -> "RedimnetFile":
        """The network with its makers' own head."""
        if self.layer == "embedding":
            return self
        return replace(self, layer="embedding", name=f"{self.name}-published")

    def module(self) -> FrozenRedimnet:
        """The frozen network in evaluation mode: rows -> embeddings.

        Raises:
            ChecksumError: the file is not the one its source names, or not there.
            WeightsError: it is no checkpoint of a ReDimNet, is damaged, or would run code.
        """
        config, state = read_checkpoint(self.checkpoint, self._content())
        return FrozenRedimnet(build_network(self.checkpoint, config, state), self.layer)

    def _content(self) -> bytes:
        try:
            content = self.checkpoint.read_bytes()
        except OSError as error:
            raise ChecksumError(
                f"{self.checkpoint} cannot be read.", value=error, remedy="Check the path of the checkpoint."
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if found != self.source.sha256:
            raise ChecksumError(
                f"{self.checkpoint} must have sha256 {self.source.sha256}.",
                value=found,
                remedy="Bring the file it names.",
            )
        return content
