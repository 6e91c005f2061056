"""Front end, frozen backbone and projection -> one ONNX file that takes windows or chips and can stand alone."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import onnx
import torch

from matchka.bundles.outputs.embedding import EMBEDDINGS
from matchka.modalities.modality import GraphInput

OUTPUT_NAME: Final = EMBEDDINGS
BATCH_AXIS: Final = "batch"
OPSET: Final = 20  # what the exporter speaks itself; converting to another would need a second tool
TRACED_BATCH: Final = 3  # 1 would be taken for a constant, and 2 broadcasts by accident more often than 3


class RowsToEmbeddings(torch.nn.Module):
    """Backbone, then projection: rows of the input (n, ...) -> (n, full_dim), not rescaled after the projection.

    A clip's embedding is the mean over its windows, so that an affine projection of each window equals the projection
    of the mean of the backbone's unit-length windows.

    Args:
        backbone: windows or chips (n, ...) -> (n, embedding_dim), frozen.
        projection: (n, embedding_dim) -> (n, full_dim).
    """

    def __init__(self, backbone: torch.nn.Module, projection: torch.nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection = projection
        self.requires_grad_(requires_grad=False)
        self.eval()

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Embed a batch of rows."""
        embeddings: torch.Tensor = self.projection(self.backbone(rows))
        return embeddings


class RowsToOutputs(RowsToEmbeddings):
    """The same with a backbone that says more: its embedding is projected, the rest is returned behind it.

    Args:
        backbone: rows (n, ...) -> embeddings (n, embedding_dim) and further tensors, frozen.
        projection: (n, embedding_dim) -> (n, full_dim).
    """

    def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:  # type: ignore[override]
        """Look at a batch of rows."""
        embeddings, *others = self.backbone(rows)
        return (self.projection(embeddings), *others)


def export_graph(
    model: torch.nn.Module, spec: GraphInput, path: Path, output_names: tuple[str, ...] = (OUTPUT_NAME,)
) -> None:
    """Write a module as one ONNX file: one input, output `embeddings`, any batch size, no external data.

    The same module gives the same bytes with the same library versions: traces of where the code lay are taken out.

    Args:
        model: rows of the input (n, ...) -> (n, full_dim), in evaluation mode.
        spec: its input.
        path: the file to write.
        output_names: of what it returns.
    """
    trace_graph(model, spec, path, output_names)
    tidy_graph(path)


def tidy_graph(path: Path) -> None:
    """Take the exporter's traces out of a file, check it, and write it in its place."""
    graph = onnx.load(str(path))
    strip_provenance(graph)
    onnx.checker.check_model(graph, full_check=True)
    onnx.save_model(graph, path, save_as_external_data=False)


def trace_graph(
    model: torch.nn.Module,
    spec: GraphInput,
    path: Path,
    output_names: tuple[str, ...] = (OUTPUT_NAME,),
    free_axes: tuple[int, ...] = (),
    further_inputs: tuple[GraphInput, ...] = (),
) -> None:
    """Write what the exporter makes of a module, notes and all: rows (n, ...) -> (n, anything).

    Args:
        model: in evaluation mode.
        spec: its input; axes that are free have here the sizes that are traced.
        path: the file to write.
        output_names: of what it returns.
        free_axes: axes beside the first whose size may change; of the first input.
        further_inputs: those behind it; their batch is the same.
    """
    inputs = (spec, *further_inputs)
    examples = tuple(torch.zeros(TRACED_BATCH, *one.fixed_shape, dtype=getattr(torch, one.dtype)) for one in inputs)
    batch = torch.export.Dim(BATCH_AXIS)
    free = {0: batch} | dict.fromkeys(free_axes, torch.export.Dim.DYNAMIC)
    with quiet_exporter():
        # Tracing first and translating second keeps an LSTM one node; in one step it becomes a loop.
        traced = torch.export.export(model, examples, dynamic_shapes=(free, *({0: batch} for _ in further_inputs)))
        names = [one.name for one in inputs]
        program = torch.onnx.export(
            traced, input_names=names, output_names=list(output_names), opset_version=OPSET, verbose=False
        )
    if program is None:
        raise RuntimeError("torch.onnx.export of a traced program returns a program")
    onnx.save_model(program.model_proto, path, save_as_external_data=False)


def strip_provenance(model: onnx.ModelProto) -> None:
    """Take out stack traces and notes of the exporter, and name the batch axis; nothing that computes is changed."""
    del model.metadata_props[:]
    model.doc_string = ""
    graph = model.graph
    graph.name = "matchka"
    for value in (*graph.input, *graph.output, *graph.value_info):
        del value.metadata_props[:]
        value.doc_string = ""
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for tensor in graph.initializer:
        del tensor.metadata_props[:]
        tensor.doc_string = ""
    # shapes inside are inferred again by whoever loads the file; those of the exporter name its private symbols
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH_AXIS


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Hold back three notes that are no news here, and nothing else."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)  # "torchvision is not installed": it is not needed
    with warnings.catch_warnings():
        # an LSTM lists its weights anew on every call; tracing sees the lists and warns, the values are the same
        warnings.filterwarnings("ignore", message=r"The tensor attributes .*_flat_weights", category=UserWarning)
        # torch warns of its own use of a name that it will drop
        warnings.filterwarnings("ignore", message=r".*LeafSpec.*", category=FutureWarning)
        try:
            yield
        finally:
            logger.setLevel(level)
