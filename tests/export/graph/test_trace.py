"""The exported file: whole, anonymous, and equal to a slow computation of the same network."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from matchka_export.graph.trace import RowsToEmbeddings, export_graph
from matchka_train.backbones.served_graph import open_session
from tests.factories.checkout import ROOT
from tests.factories.toy_backbone import TOY_DIM, TOY_INPUT

BATCHES = [1, 2, 3, 7, 32]


def test_export_graph_when_written_is_one_file_with_the_agreed_names(toy_graph: Path) -> None:
    assert [path.name for path in toy_graph.parent.iterdir()] == ["model.onnx"]
    graph = onnx.load(str(toy_graph)).graph
    assert [value.name for value in graph.input] == ["windows"]
    assert [value.name for value in graph.output] == ["embeddings"]
    assert not [tensor for tensor in graph.initializer if tensor.external_data]


def test_export_graph_when_written_says_nothing_of_the_machine_it_was_made_on(toy_graph: Path) -> None:
    content = toy_graph.read_bytes()
    assert b".py" not in content
    assert b"stack_trace" not in content
    assert str(ROOT).encode() not in content


def test_export_graph_when_repeated_gives_the_same_bytes(
    toy_model: RowsToEmbeddings, toy_graph: Path, tmp_path: Path
) -> None:
    export_graph(toy_model, TOY_INPUT.graph_input(), tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == toy_graph.read_bytes()


def test_export_graph_when_network_has_an_lstm_keeps_it_one_node(toy_graph: Path) -> None:
    operations = [node.op_type for node in onnx.load(str(toy_graph)).graph.node]
    assert operations.count("LSTM") == 1
    assert not {"Loop", "Scan"} & set(operations)


@pytest.mark.parametrize("batch", BATCHES)
def test_graph_when_run_at_any_batch_equals_window_by_window(
    batch: int, toy_model: RowsToEmbeddings, toy_graph: Path
) -> None:
    windows = np.random.default_rng(batch).standard_normal((batch, TOY_INPUT.window_samples)).astype(np.float32) * 0.1
    one_by_one = np.concatenate([toy_model(torch.tensor(window[None])).numpy() for window in windows])
    found = open_session(toy_graph, TOY_INPUT, TOY_DIM).run(windows)["embeddings"]
    np.testing.assert_allclose(found, one_by_one, atol=1e-5)


def test_graph_when_projection_is_affine_averages_as_the_projected_mean(
    toy_model: RowsToEmbeddings, toy_graph: Path
) -> None:
    windows = np.random.default_rng(5).standard_normal((9, TOY_INPUT.window_samples)).astype(np.float32)
    units = toy_model.backbone(torch.tensor(windows)).numpy().astype(np.float64)
    weight = toy_model.projection.weight.numpy().astype(np.float64)
    bias = toy_model.projection.bias.numpy().astype(np.float64)
    mean = open_session(toy_graph, TOY_INPUT, TOY_DIM).run(windows)["embeddings"].mean(axis=0)
    np.testing.assert_allclose(mean, weight @ units.mean(axis=0) + bias, atol=1e-5)
