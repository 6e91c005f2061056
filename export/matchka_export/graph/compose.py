"""A backbone that is an ONNX file already, with a projection behind it: joined node by node, traced nowhere."""

import tempfile
from pathlib import Path
from typing import Final

import onnx
import torch
from onnx import TensorProto, compose, helper, version_converter

from matchka.modalities.modality import GraphInput
from matchka_export.errors import ParityError
from matchka_export.graph.trace import BATCH_AXIS, OUTPUT_NAME, strip_provenance, trace_graph
from matchka_train.backbones.onnx_file import SMALLEST_NORM, OnnxFile

LOWEST_OPSET: Final = 13  # the first whose operations the joined nodes know
UNIT: Final = "unit_length_embeddings"


def compose_graph(backbone: OnnxFile, projection: torch.nn.Module, path: Path) -> None:
    """Write backbone, rescaling to unit length and projection as one file, like export_graph in trace.py.

    Args:
        backbone: the ONNX file.
        projection: (n, embedding_dim) -> (n, full_dim).
        path: the file to write; weights that lay beside the backbone go into it.

    Raises: ParityError: the two cannot be joined (an operation set too old, for example).
    """
    front = onnx.load(str(backbone.path))
    opset = next(entry.version for entry in front.opset_import if entry.domain in ("", "ai.onnx"))
    if opset < LOWEST_OPSET:
        raise ParityError(
            f"A backbone must use ONNX operation set {LOWEST_OPSET} or newer to get a projection.",
            value=opset,
            remedy="Convert it with onnx.version_converter, or export it again.",
        )
    with tempfile.TemporaryDirectory(prefix="matchka-compose-") as folder:
        part = Path(folder) / "projection.onnx"
        trace_graph(projection.eval(), GraphInput("unit_length", (backbone.embedding_dim,), "float32"), part)
        back = version_converter.convert_version(onnx.load(str(part)), opset)
    back.ir_version = front.ir_version
    front, back = compose.add_prefix(front, "backbone/"), compose.add_prefix(back, "projection/")
    _append_unit_length(front)
    joined = compose.merge_models(front, back, io_map=[(UNIT, back.graph.input[0].name)])
    _rename(joined.graph, joined.graph.input[0].name, backbone.input.graph_input().name)
    _rename(joined.graph, joined.graph.output[0].name, OUTPUT_NAME)
    _fix_axes(joined.graph.input[0], backbone.input.graph_input().shape)
    strip_provenance(joined)
    onnx.checker.check_model(joined)
    onnx.save_model(joined, path, save_as_external_data=False)


def _append_unit_length(model: onnx.ModelProto) -> None:
    """Divide the output by its length, as OnnxModule does."""
    graph, raw = model.graph, model.graph.output[0].name
    floor = helper.make_tensor("unit/floor", TensorProto.FLOAT, [], [SMALLEST_NORM])
    graph.initializer.append(floor)
    graph.node.extend(
        [
            # squares, sum and root instead of ReduceL2, whose axes moved from an attribute to an input over the years
            helper.make_node("Mul", [raw, raw], ["unit/squares"]),
            helper.make_node("ReduceSum", ["unit/squares", "unit/axes"], ["unit/sum"], keepdims=1),
            helper.make_node("Sqrt", ["unit/sum"], ["unit/norm"]),
            helper.make_node("Max", ["unit/norm", floor.name], ["unit/divisor"]),
            helper.make_node("Div", [raw, "unit/divisor"], [UNIT]),
        ]
    )
    graph.initializer.append(helper.make_tensor("unit/axes", TensorProto.INT64, [1], [1]))
    embedding_dim = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(UNIT, TensorProto.FLOAT, [BATCH_AXIS, embedding_dim]))


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for value in (*graph.input, *graph.output):
        if value.name == old:
            value.name = new


def _fix_axes(value: onnx.ValueInfoProto, shape: tuple[int, ...]) -> None:
    """Free axes behind the batch axis become the declared ones: other sizes were not validated."""
    for axis, size in zip(value.type.tensor_type.shape.dim[1:], shape, strict=True):
        axis.dim_value = size
