"""ONNX Runtime behind the Session protocol, with real graphs."""

import logging
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from matchka.errors import BundleError, NonFiniteEmbeddingError, OutOfMemoryError
from matchka.inference.session import OrtSession, choose_providers, open_ort_session
from matchka.runtime.cuda import driver_problem
from tests.factories.graphs import FULL_DIM, OUTPUTS, WINDOW, projection, write_graph


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    write_graph(tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.mark.parametrize("count", [1, 2, 7, 33])
def test_run_of_any_batch_equals_the_graphs_formula_row_by_row(graph: Path, count: int):
    session = OrtSession(graph, "windows", (WINDOW,), OUTPUTS, threads=1)
    inputs = np.random.default_rng(count).normal(0, 0.1, (count, WINDOW)).astype(np.float32)
    bands, mix, bias = (weights.astype(np.float64) for weights in projection())
    expected = [np.abs(row.astype(np.float64) @ bands) @ mix + bias for row in inputs]
    np.testing.assert_allclose(session.run(inputs)["embeddings"], expected, rtol=1e-4, atol=1e-4)
    assert session.outputs == OUTPUTS


def test_threads_that_spin_do_so_within_a_run_only_and_change_no_result(graph: Path):
    inputs = np.random.default_rng(5).normal(size=(3, WINDOW)).astype(np.float32)
    asleep = OrtSession(graph, "windows", (WINDOW,), OUTPUTS, threads=1)
    awake = OrtSession(graph, "windows", (WINDOW,), OUTPUTS, threads=2, spins=True)
    np.testing.assert_allclose(awake.run(inputs)["embeddings"], asleep.run(inputs)["embeddings"], rtol=1e-5, atol=1e-6)
    given = open_ort_session(graph, 2, spins=True).get_session_options()
    assert given.get_session_config_entry("session.intra_op.allow_spinning") == "1"
    assert given.get_session_config_entry("session.force_spinning_stop") == "1", "a core is busy long after each run"
    usual = open_ort_session(graph, 2).get_session_options()
    assert usual.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_run_of_a_strided_view_equals_that_of_its_copy(graph: Path):
    session = OrtSession(graph, "windows", (WINDOW,), OUTPUTS, threads=1)
    inputs = np.random.default_rng(1).normal(size=(WINDOW, 6)).astype(np.float32).T[::2]
    np.testing.assert_array_equal(session.run(inputs)["embeddings"], session.run(inputs.copy())["embeddings"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_run_that_gives_no_finite_numbers_is_refused(graph: Path, bad: float):
    session = OrtSession(graph, "windows", (WINDOW,), OUTPUTS, threads=1)
    inputs = np.zeros((3, WINDOW), np.float32)
    inputs[1, 5] = bad
    with pytest.raises(NonFiniteEmbeddingError):
        session.run(inputs)["embeddings"]


@pytest.mark.parametrize(
    ("name", "window", "output", "full_dim"),
    [
        ("waveform", WINDOW, "embeddings", FULL_DIM),
        ("windows", WINDOW + 1, "embeddings", FULL_DIM),
        ("windows", WINDOW, "embeddings", FULL_DIM + 1),
        ("windows", WINDOW, "logits", FULL_DIM),
    ],
)
def test_session_of_a_graph_of_other_inputs_or_outputs_is_refused(
    graph: Path, name: str, window: int, output: str, full_dim: int
):
    with pytest.raises(BundleError, match="must take float32") as refused:
        OrtSession(graph, name, (window,), {output: (full_dim,)})
    assert str(WINDOW) in str(refused.value)


def write_identity(path: Path, kind: int, shape: list[object], outputs: int = 1) -> None:
    names = [f"out{n}" for n in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["windows"], [name]) for name in names],
        "identity",
        [helper.make_tensor_value_info("windows", kind, shape)],
        [helper.make_tensor_value_info(name, kind, shape) for name in names],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


@pytest.mark.parametrize(
    ("kind", "shape", "outputs"),
    [
        (TensorProto.DOUBLE, ["batch", 4], 1),
        (TensorProto.FLOAT, [1, 4], 1),
        (TensorProto.FLOAT, ["batch", "time"], 1),
        (TensorProto.FLOAT, ["batch", 4], 2),
        (TensorProto.FLOAT, ["batch", 4, 1], 1),
    ],
    ids=["float64", "fixed batch", "free window", "two outputs", "three axes"],
)
def test_session_of_a_graph_of_another_signature_is_refused(tmp_path: Path, kind: int, shape: list, outputs: int):
    write_identity(tmp_path / "model.onnx", kind, shape, outputs)
    with pytest.raises(BundleError, match="must take float32"):
        OrtSession(tmp_path / "model.onnx", "windows", (4,), {"out0": (4,)})


def test_run_of_a_graph_with_several_outputs_gives_each_by_its_name_whatever_their_order(tmp_path: Path):
    graph = helper.make_graph(
        [
            helper.make_node("Neg", ["windows"], ["minus"]),
            helper.make_node("ReduceMax", ["windows"], ["peak"], axes=[1]),
        ],
        "two",
        [helper.make_tensor_value_info("windows", TensorProto.FLOAT, ["batch", 4])],
        [
            helper.make_tensor_value_info("minus", TensorProto.FLOAT, ["batch", 4]),
            helper.make_tensor_value_info("peak", TensorProto.FLOAT, ["batch", 1]),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx")
    session = OrtSession(tmp_path / "m.onnx", "windows", (4,), {"peak": (1,), "minus": (4,)})
    found = session.run(np.array([[1, 5, 2, 0], [-1, -2, -3, -4]], np.float32))
    assert found["peak"].tolist() == [[5.0], [-1.0]]
    assert found["minus"].tolist() == [[-1.0, -5.0, -2.0, 0.0], [1.0, 2.0, 3.0, 4.0]]
    with pytest.raises(NonFiniteEmbeddingError):  # in whichever of them
        session.run(np.array([[1, 5, 2, np.inf]], np.float32))


@pytest.mark.parametrize("content", [b"", b"this is no graph", b"\x00" * 1000])
def test_session_of_a_file_that_is_no_graph_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(BundleError, match="not a graph"):
        OrtSession(tmp_path / "model.onnx", "windows", (4,), {"out0": (4,)})


def test_session_of_a_graph_cut_short_is_refused(graph: Path):
    graph.write_bytes(graph.read_bytes()[:-1000])
    with pytest.raises(BundleError):
        OrtSession(graph, "windows", (WINDOW,), OUTPUTS)


@pytest.mark.parametrize("said", ["Failed to allocate memory for requested buffer of size 8", "std::bad_alloc"])
def test_graph_that_there_is_no_memory_for_is_not_called_a_broken_one(
    graph: Path, monkeypatch: pytest.MonkeyPatch, said: str
):
    def full(*_: object, **__: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(onnxruntime, "InferenceSession", full)
    with pytest.raises(OutOfMemoryError, match="no memory for"):
        OrtSession(graph, "windows", (WINDOW,), OUTPUTS)


has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers() and driver_problem(13) is None


@pytest.mark.parametrize(
    ("use_gpu", "available", "expected"),
    [
        (False, ["CUDAExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"]),
        (True, ["AzureExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"]),
        (
            True,
            ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
            ["CUDAExecutionProvider", "CPUExecutionProvider"],
        ),
    ],
)
def test_providers_are_cuda_only_where_it_is_wanted_and_there(use_gpu: bool, available: list, expected: list):
    assert choose_providers(use_gpu, available) == expected


@pytest.mark.skipif(has_cuda, reason="this ONNX Runtime has a GPU")
def test_session_on_a_gpu_that_is_not_there_runs_on_the_cpu_and_the_log_says_so(
    graph: Path, caplog: pytest.LogCaptureFixture
):
    inputs = np.random.default_rng(1).normal(0, 0.1, (3, WINDOW)).astype(np.float32)
    with caplog.at_level(logging.WARNING, "matchka.inference.session"):
        session = OrtSession(graph, "windows", (WINDOW,), OUTPUTS, threads=1, use_gpu=True)
    assert "runs on the CPU" in caplog.text
    assert len(caplog.records) == 1
    expected = OrtSession(graph, "windows", (WINDOW,), OUTPUTS, threads=1).run(inputs)["embeddings"]
    np.testing.assert_array_equal(session.run(inputs)["embeddings"], expected)


@pytest.mark.gpu
@pytest.mark.skipif(not has_cuda, reason="this ONNX Runtime has no GPU")
def test_run_on_the_gpu_equals_the_graphs_formula(graph: Path):
    session = OrtSession(graph, "windows", (WINDOW,), OUTPUTS, use_gpu=True)
    assert "CUDAExecutionProvider" in session._session.get_providers()  # never the CPU in a GPU's place
    inputs = np.random.default_rng(5).normal(0, 0.1, (33, WINDOW)).astype(np.float32)
    bands, mix, bias = (weights.astype(np.float64) for weights in projection())
    expected = [np.abs(row.astype(np.float64) @ bands) @ mix + bias for row in inputs]
    np.testing.assert_allclose(session.run(inputs)["embeddings"], expected, rtol=1e-2, atol=1e-2)
