"""Bundles that enhance small faces, with an enhancer that can be recomputed by hand."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from matchka.bundles.bundle import read_manifest, sha256_of
from matchka.bundles.manifest import AuxiliaryPart, Source
from matchka.modalities.face.pyramid import PixelArray
from tests.factories.bundles import seal

SOURCE = Source(name="made-up", source="tests", version="1", sha256="0" * 64, licence="Apache-2.0")


def write_enhancer(path: Path, side: int = 150, **names: Any) -> Path:
    """`enhanced` = `chips` + `native_px`, whole numbers, at most 255; `names` replace the three, and shapes."""
    chips, size, enhanced = (names.get(name, name) for name in ("chips", "native_px", "enhanced"))
    returned = names.get("returned", side)
    nodes = [
        helper.make_node("Cast", [chips], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", [size, "column"], ["sizes"]),
        helper.make_node("Add", ["pixels", "sizes"], ["brighter"]),
        helper.make_node("Clip", ["brighter", "", "white"], ["bounded"]),
        helper.make_node("Slice", ["bounded", "zero", "returned", "axis"], ["rows"]),
        helper.make_node("Cast", ["rows"], [enhanced], to=TensorProto.UINT8),
    ]
    numbers = {"column": [-1, 1, 1, 1], "zero": [0], "returned": [returned], "axis": [1]}
    weights = [numpy_helper.from_array(np.array(values, np.int64), name) for name, values in numbers.items()]
    weights.append(numpy_helper.from_array(np.array(255, np.float32), "white"))
    stated = names.get("stated", [returned, side, 3])
    graph = helper.make_graph(
        nodes,
        "enhancer",
        [
            helper.make_tensor_value_info(chips, names.get("dtype", TensorProto.UINT8), ["batch", side, side, 3]),
            helper.make_tensor_value_info(size, TensorProto.FLOAT, [names.get("batch", "batch")]),
        ],
        [helper.make_tensor_value_info(enhanced, TensorProto.UINT8, ["batch", *stated])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def slow_enhanced(chip: PixelArray, native_px: float) -> PixelArray:
    """What that enhancer makes of a chip, number by number."""
    brighter = [min(255, int(value + np.float32(native_px))) for value in chip.ravel().astype(np.float32)]
    return np.array(brighter, np.uint8).reshape(chip.shape)


def write_small_face_bundle(folder: Path, default: Path, sizes: list[list[float]], **changes: Any) -> Path:
    """The default bundle of faces with an enhancer for these sizes.

    Args:
        folder: to write; `sr.onnx` may lie in it already.
        default: the default bundle.
        sizes: see EnhancerSpec; without any there is no graph.
        changes: to the manifest's entry of the embeddings.
    """
    shutil.copytree(default, folder, dirs_exist_ok=True)
    manifest = json.loads(read_manifest(default).model_dump_json())
    manifest["version"] = "1.0.0+small"
    manifest["input"]["enhancer"] = {"sizes": sizes}
    manifest["outputs"]["embeddings"] |= changes
    if sizes:
        path = folder / "sr.onnx"
        if not path.is_file():
            write_enhancer(path)
        part = AuxiliaryPart(kind="face-enhancer", sources={path.name: SOURCE})
        manifest["auxiliary"]["enhancer"] = json.loads(part.model_dump_json())
        manifest["files"][path.name] = sha256_of(path)
    seal(folder, manifest)
    return folder
