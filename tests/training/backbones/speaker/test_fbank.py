"""The filter bank inside a graph equals Kaldi's: frozen values of another implementation, and a slow one here."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from matchka_train.backbones.speaker.fbank import KaldiFbank, Taper

# of kaldi-native-fbank, for the wave below
KALDI = json.loads(Path(__file__).with_name("kaldi_fbank.json").read_text())["cases"]


def wave(rate: int, samples: int) -> np.ndarray:
    rng, time_s = np.random.default_rng(5), np.arange(samples) / rate
    tones = 0.1 * np.sin(2 * np.pi * 220 * time_s) + 0.03 * np.sin(2 * np.pi * 1870 * time_s * (1 + 0.1 * time_s))
    return (tones + 0.01 * rng.standard_normal(samples) + 0.02).astype(np.float32)


def slow_fbank(samples: np.ndarray, rate: int, bands: int, taper: Taper) -> np.ndarray:
    """Frame by frame in double precision, with numpy's FFT and filters by their definition."""
    length, hop = rate * 25 // 1000, rate // 100
    size = 2 ** math.ceil(math.log2(length))
    mel = [1127 * math.log(1 + bin_ * rate / size / 700) for bin_ in range(size // 2)]
    low, high = (1127 * math.log(1 + edge / 700) for edge in (20, rate / 2))
    edges = [low + (high - low) * k / (bands + 1) for k in range(bands + 2)]
    hann = [0.5 - 0.5 * math.cos(2 * math.pi * i / (length - 1)) for i in range(length)]
    window = [h**0.85 if taper == "povey" else 0.08 + 0.92 * h for h in hann]
    rows = []
    for start in range(0, len(samples) - length + 1, hop):
        frame = samples[start : start + length].astype(np.float64) * 32768
        frame = frame - frame.mean()
        frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
        power = np.abs(np.fft.rfft(frame * window, size)) ** 2
        row = []
        for left, peak, right in zip(edges, edges[1:], edges[2:], strict=False):
            energy = 0.0
            for at, of_bin in zip(mel, power[:-1], strict=True):
                if left < at < right:
                    energy += of_bin * ((at - left) if at <= peak else (right - at)) / (peak - left)
            row.append(math.log(max(energy, np.finfo(np.float32).eps)))
        rows.append(row)
    return np.array(rows) - np.mean(rows, axis=0)


@pytest.mark.parametrize(
    ("rate", "taper", "bands"), [(16_000, "povey", 80), (16_000, "hamming", 80), (8_000, "hamming", 40)]
)
def test_fbank_of_a_wave_equals_kaldi(rate: int, taper: Taper, bands: int) -> None:
    case = KALDI[f"{rate} {taper} {bands}"]
    found = KaldiFbank(rate, bands, taper)(torch.from_numpy(wave(rate, rate))[None]).numpy()[0]
    np.testing.assert_allclose(found[case["frames"]], case["values"], atol=2e-3)
    assert len(found) == case["frames"][-1] + 1


@pytest.mark.parametrize("taper", ["povey", "hamming"])
@pytest.mark.parametrize("samples", [401, 719, 720, 4_000])
def test_fbank_at_any_length_equals_a_slow_computation(samples: int, taper: Taper) -> None:
    module, window = KaldiFbank(16_000, 23, taper), wave(16_000, samples)
    expected = slow_fbank(window, 16_000, 23, taper)
    assert module.frames(samples) == len(expected)
    np.testing.assert_allclose(module(torch.from_numpy(window)[None]).numpy()[0], expected, atol=2e-3)


def test_fbank_when_the_clip_ends_inside_the_window_hears_its_start_again() -> None:
    clip = wave(16_000, 1_000)
    window = np.zeros(2_500, np.float32)
    window[:1_000] = clip
    expected = slow_fbank(np.resize(clip, 2_500), 16_000, 40, "povey")
    found = KaldiFbank(16_000, 40, "povey")(torch.from_numpy(window)[None]).numpy()[0]
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_fbank_of_a_louder_wave_is_the_same() -> None:
    module, window = KaldiFbank(16_000, 80, "hamming"), torch.from_numpy(wave(16_000, 8_000))[None]
    torch.testing.assert_close(module(4 * window), module(window), atol=2e-3, rtol=0)


def test_fbank_of_silence_is_zero() -> None:
    assert KaldiFbank(16_000, 80, "povey")(torch.zeros(2, 4_000)).abs().max() < 1e-5
