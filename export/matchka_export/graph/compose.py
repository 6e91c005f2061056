"""A backbone that is an ONNX file already, between its front end and a projection: joined node by node."""

import tempfile
from pathlib import Path
from typing import Final

import onnx
import torch
from onnx import TensorProto, compose, helper, version_converter

from matchka.modalities.modality import GraphInput
from matchka_export.errors import ParityError
from matchka_export.graph.trace import BATCH_AXIS, OPSET, OUTPUT_NAME, strip_provenance, trace_graph
from matchka_train.backbones.onnx_file import SMALLEST_NORM, OnnxFile

LOWEST_OPSET: Final = 13  # the first whose operations the joined nodes know
UNIT: Final = "unit_length_embeddings"


def compose_graph(backbone: OnnxFile, projection: torch.nn.Module, path: Path) -> None:
    """Write front end, backbone, rescaling to unit length and projection as one file, like export_graph in trace.py.

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
    if backbone.front_end is not None:
        # the exporter's operations for a front end cannot be lowered below its own set, so the file is raised to it
        front, opset = _converted(front, max(opset, OPSET)), max(opset, OPSET)
    unit = GraphInput("unit_length", (backbone.embedding_dim,), "float32")
    back = compose.add_prefix(_traced(projection.eval(), unit, opset, front.ir_version), "projection/")
    front = compose.add_prefix(front, "backbone/")
    _append_unit_length(front, backbone.embedding_dim)
    joined = compose.merge_models(front, back, io_map=[(UNIT, back.graph.input[0].name)])
    if backbone.front_end is not None:
        module = backbone.front_end.module(backbone.input)
        first = _traced(module, backbone.input.graph_input(), opset, front.ir_version)
        first = compose.add_prefix(first, "front_end/")
        joined = compose.merge_models(first, joined, io_map=[(first.graph.output[0].name, joined.graph.input[0].name)])
    _rename(joined.graph, joined.graph.input[0].name, backbone.input.graph_input().name)
    _rename(joined.graph, joined.graph.output[0].name, OUTPUT_NAME)
    _fix_axes(joined.graph.input[0], backbone.input.graph_input().fixed_shape)
    strip_provenance(joined)
    onnx.checker.check_model(joined)
    onnx.save_model(joined, path, save_as_external_data=False)


def _traced(module: torch.nn.Module, spec: GraphInput, opset: int, ir_version: int) -> onnx.ModelProto:
    """A torch module as a graph of the operation set that the backbone's file uses."""
    with tempfile.TemporaryDirectory(prefix="matchka-compose-") as folder:
        part = Path(folder) / "part.onnx"
        trace_graph(module, spec, part)
        traced = _converted(onnx.load(str(part)), opset)
    traced.ir_version = ir_version
    return traced


def _converted(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The same graph in another operation set."""
    try:
        return version_converter.convert_version(model, opset)
    except RuntimeError as error:
        raise ParityError(
            f"The backbone, or what stands around it, cannot be written in ONNX operation set {opset}.",
            value=error,
            remedy="Export the backbone again with another operation set, 20 for example.",
        ) from error


def _append_unit_length(model: onnx.ModelProto, embedding_dim: int) -> None:
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
