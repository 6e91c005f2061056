"""Bundles whose graph gives what no embedding may be."""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from matchka.bundles.bundle import sha256_of
from tests.factories.bundles import edit_bundle


def make_fragile(folder: Path) -> None:
    """Give a bundle's graph one more term: 0 * sqrt(0.9 - peak), which is NaN for clips at full scale."""
    model = onnx.load(folder / "model.onnx")
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.9), "limit"))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.0), "nothing"))
    model.graph.node[-1].output[0] = "clean"
    model.graph.node.extend(
        [
            helper.make_node("ReduceMax", ["windows"], ["peak"], keepdims=0),
            helper.make_node("Sub", ["limit", "peak"], ["margin"]),
            helper.make_node("Sqrt", ["margin"], ["root"]),
            helper.make_node("Mul", ["root", "nothing"], ["term"]),
            helper.make_node("Add", ["clean", "term"], ["embeddings"]),
        ]
    )
    _replace_graph(folder, model)


def make_zero(folder: Path) -> None:
    """Make every weight of a bundle's graph zero, so that embeddings have no direction."""
    model = onnx.load(folder / "model.onnx")
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(np.zeros_like(numpy_helper.to_array(tensor)), tensor.name))
    _replace_graph(folder, model)


def _replace_graph(folder: Path, model: onnx.ModelProto) -> None:
    onnx.save(model, folder / "model.onnx")
    edit_bundle(folder, lambda manifest: manifest["files"].update({"model.onnx": sha256_of(folder / "model.onnx")}))
