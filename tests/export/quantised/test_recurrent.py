"""LSTM layers in 8 bits, against an LSTM in NumPy that rounds the same numbers."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from matchka.inference.graphs.cpu import cpu_features
from matchka.inference.session import OrtSession
from matchka.modalities.modality import GraphInput
from matchka.vectors import FloatArray
from matchka_export.errors import QuantisationError
from matchka_export.graph.rewrite import rewrite_exactly
from matchka_export.graph.trace import export_graph
from matchka_export.quantised.recurrent import quantise_recurrent
from matchka_export.quantised.write import VNNI

STEPS, WIDTH, HIDDEN = 9, 5, 16
EXACT = pytest.mark.skipif(
    not cpu_features() & set(VNNI), reason="without VNNI the sums of 8-bit products saturate, and no such graph is run"
)
FRAMES = GraphInput("frames", (STEPS, WIDTH), "float32")


class Stack(torch.nn.Module):
    """LSTM layers; what the last one says at the end."""

    def __init__(self, layers: int, every_step: bool = False) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.lstm = torch.nn.LSTM(WIDTH, HIDDEN, layers, batch_first=True)
        self.every_step = every_step
        self.requires_grad_(requires_grad=False).eval()

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        every, (hidden, _) = self.lstm(frames)
        found: torch.Tensor = every.mean(dim=1) if self.every_step else hidden[-1]
        return found


@pytest.fixture(scope="module")
def stack() -> Stack:
    return Stack(layers=3)


@pytest.fixture(scope="module")
def quantised(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recurrent")
    onnx.save_model(quantise_recurrent(exported(stack, folder)), folder / "int8.onnx")
    return folder / "int8.onnx"


def exported(model: torch.nn.Module, folder: Path) -> onnx.ModelProto:
    export_graph(model, FRAMES, folder / "model.onnx")
    rewrite_exactly(folder / "model.onnx")
    return onnx.load(str(folder / "model.onnx"))


def run(path: Path, frames: FloatArray) -> FloatArray:
    session = OrtSession(path, "frames", (STEPS, WIDTH), {"embeddings": (HIDDEN,)}, 1)
    return session.run(frames)["embeddings"]


def frames(count: int, seed: int = 0, scale: float = 1.0) -> FloatArray:
    return scale * np.random.default_rng(seed).standard_normal((count, STEPS, WIDTH), dtype=np.float32)


def rounded_weights(weights: FloatArray) -> FloatArray:
    """Each output's weights on 255 steps of its own."""
    steps = np.abs(weights).max(axis=1, keepdims=True) / 127
    return np.rint(weights / steps) * steps


def rounded(values: FloatArray) -> FloatArray:
    """Values of -1 to 1 on the 256 steps that ONNX Runtime lays through this range."""
    step = 2 / 255
    return (np.clip(np.rint(values / step) + 128, 0, 255) - 128) * step


def slow_layer(given: FloatArray, lstm: torch.nn.LSTM, number: int) -> FloatArray:
    """One layer, step by step: (steps, hidden)."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    weights, recurrent, bias, more_bias = (getattr(lstm, f"{name}_l{number}").numpy() for name in names)
    in_8_bits, finely = number > 0, number == 1
    hidden = cell = np.zeros(HIDDEN)
    found = []
    for step in given:
        if in_8_bits:
            parts = [(rounded(step), weights)]
            if finely:
                # the rest of the rounding, four times as large, meets fourths of weights on the steps of whole ones
                steps = np.abs(weights).max(axis=1, keepdims=True) / 127
                parts.append((rounded(4 * (step - rounded(step))), np.rint(weights / 4 / steps) * steps))
            of_input = sum(rounded_weights(w) @ x if w is weights else w @ x for x, w in parts)
            gates = of_input + rounded_weights(recurrent) @ rounded(hidden) + bias + more_bias
        else:
            gates = weights @ step + recurrent @ hidden + bias + more_bias
        entry, forget, candidate, exit_ = np.split(gates, 4)
        cell = cell / (1 + np.exp(-forget)) + np.tanh(candidate) / (1 + np.exp(-entry))
        hidden = np.tanh(cell) / (1 + np.exp(-exit_))
        found.append(hidden)
    return np.array(found)


@EXACT
def test_quantise_of_three_layers_equals_a_slow_lstm_of_rounded_numbers(stack: Stack, quantised: Path) -> None:
    given = frames(4)
    expected = []
    for clip in given:
        values: FloatArray = clip
        for number in range(3):
            values = slow_layer(values, stack.lstm, number)
        expected.append(values[-1])
    np.testing.assert_allclose(run(quantised, given), expected, atol=2e-3)


def test_quantise_when_done_is_near_the_network_in_32_bits(stack: Stack, quantised: Path) -> None:
    given = frames(20, seed=1)
    expected = stack(torch.from_numpy(given)).numpy()
    found = run(quantised, given)
    cosines = (found * expected).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert 0.999 < cosines.min() < 1


def test_rows_in_company_of_others_a_thousand_times_as_large_give_what_they_give_alone(quantised: Path) -> None:
    quiet, loud = frames(3, seed=2, scale=0.01), frames(3, seed=3, scale=10.0)
    alone = np.concatenate([run(quantised, row[None]) for row in quiet])
    np.testing.assert_array_equal(run(quantised, np.concatenate([quiet, loud]))[:3], alone)


def test_quantise_when_done_keeps_the_weights_of_the_further_layers_in_8_bits_only(quantised: Path) -> None:
    model = onnx.load(str(quantised))
    assert [node.op_type for node in model.graph.node if "LSTM" in node.op_type] == [
        "LSTM",
        "DynamicQuantizeLSTM",
        "DynamicQuantizeLSTM",
    ]
    large = [tensor for tensor in model.graph.initializer if np.prod(tensor.dims) >= HIDDEN * 4 * HIDDEN]
    floats = [tensor.name for tensor in large if tensor.data_type == TensorProto.FLOAT]
    assert len(large) == 5
    assert floats == ["layer_0/recurrent"]  # that of the frames is smaller


def test_quantise_of_one_layer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QuantisationError, match="Only LSTM layers that stand on another one"):
        quantise_recurrent(exported(Stack(layers=1), tmp_path))


def test_quantise_of_a_last_layer_of_which_every_step_is_needed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QuantisationError, match="gives every step"):
        quantise_recurrent(exported(Stack(layers=2, every_step=True), tmp_path))


def test_quantise_of_layers_that_do_not_feed_each_other_is_refused(tmp_path: Path) -> None:
    model = exported(Stack(layers=2), tmp_path)
    first, second = (node for node in model.graph.node if node.op_type == "LSTM")
    second.input[0] = first.input[0]
    with pytest.raises(QuantisationError, match="takes something else than the output of the one before"):
        quantise_recurrent(model)


@pytest.mark.parametrize("attribute", [("clip", 1.0), ("input_forget", 1), ("direction", "reverse")])
def test_quantise_of_a_layer_of_another_kind_is_refused(attribute: tuple[str, object], tmp_path: Path) -> None:
    model = exported(Stack(layers=2), tmp_path)
    second = [node for node in model.graph.node if node.op_type == "LSTM"][1]
    kept = [one for one in second.attribute if one.name != attribute[0]]
    del second.attribute[:]
    second.attribute.extend([*kept, helper.make_attribute(*attribute)])
    with pytest.raises(QuantisationError, match="not a plain forward one"):
        quantise_recurrent(model)


def test_quantise_of_weights_that_are_no_constants_is_refused(tmp_path: Path) -> None:
    model = exported(Stack(layers=2), tmp_path)
    layer = next(node for node in model.graph.node if node.op_type == "LSTM")
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    model.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=constants[layer.input[1]]))
    layer.input[1] = "w"
    assert numpy_helper.to_array(constants[layer.input[2]]).shape == (1, 4 * HIDDEN, HIDDEN)
    with pytest.raises(QuantisationError, match="with constant weights"):
        quantise_recurrent(model)
