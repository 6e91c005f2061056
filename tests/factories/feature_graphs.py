"""ONNX files that take features, as other projects publish them: mel frames, or pixels with channels first."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from matchka_train.weights.source import WeightSource

BANDS = 80


def write_frames_onnx(path: Path, dim: int = 6, opset: int = 14) -> np.ndarray:
    """A file as WeSpeaker publishes them: feats (B, T, 80) -> embs (B, dim), the deviation of each band mixed up.

    Returns: the mix, (80, dim).
    """
    mix = np.random.default_rng(3).standard_normal((BANDS, dim)).astype(np.float32)
    _write(path, ["B", "T", BANDS], [1], mix, opset)
    return mix


def write_pixels_onnx(path: Path, side: int, dim: int = 4, opset: int = 14) -> np.ndarray:
    """A face network's interface: (B, 3, side, side) -> (B, dim), the deviation of each channel mixed up.

    Returns: the mix, (3, dim).
    """
    mix = np.random.default_rng(3).standard_normal((3, dim)).astype(np.float32)
    _write(path, ["B", 3, side, side], [2, 3], mix, opset)
    return mix


def source_of(path: Path) -> WeightSource:
    return WeightSource("someone's", "a disk", "1", hashlib.sha256(path.read_bytes()).hexdigest(), "MIT")


def _write(path: Path, axes: list[object], over: list[int], mix: np.ndarray, opset: int) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["feats", "feats"], ["squares"]),
            helper.make_node("ReduceMean", ["squares"], ["mean"], axes=over, keepdims=0),
            helper.make_node("Sqrt", ["mean"], ["deviation"]),
            helper.make_node("MatMul", ["deviation", "mix"], ["embs"]),
        ],
        "someone",
        [helper.make_tensor_value_info("feats", TensorProto.FLOAT, axes)],
        [helper.make_tensor_value_info("embs", TensorProto.FLOAT, [axes[0], mix.shape[1]])],
        [numpy_helper.from_array(mix, "mix")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), str(path))
