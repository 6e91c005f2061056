"""Waveform windows -> log mel bands less the mean of each; real arithmetic only, so that a graph can hold it."""

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from matchka.vectors import FloatArray
from matchka_train.backbones.speaker.redimnet.config import FrontEndConfig, RedimnetConfig

RATE_HZ: Final = 16_000
FFT_SAMPLES: Final = 512
FRAME_SAMPLES: Final = 400  # 25 ms; the transform is zero-padded around the frame
CENTRE_SAMPLES: Final = FFT_SAMPLES // 2  # reflected beyond both ends, so that frames are centred
PADDING_SAMPLES: Final = (FFT_SAMPLES - FRAME_SAMPLES) // 2  # of the transform on each side of the frame
PRE_EMPHASIS: Final = 0.97
FLOOR: Final = 1e-6  # added to the power of a band before the logarithm
TF_FLOOR: Final = 1e-8
# HTK's mel scale (Young et al., The HTK Book)
HTK_FACTOR: Final = 2595.0
HTK_CORNER_HZ: Final = 700.0


def htk_filters(low_hz: float, high_hz: float, bins_hz: npt.NDArray[np.float64], bands: int) -> FloatArray:
    """Triangles on HTK's mel scale, straight in Hz, each with a peak of 1.

    Args:
        low_hz: where the first begins.
        high_hz: where the last ends.
        bins_hz: frequencies of the spectrum.
        bands: number of filters.

    Returns: float32, (bins, bands).
    """
    low, high = (HTK_FACTOR * np.log10(1.0 + edge / HTK_CORNER_HZ) for edge in (low_hz, high_hz))
    edges = HTK_CORNER_HZ * (10.0 ** (np.linspace(low, high, bands + 2) / HTK_FACTOR) - 1.0)
    widths = np.diff(edges)
    rising = (bins_hz[:, None] - edges[:-2]) / widths[:-1]
    falling = (edges[2:] - bins_hz[:, None]) / widths[1:]
    filters: FloatArray = np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)
    return filters


class PreEmphasis(nn.Module):
    """y[i] = x[i] - 0.97 x[i - 1], with x[-1] = x[1]."""

    flipped_filter: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("flipped_filter", torch.tensor([[[-PRE_EMPHASIS, 1.0]]]))

    def forward(self, windows: Tensor) -> Tensor:
        """Filter windows: (n, samples) -> (n, samples)."""
        before = torch.cat([windows[:, 1:2], windows[:, :-1]], dim=1)
        return self.flipped_filter[0, 0, 1] * windows + self.flipped_filter[0, 0, 0] * before


class SignalNormalisation(nn.Module):
    """Each window's mean to 0 and its deviation to 1.

    Args: eps: added to the deviation.
    """

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, windows: Tensor) -> Tensor:
        """Normalise: (n, samples) -> (n, samples)."""
        centred = windows - windows.mean(dim=1, keepdim=True)
        return centred / (windows.std(dim=1, keepdim=True, unbiased=False) + self.eps)


class PowerSpectrum(nn.Module):
    """Power of centred frames: (n, samples) -> (n, 257, 1 + samples // hop).

    Args: hop_samples: between frame centres.
    """

    window: Tensor
    rows: Tensor
    reflected: Tensor

    def __init__(self, hop_samples: int) -> None:
        super().__init__()
        self.hop_samples = hop_samples
        self.register_buffer("window", torch.hamming_window(FRAME_SAMPLES))
        at = np.arange(FRAME_SAMPLES) + PADDING_SAMPLES
        angles = 2.0 * np.pi * np.outer(np.arange(CENTRE_SAMPLES + 1), at) / FFT_SAMPLES
        rows = np.concatenate([np.cos(angles), -np.sin(angles)]).astype(np.float32)
        self.register_buffer("rows", torch.from_numpy(rows), persistent=False)
        self.register_buffer("reflected", torch.arange(CENTRE_SAMPLES, 0, -1), persistent=False)

    def forward(self, windows: Tensor) -> Tensor:
        """Transform windows of more than half a transform; a graph refuses others with `indices out of data bounds`."""
        before = windows.index_select(1, self.reflected)
        after = windows.flip(1).index_select(1, self.reflected).flip(1)
        padded = torch.cat([before[:, PADDING_SAMPLES:], windows, after[:, :-PADDING_SAMPLES]], dim=1)
        kernels = (self.rows * self.window).unsqueeze(1)
        parts = nn.functional.conv1d(padded.unsqueeze(1), kernels, stride=self.hop_samples)
        return parts[:, : CENTRE_SAMPLES + 1] ** 2 + parts[:, CENTRE_SAMPLES + 1 :] ** 2


class MelScale(nn.Module):
    """Spectrum -> mel bands.

    Args:
        bands: number of them.
        front_end: their range.
    """

    fb: Tensor

    def __init__(self, bands: int, front_end: FrontEndConfig) -> None:
        super().__init__()
        bins_hz = np.linspace(0.0, RATE_HZ / 2, CENTRE_SAMPLES + 1)
        self.register_buffer("fb", torch.from_numpy(htk_filters(front_end.f_min, front_end.f_max, bins_hz, bands)))

    def forward(self, power: Tensor) -> Tensor:
        """Weigh bins: (n, 257, frames) -> (n, bands, frames)."""
        return torch.matmul(self.fb.T, power)


class MelSpectrogram(nn.Module):
    """Power mel spectrogram of centred frames: (n, samples) -> (n, bands, 1 + samples // hop)."""

    def __init__(self, config: RedimnetConfig) -> None:
        super().__init__()
        self.spectrogram = PowerSpectrum(config.hop_length)
        self.mel_scale = MelScale(config.bands, config.spec_params)

    def forward(self, windows: Tensor) -> Tensor:
        """Spectra of windows."""
        bands: Tensor = self.mel_scale(self.spectrogram(windows))
        return bands


class TfMelSpectrogram(nn.Module):
    """The makers' second spectrogram: frames that begin half a hop before the window, zeros beyond it.

    Its kernels and filters are buffers of the checkpoint; what is built here only has their shapes and defaults.
    """

    real_kernel_pt: Tensor
    image_kernel_pt: Tensor
    melbanks_pt: Tensor

    def __init__(self, config: RedimnetConfig) -> None:
        super().__init__()
        self.hop_samples = config.hop_length
        self.floor = config.spec_params.eps or TF_FLOOR
        angles = 2.0 * np.pi * np.outer(np.arange(FFT_SAMPLES // 2), np.arange(FRAME_SAMPLES)) / FFT_SAMPLES
        window = 0.54 - 0.46 * np.cos(2.0 * np.pi * np.arange(FRAME_SAMPLES) / (FRAME_SAMPLES - 1))
        for name, wave in (("real_kernel_pt", np.cos(angles)), ("image_kernel_pt", np.sin(angles))):
            self.register_buffer(name, torch.from_numpy((wave * window).astype(np.float32))[:, None, :])
        self.register_buffer("melbanks_pt", torch.from_numpy(_tf_filters(config)).T.contiguous().unsqueeze(2))

    def forward(self, windows: Tensor) -> Tensor:
        """Spectra of windows: (n, samples) -> (n, bands, frames)."""
        parts = [
            nn.functional.conv1d(
                windows.unsqueeze(1), kernels, stride=self.hop_samples, padding=self.hop_samples // 2
            ).square()
            for kernels in (self.real_kernel_pt, self.image_kernel_pt)
        ]
        power = (parts[0] + parts[1]).clamp(self.floor, 1.0 / self.floor)
        return nn.functional.conv1d(power, self.melbanks_pt).clamp(self.floor, 1.0 / self.floor)


def _tf_filters(config: RedimnetConfig) -> FloatArray:
    """Triangles that are straight in mel; the makers spread the bins from 0 to half the rate inclusive, and skip 0."""
    bins_hz = np.linspace(0.0, RATE_HZ // 2, FFT_SAMPLES // 2)
    mels = HTK_FACTOR * np.log10(1.0 + bins_hz[:, None] / HTK_CORNER_HZ)
    limits = (config.spec_params.f_min, config.spec_params.f_max)
    low, high = (HTK_FACTOR * np.log10(1.0 + edge / HTK_CORNER_HZ) for edge in limits)
    edges = np.linspace(low, high, config.bands + 2)
    widths = np.diff(edges)
    triangles = np.minimum((mels - edges[:-2]) / widths[:-1], (edges[2:] - mels) / widths[1:])
    filters: FloatArray = np.maximum(0.0, triangles).astype(np.float32)
    filters[0] = 0.0
    return filters


class FrontEnd(nn.Module):
    """Waveform windows -> what the network takes: (n, samples) -> (n, bands, frames).

    Args: config: of the checkpoint; parameter names are the checkpoint's.
    """

    def __init__(self, config: RedimnetConfig) -> None:
        super().__init__()
        is_tf = config.feat_type.startswith("tf")
        spec = config.spec_params
        self.floor = (spec.eps or TF_FLOOR) if is_tf else FLOOR
        self.torchfbank = nn.Sequential(
            SignalNormalisation(self.floor) if spec.norm_signal else nn.Identity(),
            PreEmphasis() if spec.do_preemph else nn.Identity(),
            TfMelSpectrogram(config) if is_tf else MelSpectrogram(config),
        )

    def forward(self, windows: Tensor) -> Tensor:
        """Log mel bands less the mean of each over the window."""
        bands: Tensor = torch.log(self.torchfbank(windows) + self.floor)
        return bands - bands.mean(dim=-1, keepdim=True)


def shortest_window(config: RedimnetConfig) -> int:
    """Samples below which a window has no spectrum, or only one frame, of which no deviation can be taken.

    >>> shortest_window(RedimnetConfig(stages_setup=((1, 1, 1, None, None),), hop_length=240))
    257
    """
    if config.feat_type.startswith("tf"):
        return FRAME_SAMPLES + config.hop_length - 2 * (config.hop_length // 2)
    return max(CENTRE_SAMPLES + 1, config.hop_length)
