"""The mel front end against librosa, which computes it another way."""

import librosa
import numpy as np
import pytest
import torch

from matchka_train.backbones.speaker.mel import MelSpectrogram, hz_to_mel, mel_filters, mel_to_hz


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "fft", "bands"), [(16_000, 400, 40), (16_000, 512, 80), (8_000, 256, 23)])
def test_mel_filters_when_compared_with_librosa_agree(rate: int, fft: int, bands: int) -> None:
    expected = librosa.filters.mel(sr=rate, n_fft=fft, n_mels=bands)
    np.testing.assert_allclose(mel_filters(rate, fft, bands), expected, rtol=1e-5, atol=1e-8)


def test_mel_scale_when_inverted_returns_the_frequencies() -> None:
    frequencies = np.linspace(0, 8000, 321)
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(frequencies)), frequencies, atol=1e-9)
    np.testing.assert_allclose(hz_to_mel(frequencies), librosa.hz_to_mel(frequencies), atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("samples", [400, 401, 559, 560, 4_321])
def test_mel_spectrogram_when_compared_with_librosa_agrees(samples: int) -> None:
    wave = (np.random.default_rng(samples).standard_normal(samples) * 0.1).astype(np.float32)
    expected = librosa.feature.melspectrogram(y=wave, sr=16_000, n_fft=400, hop_length=160, n_mels=40, center=False)
    found = MelSpectrogram(16_000, 400, 160, 40)(torch.from_numpy(wave)[None]).numpy()[0].T
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-6)
