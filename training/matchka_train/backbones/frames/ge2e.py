"""The three LSTM layers of GE2E over a whole clip: what a speaker encoder hears before it forgets what was said."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import torch
from pydantic import Field
from rich.console import Console

from matchka_train.backbones.frames.encoder import CLIP_INPUT, ClipInput, EncodeClip, FrameEncoderRecipe, encode_with
from matchka_train.backbones.frames.stacking import every_last
from matchka_train.backbones.speaker.ge2e import (
    FFT_SAMPLES,
    FRAME_HOP_SAMPLES,
    GE2E_SOURCE,
    HIDDEN,
    LAYERS,
    MEL_BANDS,
    SAMPLE_RATE_HZ,
    Ge2eEncoder,
    load_encoder,
)
from matchka_train.weights.package_catalogue import GE2E_WEIGHTS
from matchka_train.weights.packages import DEFAULT_CACHE_DIR, read_member
from matchka_train.weights.source import WeightSource

MEL_FRAMES: Final = 3  # the heads' frames of 30 ms: the phones of fast speech last longer


class Ge2eLayers(torch.nn.Module):
    """Waveforms -> the states of every layer at the end of each frame of 30 ms.

    The waveform's ends are padded with half a transform of zeros, so that a clip has a mel frame every 10 ms.

    Args:
        encoder: the frozen speaker encoder.
        mel_frames: how many mel frames make one frame.
    """

    def __init__(self, encoder: Ge2eEncoder, mel_frames: int) -> None:
        super().__init__()
        self.mel = encoder.mel
        self.mel_frames = mel_frames
        self.layers = torch.nn.ModuleList(_layer(encoder.lstm, number) for number in range(LAYERS))
        self.requires_grad_(requires_grad=False).eval()

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        """States: float32, (n, samples) -> (n, (1 + samples // 160) // mel_frames, 3, 256)."""
        states = self.mel(torch.nn.functional.pad(waveforms, (FFT_SAMPLES // 2, FFT_SAMPLES // 2)))
        kept = []
        for layer in self.layers:
            states, _ = layer(states)
            kept.append(every_last(states, self.mel_frames))
        return torch.stack(kept, dim=2)


@dataclass(frozen=True)
class Ge2eFrames:
    """GE2E as a frame encoder; see matchka_train.backbones.frames.encoder.GraphFrameEncoder.

    Attributes:
        downloads: the folder that keeps the package file.
        mel_frames: mel frames of 10 ms to one frame.
    """

    downloads: Path = DEFAULT_CACHE_DIR
    mel_frames: int = MEL_FRAMES

    name: str = "ge2e"
    source: WeightSource = GE2E_SOURCE
    input: ClipInput = CLIP_INPUT
    layers: int = LAYERS
    dim: int = HIDDEN

    @property
    def frame_period_s(self) -> float:
        """That of the mel frames, so many times."""
        return self.mel_frames * FRAME_HOP_SAMPLES / SAMPLE_RATE_HZ

    def module(self) -> Ge2eLayers:
        """The frozen layers with their front end.

        Raises: DownloadError, ChecksumError: as matchka_train.backbones.speaker.ge2e.Ge2e.module.
        """
        content = read_member(GE2E_WEIGHTS, self.downloads, Console(stderr=True))
        return Ge2eLayers(load_encoder(content), self.mel_frames)

    def open(self) -> EncodeClip:
        """The module as a function of one clip."""
        return encode_with(self.module())


class Ge2eFramesRecipe(FrameEncoderRecipe):
    """GE2E's layers, with weights out of a pinned package.

    Attributes:
        downloads_dir: folder that keeps the package file.
        mel_frames: mel frames of 10 ms to one frame.
    """

    kind: Literal["ge2e"] = "ge2e"
    downloads_dir: Path = DEFAULT_CACHE_DIR
    mel_frames: int = Field(default=MEL_FRAMES, ge=1)

    def open(self) -> Ge2eFrames:
        """The encoder."""
        return Ge2eFrames(self.downloads_dir, self.mel_frames)


def _layer(lstm: torch.nn.LSTM, number: int) -> torch.nn.LSTM:
    """One layer of several, which the library returns the last of only."""
    layer = torch.nn.LSTM(MEL_BANDS if number == 0 else HIDDEN, HIDDEN, batch_first=True)
    weights = {name: getattr(lstm, name.replace("l0", f"l{number}")) for name, _ in layer.named_parameters()}
    layer.load_state_dict(weights)
    return layer
