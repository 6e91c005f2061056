"""The graphs of galleries in ONNX Runtime, which matchka.gallery.onnx ships beside its code.

    python -m matchka_export.graph.gallery service/matchka/gallery/onnx

The service has no library that makes graphs, and these depend on nothing that is trained.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET: Final = 18
IR_VERSION: Final = 9
# A GPU's TopK may give each row of its input to one block of threads: a row of all similarities would keep one block
# busy and the other hundred idle. So the best of parts come first, and the best of those.
PART_ROWS: Final = 1024
ELEMENT_TYPES: Final[Mapping[str, int]] = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}

Constant: TypeAlias = npt.NDArray[Any]


def search_graph(element_type: int) -> onnx.ModelProto:
    """Inner products, and the best of them.

    Inputs: `rows` (n, dim) and `queries` (q, dim) of the element type; `pads`, int64, (0, 0, 0, p), such that n + p is
    a whole number of parts; `k_part` and `k`, int64, (1,): how many of a part go on, and how many are answered.

    Outputs: `similarities`, float32, (q, k), best first; `places`, int64, (q, k), among those of the parts, k_part of
    each; `within`, int64, (q, k), the row within its part.
    """
    nodes = [
        helper.make_node("Gemm", ["queries", "rows"], ["products"], transB=1),
        helper.make_node("Cast", ["products"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Pad", ["wide", "pads", "nothing"], ["padded"]),
        helper.make_node("Reshape", ["padded", "parts_shape"], ["parts"]),
        helper.make_node("TopK", ["parts", "k_part"], ["part_best", "part_rows"], axis=2),
        helper.make_node("Reshape", ["part_best", "flat_shape"], ["flat_best"]),
        helper.make_node("Reshape", ["part_rows", "flat_shape"], ["flat_rows"]),
        helper.make_node("TopK", ["flat_best", "k"], ["similarities", "places"], axis=1),
        helper.make_node("GatherElements", ["flat_rows", "places"], ["within"], axis=1),
    ]
    constants: dict[str, Constant] = {
        "nothing": np.array(-np.inf, np.float32),
        "parts_shape": np.array([0, -1, PART_ROWS], np.int64),
        "flat_shape": np.array([0, -1], np.int64),
    }
    inputs = [
        helper.make_tensor_value_info("rows", element_type, ["n", "dim"]),
        helper.make_tensor_value_info("queries", element_type, ["q", "dim"]),
        helper.make_tensor_value_info("pads", TensorProto.INT64, [4]),
        helper.make_tensor_value_info("k_part", TensorProto.INT64, [1]),
        helper.make_tensor_value_info("k", TensorProto.INT64, [1]),
    ]
    outputs = [
        helper.make_tensor_value_info("similarities", TensorProto.FLOAT, ["q", "best"]),
        helper.make_tensor_value_info("places", TensorProto.INT64, ["q", "best"]),
        helper.make_tensor_value_info("within", TensorProto.INT64, ["q", "best"]),
    ]
    return _model("search", nodes, inputs, outputs, constants)


def write_graph(element_type: int) -> onnx.ModelProto:
    """Overwrites rows: `rows` (n, dim), `at`, int64, (m, 1), and `new` (m, dim) -> `written` (n, dim).

    With `written` bound to the memory of `rows`, nothing but the new rows is copied.
    """
    nodes = [helper.make_node("ScatterND", ["rows", "at", "new"], ["written"])]
    inputs = [
        helper.make_tensor_value_info("rows", element_type, ["n", "dim"]),
        helper.make_tensor_value_info("at", TensorProto.INT64, ["m", 1]),
        helper.make_tensor_value_info("new", element_type, ["m", "dim"]),
    ]
    return _model("write", nodes, inputs, [helper.make_tensor_value_info("written", element_type, ["n", "dim"])], {})


def graphs() -> dict[str, onnx.ModelProto]:
    """Every graph by the name of its file."""
    made = {"search": search_graph, "write": write_graph}
    return {f"{name}.{kind}.onnx": make(code) for name, make in made.items() for kind, code in ELEMENT_TYPES.items()}


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for name, model in graphs().items():
        (folder / name).write_bytes(model.SerializeToString(deterministic=True))


def _model(
    name: str,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: Mapping[str, Constant],
) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(value, key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, name, inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


if __name__ == "__main__":
    main()
