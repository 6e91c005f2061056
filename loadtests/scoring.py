"""How alike two embeddings are, by what a bundle's files say: a second implementation of the service's scorers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

Vectors = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Floats = npt.NDArray[np.float64]
LEAST_BETWEEN = 1e-9


@dataclass(frozen=True)
class Counted:
    """Embeddings, (n, full_dim), and of how many rows of the graph's output each is the mean, (n,)."""

    vectors: Vectors
    rows: Floats

    def __len__(self) -> int:
        return len(self.vectors)

    def of(self, chosen: npt.NDArray[np.int64] | slice) -> "Counted":
        """Some of them."""
        return Counted(self.vectors[chosen], self.rows[chosen])

    def without(self, chosen: npt.NDArray[np.int64]) -> "Counted":
        """All but some of them."""
        return Counted(np.delete(self.vectors, chosen, axis=0), np.delete(self.rows, chosen))

    def reference(self) -> "Counted":
        """The reference of which they are the templates: one mean, with the rows of all."""
        return Counted(self.vectors.mean(axis=0, keepdims=True), self.rows.sum(keepdims=True))


def joined(parts: Sequence[Counted]) -> Counted:
    """One behind the other."""
    return Counted(np.concatenate([part.vectors for part in parts]), np.concatenate([part.rows for part in parts]))


class Comparison(Protocol):
    """Compares embeddings as a bundle does."""

    def table(self, a: Counted, b: Counted, dim: int) -> Floats:
        """Every one of `a` with every one of `b` on their first `dim` components: (n, m)."""
        ...


class Cosine:
    """The cosine, whatever the numbers of rows."""

    def table(self, a: Counted, b: Counted, dim: int) -> Floats:
        """See Comparison.table()."""
        found: Floats = unit(a.vectors, dim) @ unit(b.vectors, dim).T
        return found


@dataclass
class TwoCovariances:
    """The log-likelihood ratio of two covariances, on the scale of cosines.

    Attributes:
        section: of the manifest.
        within, between: (full_dim, full_dim).
    """

    section: dict[str, Any]
    within: Floats
    between: Floats

    def table(self, a: Counted, b: Counted, dim: int) -> Floats:
        """See Comparison.table()."""
        at = self.section["per_dim"][str(dim)]
        axes, people = self._axes(dim, at["scale"])
        x, y = unit(a.vectors, dim) @ axes, unit(b.vectors, dim) @ axes
        of_x = people + self._spread(a.rows)[:, None]
        found = np.empty((len(x), len(y)))
        for rows in np.unique(b.rows):
            columns = b.rows == rows
            found[:, columns] = _ratios(x, of_x, y[columns], people, self._spread(rows))
        similarity: Floats = np.clip(at["slope"] * found + at["offset"], -1.0, 1.0)
        return similarity

    def _axes(self, dim: int, scale: float) -> tuple[Floats, Floats]:
        """Directions in which a person's samples have variance 1, and what people have there."""
        within = _shrunk(self.within[:dim, :dim] / scale, self.section["within_shrinkage"])
        values, vectors = np.linalg.eigh(_shrunk(self.between[:dim, :dim] / scale, self.section["between_shrinkage"]))
        between = (vectors * np.maximum(values, LEAST_BETWEEN)) @ vectors.T
        people, axes = eigh(between, within)
        return axes, np.maximum(people, 0.0)

    def _spread(self, rows: Floats | float) -> Floats:
        noise = self.section["row_noise"]
        counted = np.maximum(rows, self.section["least_rows"])
        spread: Floats = (1 + noise / counted) / (1 + noise * self.section["mean_inverse_rows"])
        return spread


def read_comparison(models: Path, model: str, version: str) -> Comparison:
    """How a served bundle compares, from its folder."""
    for path in models.glob("*/manifest.json"):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if (manifest["name"], manifest["version"]) == (model, version):
            return _of(manifest, path.parent)
    raise SystemExit(f"{models} has no bundle {model} {version}: say with --models where the served ones are")


def _of(manifest: dict[str, Any], folder: Path) -> Comparison:
    outputs = manifest.get("outputs", {}).values()
    section = next((output.get("scorer") for output in outputs if output["kind"] == "embedding"), None)
    if section is None or section["kind"] == "cosine":
        return Cosine()
    if section["kind"] != "two_covariance":
        raise SystemExit(f"nothing here compares by {section['kind']}")
    with np.load(folder / section["file"], allow_pickle=False) as file:
        return TwoCovariances(section, file["within"].astype(np.float64), file["between"].astype(np.float64))


def unit(vectors: Vectors, dim: int) -> Floats:
    """The first components, of unit length."""
    cut = vectors[:, :dim].astype(np.float64)
    normalised: Floats = cut / np.linalg.norm(cut, axis=1, keepdims=True)
    return normalised


def _shrunk(covariance: Floats, share: float) -> Floats:
    dim = len(covariance)
    shrunk: Floats = (1 - share) * covariance + share * np.trace(covariance) / dim * np.eye(dim)
    return shrunk


def _ratios(x: Floats, of_x: Floats, y: Floats, people: Floats, spread: Floats) -> Floats:
    """Of pairs of numbers in every direction: both of one person, against each of a person of their own.

    Args:
        x: (n, dim).
        of_x: variances of x, (n, dim).
        y: (m, dim).
        people: variance between people, (dim,).
        spread: variance within a person of all of y.
    """
    of_y = people + spread
    determinant = of_x * of_y - people**2
    together = -0.5 * np.log(determinant) - 0.5 * x**2 * of_y / determinant
    apart = -0.5 * np.log(of_x * of_y) - 0.5 * x**2 / of_x
    of_pairs = (people * x / determinant) @ y.T - 0.5 * (of_x / determinant) @ (y**2).T + 0.5 * (1 / of_y) @ (y**2).T
    ratios: Floats = (together - apart).sum(axis=1)[:, None] + of_pairs
    return ratios
