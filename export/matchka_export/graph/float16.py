"""Weights kept as 16-bit floats: half the file, the same arithmetic, measured and gated like any other graph."""

import copy
from pathlib import Path
from typing import Final

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

LEAST_VALUES: Final = 1024  # smaller tensors cost nothing and may be thresholds
SUFFIX: Final = "/float16"


def rounded_to_float16(model: torch.nn.Module) -> torch.nn.Module:
    """A copy whose trained weights are the nearest 16-bit floats, kept as 32-bit ones.

    Parameters are rounded. Buffers are not: the constants of the front end are buffers, and a spectrum whose smallest
    values vanish would change every embedding; so are fitted projections, which are small.

    Args: model: of float32 parameters, none beyond the range of 16-bit floats.
    """
    rounded = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in rounded.parameters():
            parameter.copy_(parameter.to(torch.float16).to(torch.float32))
    return rounded.eval()


def store_as_float16(path: Path, model: torch.nn.Module) -> int:
    """Rewrite a graph so that it stores the rounded parameters as 16-bit floats and widens them when it is loaded.

    The graph computes exactly what it did, because every value stored is one that 16 bits hold.

    Args:
        path: an exported graph, replaced.
        model: the module it was exported from, as rounded_to_float16 gave it.

    Returns: how many tensors are stored in 16 bits.
    """
    graph_file = onnx.load(str(path))
    graph = graph_file.graph
    parameters = {name for name, value in model.named_parameters() if value.numel() >= LEAST_VALUES}
    casts = []
    for tensor in graph.initializer:
        if tensor.name not in parameters or tensor.data_type != TensorProto.FLOAT:
            continue
        name = tensor.name
        narrow = numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float16"), name + SUFFIX)
        tensor.CopyFrom(narrow)
        casts.append(helper.make_node("Cast", [narrow.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(graph_file, full_check=True)
    onnx.save_model(graph_file, path, save_as_external_data=False)
    return len(casts)
