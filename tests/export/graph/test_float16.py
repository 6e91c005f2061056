"""16-bit weights: stored small, computed exactly as the rounded network."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from matchka_export.gate.parity import deal_batches, made_rows, require_parity
from matchka_export.graph.float16 import rounded_to_float16, store_as_float16
from matchka_export.graph.trace import RowsToEmbeddings, export_graph
from matchka_train.backbones.served_graph import open_session
from tests.factories.toy_backbone import TOY_INPUT, ToyBackbone

HIDDEN = 128  # enough for the exporter to keep the recurrent weights whole


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[RowsToEmbeddings, Path, int, int]:
    """The rounded model, its graph, bytes before and after, and how many tensors were narrowed."""
    torch.manual_seed(2)
    backbone = ToyBackbone()
    backbone.lstm = torch.nn.LSTM(6, HIDDEN, batch_first=True)
    model = RowsToEmbeddings(rounded_to_float16(backbone), torch.nn.Identity())
    path = tmp_path_factory.mktemp("half") / "model.onnx"
    export_graph(model, TOY_INPUT.graph_input(), path)
    before = path.stat().st_size
    return model, path, before, store_as_float16(path, model)


def test_rounded_to_float16_when_done_holds_only_values_of_16_bits_and_spares_the_front_end() -> None:
    original = ToyBackbone()
    rounded = rounded_to_float16(original)
    for name, parameter in original.named_parameters():
        expected = parameter.detach().numpy().astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(rounded.get_parameter(name).detach().numpy(), expected)
    np.testing.assert_array_equal(rounded.get_buffer("mel.basis").numpy(), original.mel.basis.numpy())


def test_store_as_float16_when_done_is_smaller_and_equals_the_rounded_network(
    exported: tuple[RowsToEmbeddings, Path, int, int],
) -> None:
    model, path, before, count = exported
    assert count >= 1
    assert (
        path.stat().st_size < before - HIDDEN * HIDDEN * 4 * 2 + 1000
    )  # two of four bytes saved, and a note on each tensor
    batches = deal_batches(made_rows(TOY_INPUT))
    assert require_parity(model, open_session(path, TOY_INPUT, HIDDEN), batches) <= 1e-5


def test_store_as_float16_when_done_keeps_the_front_end_and_both_ends_in_32_bits(
    exported: tuple[RowsToEmbeddings, Path, int, int],
) -> None:
    graph = onnx.load(str(exported[1])).graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    narrow = {name for name, kind in kinds.items() if kind == TensorProto.FLOAT16}
    assert "backbone.lstm.weight_hh_l0/float16" in narrow
    assert all(name.startswith("backbone.lstm.") for name in narrow)
    assert kinds["backbone.mel.basis"] == TensorProto.FLOAT
    for value in (*graph.input, *graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    basis = next(tensor for tensor in graph.initializer if tensor.name == "backbone.mel.basis")
    np.testing.assert_array_equal(numpy_helper.to_array(basis), exported[0].backbone.mel.basis.numpy())
