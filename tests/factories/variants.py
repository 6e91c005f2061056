"""Bundles with a second graph beside their own, which claims another arithmetic."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from matchka.inference.session import OrtSession
from tests.factories.bundles import edit_bundle, write_bundle
from tests.factories.graphs import OUTPUTS, WINDOW, write_graph

VARIANT = "model.int8.onnx"
EXAMPLES = "int8.examples.npz"
RATES = {
    "eer": 0.05,
    "mixed_eer": 0.05,
    "mixed_upper": 0.0005,
    "variant_eer": 0.05,
    "variant_upper": 0.0005,
    "fmr_ratio": 1.02,
}
INTERCHANGE = {"subjects": 60, "mated_pairs": 600, "least_cosine": 0.999, "per_dim": {"8": RATES}}


def write_variant_bundle(
    folder: Path, cpu_features: tuple[str, ...] = (), variant_seed: int = 7, own: bool = True, **changes: object
) -> Path:
    """A bundle whose variant is a graph of `variant_seed`: the same as its own, or one that is unlike it.

    Args:
        folder: of the bundle.
        cpu_features: that the variant needs one of.
        variant_seed: 7 is the seed of the bundle's own graph.
        own: whether its own graph is there, too.
        changes: to the manifest.
    """
    write_bundle(folder, **changes)
    rows = np.random.default_rng(0).standard_normal((3, WINDOW)).astype(np.float32)
    session = OrtSession(folder / "model.onnx", "windows", (WINDOW,), OUTPUTS, 1)
    np.savez(folder / EXAMPLES, rows=rows, embeddings=session.run(rows)["embeddings"])
    write_graph(folder / VARIANT, variant_seed)
    if not own:
        (folder / "model.onnx").unlink()

    def name_variant(manifest: dict[str, Any]) -> None:
        manifest["variants"] = {
            VARIANT: {
                "arithmetic": "int8",
                "cpu_features": list(cpu_features),
                "least_cosine": 0.996,
                "examples": EXAMPLES,
                "interchange": {"made-up": INTERCHANGE},
                "speed": 1.6,
                "measured_on": "a made-up CPU",
            }
        }
        manifest["files"] |= {name: sha256_of(folder / name) for name in (VARIANT, EXAMPLES)}
        if not own:
            del manifest["files"]["model.onnx"]

    edit_bundle(folder, name_variant)
    return folder


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
