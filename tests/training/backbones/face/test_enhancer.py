"""The enhancer's network, its files, and a backbone with it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from matchka.bundles.outputs.condition import Condition
from matchka.inference.session import open_ort_session
from matchka.modalities.face.spec import EnhancerSpec, ImageInputSpec
from matchka_export.bundle import content_version
from matchka_export.gate.auxiliary import write_auxiliary
from matchka_train.backbones.backbone import condition_of
from matchka_train.backbones.face.dlib import DLIB_INPUT
from matchka_train.backbones.face.enhanced import EnhancedFace, size_range
from matchka_train.backbones.face.enhancer import Enhancer, reduction_of
from matchka_train.backbones.face.enhancer_file import (
    EnhancerDescription,
    EnhancerParts,
    enhance_all,
    open_enhancer,
    read_enhancer,
)
from matchka_train.backbones.face.enhancer_file import write_enhancer as write_trained
from matchka_train.errors import FeatureError, RecipeError, WeightsError
from matchka_train.weights.source import WeightSource
from tests.factories.checkout import ROOT
from tests.factories.face_bundles import slow_enhanced, write_enhancer

SIDE = 12
SMALL = EnhancerParts(channels=4, blocks=1, outer=4, places=2)
DOWNLOADS = ROOT / "build" / "downloads"
SOURCE = WeightSource("plain", "tests", "1", "1" * 64, "Apache-2.0")
SPEC = DLIB_INPUT.model_copy(update={"chip_px": SIDE})


def network(seed: int = 0, side: int = SIDE) -> Enhancer:
    """One that does something: its last layer does not start at zero."""
    torch.manual_seed(seed)
    made = SMALL.build(side)
    torch.nn.init.normal_(made.tail.weight, std=0.5)
    torch.nn.init.normal_(made.places)
    return made.requires_grad_(False).eval()


def chips(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 190, (count, SIDE, SIDE, 3), dtype=np.uint8)


def sizes(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@dataclass(frozen=True)
class Plain:
    """A backbone for chips of SIDE."""

    auxiliary: tuple = ()
    name: str = "plain"
    source: WeightSource = SOURCE
    input: ImageInputSpec = SPEC
    embedding_dim: int = 3

    @property
    def published(self) -> "Plain":
        return self

    def module(self) -> torch.nn.Module:
        return torch.nn.Identity()


def description(**changes: object) -> EnhancerDescription:
    stated = {
        "chip_px": SIDE,
        "parts": SMALL,
        "backbone": "plain",
        "backbone_sha256": "1" * 64,
        "training": {"seed": 3},
        "record": {"recipe": "2" * 64},
        "datasets": ({"name": "made up"},),
    }
    return EnhancerDescription(**(stated | changes))


@pytest.mark.parametrize("side", [150, 112, SIDE])
def test_enhancer_when_untrained_returns_its_chips_bit_for_bit(side: int) -> None:
    given = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    assert np.array_equal(enhance_all(EnhancerParts().build(side).eval(), given, sizes(16, 149)), given)


def test_enhancer_adds_one_residual_to_all_colours() -> None:
    given = chips(2)
    added = enhance_all(network(), given, sizes(16, 30)).astype(int) - given
    assert np.abs(added).max() > 3
    assert np.abs(added - added[..., :1]).max() <= 1  # each colour is rounded for itself


def test_enhancer_sees_the_mean_brightness_of_each_square_of_its_grid_and_the_size() -> None:
    side = 132
    made = network(side=side)
    given = np.full((1, side, side, 3), 100, np.uint8)
    changed = given.copy()
    changed[0, 0, 0], changed[0, 0, 1] = 110, 90  # in one square, whose mean stays
    assert reduction_of(side) == 3
    once, again = (enhance_all(made, one, sizes(16)).astype(int) - one for one in (given, changed))
    assert np.array_equal(once, again)
    assert not np.array_equal(enhance_all(made, given, sizes(16)), enhance_all(made, given, sizes(32)))


def test_enhancer_alone_and_in_company_returns_the_same() -> None:
    made, given, native = network(), chips(20), np.linspace(12, 40, 20).astype(np.float32)
    alone = [enhance_all(made, given[row : row + 1], native[row : row + 1])[0] for row in range(20)]
    assert np.abs(np.stack(alone).astype(int) - enhance_all(made, given, native)).max() <= 1


def test_reduction_of_a_side_without_divisors_refuses() -> None:
    with pytest.raises(RecipeError, match="cannot divide"):
        reduction_of(149)


def test_read_enhancer_gives_back_what_was_written_the_same_bytes_each_time(tmp_path: Path) -> None:
    made = network()
    for name in ("one.safetensors", "other.safetensors"):
        write_trained(tmp_path / name, made, description())
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "other.safetensors").read_bytes()
    found = open_enhancer(tmp_path / "one.safetensors")
    assert found.description == description()
    assert np.array_equal(found.enhance(chips(3), sizes(16, 20, 30)), enhance_all(made, chips(3), sizes(16, 20, 30)))


@pytest.mark.parametrize("content", [None, b"", b"nothing of the kind"])
def test_read_enhancer_of_another_file_refuses(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "enhancer.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match="no enhancer"):
        read_enhancer(path)


def test_a_graph_of_ones_own_enhances_as_it_computes(tmp_path: Path) -> None:
    found = open_enhancer(write_enhancer(tmp_path / "own.onnx", SIDE))
    native = np.linspace(12, 40, 18).astype(np.float32)
    expected = [slow_enhanced(chip, size) for chip, size in zip(chips(18), native, strict=True)]
    assert np.array_equal(found.enhance(chips(18), native), np.stack(expected))


def test_a_graph_of_ones_own_that_returns_other_chips_is_refused(tmp_path: Path) -> None:
    found = open_enhancer(write_enhancer(tmp_path / "own.onnx", SIDE, returned=SIDE - 2))
    with pytest.raises(WeightsError, match="must return uint8 chips"):
        found.enhance(chips(1), sizes(16))


def test_enhanced_face_writes_a_graph_that_computes_what_torch_computes(tmp_path: Path) -> None:
    made = network()
    write_trained(tmp_path / "enhancer.safetensors", made, description())
    backbone = EnhancedFace.of(Plain(), tmp_path / "enhancer.safetensors", ((12.0, 20.0),))
    parts = write_auxiliary(backbone, tmp_path, DOWNLOADS)
    assert parts["enhancer"].kind == "face-enhancer"
    assert parts["enhancer"].sources["sr.onnx"].sha256 == read_enhancer(tmp_path / "enhancer.safetensors").sha256
    session = open_ort_session(tmp_path / "sr.onnx", 1)
    for count in (1, 7):
        native = np.linspace(12, 40, count).astype(np.float32)
        (found,) = session.run(["enhanced"], {"chips": chips(count), "native_px": native})
        assert found.dtype == np.uint8
        assert np.abs(found.astype(int) - enhance_all(made, chips(count), native)).max() <= 1


def test_enhanced_face_carries_somebodys_own_graph_as_it_is(tmp_path: Path) -> None:
    own = write_enhancer(tmp_path / "own.onnx", SIDE)
    write_auxiliary(EnhancedFace.of(Plain(), own, ()), tmp_path, DOWNLOADS)
    assert (tmp_path / "sr.onnx").read_bytes() == own.read_bytes()


def test_enhanced_face_keeps_the_version_of_its_backbone_whose_templates_stay_valid(tmp_path: Path) -> None:
    version = content_version("1.0.0", Plain(), "3" * 64, (3,))
    for seed in (0, 1):
        path = tmp_path / f"{seed}.safetensors"
        write_trained(path, network(seed), description())
        assert content_version("1.0.0", EnhancedFace.of(Plain(), path, ((12.0, 20.0),)), "3" * 64, (3,)) == version
    assert content_version("1.0.0", Plain(name="other"), "4" * 64, (3,)) != version


def test_enhanced_face_is_its_backbone_with_sizes_and_a_condition(tmp_path: Path) -> None:
    write_trained(tmp_path / "enhancer.safetensors", network(), description())
    plain = Plain()
    backbone = EnhancedFace.of(plain, tmp_path / "enhancer.safetensors", ((20.0, 28.0),))
    assert backbone.input == SPEC.model_copy(update={"enhancer": EnhancerSpec(sizes=((20.0, 28.0),))})
    assert condition_of(backbone) == Condition(value="native_px", edges=(20.0, 28.0, 40.0), source="sample")
    assert (backbone.name, backbone.source, backbone.embedding_dim) == (plain.name, plain.source, plain.embedding_dim)


def test_enhanced_face_of_another_backbone_or_of_no_face_refuses(tmp_path: Path) -> None:
    path = tmp_path / "enhancer.safetensors"
    write_trained(path, network(), description(backbone_sha256="9" * 64))
    with pytest.raises(WeightsError, match="trained through"):
        EnhancedFace.of(Plain(), path, ())
    with pytest.raises(FeatureError, match="Only faces"):
        EnhancedFace.of(Plain(input=EnhancerSpecless()), path, ())
    with pytest.raises(FeatureError, match="No range"):
        size_range(40.0)


class EnhancerSpecless:
    """An input that is none of faces."""

    kind = "audio"
