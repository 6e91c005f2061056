"""A bundle for pictures whose graphs are real and small; its detector sees nobody, and finds out when it is run."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from matchka.bundles.bundle import sha256_of
from tests.factories.bundles import edit_bundle, write_bundle
from tests.factories.graphs import FULL_DIM

CHIP_PX = 8
DETECTOR = ("pnet.onnx", "rnet.onnx", "onet.onnx")


def write_picture_bundle(folder: Path, name: str) -> Path:
    """A bundle that checks out, warms up and reads no picture."""
    write_bundle(folder, name)
    points = [[2.5, 3.5], [5.5, 3.5], [4.0, 5.0], [3.0, 6.5], [5.0, 6.5]]
    _write_graph(folder / "model.onnx")
    for file in DETECTOR:
        _write_graph(folder / file)

    def change(manifest: dict[str, object]) -> None:
        source = manifest["backbone"]
        spec = {"kind": "image", "chip_px": CHIP_PX, "template_points": points, "template_weights": [1.0] * 5}
        auxiliary = {"detector": {"kind": "mtcnn", "sources": dict.fromkeys(DETECTOR, source)}}
        hashes = {file: sha256_of(folder / file) for file in ("model.onnx", *DETECTOR)}
        manifest.update(input=spec, auxiliary=auxiliary, files=hashes)

    edit_bundle(folder, change)
    return folder


def _write_graph(path: Path) -> None:
    """Chips, flattened and mixed."""
    mix = np.random.default_rng(7).normal(size=(CHIP_PX * CHIP_PX * 3, FULL_DIM)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["chips"], ["flat"]),
            helper.make_node("Cast", ["flat"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["pixels", "mix"], ["embeddings"]),
        ],
        "small",
        [helper.make_tensor_value_info("chips", TensorProto.UINT8, ["batch", CHIP_PX, CHIP_PX, 3])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["batch", FULL_DIM])],
        [numpy_helper.from_array(mix, "mix")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
