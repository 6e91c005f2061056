"""Convolutions in 8 bits: near the network in 32, whatever the company, and with ranges of its own layers only."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from matchka.inference.session import OrtSession
from matchka.modalities.modality import GraphInput, InputArray
from matchka.vectors import FloatArray
from matchka_export.errors import QuantisationError
from matchka_export.graph.rewrite import rewrite_exactly
from matchka_export.graph.trace import export_graph
from matchka_export.quantised.convolutional import calibrate, places_of, quantise_convolutional

SIDE, DIM = 16, 8
CHIPS = GraphInput("chips", (SIDE, SIDE, 3), "uint8")


class Network(nn.Module):
    """Two convolutions of scaled pixels, with what is between them given back to the second."""

    def __init__(self, scaled: bool = True) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.scaled = scaled
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, DIM)
        self.requires_grad_(requires_grad=False).eval()

    def forward(self, chips: Tensor) -> Tensor:
        pixels = chips.permute(0, 3, 1, 2).float()
        pixels = (pixels - 120.0) / 256.0 if self.scaled else pixels.clamp(min=3.0) / 256.0
        x = torch.relu(self.first(pixels))
        found: Tensor = self.head(torch.relu(self.second(x) + x).mean(dim=(2, 3)))
        return found


def chips(count: int, seed: int = 0) -> InputArray:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def exported(folder: Path, model: nn.Module | None = None, name: str = "model.onnx") -> onnx.ModelProto:
    export_graph(model or Network(), CHIPS, folder / name)
    rewrite_exactly(folder / name)
    return onnx.load(str(folder / name))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("convolutional")


@pytest.fixture(scope="module")
def model(folder: Path) -> onnx.ModelProto:
    return exported(folder)


@pytest.fixture(scope="module")
def ranges(model: onnx.ModelProto) -> dict[str, tuple[float, float]]:
    return calibrate(model, chips(40))


@pytest.fixture(scope="module")
def quantised(model: onnx.ModelProto, ranges: dict[str, tuple[float, float]], folder: Path) -> Path:
    onnx.save_model(quantise_convolutional(model, ranges), folder / "int8.onnx")
    return folder / "int8.onnx"


def run(path: Path, rows: InputArray) -> FloatArray:
    return OrtSession(path, "chips", (SIDE, SIDE, 3), {"embeddings": (DIM,)}, 1, "uint8").run(rows)["embeddings"]


def test_calibrate_gives_the_lowest_and_highest_value_of_each_place(ranges: dict[str, tuple[float, float]]) -> None:
    network = Network()
    scaled = (torch.from_numpy(chips(40)).permute(0, 3, 1, 2).float() - 120.0) / 256.0
    first = network.first(scaled)
    second = network.second(torch.relu(first))
    expected = {
        "Conv 0": first,
        "Relu 0": torch.relu(first),
        "Conv 1": second,
        "Add 0": second + torch.relu(first),
        "Relu 1": torch.relu(second + torch.relu(first)),
    }
    assert ranges.keys() == expected.keys()
    for place, values in expected.items():
        np.testing.assert_allclose(ranges[place], (float(values.min()), float(values.max())), atol=1e-5)


def test_quantise_when_done_is_near_the_network_in_32_bits(quantised: Path) -> None:
    rows = chips(20, seed=1)
    expected, found = Network()(torch.from_numpy(rows)).numpy(), run(quantised, rows)
    cosines = (found * expected).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert 0.999 < cosines.min() < 1


def test_rows_in_company_of_others_give_what_they_give_alone(quantised: Path) -> None:
    rows = np.concatenate([chips(3, seed=2), np.full((1, SIDE, SIDE, 3), 255, np.uint8)])
    alone = np.concatenate([run(quantised, row[None]) for row in rows])
    np.testing.assert_array_equal(run(quantised, rows), alone)


def test_quantise_when_done_takes_the_pixels_as_they_are(quantised: Path) -> None:
    model = onnx.load(str(quantised))
    assert not [node for node in model.graph.node if node.op_type == "Cast"]
    pixels = next(node for node in model.graph.node if node.input[0] == model.graph.input[0].name)
    assert pixels.op_type == "Transpose"


def test_quantise_of_a_graph_with_other_names_inside_gives_the_same(
    model: onnx.ModelProto, ranges: dict[str, tuple[float, float]], quantised: Path, folder: Path
) -> None:
    renamed = onnx.ModelProto()
    renamed.CopyFrom(model)
    ends = {renamed.graph.input[0].name, renamed.graph.output[0].name}
    for node in renamed.graph.node:
        node.input[:] = [name if name in ends or not name else f"x{name}" for name in node.input]
        node.output[:] = [name if name in ends else f"x{name}" for name in node.output]
    for tensor in renamed.graph.initializer:
        tensor.name = f"x{tensor.name}"
    assert set(places_of(renamed).values()).isdisjoint(places_of(model).values())
    onnx.save_model(quantise_convolutional(renamed, ranges), folder / "renamed.onnx")
    np.testing.assert_array_equal(run(folder / "renamed.onnx", chips(5)), run(quantised, chips(5)))


@pytest.mark.parametrize("colour", [0, 200])
def test_calibrate_on_chips_of_which_one_shows_nothing_is_refused(model: onnx.ModelProto, colour: int) -> None:
    rows = chips(5)
    rows[3] = colour
    with pytest.raises(QuantisationError, match=r"show nothing.*1 of 5 of one colour"):
        calibrate(model, rows)


def test_calibrate_on_no_chips_is_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(QuantisationError, match="show nothing"):
        calibrate(model, chips(0))


def test_quantise_with_ranges_of_other_layers_is_refused(
    model: onnx.ModelProto, ranges: dict[str, tuple[float, float]]
) -> None:
    with pytest.raises(QuantisationError, match="a graph with other layers"):
        quantise_convolutional(model, ranges | {"Conv 2": (0.0, 1.0)})


def test_quantise_of_a_graph_that_changes_its_pixels_first_is_refused(folder: Path) -> None:
    model = exported(folder, Network(scaled=False), "clamped.onnx")
    with pytest.raises(QuantisationError, match="do not reach the first convolution as they are"):
        quantise_convolutional(model, calibrate(model, chips(10)))
