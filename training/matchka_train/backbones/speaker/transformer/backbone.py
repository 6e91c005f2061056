"""HuBERT, wav2vec 2.0 or WavLM as a frozen backbone: windows -> statistics of all layers, apart or summed."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from matchka.modalities.audio.spec import AudioInputSpec
from matchka_train.backbones.auxiliary import RequiredPart
from matchka_train.backbones.speaker.transformer.folder import (
    SpeechFacts,
    load_transformer,
    read_speech_facts,
    weights_sha256,
)
from matchka_train.backbones.speaker.transformer.network import SMALLEST_NORM, LayerStatistics
from matchka_train.errors import ChecksumError, FeatureError
from matchka_train.weights.source import WeightSource

# Windows of 3 s, one every 2 s: the networks were trained on clips, not on windows of 1.6 s; and because each
# window overlaps the next by 1 s, no window but that of a short clip holds less than 1 s (docs/decisions/072).
WINDOW_S: Final = 3.0
HOP_S: Final = 2.0
LEVEL_DBFS: Final = -30.0  # as GE2E; without effect where the network normalises its input
NAME_DIGITS: Final = 8


class WindowStatistics(nn.Module):
    """Windows -> the statistics of every layer behind one another, or their weighted sum; of unit length.

    A window is a waveform and the zeros it is padded with: exact zeros at its end are no part of it.

    Args:
        statistics: of waveforms of stated lengths.
        layer_weights: (layers,), summing to 1, for the sum; None keeps the layers apart.
    """

    layer_weights: Tensor | None

    def __init__(self, statistics: LayerStatistics, layer_weights: tuple[float, ...] | None) -> None:
        super().__init__()
        self.statistics = statistics
        self.shortest = statistics.facts.receptive_samples
        weights = None if layer_weights is None else torch.tensor(layer_weights, dtype=torch.float32)
        self.register_buffer("layer_weights", weights)
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, windows: Tensor) -> Tensor:
        """Embed windows: float32, (n, window_samples) -> (n, layers * 2 * hidden), or (n, 2 * hidden) for the sum."""
        layers = self.statistics(windows, self._lengths(windows))
        joined = layers.flatten(1) if self.layer_weights is None else (layers * self.layer_weights[:, None]).sum(dim=1)
        return nn.functional.normalize(joined, dim=1, eps=SMALLEST_NORM)

    def _lengths(self, windows: Tensor) -> Tensor:
        """Samples up to the last that is not zero; at least one frame's worth, so that silence has an embedding too."""
        counted = torch.arange(1, windows.shape[1] + 1, device=windows.device)
        return torch.clamp(((windows != 0) * counted).amax(dim=1), min=self.shortest)


@dataclass(frozen=True)
class SpeechTransformer:
    """A transformer out of a folder on this machine; see open_speech_transformer.

    Attributes:
        folder: holds the network.
        source: where it came from; its sha256 must be that of the weights.
        facts: what the folder says of the network.
        layer_weights: weight of each layer in the sum, summing to 1; None keeps the layers apart.
        input: the windows it takes.
    """

    folder: Path
    source: WeightSource
    facts: SpeechFacts
    layer_weights: tuple[float, ...] | None
    input: AudioInputSpec
    auxiliary: tuple[RequiredPart, ...] = ()

    @property
    def name(self) -> str:
        """The kind of network, and how its layers are put together."""
        if self.layer_weights is None:
            return f"{self.facts.kind}-layers"
        if len(set(self.layer_weights)) == 1:
            return f"{self.facts.kind}-mean"
        digest = hashlib.sha256(json.dumps(self.layer_weights).encode()).hexdigest()
        return f"{self.facts.kind}-sum-{digest[:NAME_DIGITS]}"

    @property
    def embedding_dim(self) -> int:
        """Mean and spread of each component, of one sum or of every layer."""
        return 2 * self.facts.hidden * (self.facts.layers if self.layer_weights is None else 1)

    @property
    def published(self) -> "SpeechTransformer":
        """The same network with all layers weighing the same: nothing about it is learned."""
        return replace(self, layer_weights=_equal(self.facts.layers))

    def module(self) -> nn.Module:
        """The frozen network in evaluation mode: rows -> embeddings.

        Raises:
            ChecksumError: the weights are not those the source names, cannot be read, or do not fit.
            FeatureError: the library that reads them is not installed.
        """
        found = weights_sha256(self.folder)
        if found != self.source.sha256:
            raise ChecksumError(
                f"The weights in {self.folder} must have sha256 {self.source.sha256}.",
                value=found,
                remedy="Bring the folder it names.",
            )
        statistics = LayerStatistics(load_transformer(self.folder, self.facts), self.facts)
        return WindowStatistics(statistics, self.layer_weights)


def open_speech_transformer(
    folder: Path,
    source: WeightSource,
    *,
    layers_apart: bool,
    layer_weights: tuple[float, ...] | None = None,
    window_s: float = WINDOW_S,
    hop_s: float = HOP_S,
) -> SpeechTransformer:
    """Read what a folder says of its network; the weights are read when its module is made.

    Args:
        folder: as the makers publish it.
        source: where it came from.
        layers_apart: whether the statistics of all layers are kept for a projection that learns their weights.
        layer_weights: of the sum, at least 0 each and brought to sum 1; equal where None.
        window_s: length of a window.
        hop_s: distance between the starts of two.

    Raises:
        ChecksumError: the folder is not whole.
        FeatureError: the network takes no waveform, or the weights or windows do not fit it.
    """
    facts = read_speech_facts(folder)
    window_samples, hop_samples = round(window_s * facts.sample_rate_hz), round(hop_s * facts.sample_rate_hz)
    if hop_samples < 1 or window_samples - hop_samples < facts.receptive_samples:
        raise FeatureError(
            f"Windows must overlap by the {facts.receptive_samples} samples of one frame or more.",
            value=f"window_s {window_s:g}, hop_s {hop_s:g}",
            remedy=f"Leave them out for {WINDOW_S:g} and {HOP_S:g}.",
        )
    spec = AudioInputSpec(
        sample_rate_hz=facts.sample_rate_hz,
        window_samples=window_samples,
        hop_samples=hop_samples,
        context_samples=0,
        level_dbfs=LEVEL_DBFS,
    )
    if layers_apart:
        return SpeechTransformer(folder, source, facts, None, spec)
    weights = _equal(facts.layers) if layer_weights is None else _shares(layer_weights, facts.layers)
    return SpeechTransformer(folder, source, facts, weights, spec)


def _equal(layers: int) -> tuple[float, ...]:
    return (1.0 / layers,) * layers


def _shares(weights: tuple[float, ...], layers: int) -> tuple[float, ...]:
    if len(weights) != layers or min(weights) < 0 or sum(weights) <= 0:
        raise FeatureError(
            f"layer_weights needs one weight >= 0 for each of the {layers} hidden states, not all 0.",
            value=weights,
            remedy="The first is the encoder's input, then one for each layer.",
        )
    return tuple(weight / sum(weights) for weight in weights)
