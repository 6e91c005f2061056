"""Bundles whose graphs say of which class a clip is, with or without embeddings beside."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from matchka.bundles.bundle import sha256_of
from tests.factories.bundles import edit_bundle, embedding_output, write_bundle
from tests.factories.graphs import write_graph

LABELS = ("speech", "music", "noise")
CLASS_WEIGHTS = np.random.default_rng(3).normal(size=(24, len(LABELS))).astype(np.float32)
CLASSES = {"kind": "class", "labels": list(LABELS)}


def write_classifier(
    folder: Path, name: str, embeds: bool, version: str = "1.0.0", fields: Sequence[object] = ()
) -> Path:
    """A bundle whose graph returns `logits` = energies of bands @ CLASS_WEIGHTS, and embeddings only if it embeds.

    It is for clips, or for named numbers where there are fields.
    """
    write_bundle(folder, name, version, **({"input": {"kind": "tabular", "fields": list(fields)}} if fields else {}))
    if fields:
        write_graph(folder / "model.onnx", input_name="values", window=len(fields))
    model = onnx.load(folder / "model.onnx")
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(CLASS_WEIGHTS, "weights"))
    graph.node.append(helper.make_node("MatMul", ["energies", "weights"], ["logits"]))
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)])
    if embeds:
        graph.output.insert(0, logits)  # before the embeddings: the name tells them apart, not the place
    else:
        graph.output[0].CopyFrom(logits)
    onnx.save(model, folder / "model.onnx")
    (folder / "report.json").unlink()
    files = {"model.onnx": sha256_of(folder / "model.onnx")}
    outputs = {"logits": CLASSES} | ({"embeddings": embedding_output()} if embeds else {})
    edit_bundle(folder, lambda manifest: manifest.update(outputs=outputs, files=files))
    return folder
