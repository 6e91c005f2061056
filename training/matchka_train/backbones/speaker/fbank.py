"""Kaldi's log mel filter bank as one convolution and one product, so that it can stand in front of a graph."""

from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from matchka.vectors import FloatArray
from matchka_train.backbones.speaker.repeated_tail import RepeatedTail

Taper: TypeAlias = Literal["povey", "hamming"]

FRAME_MS: Final = 25
HOP_MS: Final = 10
SAMPLE_SCALE: Final = 32768.0  # Kaldi reads 16-bit integers
PRE_EMPHASIS: Final = 0.97
LOWEST_HZ: Final = 20.0
FLOOR: Final = float(np.finfo(np.float32).eps)  # of a band's power, before the logarithm
POVEY_EXPONENT: Final = 0.85


def kaldi_mel(frequencies_hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Frequencies on Kaldi's mel scale, which is HTK's.

    >>> kaldi_mel(np.array([0.0, 700.0])).round(3)
    array([  0.   , 781.177])
    """
    mels: npt.NDArray[np.float64] = 1127.0 * np.log1p(frequencies_hz / 700.0)
    return mels


def kaldi_filters(sample_rate_hz: int, fft_samples: int, bands: int) -> FloatArray:
    """Triangles that are straight in mel, each with a peak of 1, from 20 Hz to half the rate.

    Args:
        sample_rate_hz: rate of the waveform.
        fft_samples: length of the transform.
        bands: number of filters.

    Returns: float32, (bands, fft_samples // 2 + 1); half the rate itself counts in no filter.
    """
    mels = kaldi_mel(np.arange(fft_samples // 2) * sample_rate_hz / fft_samples)
    low, high = kaldi_mel(np.array([LOWEST_HZ, sample_rate_hz / 2]))
    edges = np.linspace(low, high, bands + 2)
    width = edges[1] - edges[0]
    rising, falling = (mels - edges[:-2, None]) / width, (edges[2:, None] - mels) / width
    filters = np.zeros((bands, fft_samples // 2 + 1), np.float32)
    filters[:, :-1] = np.maximum(0.0, np.minimum(rising, falling))
    return filters


def taper_of(kind: Taper, samples: int) -> npt.NDArray[np.float64]:
    """The window that a frame is multiplied with.

    >>> taper_of("hamming", 3).round(2)
    array([0.08, 1.  , 0.08])
    """
    cosine = np.cos(2.0 * np.pi * np.arange(samples) / (samples - 1))
    if kind == "povey":
        return (0.5 - 0.5 * cosine) ** POVEY_EXPONENT
    return 0.54 - 0.46 * cosine


class KaldiFbank(torch.nn.Module):
    """Log mel bands less the mean of each over the window: (n, samples) -> (n, frames, bands).

    Kaldi's steps up to the spectrum are linear (offset, pre-emphasis, window, transform), so one kernel holds them all.
    Frames lie wholly inside the window (`snip_edges`), and no dither is added. Zeros behind the end of a clip would
    shift the mean of every band, so the window's own samples take their place.

    Args:
        sample_rate_hz: rate of the waveform.
        bands: mel bands.
        taper: Kaldi's default is povey; WeSpeaker trains with hamming.
    """

    basis: torch.Tensor
    filters: torch.Tensor

    def __init__(self, sample_rate_hz: int, bands: int, taper: Taper) -> None:
        super().__init__()
        self.tail = RepeatedTail()
        self.frame_samples = sample_rate_hz * FRAME_MS // 1000
        self.hop_samples = sample_rate_hz * HOP_MS // 1000
        fft_samples = 1 << (self.frame_samples - 1).bit_length()
        self.bins = fft_samples // 2 + 1
        basis = _linear_steps(self.frame_samples, fft_samples, taper)
        self.register_buffer("basis", torch.from_numpy(basis)[:, None, :])
        self.register_buffer("filters", torch.from_numpy(kaldi_filters(sample_rate_hz, fft_samples, bands).T.copy()))

    def frames(self, samples: int) -> int:
        """How many frames a window of so many samples has.

        >>> KaldiFbank(16_000, 80, "povey").frames(48_000)
        298
        """
        return 1 + (samples - self.frame_samples) // self.hop_samples

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Features of each window of at least one frame: float32, (n, samples) -> (n, frames, bands)."""
        parts = torch.nn.functional.conv1d(self.tail(windows).unsqueeze(1), self.basis, stride=self.hop_samples)
        power = parts[:, : self.bins] ** 2 + parts[:, self.bins :] ** 2
        bands = torch.log(torch.matmul(power.transpose(1, 2), self.filters).clamp(min=FLOOR))
        return bands - bands.mean(dim=1, keepdim=True)


def _linear_steps(frame_samples: int, fft_samples: int, taper: Taper) -> FloatArray:
    """Rows that give the real, then the imaginary parts of the spectrum of a frame: (2 * bins, frame_samples)."""
    centring = np.eye(frame_samples) - 1.0 / frame_samples
    emphasis = np.eye(frame_samples) - PRE_EMPHASIS * np.eye(frame_samples, k=-1)
    emphasis[0, 0] -= PRE_EMPHASIS  # Kaldi repeats the first sample before it
    angles = 2.0 * np.pi * np.outer(np.arange(fft_samples // 2 + 1), np.arange(frame_samples)) / fft_samples
    transform = np.concatenate([np.cos(angles), -np.sin(angles)])
    steps = transform @ (taper_of(taper, frame_samples)[:, None] * emphasis) @ centring
    rows: FloatArray = (SAMPLE_SCALE * steps).astype(np.float32)
    return rows
