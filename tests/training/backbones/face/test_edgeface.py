"""EdgeFace in torch against the makers' own code, whose outputs on weights made from names are frozen here."""

import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from matchka.modalities.face.alignment import extract_chip, fit_similarity
from matchka.modalities.modality import GraphInput
from matchka_export.graph.trace import export_graph
from matchka_train.backbones.face.edgeface import SHAPES, TEMPLATE, EdgeFace, EdgeFaceVariant, load_network
from matchka_train.backbones.face.edgeface_network import EdgeFaceNetwork
from matchka_train.backbones.face.mtcnn import Mtcnn
from matchka_train.backbones.face.recipes import EdgeFaceRecipe
from matchka_train.backbones.served_graph import open_session
from matchka_train.errors import ChecksumError, RecipeError
from matchka_train.run.recipe import read_recipe
from matchka_train.weights.source import WeightSource
from tests.factories.checkout import ROOT
from tests.factories.named_weights import random_chips, weights_by_name

# Made once by the published code (otroshi/edgeface over timm 1.0.29.dev0): embeddings of random_chips(2, 112, seed)
# with weights_by_name(..., seed), and the sha256 of the sorted lines "name shape" of all parameters.
FROZEN: dict[str, Any] = json.loads(Path(__file__).with_name("edgeface_expected.json").read_text())
RECIPE = ROOT / "training" / "matchka_train" / "recipes" / "edgeface.yaml"
VARIANTS: tuple[EdgeFaceVariant, ...] = get_args(EdgeFaceVariant)


def state_of(variant: EdgeFaceVariant) -> dict[str, torch.Tensor]:
    shapes = {name: tuple(tensor.shape) for name, tensor in EdgeFaceNetwork(SHAPES[variant]).state_dict().items()}
    return weights_by_name(shapes, FROZEN["seed"])


def saved(path: Path, variant: EdgeFaceVariant) -> EdgeFace:
    torch.save(state_of(variant), path)
    return opened(path, variant)


def opened(path: Path, variant: EdgeFaceVariant) -> EdgeFace:
    source = WeightSource("made", "tests", "1", hashlib.sha256(path.read_bytes()).hexdigest(), "")
    return EdgeFace(path, variant, source, Mtcnn())


@pytest.fixture(scope="module")
def xs(tmp_path_factory: pytest.TempPathFactory) -> EdgeFace:
    return saved(tmp_path_factory.mktemp("edgeface") / "edgeface_xs_gamma_06.pt", "xs")


@pytest.mark.parametrize("variant", VARIANTS)
def test_network_when_built_has_the_published_names_and_shapes(variant: EdgeFaceVariant) -> None:
    state = EdgeFaceNetwork(SHAPES[variant]).state_dict()
    lines = sorted(f"{name} {tuple(tensor.shape)}" for name, tensor in state.items())
    frozen = FROZEN["variants"][variant]
    assert sum(tensor.numel() for tensor in state.values()) == frozen["parameters"]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == frozen["names_sha256"]


@pytest.mark.parametrize(("variant", "millions"), [("xxs", 1.24), ("xs", 1.77), ("s", 3.65), ("base", 18.23)])
def test_network_when_built_has_as_many_parameters_as_its_makers_report(
    variant: EdgeFaceVariant, millions: float
) -> None:
    count = sum(tensor.numel() for tensor in EdgeFaceNetwork(SHAPES[variant]).state_dict().values())
    assert round(count / 1e6, 2) == millions


@pytest.mark.parametrize("variant", VARIANTS)
def test_network_when_given_chips_equals_the_published_code(variant: EdgeFaceVariant) -> None:
    network = EdgeFaceNetwork(SHAPES[variant]).eval()
    network.load_state_dict(state_of(variant))
    with torch.inference_mode():
        found = network(torch.from_numpy(random_chips(2, 112, FROZEN["seed"]))).numpy()
    expected = np.array(FROZEN["variants"][variant]["embeddings"])
    assert expected.std() > 1.0  # neither vanished nor exploded
    assert np.abs(expected[0] - expected[1]).max() > 1.0  # and not independent of the chip
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_module_when_given_chips_returns_frozen_directions_of_unit_length(xs: EdgeFace) -> None:
    module = xs.module()
    found = module(torch.from_numpy(random_chips(2, 112, FROZEN["seed"]))).numpy()
    expected = np.array(FROZEN["variants"]["xs"]["embeddings"])
    np.testing.assert_allclose(found, expected / np.sqrt((expected**2).sum(axis=1, keepdims=True)), atol=1e-5)
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert xs.published is xs


@pytest.mark.slow
def test_graph_when_exported_equals_torch_for_every_batch_size(xs: EdgeFace, tmp_path: Path) -> None:
    module = xs.module()
    spec = xs.input.graph_input()
    assert spec == GraphInput("chips", (112, 112, 3), "uint8")
    export_graph(module, spec, tmp_path / "model.onnx")
    session = open_session(tmp_path / "model.onnx", xs.input, 512)
    for batch in (1, 2, 5):
        chips = random_chips(batch, 112, batch)
        np.testing.assert_allclose(
            session.run(chips)["embeddings"], module(torch.from_numpy(chips)).numpy(), rtol=0, atol=1e-4
        )


def test_load_network_when_the_file_is_safetensors_reads_the_same(xs: EdgeFace, tmp_path: Path) -> None:
    path = tmp_path / "edgeface.safetensors"
    save_file(state_of("xs"), path)
    for (name, one), other in zip(
        load_network(path, "xs").state_dict().items(), load_network(xs.path, "xs").state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name


def test_load_network_when_of_another_variant_names_it(xs: EdgeFace) -> None:
    with pytest.raises(ChecksumError, match="does not hold EdgeFace s") as caught:
        load_network(xs.path, "s")
    assert "looks like variant: xs" in caught.value.remedy


def test_load_network_when_a_tensor_has_another_shape_names_it(tmp_path: Path) -> None:
    state = state_of("xxs")
    state["model.head.fc.weight"] = torch.zeros(1000, 168)
    torch.save(state, tmp_path / "classifier.pt")
    with pytest.raises(ChecksumError, match=r"model\.head\.fc\.weight: \(1000, 168\) instead of \(512, 168\)"):
        load_network(tmp_path / "classifier.pt", "xxs")


def test_load_network_when_the_file_is_no_edgeface_lists_the_variants(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(ChecksumError, match="xxs, xs, s, base"):
        load_network(tmp_path / "other.pt", "xs")
    torch.save([torch.zeros(3)], tmp_path / "list.pt")
    with pytest.raises(ChecksumError, match="dictionary of tensors"):
        load_network(tmp_path / "list.pt", "xs")


@pytest.mark.parametrize("kept", [0, 7, 0.5, 0.999])
def test_load_network_when_the_file_is_cut_off_refuses(xs: EdgeFace, kept: float, tmp_path: Path) -> None:
    content = xs.path.read_bytes()
    cut = tmp_path / "cut.pt"
    cut.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(ChecksumError, match="no file of weights"):
        load_network(cut, "xs")


class Code:
    """Runs when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.witness,)


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, protocol=2))])
def test_load_network_when_the_file_holds_code_runs_nothing(write: Any, tmp_path: Path) -> None:
    witness, path = tmp_path / "ran", tmp_path / "code.pt"
    write({"model.stem.0.weight": Code(witness)}, path)
    with pytest.raises(ChecksumError, match="without running code") as caught:
        load_network(path, "xs")
    assert not witness.exists()
    assert "weights_only=False" not in str(caught.value)  # no advice to run it


def test_module_when_the_file_is_another_than_its_source_names_refuses(xs: EdgeFace) -> None:
    with pytest.raises(ChecksumError, match="must have sha256"):
        replace(xs, source=replace(xs.source, sha256="0" * 64)).module()


def test_open_backbone_when_edgeface_is_asked_for_reads_the_recipe(xs: EdgeFace, tmp_path: Path) -> None:
    recipe = EdgeFaceRecipe(kind="edgeface", path=xs.path, variant="xs", downloads_dir=tmp_path, licence="BSD-3-Clause")
    backbone = recipe.open()
    assert isinstance(backbone, EdgeFace)
    assert (backbone.name, backbone.embedding_dim, backbone.input.chip_px) == ("edgeface-xs", 512, 112)
    assert (backbone.source.sha256, backbone.source.licence) == (xs.source.sha256, "BSD-3-Clause")
    assert backbone.detector == Mtcnn(tmp_path)
    with pytest.raises(ChecksumError, match="cannot be read"):
        recipe.model_copy(update={"path": tmp_path / "absent.pt"}).open()


def test_edgeface_recipe_when_read_names_the_published_file_and_trains_every_dim_up_to_all() -> None:
    recipe = read_recipe(RECIPE)
    assert isinstance(recipe.backbone, EdgeFaceRecipe)
    assert (recipe.backbone.weights, recipe.backbone.variant) == ("edgeface-xs_gamma_06", "xs")
    assert recipe.dims[-1] == 512
    with pytest.raises(RecipeError, match="variant"):
        read_recipe(RECIPE, ("backbone.variant=xl",))


def test_chip_when_a_face_is_aligned_equals_the_published_warp_pixel_by_pixel() -> None:
    """Their convention: landmarks and pixels are counted from the centre of the first pixel."""
    eyes_and_nose = [(30.29459953, 51.69630051), (65.53179932, 51.50139999), (48.02519989, 71.73660278)]
    mouth = [(33.54930115, 92.3655014), (62.72990036, 92.20410156)]
    arcface = np.array([*eyes_and_nose, *mouth]) + np.array([8.0, 0.0])  # chips of 96 -> 112 columns
    rng = np.random.default_rng(5)
    coarse = Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8))
    picture = coarse.resize((240, 240), Image.Resampling.BICUBIC)
    turn = 1.3 * np.exp(0.2j)  # picture pixels for each chip pixel: below 2 nothing is shrunk first
    theirs = (arcface @ (1, 1j)) * turn + (40 + 10j)
    landmarks = np.stack([theirs.real, theirs.imag], axis=1) + 0.5  # counted from the corner, as here
    chip = extract_chip(picture, fit_similarity(landmarks.astype(np.float32), TEMPLATE), 112)
    pixels = np.asarray(picture, np.float64)
    differences = []
    for row in range(0, 112, 7):
        for column in range(0, 112, 7):
            at = (column + 1j * row) * turn + (40 + 10j)
            x, y = at.real, at.imag
            if not (0 <= x < 239 and 0 <= y < 239):
                continue
            left, top = int(x), int(y)
            u, v = x - left, y - top
            square = pixels[top : top + 2, left : left + 2]
            expected = (1 - v) * ((1 - u) * square[0, 0] + u * square[0, 1])
            expected += v * ((1 - u) * square[1, 0] + u * square[1, 1])
            differences.append(np.abs(chip[row, column] - expected).max())
    assert len(differences) > 150
    assert max(differences) < 1.5  # rounding to whole grey levels; half a pixel would be ten times that
