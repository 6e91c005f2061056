"""Power mel spectrograms as one convolution and one product, so that they can live inside an exported graph."""

from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from matchka.vectors import FloatArray

# Slaney's scale: linear below 1 kHz, 200/3 Hz to a step; above, 27 steps to each factor of 6.4.
LINEAR_HZ_PER_MEL: Final = 200.0 / 3.0
BREAK_HZ: Final = 1000.0
STEPS_PER_FACTOR: Final = 27.0
FACTOR: Final = 6.4


def hz_to_mel(frequencies_hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Frequencies on Slaney's mel scale.

    Args: frequencies_hz: any shape, >= 0.

    Source: Slaney 1998, Auditory Toolbox, report 1998-010.

    >>> hz_to_mel(np.array([0.0, 1000.0, 6400.0]))
    array([ 0., 15., 42.])
    """
    break_mel = BREAK_HZ / LINEAR_HZ_PER_MEL
    above = np.maximum(frequencies_hz, BREAK_HZ)
    log_part = break_mel + np.log(above / BREAK_HZ) / np.log(FACTOR) * STEPS_PER_FACTOR
    return np.where(frequencies_hz < BREAK_HZ, frequencies_hz / LINEAR_HZ_PER_MEL, log_part)


def mel_to_hz(mels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The inverse of hz_to_mel.

    >>> mel_to_hz(np.array([0.0, 15.0, 42.0]))
    array([   0., 1000., 6400.])
    """
    break_mel = BREAK_HZ / LINEAR_HZ_PER_MEL
    log_part = BREAK_HZ * FACTOR ** ((np.maximum(mels, break_mel) - break_mel) / STEPS_PER_FACTOR)
    return np.where(mels < break_mel, mels * LINEAR_HZ_PER_MEL, log_part)


def mel_filters(sample_rate_hz: int, fft_samples: int, bands: int) -> FloatArray:
    """Triangular filters from 0 Hz to half the rate, each of unit area (Slaney's normalisation).

    Args:
        sample_rate_hz: rate of the waveform.
        fft_samples: length of the transform.
        bands: number of filters.

    Returns: float32, (bands, fft_samples // 2 + 1).
    """
    bins_hz = np.linspace(0.0, sample_rate_hz / 2, fft_samples // 2 + 1)
    edges_hz = mel_to_hz(np.linspace(0.0, float(hz_to_mel(np.array(sample_rate_hz / 2))), bands + 2))
    widths_hz = np.diff(edges_hz)
    rising = (bins_hz - edges_hz[:-2, None]) / widths_hz[:-1, None]
    falling = (edges_hz[2:, None] - bins_hz) / widths_hz[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    area = 2.0 / (edges_hz[2:] - edges_hz[:-2])
    filters: FloatArray = (triangles * area[:, None]).astype(np.float32)
    return filters


def windowed_dft(fft_samples: int) -> FloatArray:
    """Rows that give the real, then the imaginary parts of the transform of a Hann-windowed frame.

    Args: fft_samples: length of frame and transform.

    Returns: float32, (2 * (fft_samples // 2 + 1), fft_samples).
    """
    positions = np.arange(fft_samples)
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * positions / fft_samples)  # periodic, as spectra want it
    angles = 2.0 * np.pi * np.outer(np.arange(fft_samples // 2 + 1), positions) / fft_samples
    rows: FloatArray = np.concatenate([np.cos(angles) * hann, -np.sin(angles) * hann]).astype(np.float32)
    return rows


class MelSpectrogram(torch.nn.Module):
    """Power mel spectrogram, not logarithmic: (n, samples) -> (n, frames, bands).

    Frames lie wholly inside the samples given; centred frames need half a transform of context on both sides.

    Args:
        sample_rate_hz: rate of the waveform.
        fft_samples: length of a frame.
        hop_samples: distance between frames.
        bands: mel bands.
    """

    basis: torch.Tensor
    filters: torch.Tensor

    def __init__(self, sample_rate_hz: int, fft_samples: int, hop_samples: int, bands: int) -> None:
        super().__init__()
        self.hop_samples = hop_samples
        self.bins = fft_samples // 2 + 1
        self.register_buffer("basis", torch.from_numpy(windowed_dft(fft_samples))[:, None, :])
        self.register_buffer("filters", torch.from_numpy(mel_filters(sample_rate_hz, fft_samples, bands)))

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Spectra of each window: float32, (n, samples) -> (n, 1 + (samples - fft) // hop, bands)."""
        parts = torch.nn.functional.conv1d(windows.unsqueeze(1), self.basis, stride=self.hop_samples)
        power = parts[:, : self.bins] ** 2 + parts[:, self.bins :] ** 2
        return torch.matmul(self.filters, power).transpose(1, 2)
