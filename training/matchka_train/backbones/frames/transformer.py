"""Every hidden state of HuBERT, wav2vec 2.0 or WavLM over a whole clip."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from matchka_train.backbones.frames.encoder import ClipInput, EncodeClip, FrameEncoderRecipe, encode_with
from matchka_train.backbones.speaker.transformer.folder import (
    SpeechFacts,
    load_transformer,
    read_speech_facts,
    weights_sha256,
)
from matchka_train.backbones.speaker.transformer.network import LayerStatistics
from matchka_train.errors import ChecksumError
from matchka_train.weights.location import WeightsLocation
from matchka_train.weights.source import WeightSource


class HiddenStates(torch.nn.Module):
    """Waveforms -> the encoder's input and every layer's output, each frame of mean 0 and variance 1.

    Layers of one network differ in size by orders of magnitude, and a weighted sum would hear the largest only.

    Args: network: the frozen transformer.
    """

    def __init__(self, network: LayerStatistics) -> None:
        super().__init__()
        self.network = network

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        """States: float32, (n, samples), all of one length -> (n, frames, layers, hidden)."""
        shortest = self.network.facts.receptive_samples
        padded = torch.nn.functional.pad(waveforms, (0, max(0, shortest - waveforms.shape[1])))
        lengths = torch.full((padded.shape[0],), padded.shape[1])
        states, _ = self.network.hidden_states(padded, lengths)
        stacked = torch.stack(states, dim=2)
        return torch.nn.functional.layer_norm(stacked, stacked.shape[-1:])


@dataclass(frozen=True)
class TransformerFrames:
    """A transformer out of a folder; see matchka_train.backbones.frames.encoder.GraphFrameEncoder.

    Attributes:
        folder: holds the network.
        source: where it came from; its sha256 must be that of the weights.
        facts: what the folder says of it.
    """

    folder: Path
    source: WeightSource
    facts: SpeechFacts

    @property
    def name(self) -> str:
        """The kind of network."""
        return self.facts.kind

    @property
    def input(self) -> ClipInput:
        """The rate that it was trained on."""
        return ClipInput(self.facts.sample_rate_hz)

    @property
    def layers(self) -> int:
        """The encoder's input and every layer."""
        return self.facts.layers

    @property
    def dim(self) -> int:
        """Components of a hidden state."""
        return self.facts.hidden

    @property
    def frame_period_s(self) -> float:
        """The strides of all convolutions."""
        samples = 1
        for stride in self.facts.strides:
            samples *= stride
        return samples / self.facts.sample_rate_hz

    def module(self) -> HiddenStates:
        """The frozen network.

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
        return HiddenStates(LayerStatistics(load_transformer(self.folder, self.facts), self.facts))

    def open(self) -> EncodeClip:
        """The module as a function of one clip."""
        return encode_with(self.module())


class TransformerFramesRecipe(WeightsLocation, FrameEncoderRecipe):
    """HuBERT, wav2vec 2.0 or WavLM, out of a folder or by a name of the catalogue."""

    kind: Literal["speech_transformer"]

    def open(self) -> TransformerFrames:
        """The encoder.

        Raises: ChecksumError, FeatureError, WeightsAbsentError: as WeightsLocation.place and read_speech_facts.
        """
        path, source = self.place("" if self.path is None else self.path.name, weights_sha256)
        return TransformerFrames(path, source, read_speech_facts(path))
