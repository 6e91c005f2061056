"""Exact rewrites: the same function in other operations, judged by torch and by what is left in the file."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from matchka.modalities.modality import GraphInput
from matchka_export.graph.rewrite import rewrite_exactly
from matchka_export.graph.trace import export_graph

PIXELS = GraphInput("chips", (9, 9, 3), "uint8")
FRAMES = GraphInput("frames", (7, 6), "float32")


class Network(nn.Module):
    """Pixels scaled, a convolution, PRelu with the slopes given."""

    def __init__(self, slopes: list[float], mean: Tensor, padding: int = 0) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.conv, self.prelu = nn.Conv2d(3, len(slopes), 3, stride=2, padding=padding), nn.PReLU(len(slopes))
        self.prelu.weight.data = torch.tensor(slopes)
        self.requires_grad_(requires_grad=False).eval()

    def forward(self, chips: Tensor) -> Tensor:
        scaled = (chips.permute(0, 3, 1, 2).float() - self.mean) / 128.0
        found: Tensor = self.prelu(self.conv(scaled)).mean(dim=(2, 3))
        return found


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 128, batch_first=True)
        self.requires_grad_(requires_grad=False).eval()

    def forward(self, frames: Tensor) -> Tensor:
        hidden: Tensor = self.lstm(frames)[1][0][-1]
        return hidden


def rewritten(model: nn.Module, spec: GraphInput, path: Path) -> tuple[Counter[str], Counter[str]]:
    """Operations of the graph as it is exported, and as it is rewritten."""
    export_graph(model, spec, path)
    before = operations(path)
    rewrite_exactly(path)
    return before, operations(path)


def operations(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(str(path)).graph.node)


def outputs(path: Path, rows: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: rows})
    return np.asarray(found)


def largest_difference(model: nn.Module, rows: np.ndarray, path: Path) -> float:
    return float(np.abs(outputs(path, rows) - model(torch.from_numpy(rows)).numpy()).max())


@pytest.mark.parametrize("slopes", [[0.25, -0.5, 1.0, 0.0], [0.25, 1.5, -2.0, 1.0]], ids=["below 1", "above 1"])
def test_rewrite_of_prelu_when_done_equals_torch_without_one(slopes: list[float], tmp_path: Path) -> None:
    torch.manual_seed(1)
    model, path = Network(slopes, torch.tensor(127.5)), tmp_path / "model.onnx"
    before, after = rewritten(model, PIXELS, path)
    assert (before["PRelu"], after["PRelu"]) == (1, 0)
    chips = np.random.default_rng(0).integers(0, 256, (5, 9, 9, 3), dtype=np.uint8)
    assert largest_difference(model, chips, path) <= 1e-6


@pytest.mark.parametrize("slopes", [[0.25, -0.5, 1.0, 0.0], [0.25, 1.5, -2.0, 1.0]], ids=["below 1", "above 1"])
def test_rewrite_to_the_bit_when_done_gives_the_very_numbers_of_the_graph_before(
    slopes: list[float], tmp_path: Path
) -> None:
    torch.manual_seed(1)
    export_graph(Network(slopes, torch.tensor(127.5)), PIXELS, tmp_path / "model.onnx")
    chips = np.random.default_rng(0).integers(0, 256, (5, 9, 9, 3), dtype=np.uint8)
    before = outputs(tmp_path / "model.onnx", chips)
    rewrite_exactly(tmp_path / "model.onnx", to_the_bit=True)
    assert operations(tmp_path / "model.onnx")["PRelu"] == 0
    np.testing.assert_array_equal(outputs(tmp_path / "model.onnx", chips), before)


@pytest.mark.parametrize("mean", [torch.tensor(127.5), torch.tensor([122.8, 117.0, 104.3]).reshape(1, 3, 1, 1)])
def test_rewrite_of_scaled_pixels_when_nothing_is_padded_leaves_no_scaling(mean: Tensor, tmp_path: Path) -> None:
    torch.manual_seed(2)
    model, path = Network([0.1] * 4, mean), tmp_path / "model.onnx"
    before, after = rewritten(model, PIXELS, path)
    assert (before["Sub"], before["Div"], after["Sub"], after["Div"]) == (1, 1, 0, 0)
    chips = np.random.default_rng(0).integers(0, 256, (5, 9, 9, 3), dtype=np.uint8)
    assert largest_difference(model, chips, path) <= 1e-6


def test_rewrite_of_scaled_pixels_when_they_are_padded_leaves_the_scaling(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model, path = Network([0.1] * 4, torch.tensor(127.5), padding=1), tmp_path / "model.onnx"
    _, after = rewritten(model, PIXELS, path)
    assert (after["Sub"], after["Div"]) == (1, 1)
    chips = np.random.default_rng(0).integers(0, 256, (5, 9, 9, 3), dtype=np.uint8)
    assert largest_difference(model, chips, path) <= 1e-6


def test_rewrite_of_an_lstm_when_done_stores_its_weights_as_they_are_used(tmp_path: Path) -> None:
    torch.manual_seed(4)
    model, path = Recurrent(), tmp_path / "model.onnx"
    rewritten(model, FRAMES, path)
    graph = onnx.load(str(path)).graph
    (lstm,) = (node for node in graph.node if node.op_type == "LSTM")
    assert {lstm.input[1], lstm.input[2]} <= {tensor.name for tensor in graph.initializer}
    frames = np.random.default_rng(0).standard_normal((5, 7, 6), dtype=np.float32)
    assert largest_difference(model, frames, path) <= 1e-6


def test_rewrite_when_repeated_gives_the_same_bytes(tmp_path: Path) -> None:
    torch.manual_seed(5)
    model = Network([0.1, 2.0], torch.tensor(127.5))
    rewritten(model, PIXELS, tmp_path / "one.onnx")
    rewritten(model, PIXELS, tmp_path / "two.onnx")
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()
