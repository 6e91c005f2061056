"""Parity finds a graph that computes something else, and one that cannot take every batch."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from matchka.modalities.modality import GraphInput, InputSpec
from matchka.vectors import FloatArray
from matchka_export.errors import ParityError
from matchka_export.gate.parity import (
    BATCH_SIZES,
    MADE_ROWS,
    deal_batches,
    made_rows,
    require_parity,
)
from matchka_export.graph.trace import RowsToEmbeddings
from matchka_train.backbones.served_graph import open_session
from tests.factories.toy_backbone import TOY_DIM, TOY_INPUT


@pytest.fixture(scope="module")
def batches() -> list[FloatArray]:
    return deal_batches(made_rows(TOY_INPUT))


def test_require_parity_when_graph_is_right_returns_the_largest_difference(
    toy_model: RowsToEmbeddings, toy_graph: Path, batches: list[FloatArray]
) -> None:
    session = open_session(toy_graph, TOY_INPUT, TOY_DIM)
    found = require_parity(toy_model, session, batches)
    expected = max(
        float(np.abs(session.run(batch)["embeddings"] - toy_model(torch.tensor(batch)).numpy()).max())
        for batch in batches
    )
    assert found == pytest.approx(expected, abs=1e-9)
    assert 0.0 <= found <= 1e-4


def test_require_parity_when_one_weight_moved_refuses(
    toy_model: RowsToEmbeddings, toy_graph: Path, batches: list[FloatArray], tmp_path: Path
) -> None:
    graph = onnx.load(str(toy_graph))
    bias = next(tensor for tensor in graph.graph.initializer if tensor.name == "projection.bias")
    values = onnx.numpy_helper.to_array(bias).copy()
    values[0] += 2e-4
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    onnx.save(graph, str(tmp_path / "moved.onnx"))
    with pytest.raises(ParityError, match=r"0\.0001"):
        require_parity(toy_model, open_session(tmp_path / "moved.onnx", TOY_INPUT, TOY_DIM), batches)


def test_require_parity_when_graph_returns_nan_refuses(
    toy_model: RowsToEmbeddings, toy_graph: Path, batches: list[FloatArray], tmp_path: Path
) -> None:
    graph = onnx.load(str(toy_graph))
    bias = next(tensor for tensor in graph.graph.initializer if tensor.name == "projection.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full(TOY_DIM, np.nan, np.float32), bias.name))
    onnx.save(graph, str(tmp_path / "nan.onnx"))
    with pytest.raises(ParityError):
        require_parity(toy_model, open_session(tmp_path / "nan.onnx", TOY_INPUT, TOY_DIM), batches)


def test_require_parity_when_graph_was_traced_for_one_batch_size_refuses(
    toy_model: RowsToEmbeddings, toy_graph: Path, batches: list[FloatArray], tmp_path: Path
) -> None:
    """A graph that says its batch is free and reshapes to a fixed one inside."""
    graph = onnx.load(str(toy_graph))
    last = graph.graph.node[-1]
    assert list(last.output) == ["embeddings"]
    last.output[0] = "unfixed"
    shape = onnx.numpy_helper.from_array(np.array([3, TOY_DIM], np.int64), "fixed")
    graph.graph.initializer.append(shape)
    graph.graph.node.append(onnx.helper.make_node("Reshape", ["unfixed", "fixed"], ["embeddings"]))
    onnx.save(graph, str(tmp_path / "fixed.onnx"))
    with pytest.raises(ParityError, match="batch of 1 rows"):
        require_parity(toy_model, open_session(tmp_path / "fixed.onnx", TOY_INPUT, TOY_DIM), batches)


def test_deal_batches_when_clips_are_few_gives_every_size(batches: list[FloatArray]) -> None:
    assert [len(batch) for batch in batches] == list(BATCH_SIZES) == [1, 2, 7, 32]
    short = deal_batches(TOY_INPUT.example(1, seed=0))
    assert [len(batch) for batch in short] == [1, 2, 7, 32]
    assert np.array_equal(short[3][0], short[3][31])


class NumbersSpec(InputSpec):
    """A kind that this package has never heard of."""

    kind: str = "numbers"

    def graph_input(self) -> GraphInput:
        return GraphInput("numbers", (4,), "float32")

    def example(self, rows: int, seed: int) -> FloatArray:
        return np.full((rows, 4), seed + 0.5, np.float32)

    def content(self) -> dict[str, object]:
        return {}


def test_made_rows_are_the_example_of_the_input() -> None:
    np.testing.assert_array_equal(made_rows(NumbersSpec()), np.full((MADE_ROWS, 4), 0.5))
