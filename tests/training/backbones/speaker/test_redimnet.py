"""ReDimNet against numbers that the makers' own code gave for the same weights, and against librosa."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch.nn.utils import parameters_to_vector

from matchka.modalities.audio.windows import split_windows
from matchka_train.backbones.speaker.redimnet.config import parse_config
from matchka_train.backbones.speaker.redimnet.front_end import FrontEnd
from matchka_train.backbones.speaker.redimnet.frozen import RedimnetFile, RepeatedTail
from matchka_train.backbones.speaker.redimnet.network import Redimnet
from matchka_train.errors import ChecksumError, FeatureError, WeightsError
from matchka_train.modalities import AnyBackboneRecipe
from matchka_train.projections.trained.linear import LinearProjection, LinearRecipe
from matchka_train.weights.source import WeightSource
from tests.factories.redimnet_cases import CASES, LENGTHS, made_clip
from tests.factories.redimnet_files import backbone_of, fill, save_checkpoint

NUMBERS = json.loads(Path(__file__).with_name("redimnet_numbers.json").read_text())
LARGEST_DIFFERENCE = 1e-4
LARGE = ("b3", "b4", "b5", "b6")  # compared on the shortest clip only


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> RedimnetFile:
    return save_checkpoint(tmp_path_factory.mktemp("redimnet") / "tiny.pt", "tiny")


@pytest.mark.parametrize("case", CASES)
def test_network_when_compared_with_the_makers_code_has_its_names_and_gives_its_numbers(case: str) -> None:
    expected = NUMBERS["cases"][case]
    network = fill(Redimnet(parse_config(CASES[case])), NUMBERS["seed"])
    state = network.state_dict()
    listing = "\n".join(f"{name} {list(tensor.shape)}" for name, tensor in sorted(state.items()))
    assert hashlib.sha256(listing.encode()).hexdigest() == expected["names_sha256"]
    assert len(state) == expected["tensors"]
    assert sum(tensor.numel() for tensor in state.values()) == expected["values"]
    assert sum(parameter.numel() for parameter in network.parameters()) == expected["parameters"]
    for label, samples in LENGTHS.items():
        if case in LARGE and label != "short":
            continue
        windows = torch.from_numpy(made_clip(samples))[None]
        with torch.inference_mode():
            embedding, pooled = network(windows)[0].numpy(), network.pooled(windows)[0].numpy()
        assert pooled.shape == (expected["pooled_dim"],)
        np.testing.assert_allclose(embedding, expected["embedding"][label], rtol=0, atol=LARGEST_DIFFERENCE)
        some = pooled[:: max(1, len(pooled) // 24)]
        np.testing.assert_allclose(some, expected["pooled"][label], rtol=0, atol=LARGEST_DIFFERENCE)


def test_numbers_when_clips_differ_differ_far_more_than_is_allowed() -> None:
    """Otherwise agreement would say nothing about the front end."""
    for expected in NUMBERS["cases"].values():
        one, other = (np.array(expected["embedding"][label]) for label in ("one", "odd"))
        assert np.abs(one - other).max() > 100 * LARGEST_DIFFERENCE


@pytest.mark.slow
@pytest.mark.parametrize(("case", "samples"), [("b2", 600), ("b2", 24_001), ("S", 8_000), ("b0", 16_160)])
def test_front_end_when_compared_with_librosa_gives_its_log_mel(case: str, samples: int) -> None:
    config = CASES[case]
    clip = made_clip(samples).astype(np.float64)
    emphasised = clip - 0.97 * np.concatenate([clip[1:2], clip[:-1]])
    power = librosa.feature.melspectrogram(
        y=emphasised,
        sr=16_000,
        n_fft=512,
        win_length=400,
        hop_length=config["hop_length"],
        window=np.hamming(401)[:-1],  # periodic
        center=True,
        pad_mode="reflect",
        fmin=20,
        fmax=7600,
        n_mels=config["F"],
        htk=True,
        norm=None,
        dtype=np.float64,
    )
    expected = np.log(power + 1e-6)
    expected -= expected.mean(axis=1, keepdims=True)
    with torch.inference_mode():
        found = FrontEnd(parse_config(config))(torch.from_numpy(clip.astype(np.float32))[None])[0].numpy()
    assert found.shape == (config["F"], 1 + samples // config["hop_length"])
    np.testing.assert_allclose(found, expected, atol=2e-3)  # float32 against float64, after a logarithm


def test_reference_head_when_on_b2_with_1024_pooled_features_has_the_reference_counts() -> None:
    network = Redimnet(parse_config(CASES["b2-512"]))
    pooled_dim = parse_config(CASES["b2-512"]).pooled_dim
    head = LinearProjection(pooled_dim, 256, LinearRecipe())
    frozen = sum(
        parameter.numel()
        for part in (network.spec, network.backbone, network.pool)  # the reference puts its head in place of theirs
        for parameter in part.parameters()
    )
    assert pooled_dim == 1024
    trained = parameters_to_vector(head.parameters()).numel()
    assert trained == 264_448
    assert frozen + trained == 5_016_305


def test_published_b2_when_counted_agrees_with_the_published_file() -> None:
    """556 tensors with 5,100,983 values; and 2,304 features are pooled, not 1,024."""
    state = Redimnet(parse_config(CASES["b2"])).state_dict()
    assert (len(state), sum(tensor.numel() for tensor in state.values())) == (556, 5_100_983)
    assert parse_config(CASES["b2"]).pooled_dim == 2304
    assert parameters_to_vector(LinearProjection(2304, 256, LinearRecipe()).parameters()).numel() == 594_688


@pytest.mark.parametrize("layer", ["pooled", "embedding"])
def test_module_when_loaded_is_frozen_and_gives_its_layer_at_unit_length(tiny: RedimnetFile, layer: Any) -> None:
    backbone = replace(tiny, layer=layer)
    module = backbone.module()
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    windows = torch.from_numpy(np.stack([made_clip(48_000), made_clip(48_001)[1:]]))
    with torch.inference_mode():
        found = module(windows).numpy()
        raw = (module.network.pooled(windows) if layer == "pooled" else module.network(windows)).numpy()
        alone = module(windows[1:]).numpy()
    assert found.shape == (2, backbone.embedding_dim) == (2, {"pooled": 384, "embedding": 32}[layer])
    for row, expected in zip(found, raw.astype(np.float64), strict=True):
        np.testing.assert_allclose(row, expected / np.sqrt(sum(x * x for x in expected)), atol=1e-6)
    np.testing.assert_allclose(found[1], alone[0], atol=1e-6)


def test_module_when_given_zeros_returns_no_nan(tiny: RedimnetFile) -> None:
    assert torch.isfinite(tiny.module()(torch.zeros(1, 48_000))).all()


def test_repeated_tail_when_a_clip_ends_inside_its_window_repeats_it() -> None:
    clip = made_clip(5_000)
    clip[100] = 0.0  # a zero inside a clip is not its end
    windows = np.zeros((3, 12_000), np.float32)
    windows[0, :5_000], windows[1], windows[2, :1] = clip, made_clip(12_000), 0.5
    found = RepeatedTail()(torch.from_numpy(windows)).numpy()
    for row, part in zip(found, (clip, windows[1], windows[2, :1]), strict=True):
        np.testing.assert_array_equal(row, [part[i % len(part)] for i in range(12_000)])


def test_module_when_a_clip_is_shorter_than_the_window_embeds_the_repeated_clip(tiny: RedimnetFile) -> None:
    clip = made_clip(20_000)
    module = tiny.module()
    with torch.inference_mode():
        served = module(torch.tensor(split_windows(clip, tiny.input)))
        repeated = module(torch.from_numpy(np.tile(clip, 3)[None, :48_000]))
    np.testing.assert_allclose(served.numpy(), repeated.numpy(), atol=1e-6)


def test_network_when_a_window_is_too_short_says_how_long_it_must_be(tiny: RedimnetFile) -> None:
    network = tiny.module().network
    assert torch.isfinite(network(torch.from_numpy(made_clip(257))[None])).all()
    with pytest.raises(FeatureError, match="at least 257 samples"):
        network(torch.zeros(1, 256))


def test_published_when_the_layer_is_pooled_is_the_makers_embedding(tiny: RedimnetFile) -> None:
    assert tiny.published == replace(tiny, layer="embedding", name="redimnet-published")
    assert tiny.published.published == tiny.published


def test_open_backbone_when_recipe_names_a_checkpoint_declares_what_it_says(tiny: RedimnetFile) -> None:
    content = {"kind": "redimnet", "path": str(tiny.checkpoint), "name": "redimnet-tiny", "licence": "MIT"}
    backbone = TypeAdapter(AnyBackboneRecipe).validate_python(content).open()
    assert isinstance(backbone, RedimnetFile)
    assert backbone.source == WeightSource("redimnet-tiny", "not stated", "not stated", tiny.source.sha256, "MIT")
    assert (backbone.input.window_samples, backbone.input.hop_samples) == (48_000, 24_000)
    assert backbone.embedding_dim == 384
    with pytest.raises(ValidationError):
        TypeAdapter(AnyBackboneRecipe).validate_python(content | {"layer": "other"})


def test_module_when_the_file_is_another_or_absent_refuses(tiny: RedimnetFile, tmp_path: Path) -> None:
    with pytest.raises(ChecksumError, match="must have sha256"):
        replace(tiny, source=replace(tiny.source, sha256="1" * 64)).module()
    with pytest.raises(ChecksumError, match=r"no\.pt"):
        replace(tiny, checkpoint=tmp_path / "no.pt").module()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (CASES["att"], "conv_block.dwconvs.0.bias is missing"),
        (CASES["tiny"] | {"C": 16}, "(8, 1, 3, 3), not (16, 1, 3, 3)"),
    ],
    ids=["kind", "size"],
)
def test_module_when_weights_are_of_another_network_names_what_differs(
    config: dict[str, Any], words: str, tmp_path: Path
) -> None:
    backbone = save_checkpoint(tmp_path / "a.pt", "tiny", model_config=config)
    with pytest.raises(WeightsError, match="of another network") as caught:
        backbone.module()
    assert words in str(caught.value)


def test_module_when_a_small_file_describes_a_huge_network_refuses_before_it_is_built(tmp_path: Path) -> None:
    huge = CASES["tiny"] | {"F": 256, "C": 256, "stages_setup": [(1, 1, 1, None, 1)] * 16}  # terabytes of weights
    backbone = save_checkpoint(tmp_path / "a.pt", "tiny", model_config=huge)
    with pytest.raises(WeightsError, match="of another network"):
        backbone.module()


def test_module_when_one_weight_is_missing_or_too_many_names_it(tiny: RedimnetFile, tmp_path: Path) -> None:
    state = tiny.module().network.state_dict()
    without = {name: tensor for name, tensor in state.items() if name != "pool.linear2.bias"}
    for changed, name in ((without, "pool.linear2.bias is missing"), (state | {"more": torch.ones(1)}, "more is not")):
        torch.save({"model_config": CASES["tiny"], "state_dict": changed}, tmp_path / "a.pt")
        with pytest.raises(WeightsError) as caught:
            backbone_of(tmp_path / "a.pt").module()
        assert name in str(caught.value.value)


@pytest.mark.parametrize("kept", [0, 1, 1_000, 0.5, 0.99])
def test_module_when_the_file_is_cut_short_refuses(tiny: RedimnetFile, kept: float, tmp_path: Path) -> None:
    content = tiny.checkpoint.read_bytes()
    (tmp_path / "a.pt").write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(WeightsError):
        backbone_of(tmp_path / "a.pt").module()


class Trap:
    """Unpickling it the unsafe way makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_module_when_the_file_would_run_code_refuses_and_runs_nothing(tmp_path: Path) -> None:
    backbone = save_checkpoint(tmp_path / "a.pt", "tiny", more=Trap(tmp_path / "made"))
    with pytest.raises(WeightsError, match="nothing of it was run"):
        backbone.module()
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"model_state": {}}, [1, 2], torch.ones(3)])
def test_module_when_the_file_holds_something_else_says_what_it_must_hold(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="model_config and state_dict"):
        backbone_of(tmp_path / "a.pt").module()


def test_module_when_a_weight_is_not_finite_names_it(tiny: RedimnetFile, tmp_path: Path) -> None:
    state = tiny.module().network.state_dict() | {"linear.bias": torch.full((32,), torch.nan)}
    backbone = save_checkpoint(tmp_path / "a.pt", "tiny", state_dict=state)
    with pytest.raises(WeightsError, match=r"linear\.bias must be a tensor of finite numbers"):
        backbone.module()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"speed": 2}, "speed"),
        ({"block_1d_type": "gru"}, "block_1d_type"),
        ({"pooling_func": "TSTP"}, "pooling_func"),
        ({"num_classes": 10}, "num_classes"),
        ({"C": 100_000}, "C"),
        ({"stages_setup": [(2, 1, 1, None, None)] * 4}, "cannot be divided"),
        ({"stages_setup": [(1, 1)]}, "stages_setup"),
        ({"spec_params": {"n_fft": 1024}}, "n_fft"),
    ],
)
def test_config_when_it_is_not_a_published_kind_names_the_key(change: dict[str, Any], words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        parse_config(CASES["tiny"] | change)


@pytest.mark.parametrize("change", [{"group_divisor": 3}, {"group_divisor": 64}, {"F": 20, "C": 3}])
def test_module_when_channels_do_not_fit_each_other_refuses(change: dict[str, Any], tmp_path: Path) -> None:
    backbone = save_checkpoint(tmp_path / "a.pt", "tiny", model_config=CASES["tiny"] | change)
    with pytest.raises(WeightsError, match="no network that can be built"):
        backbone.module()
