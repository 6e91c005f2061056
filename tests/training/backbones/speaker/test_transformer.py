"""Speech transformers against the published code on clips without padding, and what is refused."""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from matchka.modalities.audio.windows import split_windows
from matchka_export.graph.trace import export_graph
from matchka_train.backbones.served_graph import open_session
from matchka_train.backbones.speaker.recipes import SpeechTransformerRecipe
from matchka_train.backbones.speaker.transformer.backbone import SpeechTransformer, open_speech_transformer
from matchka_train.backbones.speaker.transformer.folder import load_transformer, read_speech_facts, weights_sha256
from matchka_train.backbones.speaker.transformer.network import LayerStatistics
from matchka_train.errors import ChecksumError, FeatureError
from matchka_train.projections.layer_sum import LayerSumRecipe
from matchka_train.run.recipe import read_recipe
from matchka_train.weights.source import WeightSource
from tests.factories.checkout import ROOT
from tests.factories.tiny_speech import HIDDEN, KINDS, LAYERS, RECEPTIVE, save_tiny

pytest.importorskip("transformers", reason="the library of the networks is not installed (pip install '.[research]')")
RATE_HZ = 16_000
NETWORKS = [(kind, layer_norm) for kind in KINDS for layer_norm in (False, True)]


def opened(folder: Path, *, layers_apart: bool = True, **changes: Any) -> SpeechTransformer:
    source = WeightSource("tiny", "tests", "1", weights_sha256(folder), "Apache-2.0")
    return open_speech_transformer(folder, source, layers_apart=layers_apart, window_s=0.5, hop_s=0.3, **changes)


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.03 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def published_states(folder: Path, clip: np.ndarray, normalised: bool = True) -> list[np.ndarray]:
    """Hidden states of one clip without padding, by the library's own forward; the last is what the encoder returns."""
    if normalised:
        clip = (clip - clip.mean()) / np.sqrt(clip.var() + 1e-7)
    model = load_transformer(folder, read_speech_facts(folder))
    with torch.inference_mode():
        output = model(torch.from_numpy(clip[None].astype(np.float32)), output_hidden_states=True)
    states = [*output.hidden_states[:-1], output.last_hidden_state]
    return [state[0].numpy().astype(np.float64) for state in states]


def statistics_by_hand(states: list[np.ndarray]) -> np.ndarray:
    """Mean and standard deviation of each component with loops; layers of length 1: (layers, 2 * hidden)."""
    rows = []
    for state in states:
        means = [sum(frame[k] for frame in state) / len(state) for k in range(HIDDEN)]
        spreads = [(sum((frame[k] - means[k]) ** 2 for frame in state) / len(state)) ** 0.5 for k in range(HIDDEN)]
        row = np.array([*means, *spreads])
        rows.append(row / np.sqrt(np.sum(row**2)))
    return np.stack(rows)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], Path]:
    root = tmp_path_factory.mktemp("speech")
    for kind, layer_norm in NETWORKS:
        save_tiny(root / f"{kind}-{layer_norm}", kind, layer_norm=layer_norm)
    return lambda kind, layer_norm: root / f"{kind}-{layer_norm}"


@pytest.fixture
def wavlm(folders: Callable[[str, bool], Path], tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(folders("wavlm", False), tmp_path / "wavlm"))


@pytest.mark.parametrize(("kind", "layer_norm"), NETWORKS)
def test_statistics_when_clips_are_padded_together_equal_the_published_code_on_each_alone(
    folders: Callable[[str, bool], Path], kind: str, layer_norm: bool
) -> None:
    """Lengths on both sides of a frame's edge; behind them lies noise that must not matter."""
    folder = folders(kind, layer_norm)
    lengths = [4_000, 1_777, RECEPTIVE, RECEPTIVE + 79, RECEPTIVE + 80]
    waveforms = np.stack([np.concatenate([noise(n, n), 9.0 + noise(4_000 - n, 1)]) for n in lengths])
    facts = read_speech_facts(folder)
    module = LayerStatistics(load_transformer(folder, facts), facts)
    found = module(torch.from_numpy(waveforms), torch.tensor(lengths)).numpy()
    states, mask = module.hidden_states(torch.from_numpy(waveforms), torch.tensor(lengths))
    for number, length in enumerate(lengths):
        expected = published_states(folder, noise(length, length))
        frames = facts.frames(length)
        assert int(mask[number].sum()) == frames == len(expected[0])
        for state, alone in zip(states, expected, strict=True):
            np.testing.assert_allclose(state[number, :frames].numpy(), alone, rtol=0, atol=1e-5)
        np.testing.assert_allclose(found[number], statistics_by_hand(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("changes", [{"normalised": False}, {"conv_pos_batch_norm": True}])
def test_statistics_when_the_folder_asks_for_another_front_end_still_ignore_padding(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    folder = save_tiny(tmp_path / "hubert", "hubert", **changes)
    clip = 0.5 + noise(2_000)
    module = opened(folder).module()
    window = np.concatenate([clip, np.zeros(6_000, np.float32)])
    found = module(torch.from_numpy(window[None])).numpy()[0].reshape(LAYERS, -1)
    expected = statistics_by_hand(published_states(folder, clip, changes.get("normalised", True)))
    np.testing.assert_allclose(found * np.sqrt(LAYERS), expected, rtol=0, atol=1e-5)


def test_module_when_layers_are_summed_equals_the_sum_by_hand(wavlm: Path) -> None:
    clip = noise(3_000)
    window = torch.from_numpy(np.concatenate([clip, np.zeros(5_000, np.float32)])[None])
    layers = statistics_by_hand(published_states(wavlm, clip))
    for given, weights in ((None, [1 / 3, 1 / 3, 1 / 3]), ((1.0, 0.0, 3.0), [0.25, 0.0, 0.75])):
        backbone = opened(wavlm, layers_apart=False, layer_weights=given)
        expected = sum(weight * layer for weight, layer in zip(weights, layers, strict=True))
        np.testing.assert_allclose(
            backbone.module()(window)[0].numpy(), expected / np.sqrt(np.sum(expected**2)), rtol=0, atol=1e-5
        )
        assert backbone.embedding_dim == 2 * HIDDEN


def test_module_when_layers_are_apart_has_unit_length_and_says_what_is_published(wavlm: Path) -> None:
    backbone = opened(wavlm)
    embeddings = backbone.module()(torch.from_numpy(np.stack([noise(8_000), noise(8_000, 1)]))).numpy()
    assert embeddings.shape == (2, backbone.embedding_dim) == (2, LAYERS * 2 * HIDDEN)
    np.testing.assert_allclose((embeddings.astype(float) ** 2).sum(axis=1), 1.0, atol=1e-5)
    assert backbone.published.embedding_dim == 2 * HIDDEN
    assert backbone.published.published == backbone.published
    names = {opened(wavlm, layers_apart=False, layer_weights=w).name for w in (None, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))}
    assert len(names | {backbone.name}) == 4  # the name is a part of the feature cache's key


def test_module_when_a_window_is_silent_or_ends_in_silence_stays_finite(wavlm: Path) -> None:
    windows = np.zeros((3, 8_000), np.float32)
    windows[1, :10] = 0.1  # less than a frame before digital silence, as at a clip's edit
    windows[2] = noise(8_000)
    embeddings = opened(wavlm).module()(torch.from_numpy(windows)).numpy()
    assert np.all(np.isfinite(embeddings))
    np.testing.assert_allclose((embeddings.astype(float) ** 2).sum(axis=1), 1.0, atol=1e-5)


def test_windows_when_cut_by_the_default_rule_hold_a_second_or_the_whole_clip(wavlm: Path) -> None:
    source = WeightSource("tiny", "tests", "1", weights_sha256(wavlm), "")
    spec = open_speech_transformer(wavlm, source, layers_apart=True).input
    assert (spec.window_samples, spec.hop_samples, spec.context_samples) == (48_000, 32_000, 0)
    for samples in (8_000, 47_999, 48_000, 48_001, 80_001, 123_457):
        windows = split_windows(np.full(samples, 0.5, np.float32), spec)
        true = np.count_nonzero(windows, axis=1)
        assert true.min() >= min(samples, RATE_HZ)
        assert 32_000 * (len(windows) - 1) + true[-1] == samples


def test_statistics_when_a_clip_is_shorter_than_a_frame_refuse(wavlm: Path) -> None:
    statistics = opened(wavlm).module().statistics
    assert torch.isfinite(statistics(torch.ones(1, RECEPTIVE), torch.tensor([RECEPTIVE]))).all()
    with pytest.raises(FeatureError, match=f"at least {RECEPTIVE} samples") as caught:
        statistics(torch.ones(2, 500), torch.tensor([500, RECEPTIVE - 1]))
    assert "min_speech_s" in caught.value.remedy


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_graph_when_exported_equals_torch_for_several_lengths_and_batches(
    folders: Callable[[str, bool], Path], kind: str, tmp_path: Path
) -> None:
    backbone = opened(folders(kind, kind == "hubert"))
    module = backbone.module()
    export_graph(module, backbone.input.graph_input(), tmp_path / "model.onnx")
    session = open_session(tmp_path / "model.onnx", backbone.input, backbone.embedding_dim)
    for lengths in ([8_000], [RECEPTIVE, 5_001, 8_000], [0, 1, 84, 86, 7_999]):
        windows = np.stack([np.concatenate([noise(n, n), np.zeros(8_000 - n, np.float32)]) for n in lengths])
        expected = module(torch.from_numpy(windows)).numpy()
        np.testing.assert_allclose(session.run(windows)["embeddings"], expected, rtol=0, atol=1e-4)


def rewrite(path: Path, **changes: Any) -> None:
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in values.items() if value is not None}))


@pytest.mark.parametrize(
    ("config", "preprocessor", "bands"),
    [
        ({"model_type": "whisper", "num_mel_bins": 80}, {"feature_extractor_type": "WhisperFeatureExtractor"}, 80),
        ({"model_type": "wav2vec2-bert", "feature_projection_input_dim": 160}, {}, 160),
        ({"model_type": "wav2vec2"}, {"feature_size": 128}, 128),
    ],
)
def test_open_when_the_network_takes_a_spectrogram_refuses_with_the_reason(
    wavlm: Path, config: dict[str, Any], preprocessor: dict[str, Any], bands: int
) -> None:
    rewrite(wavlm / "config.json", **config)
    rewrite(wavlm / "preprocessor_config.json", **preprocessor)
    with pytest.raises(FeatureError, match=f"mel spectrogram .input_features, {bands} bands. and not a waveform"):
        opened(wavlm)


def test_open_when_the_kind_is_not_known_lists_the_known_ones(wavlm: Path) -> None:
    rewrite(wavlm / "config.json", model_type="unispeech")
    with pytest.raises(FeatureError, match="hubert, wav2vec2, wavlm"):
        opened(wavlm)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_open_when_a_file_is_missing_asks_for_the_whole_folder(wavlm: Path, name: str) -> None:
    (wavlm / name).unlink()
    with pytest.raises(ChecksumError, match=r"cannot be read|holds no weights"):
        opened(wavlm)


@pytest.mark.parametrize("content", ["{", "[]", '{"model_type": "wavlm"}'])
def test_open_when_the_description_is_damaged_refuses(wavlm: Path, content: str) -> None:
    (wavlm / "config.json").write_text(content)
    with pytest.raises(ChecksumError, match=r"config\.json|does not say"):
        opened(wavlm)


def as_pickle(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of a folder, whose .safetensors goes."""
    from safetensors.torch import load_file

    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    return state


def test_module_when_weights_are_pickled_tensors_equals_safetensors(wavlm: Path) -> None:
    window = torch.from_numpy(noise(8_000)[None])
    expected = opened(wavlm).module()(window)
    torch.save(as_pickle(wavlm), wavlm / "pytorch_model.bin")
    torch.testing.assert_close(opened(wavlm).module()(window), expected, rtol=0, atol=0)


class Code:
    """Runs when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.witness,)


def test_module_when_the_pickle_holds_code_runs_nothing(wavlm: Path, tmp_path: Path) -> None:
    state: dict[str, Any] = as_pickle(wavlm)
    torch.save(state | {"extra": Code(tmp_path / "ran")}, wavlm / "pytorch_model.bin")
    with pytest.raises(ChecksumError, match="without running code"):
        opened(wavlm).module()
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(Code(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()  # it would have


def test_module_when_a_tensor_is_missing_refuses_instead_of_making_it_up(wavlm: Path) -> None:
    state = as_pickle(wavlm)
    name = "encoder.layers.1.attention.q_proj.weight"
    torch.save({key: value for key, value in state.items() if key != name}, wavlm / "pytorch_model.bin")
    with pytest.raises(ChecksumError, match=r"do not fill a wavlm network") as caught:
        opened(wavlm).module()
    assert name in str(caught.value)


def test_module_when_weights_are_cut_off_or_others_than_named_refuses(wavlm: Path) -> None:
    backbone = opened(wavlm)
    with pytest.raises(ChecksumError, match="must have sha256"):
        replace(backbone, source=replace(backbone.source, sha256="0" * 64)).module()
    content = (wavlm / "model.safetensors").read_bytes()
    (wavlm / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(ChecksumError, match="cannot be read"):
        opened(wavlm).module()


def test_open_when_weights_or_windows_do_not_fit_refuses(wavlm: Path) -> None:
    for weights in ((1.0, 1.0), (1.0, -1.0, 1.0), (0.0, 0.0, 0.0)):
        with pytest.raises(FeatureError, match="one weight >= 0 for each of the 3"):
            opened(wavlm, layers_apart=False, layer_weights=weights)
    source = WeightSource("tiny", "tests", "1", "0" * 64, "")
    with pytest.raises(FeatureError, match="must overlap"):
        open_speech_transformer(wavlm, source, layers_apart=True, window_s=1.0, hop_s=1.0)


def test_open_backbone_when_a_speech_transformer_is_asked_for_reads_the_recipe(wavlm: Path) -> None:
    recipe = SpeechTransformerRecipe(kind="speech_transformer", path=wavlm, layers="apart", licence="MIT")
    backbone = recipe.open()
    assert isinstance(backbone, SpeechTransformer)
    assert (backbone.name, backbone.source.licence) == ("wavlm-layers", "MIT")
    with pytest.raises(ValueError, match="layers: sum"):
        SpeechTransformerRecipe(kind="speech_transformer", path=wavlm, layers="apart", layer_weights=(1.0,) * LAYERS)


def test_wavlm_recipe_when_read_learns_the_layers_of_a_base_network() -> None:
    recipe = read_recipe(ROOT / "training" / "matchka_train" / "recipes" / "wavlm.yaml")
    assert isinstance(recipe.backbone, SpeechTransformerRecipe)
    assert recipe.backbone.layers == "apart"
    assert isinstance(recipe.projection, LayerSumRecipe)
    assert recipe.projection.layers == 12 + 1
