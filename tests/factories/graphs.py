"""A real graph, small enough to recompute by hand, and ways to spoil one."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WINDOW = 1600
FULL_DIM = 8
OUTPUTS = {"embeddings": (FULL_DIM,)}  # of the test graph


def projection(seed: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weights of the test graph: |windows @ bands| @ mix + bias."""
    rng = np.random.default_rng(seed)
    bands = rng.normal(size=(WINDOW, 24)).astype(np.float32)
    mix = rng.normal(size=(24, FULL_DIM)).astype(np.float32)
    return bands, mix, rng.normal(size=FULL_DIM).astype(np.float32)


def write_graph(path: Path, seed: int = 7, input_name: str = "windows", window: int = WINDOW) -> None:
    """A real graph, small enough to recompute by hand."""
    bands, mix, bias = projection(seed)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", [input_name, "bands"], ["filtered"]),
            helper.make_node("Abs", ["filtered"], ["energies"]),
            helper.make_node("MatMul", ["energies", "mix"], ["mixed"]),
            helper.make_node("Add", ["mixed", "bias"], ["embeddings"]),
        ],
        "small",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, ["batch", window])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["batch", FULL_DIM])],
        [
            numpy_helper.from_array(np.resize(bands, (window, 24)), "bands"),
            numpy_helper.from_array(mix, "mix"),
            numpy_helper.from_array(bias, "bias"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
