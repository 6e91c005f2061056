"""A backbone and a projection -> the graph on disk, whatever kind of backbone it is, in 32 or 16 bits."""

from pathlib import Path

import torch

from matchka_export.errors import ParityError
from matchka_export.graph.compose import compose_graph
from matchka_export.graph.float16 import rounded_to_float16, store_as_float16
from matchka_export.graph.rewrite import rewrite_exactly
from matchka_export.graph.trace import OUTPUT_NAME, RowsToEmbeddings, RowsToOutputs, export_graph
from matchka_train.backbones.backbone import Backbone, HeadedBackbone, heads_of
from matchka_train.backbones.onnx_file import OnnxFile


def build_graph(backbone: Backbone, projection: torch.nn.Module, path: Path, float16: bool = False) -> RowsToEmbeddings:
    """Write the graph and return the torch module it must equal.

    Args:
        backbone: the frozen network.
        projection: (n, embedding_dim) -> (n, full_dim).
        path: the file to write.
        float16: keep the backbone's weights as 16-bit floats.

    Raises: ParityError: the backbone cannot be built that way.
    """
    frozen = backbone.module()
    if isinstance(backbone, OnnxFile):
        if float16:
            raise ParityError(
                "The weights of a backbone that is an ONNX file are left as they are.",
                value=backbone.path,
                remedy="Bring a file with 16-bit weights, and leave --float16 out.",
            )
        compose_graph(backbone, projection, path)
        return RowsToEmbeddings(frozen, projection)
    if isinstance(backbone, HeadedBackbone):
        frozen = backbone.headed_module()
    kind = RowsToOutputs if isinstance(backbone, HeadedBackbone) else RowsToEmbeddings
    model = kind(rounded_to_float16(frozen) if float16 else frozen, projection)
    export_graph(model, backbone.input.graph_input(), path, (OUTPUT_NAME, *heads_of(backbone)))
    if float16:
        store_as_float16(path, model)  # and nothing else: folding would widen the weights again
    else:
        rewrite_exactly(path)
    return model
