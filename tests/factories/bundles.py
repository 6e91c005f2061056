"""Bundles on disk, with a small real graph and made-up measurements."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.factories.graphs import FULL_DIM, WINDOW, write_graph
from tests.factories.samples import RATE_HZ

CONTEXT, HOP = 200, 800
LEVEL_DBFS = -30.0
DIMS = (2, 4, 8)
VERSION = "1.0.0"
# thresholds by number of templates, then by FMR; low enough that a clip matches itself, and not every other
POINTS = {
    "1": [(1e-1, 0.50, True), (1e-2, 0.80, True), (1e-3, 0.97, False)],
    "3": [(1e-1, 0.55, True), (1e-2, 0.85, True), (1e-3, 0.98, False)],
}
EVIDENCE = (
    "per_dim",
    "condition",
    "metrics",
    "baseline_metrics",
    "phrase_points",
)  # in reports, too
CALIBRATION = {"1": (12.0, -9.0), "3": (14.0, -11.0)}


def dim_report() -> dict[str, Any]:
    """Made-up measurements of one dim."""
    metrics = {
        "eer": 0.05,
        "min_dcf": 0.4,
        "tar_at_fmr": {"0.001": 0.8},
        "subjects": 60,
        "mated_pairs": 100,
        "non_mated_pairs": 1000,
    }
    return {
        "metrics": {"made-up": metrics},
        "backbone_metrics": {"made-up": metrics},
        "calibration": {
            count: {"scale": scale, "offset": offset, "cllr": 0.2, "min_cllr": 0.1}
            for count, (scale, offset) in CALIBRATION.items()
        },
        "operating_points": {
            count: [{"fmr": fmr, "threshold": threshold, "measured": measured} for fmr, threshold, measured in points]
            for count, points in POINTS.items()
        },
    }


def embedding_output(full_dim: int = FULL_DIM, dims: Sequence[int] = DIMS, report: object = None) -> dict[str, object]:
    """The manifest's entry of a graph's embeddings; the same report of every dim."""
    per_dim = {str(dim): report or dim_report() for dim in dims}
    return {"kind": "embedding", "full_dim": full_dim, "dims": list(dims), "per_dim": per_dim}


def write_bundle(folder: Path, name: str = "voice", version: str = VERSION, seed: int = 7, **changes: object) -> Path:
    """A bundle that checks out, unless `changes` to its manifest say otherwise."""
    folder.mkdir(parents=True)
    write_graph(folder / "model.onnx", seed)
    source = {"name": "made-up", "source": "tests", "version": "1", "sha256": "0" * 64, "licence": "Apache-2.0"}
    manifest: dict[str, Any] = {
        "schema_version": 2,
        "name": name,
        "version": version,
        "task": "speaker verification",
        "input": {
            "kind": "audio",
            "sample_rate_hz": RATE_HZ,
            "window_samples": WINDOW,
            "hop_samples": HOP,
            "context_samples": CONTEXT,
            "level_dbfs": LEVEL_DBFS,
        },
        "outputs": {"embeddings": embedding_output()},
        "backbone": source,
        "projection": source,
        "datasets": [],
        "files": {"model.onnx": hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()},
        "libraries": {"onnxruntime": "any"},
        **changes,
    }
    seal(folder, manifest)
    return folder


def write_fusion(folder: Path, has_digest: bool = True, **changes: object) -> Path:
    """A made-up fusion of `voice` and `face`; without a digest of the first format, with `reports` of the third."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "format": f"matchka-fusion-{3 if 'reports' in changes else 2 if has_digest else 1}",
        "models": {"voice": VERSION, "face": VERSION},
        "weights": {"voice": 1.1, "face": 0.9},
        "offset": 0.5,
        "operating_points": [{"fmr": 1e-1, "threshold": -6.0, "measured": True}],
        "eer": {},
        "datasets": [],
        **changes,
    }
    sealed = document | ({"content_digest": digest_of(document)} if has_digest else {})
    (folder / "fusion.json").write_text(json.dumps(sealed))
    return folder


def edit_bundle(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a manifest and seal it again, so that nothing but the change can be wrong with it."""
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    seal(folder, manifest)


def seal(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest with the digest of its content, and a report of the measurements that it states."""
    for output in manifest.get("outputs", {}).values():
        repeated = {name: output[name] for name in EVIDENCE if name in output}
        if repeated:
            report = json.dumps(repeated).encode()
            (folder / "report.json").write_bytes(report)
            manifest["files"]["report.json"] = hashlib.sha256(report).hexdigest()
    manifest["content_digest"] = digest_of(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def digest_of(document: dict[str, Any]) -> str:
    """What its `content_digest` has to be."""
    rest = {name: value for name, value in document.items() if name != "content_digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
