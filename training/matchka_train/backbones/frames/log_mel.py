"""Log-mel frames: no network at all, which everything that calls itself an encoder has to beat."""

import hashlib
from dataclasses import dataclass
from typing import Final, Literal

import torch
from pydantic import Field

from matchka_train.backbones.frames.encoder import CLIP_INPUT, ClipInput, EncodeClip, FrameEncoderRecipe, encode_with
from matchka_train.backbones.frames.stacking import stack_frames
from matchka_train.backbones.speaker.mel import MelSpectrogram
from matchka_train.weights.source import WeightSource

SAMPLE_RATE_HZ: Final = 16_000
FFT_SAMPLES: Final = 400  # 25 ms; the same frames as GE2E's, so that the two fall together
HOP_SAMPLES: Final = 160  # 10 ms
BANDS: Final = 80
MEL_FRAMES: Final = 3
FLOOR: Final = 1e-8  # of a band's power, before the logarithm: below the noise of any recording
SCALE: Final = 1 / 3  # levelled speech then spreads by about 1, as a network wants it


class LogMelFrames(torch.nn.Module):
    """Waveforms -> log-mel frames less their mean over the clip, several of 10 ms behind one another.

    Args:
        bands: mel bands.
        mel_frames: how many mel frames make one frame.
    """

    def __init__(self, bands: int, mel_frames: int) -> None:
        super().__init__()
        self.mel = MelSpectrogram(SAMPLE_RATE_HZ, FFT_SAMPLES, HOP_SAMPLES, bands)
        self.mel_frames = mel_frames
        self.eval()

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Frames: float32, (n, samples) -> (n, (1 + samples // 160) // mel_frames, 1, mel_frames * bands)."""
        power = self.mel(torch.nn.functional.pad(waveforms, (FFT_SAMPLES // 2, FFT_SAMPLES // 2)))
        # log(power + FLOOR) but for a constant, which the mean takes with it: the exporter drops so small a term
        levels = torch.log(power / FLOOR + 1.0)
        centred = (levels - levels.mean(dim=1, keepdim=True)) * SCALE
        return stack_frames(centred[:, :, None], self.mel_frames)


@dataclass(frozen=True)
class LogMel:
    """Log-mel as a frame encoder; see matchka_train.backbones.frames.encoder.GraphFrameEncoder.

    Attributes:
        bands: mel bands.
        mel_frames: mel frames of 10 ms to one frame.
    """

    bands: int = BANDS
    mel_frames: int = MEL_FRAMES

    name: str = "log_mel"
    input: ClipInput = CLIP_INPUT
    layers: int = 1

    @property
    def source(self) -> WeightSource:
        """A formula and no weights: its sha256 is that of the formula's numbers."""
        said = f"log(mel + {FLOOR}), {self.bands} bands, {FFT_SAMPLES}/{HOP_SAMPLES} at {SAMPLE_RATE_HZ}, mean removed"
        return WeightSource("log-mel", "computed", "1", hashlib.sha256(said.encode()).hexdigest(), "none")

    @property
    def dim(self) -> int:
        """Bands of all mel frames."""
        return self.bands * self.mel_frames

    @property
    def frame_period_s(self) -> float:
        """That of the mel frames, so many times."""
        return self.mel_frames * HOP_SAMPLES / SAMPLE_RATE_HZ

    def module(self) -> LogMelFrames:
        """The front end."""
        return LogMelFrames(self.bands, self.mel_frames)

    def open(self) -> EncodeClip:
        """The module as a function of one clip."""
        return encode_with(self.module())


class LogMelRecipe(FrameEncoderRecipe):
    """Log-mel frames.

    Attributes:
        bands: mel bands.
        mel_frames: mel frames of 10 ms to one frame.
    """

    kind: Literal["log_mel"]
    bands: int = Field(default=BANDS, ge=1)
    mel_frames: int = Field(default=MEL_FRAMES, ge=1)

    def open(self) -> LogMel:
        """The encoder."""
        return LogMel(self.bands, self.mel_frames)
