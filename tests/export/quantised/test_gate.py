"""What an 8-bit graph has to show beside the other: measured on real graphs, judged on made-up findings."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from matchka.inference.session import OrtSession
from matchka_export.quantised.gate import BesideFloat, put_beside
from tests.factories.graphs import OUTPUTS, WINDOW, write_graph

FAST = {1: 1.31, 6: 2.0}


def opened(path: Path) -> OrtSession:
    return OrtSession(path, "windows", (WINDOW,), OUTPUTS, 1)


def rows(count: int = 8) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, WINDOW)).astype(np.float32)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (BesideFloat(0.996, 1e-5, FAST), None),
        (BesideFloat(0.9959, 0.0, FAST), "a row's cosine with the graph in 32 bits is 0.99590 (>= 0.996)"),
        (BesideFloat(float("nan"), 0.0, FAST), "a row's cosine with the graph in 32 bits is nan (>= 0.996)"),
        (BesideFloat(0.999, 2e-5, FAST), "other rows change what a row gives by 2e-05 (<= 1e-05)"),
        (BesideFloat(0.999, 0.0, {1: 1.5, 6: 1.29}), "1.29 times as fast in runs of 6 (>= 1.3)"),
    ],
)
def test_refusal_names_what_is_not_reached(found: BesideFloat, expected: str | None) -> None:
    assert found.refusal(0.996) == expected


def test_put_beside_of_a_graph_and_itself_finds_no_difference(tmp_path: Path) -> None:
    write_graph(tmp_path / "own.onnx")
    found = put_beside(opened(tmp_path / "own.onnx"), opened(tmp_path / "own.onnx"), "embeddings", rows())
    assert found.least_cosine == pytest.approx(1.0, abs=1e-6)
    assert found.company <= 1e-3  # of embeddings of length 1,000: sums of 1,600 products, in another order for one row
    assert set(found.speed) == {1, 6}


def test_put_beside_of_another_graph_finds_the_lowest_cosine(tmp_path: Path) -> None:
    write_graph(tmp_path / "own.onnx", seed=7)
    write_graph(tmp_path / "other.onnx", seed=8)
    sessions = opened(tmp_path / "own.onnx"), opened(tmp_path / "other.onnx")
    one, other = (session.run(rows())["embeddings"] for session in sessions)
    expected = min(a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(one, other, strict=True))
    assert put_beside(*sessions, "embeddings", rows()).least_cosine == pytest.approx(expected, abs=1e-5)


def test_put_beside_of_a_graph_that_subtracts_the_mean_of_its_batch_finds_that_company_matters(tmp_path: Path) -> None:
    write_graph(tmp_path / "own.onnx")
    graph = onnx.load(str(tmp_path / "own.onnx"))
    last = graph.graph.node[-1]
    last.output[0] = "of_row"
    graph.graph.node.extend(
        [
            helper.make_node("ReduceMean", ["of_row"], ["of_batch"], axes=[0], keepdims=1),
            helper.make_node("Sub", ["of_row", "of_batch"], ["embeddings"]),
        ]
    )
    assert graph.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    onnx.save_model(graph, tmp_path / "batch.onnx")
    found = put_beside(opened(tmp_path / "own.onnx"), opened(tmp_path / "batch.onnx"), "embeddings", rows())
    assert found.company > 1.0
    assert "other rows change what a row gives" in str(found.refusal(0.996))
