"""A bundle for radio recordings whose four outputs can be recomputed by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from matchka.bundles.bundle import sha256_of
from tests.factories.bundles import edit_bundle, embedding_output, write_bundle
from tests.factories.graphs import FULL_DIM, projection
from tests.factories.recordings import WINDOW

LABELS = ("BPSK", "QPSK", "FM")
BANDS = np.resize(projection()[0], (2 * WINDOW, 24))
MIX, BIAS = projection()[1:]
TO_CLASSES = np.random.default_rng(5).normal(size=(24, len(LABELS))).astype(np.float32) / 50
VALUE_SCALE = 100.0  # snr_db and known are the means of I and of Q, times this: an offset of a signal steers them
INPUT = {"kind": "iq", "window_samples": WINDOW, "hop_samples": WINDOW, "max_windows": 8}
OUTPUTS: dict[str, Any] = {
    "embeddings": embedding_output(),
    "class": {"kind": "class", "labels": list(LABELS)},
    "snr_db": {"kind": "value", "unit": "dB"},
    "known": {"kind": "value", "unit": ""},
}


def write_radio_bundle(folder: Path, name: str = "radio", **outputs: Any) -> Path:
    """The bundle; `outputs` replace entries of the manifest's own (`class_` stands for `class`)."""
    write_bundle(folder, name, input=INPUT)
    write_radio_graph(folder / "model.onnx")
    changed = OUTPUTS | {output.rstrip("_"): entry for output, entry in outputs.items()}
    files = {"model.onnx": sha256_of(folder / "model.onnx")}
    edit_bundle(folder, lambda manifest: manifest.update(outputs=changed, files=manifest["files"] | files))
    return folder


def write_radio_graph(path: Path) -> None:
    """|windows as one row @ BANDS| @ (MIX, TO_CLASSES), and the means of I and Q."""
    nodes = [
        helper.make_node("Flatten", ["windows"], ["flat"]),
        helper.make_node("MatMul", ["flat", "bands"], ["filtered"]),
        helper.make_node("Abs", ["filtered"], ["energies"]),
        helper.make_node("MatMul", ["energies", "mix"], ["mixed"]),
        helper.make_node("Add", ["mixed", "bias"], ["embeddings"]),
        helper.make_node("MatMul", ["energies", "to_classes"], ["class"]),
        helper.make_node("MatMul", ["flat", "to_snr"], ["snr_db"]),
        helper.make_node("MatMul", ["flat", "to_known"], ["known"]),
    ]
    mean = np.full((WINDOW, 1), VALUE_SCALE / WINDOW, np.float32)
    zero = np.zeros_like(mean)
    weights = {"bands": BANDS, "mix": MIX, "bias": BIAS, "to_classes": TO_CLASSES}
    weights |= {"to_snr": np.concatenate([mean, zero]), "to_known": np.concatenate([zero, mean])}
    widths = {"embeddings": FULL_DIM, "class": len(LABELS), "snr_db": 1, "known": 1}
    graph = helper.make_graph(
        nodes,
        "radio",
        [helper.make_tensor_value_info("windows", TensorProto.FLOAT, ["batch", 2, WINDOW])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width]) for name, width in widths.items()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def slow_windows(samples: np.ndarray) -> list[np.ndarray]:
    """Whole windows side by side, each of unit mean power, as float64 rows of I and then Q; by loops."""
    rows = []
    for start in range(0, len(samples) - WINDOW + 1, WINDOW):
        window = samples[start : start + WINDOW].astype(np.complex128)
        scaled = window / np.sqrt(sum(abs(one) ** 2 for one in window) / WINDOW)
        rows.append(np.concatenate([scaled.real, scaled.imag]))
    return rows


def slow_probabilities(samples: np.ndarray) -> dict[str, float]:
    """By label: the product of the windows' probabilities to the power of 1 / windows, made to add up to 1."""
    products = np.ones(len(LABELS))
    rows = slow_windows(samples)
    for row in rows:
        shares = np.exp(np.abs(row @ BANDS.astype(np.float64)) @ TO_CLASSES.astype(np.float64))
        products *= (shares / shares.sum()) ** (1 / len(rows))
    return dict(zip(LABELS, (products / products.sum()).tolist(), strict=True))


def slow_value(samples: np.ndarray, part: str) -> float:
    """The mean over windows of the mean of I (`real`) or Q (`imag`), times VALUE_SCALE."""
    at = slice(0, WINDOW) if part == "real" else slice(WINDOW, 2 * WINDOW)
    return float(np.mean([row[at].mean() * VALUE_SCALE for row in slow_windows(samples)]))
