"""GE2E against librosa's spectrogram of the whole clip and a slow numpy LSTM."""

import io
from pathlib import Path

import librosa
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import torch

from matchka.modalities.audio.windows import split_windows
from matchka_train.backbones.speaker.ge2e import GE2E_INPUT, Ge2e, Ge2eEncoder, load_encoder
from matchka_train.errors import ChecksumError

Array = npt.NDArray[np.float64]


def sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


def slow_embedding(mel: Array, state: dict[str, Array]) -> Array:
    """One window's embedding in float64: (frames, 40) -> (256,), an LSTM written out step by step."""
    sequence = mel
    for layer in range(3):
        weights_in, weights_hidden = state[f"lstm.weight_ih_l{layer}"], state[f"lstm.weight_hh_l{layer}"]
        bias = state[f"lstm.bias_ih_l{layer}"] + state[f"lstm.bias_hh_l{layer}"]
        hidden, cell, outputs = np.zeros(256), np.zeros(256), []
        for frame in sequence:
            gate_in, forget, candidate, gate_out = np.split(weights_in @ frame + weights_hidden @ hidden + bias, 4)
            cell = sigmoid(forget) * cell + sigmoid(gate_in) * np.tanh(candidate)
            hidden = sigmoid(gate_out) * np.tanh(cell)
            outputs.append(hidden)
        sequence = np.array(outputs)
    raw = np.maximum(0.0, state["linear.weight"] @ sequence[-1] + state["linear.bias"])
    return raw / np.linalg.norm(raw)


def slow_windows(clip: npt.NDArray[np.float32]) -> list[Array]:
    """The mel frames of each window of a clip, cut from librosa's centred spectrogram of the whole clip."""
    level = np.sqrt(np.mean(clip.astype(np.float64) ** 2))
    clip = clip * max(1.0, 10 ** (-30 / 20) / level)
    starts = [0]
    while starts[-1] * 160 + 159 * 160 < len(clip):  # until the last frame's centre reaches the clip's end
        starts.append(starts[-1] + 77)
    padded = np.pad(clip, (0, max(0, (starts[-1] + 160) * 160 + 400 - len(clip))))
    mel = librosa.feature.melspectrogram(
        y=padded.astype(np.float64), sr=16_000, n_fft=400, hop_length=160, n_mels=40, dtype=np.float64
    )
    return [mel[:, start : start + 160].T for start in starts]


def reference_embeddings(clip: npt.NDArray[np.float32], encoder: Ge2eEncoder) -> Array:
    state = {name: tensor.numpy().astype(np.float64) for name, tensor in encoder.state_dict().items()}
    return np.array([slow_embedding(mel, state) for mel in slow_windows(clip)])


@pytest.mark.parametrize("samples", [8_001, 25_599, 25_601, 44_799, 44_801, 70_003])
def test_encoder_when_compared_with_librosa_and_a_slow_lstm_agrees(samples: int, encoder: Ge2eEncoder) -> None:
    rng = np.random.default_rng(samples)
    tone = np.sin(2 * np.pi * 150 * np.arange(samples) / 16_000) * np.sin(np.arange(samples) / 3_000)
    clip = (0.05 * tone + 0.01 * rng.standard_normal(samples)).astype(np.float32)
    found = encoder(torch.tensor(split_windows(clip, GE2E_INPUT))).numpy()
    np.testing.assert_allclose(found, reference_embeddings(clip, encoder), atol=1e-5)


@pytest.mark.shared_data
def test_encoder_when_given_real_clips_agrees_with_the_reference(encoder: Ge2eEncoder, speech_dir: Path) -> None:
    for path in sorted((speech_dir / "dev").rglob("*.opus"))[::400]:
        clip, rate = soundfile.read(path, dtype="float32")
        assert rate == GE2E_INPUT.sample_rate_hz
        found = encoder(torch.tensor(split_windows(clip, GE2E_INPUT))).numpy()
        np.testing.assert_allclose(found, reference_embeddings(clip, encoder), atol=1e-4)


def test_encoder_when_loaded_is_frozen_and_of_the_published_size(encoder: Ge2eEncoder) -> None:
    assert not encoder.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    lstm = sum(4 * 256 * (inputs + 256 + 2) for inputs in (40, 256, 256))
    assert sum(parameter.numel() for parameter in encoder.parameters()) == lstm + 256 * 256 + 256


def test_encoder_when_given_zeros_returns_no_nan(encoder: Ge2eEncoder) -> None:
    assert torch.isfinite(encoder(torch.zeros(2, GE2E_INPUT.window_samples))).all()


def test_input_when_read_has_the_agreed_windows() -> None:
    assert (Ge2e().input.window_samples, Ge2e().input.hop_samples) == (25_840, 12_320)


def test_load_encoder_when_weights_are_of_another_network_refuses() -> None:
    buffer = io.BytesIO()
    torch.save({"model_state": {"conv.weight": torch.zeros(3)}}, buffer)
    with pytest.raises(ChecksumError, match="GE2E"):
        load_encoder(buffer.getvalue())


def test_load_encoder_when_file_would_run_code_refuses() -> None:
    buffer = io.BytesIO()
    torch.save({"model_state": {}, "trap": print}, buffer)
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        load_encoder(buffer.getvalue())
