"""Two-covariance scorers: made-up covariances, their file and section, and the ratio by dense normal densities."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import multivariate_normal

from tests.factories.bundles import DIMS, edit_bundle, embedding_output, write_bundle
from tests.factories.graphs import FULL_DIM

FILE = "scorer.npz"
WITHIN_SHRINKAGE, BETWEEN_SHRINKAGE, ROW_NOISE, MEAN_INVERSE_ROWS, LEAST_ROWS = 0.3, 0.2, 1.5, 0.25, 2


def covariances(full_dim: int = FULL_DIM, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """`within` and `between`, float32, symmetric; the second has a direction below zero, as estimates have."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(full_dim, 3 * full_dim))
    within = 0.03 * factors @ factors.T / (3 * full_dim)
    directions, _ = np.linalg.qr(rng.normal(size=(full_dim, full_dim)))
    between = (directions * np.linspace(-0.01, 0.3, full_dim)) @ directions.T
    return _symmetric(within), _symmetric(between)


def _symmetric(covariance: np.ndarray) -> np.ndarray:
    lower = np.tril(covariance).astype("<f4")
    return lower + np.tril(lower, -1).T


def section(dims: Sequence[int] = DIMS) -> dict[str, object]:
    """The scorer's section of a manifest; every dim has values of its own."""
    per_dim = {str(dim): {"scale": dim / max(dims), "slope": 0.02 + 0.001 * dim, "offset": 0.79} for dim in dims}
    return {
        "kind": "two_covariance",
        "file": FILE,
        "within_shrinkage": WITHIN_SHRINKAGE,
        "between_shrinkage": BETWEEN_SHRINKAGE,
        "row_noise": ROW_NOISE,
        "mean_inverse_rows": MEAN_INVERSE_ROWS,
        "least_rows": LEAST_ROWS,
        "per_dim": per_dim,
    }


def write_scored_bundle(folder: Path) -> Path:
    """A bundle whose embeddings are compared by two covariances."""
    write_bundle(folder, outputs={"embeddings": embedding_output() | {"scorer": section()}}, files={})
    within, between = covariances()
    np.savez(folder / FILE, within=within, between=between)
    return with_hashes(folder)


def with_hashes(folder: Path) -> Path:
    """The bundle, sealed again with the hashes of the files that it has now."""
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("model.onnx", FILE)}
    edit_bundle(folder, lambda manifest: manifest["files"].update(hashes))
    return folder


def slow_ratio(x: np.ndarray, y: np.ndarray, rows_x: float, rows_y: float, dim: int) -> float:
    """log p(x, y | one person) - log p(x) - log p(y), of dense normal densities; rows may be infinite."""
    shares = section()["per_dim"][str(dim)]
    within, between = (block.astype(np.float64)[:dim, :dim] / shares["scale"] for block in covariances())
    identity = np.eye(dim)
    within = 0.7 * within + 0.3 * np.trace(within) / dim * identity
    between = 0.8 * between + 0.2 * np.trace(between) / dim * identity
    values, vectors = np.linalg.eigh(between)
    between = sum(max(value, 1e-9) * np.outer(vector, vector) for value, vector in zip(values, vectors.T, strict=True))
    x, y = (part[:dim] / np.sqrt(part[:dim] @ part[:dim]) for part in (x.astype(np.float64), y.astype(np.float64)))
    noise = [(1 + ROW_NOISE / max(rows, LEAST_ROWS)) / (1 + ROW_NOISE * MEAN_INVERSE_ROWS) for rows in (rows_x, rows_y)]
    of_x, of_y = (between + share * within for share in noise)
    both = np.block([[of_x, between], [between, of_y]])
    zero = np.zeros(dim)
    joint = multivariate_normal(np.zeros(2 * dim), both).logpdf(np.concatenate([x, y]))
    return float(joint - multivariate_normal(zero, of_x).logpdf(x) - multivariate_normal(zero, of_y).logpdf(y))


def slow_similarity(x: np.ndarray, y: np.ndarray, rows_x: float, rows_y: float, dim: int) -> float:
    """The ratio on the scale of cosines, clipped."""
    at = section()["per_dim"][str(dim)]
    return float(min(1.0, max(-1.0, at["slope"] * slow_ratio(x, y, rows_x, rows_y, dim) + at["offset"])))
