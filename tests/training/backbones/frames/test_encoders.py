"""Frame encoders beside the frames computed one by one."""

import sys

import numpy as np
import pytest
import torch

from matchka_train.backbones.frames.ge2e import Ge2eFrames, Ge2eLayers
from matchka_train.backbones.frames.log_mel import LogMel
from matchka_train.backbones.frames.pocketsphinx import (
    HEADER_END,
    SCORES_OF_ALL,
    PocketsphinxRecipe,
    read_scores,
    stack_scores,
)
from matchka_train.backbones.frames.stacking import every_last, stack_frames
from matchka_train.backbones.frames.transformer import TransformerFramesRecipe
from matchka_train.backbones.speaker.ge2e import Ge2eEncoder
from matchka_train.backbones.speaker.mel import mel_filters
from matchka_train.errors import ChecksumError, EncoderAbsentError, FeatureError
from tests.factories.tiny_speech import KINDS, save_tiny


def noise(samples, seed=0):
    return (np.random.default_rng(seed).standard_normal(samples) * 0.03).astype(np.float32)


def random_ge2e():
    torch.manual_seed(0)
    return Ge2eEncoder().eval()


@pytest.mark.parametrize("samples", [400, 4_807, 8_000])
def test_ge2e_layers_are_the_states_at_the_end_of_every_third_mel_frame(samples):
    encoder = random_ge2e()
    clip = torch.from_numpy(noise(samples))[None]
    found = Ge2eLayers(encoder, 3)(clip)[0]
    spectra = encoder.mel(torch.nn.functional.pad(clip, (200, 200)))
    assert spectra.shape[1] == 1 + samples // 160
    assert found.shape == ((1 + samples // 160) // 3, 3, 256)
    with torch.inference_mode():
        for number, frame in enumerate(found):
            _, (hidden, _) = encoder.lstm(spectra[:, : 3 * number + 3])  # state of every layer after so many frames
            assert torch.allclose(frame, hidden[:, 0], atol=1e-6)


def test_log_mel_frames_are_levels_less_their_mean_with_neighbouring_bands_together():
    clip = noise(4_800, 1)
    encoder = LogMel(bands=5, mel_frames=3)
    found = encoder.open()(clip)
    padded = np.pad(clip.astype(np.float64), 200)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    spectra = [np.abs(np.fft.rfft(padded[start : start + 400] * window)) ** 2 for start in range(0, 4_801, 160)]
    levels = np.log(np.array(spectra) @ mel_filters(16_000, 400, 5).T + 1e-8)
    levels = (levels - levels.mean(axis=0)) / 3
    assert found.shape == (10, 1, encoder.dim)
    for frame, band, part in np.ndindex(10, 5, 3):
        assert found[frame, 0, 3 * band + part] == pytest.approx(levels[3 * frame + part, band], abs=1e-3)
    assert encoder.frame_period_s == pytest.approx(0.03)
    assert Ge2eFrames(mel_frames=2).frame_period_s == pytest.approx(0.02)
    assert LogMel(bands=6).source.sha256 != LogMel(bands=5).source.sha256


def test_stacking_when_frames_are_left_over_drops_them():
    frames = torch.arange(7.0).reshape(1, 7, 1, 1)
    assert stack_frames(frames, 3)[0, :, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert every_last(frames, 3).flatten().tolist() == [2, 5]
    assert every_last(frames[:, :2], 3).shape[1] == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_transformer_frames_are_the_published_hidden_states_each_frame_normalised(tmp_path, kind):
    transformers = pytest.importorskip("transformers", reason="the library of the networks is not installed")
    folder = save_tiny(tmp_path / kind, kind, normalised=False)
    encoder = TransformerFramesRecipe(kind="speech_transformer", path=folder).open()
    clip = noise(4_000)
    found = encoder.open()(clip)
    with torch.inference_mode():
        model = getattr(
            transformers, {"hubert": "HubertModel", "wav2vec2": "Wav2Vec2Model", "wavlm": "WavLMModel"}[kind]
        )
        published = model.from_pretrained(str(folder)).eval()(torch.from_numpy(clip)[None], output_hidden_states=True)
    assert found.shape == (len(published.hidden_states[0][0]), encoder.layers, encoder.dim)
    assert (encoder.name, encoder.frame_period_s) == (kind, 80 / 16_000)
    for number, state in enumerate(published.hidden_states):
        rows = state[0].numpy()
        expected = (rows - rows.mean(1, keepdims=True)) / np.sqrt(rows.var(1, keepdims=True) + 1e-5)
        assert np.allclose(found[:, number], expected, atol=2e-4)


def test_transformer_frames_when_the_weights_are_others_refuse(tmp_path):
    pytest.importorskip("transformers", reason="the library of the networks is not installed")
    folder = save_tiny(tmp_path / "hubert", "hubert")
    encoder = TransformerFramesRecipe(kind="speech_transformer", path=folder, sha256="0" * 64).open()
    with pytest.raises(ChecksumError, match="must have sha256 000"):
        encoder.open()


def score_log(frames):
    rows = [np.int16(SCORES_OF_ALL).tobytes() + row.astype("<i2").tobytes() for row in frames]
    return b"s3\nn_sen 5126\n" + HEADER_END + b"D3\x22\x11" + b"".join(rows)


def test_scores_out_of_a_log_are_nats_of_the_first_states():
    steps = np.random.default_rng(0).integers(0, 300, (7, SCORES_OF_ALL))
    found = read_scores(score_log(steps))
    assert np.allclose(found, -0.1 * 1024 * np.log(1.0001) * steps[:, :126], atol=1e-4)
    stacked = stack_scores(found, 3)
    assert stacked.shape == (2, 1, 378)
    assert np.array_equal(stacked[1, 0, 3 * 20 : 3 * 20 + 3], found[3:6, 20])


def test_scores_when_some_states_are_left_out_refuse():
    with pytest.raises(FeatureError, match="5126 states"):
        read_scores(score_log([np.zeros(100)]))


def test_pocketsphinx_when_it_is_not_installed_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(EncoderAbsentError, match="pip install pocketsphinx"):
        PocketsphinxRecipe(kind="pocketsphinx").open()


@pytest.mark.slow
def test_pocketsphinx_when_it_is_installed_scores_every_frame_beside_the_best_state():
    pytest.importorskip("pocketsphinx", reason="a package to compare with, no dependency (pip install pocketsphinx)")
    encoder = PocketsphinxRecipe(kind="pocketsphinx").open()
    frames = encoder.open()(noise(16_000))
    assert abs(len(frames) - (1 + 16_000 // 160) // 3) <= 1  # heads fuse encoders that differ by one frame at the end
    assert frames.shape[1:] == (1, encoder.dim)
    assert frames.max() <= 0
    assert frames.std() > 0.1
