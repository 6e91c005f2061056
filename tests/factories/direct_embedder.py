"""A bundle whose callers choose their embeddings themselves: the strongest attacker on templates that there can be."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from matchka.bundles.bundle import sha256_of
from tests.factories.bundles import VERSION, dim_report, edit_bundle, embedding_output, write_bundle

DIM = 128
NAMES = [f"x{number}" for number in range(DIM)]
# similarities of directions at random have a standard deviation of 1 / sqrt(DIM); these are its normal quantiles
POINTS = [(0.5, 0.0), (1e-1, 1.2816 / DIM**0.5), (1e-2, 2.3263 / DIM**0.5), (1e-3, 3.0902 / DIM**0.5)]


def write_direct_bundle(folder: Path, name: str, version: str = VERSION) -> Path:
    """A bundle of DIM numbers in -1..1, which are the embedding, and thresholds that keep their rates.

    Of another version they are the embedding in another order: what is compared across versions resembles nothing.
    """
    fields = [{"name": one, "unit": "", "low": -1, "high": 1} for one in NAMES]
    bundle = write_bundle(folder, name, version, input={"kind": "tabular", "fields": fields})
    row = [helper.make_tensor_value_info("values", TensorProto.FLOAT, ["batch", DIM])]
    embedding = [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["batch", DIM])]
    order = numpy_helper.from_array(_order_of(version), "order")
    nodes = [helper.make_node("MatMul", ["values", "order"], ["embeddings"])]
    graph = helper.make_graph(nodes, "direct", row, embedding, [order])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(bundle / "model.onnx"))
    points = [{"fmr": fmr, "threshold": threshold, "measured": True} for fmr, threshold in POINTS]
    report = dim_report() | {"operating_points": {"1": points, "3": points}}
    outputs = {"embeddings": embedding_output(DIM, [DIM], report)}
    files = {"model.onnx": sha256_of(bundle / "model.onnx")}
    edit_bundle(bundle, lambda manifest: manifest.update(outputs=outputs, files=files))
    return bundle


def sample_of(direction: np.ndarray) -> bytes:
    """The sample whose embedding has this direction."""
    scaled = (0.9 * direction / np.abs(direction).max()).tolist()
    return json.dumps(dict(zip(NAMES, scaled, strict=True))).encode()


def _order_of(version: str) -> np.ndarray:
    """A matrix that exchanges components, (DIM, DIM); the identity for the usual version."""
    columns = np.arange(DIM) if version == VERSION else np.random.default_rng([*version.encode()]).permutation(DIM)
    return np.eye(DIM, dtype=np.float32)[:, columns]
