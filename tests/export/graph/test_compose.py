"""A backbone that is brought as an ONNX file gets its projection, and still equals a slow computation."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from matchka.modalities.audio.spec import AudioInputSpec
from matchka_export.errors import ParityError
from matchka_export.graph.build import build_graph
from matchka_train.backbones.onnx_file import OnnxFile
from matchka_train.backbones.served_graph import open_session
from matchka_train.weights.source import WeightSource

WINDOW, DIM, FULL = 50, 6, 4
INPUT = AudioInputSpec(
    sample_rate_hz=16_000, window_samples=WINDOW, hop_samples=25, context_samples=0, level_dbfs=-30.0
)


def bring(path: Path, opset: int = 17) -> OnnxFile:
    """A file whose embeddings are not of unit length, with names of its own."""
    weight = np.random.default_rng(1).standard_normal((WINDOW, DIM)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "someone",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WINDOW])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", DIM])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, str(path))
    source = WeightSource("someone's", "a disk", "1", hashlib.sha256(path.read_bytes()).hexdigest(), "MIT")
    return OnnxFile(path, "someone", source, INPUT, DIM)


@pytest.mark.parametrize("opset", [13, 17, 20])
def test_build_graph_when_backbone_is_a_file_equals_numpy(opset: int, tmp_path: Path) -> None:
    backbone = bring(tmp_path / "theirs.onnx", opset)
    torch.manual_seed(0)
    projection = torch.nn.Linear(DIM, FULL)
    model = build_graph(backbone, projection, tmp_path / "model.onnx")
    windows = np.random.default_rng(2).standard_normal((7, WINDOW)).astype(np.float32)
    weight = onnx.numpy_helper.to_array(onnx.load(str(backbone.path)).graph.initializer[0]).astype(np.float64)
    raw = windows @ weight
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    expected = unit @ projection.weight.detach().numpy().T + projection.bias.detach().numpy()
    np.testing.assert_allclose(
        open_session(tmp_path / "model.onnx", INPUT, FULL).run(windows)["embeddings"], expected, atol=1e-5
    )
    np.testing.assert_allclose(model(torch.tensor(windows)).detach().numpy(), expected, atol=1e-5)


def test_build_graph_when_backbone_file_is_too_old_refuses(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="operation set"):
        build_graph(bring(tmp_path / "old.onnx", 11), torch.nn.Linear(DIM, FULL), tmp_path / "model.onnx")


def test_build_graph_when_file_backbone_should_be_rounded_refuses(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="left as they are"):
        build_graph(bring(tmp_path / "a.onnx"), torch.nn.Identity(), tmp_path / "model.onnx", float16=True)
