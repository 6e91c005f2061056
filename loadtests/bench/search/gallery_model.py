"""Galleries of any size, drawn from a distribution fitted to real voice embeddings.

    python -m loadtests.bench.search.gallery_model --url http://127.0.0.1:8009 --data ../shared/data/speech

fits the distribution anew from the embeddings that a running service returns and writes gallery_model.npz, which is
committed: a mean, two covariances and the spread of clips, no recording and no embedding. Drawing needs only that file.

A subject's own embedding is normal around the mean with the covariance between subjects; each of its clips lies around
that with the covariance within subjects, some clips further off than others as in life; embeddings have unit length. A
reference is the mean of TEMPLATES clips. Mated and non-mated similarities so drawn agree with the real ones in mean and
spread, but have thinner tails: pairs of drawn clips have EERs of 2.4, 1.6 and 1.2 % at dims 32, 64 and 256, the real
ones 2.9, 2.6 and 2.7 %.
"""

import argparse
import csv
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import requests
from rich.console import Console
from rich.progress import track

STATISTICS = Path(__file__).with_name("gallery_model.npz")
SOURCE = (
    "speechocean762 (CC BY 4.0), 185 speakers with 20 clips each, embedded by the default voice bundle 1.0.0+42c7e596"
)
TEMPLATES = 3
SPREAD_QUANTILES = 33
# 185 speakers span 184 directions; without a share of the scatter's shape the other 72 would tell nobody apart
SHRINKAGE = 0.1
DRAWN_AT_ONCE = 50_000  # subjects; bounds the memory of the draw
FILES_PER_REQUEST = 10
TIMEOUT_S = 120

Vectors = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GalleryModel:
    """A distribution of subjects and of their clips.

    Attributes:
        mean: float64, (dim,).
        between: float64, (dim, dim), covariance of subjects.
        within: float64, (dim, dim), covariance of the clips of one subject.
        spread: float64, (quantiles,), evenly spaced quantiles of a clip's distance from its subject, 1 in mean square.
    """

    mean: Matrix
    between: Matrix
    within: Matrix
    spread: Matrix

    def draw(self, subjects: int, probes: int, seed: int = 0) -> tuple[Vectors, Vectors]:
        """A gallery, and probes of its first subjects.

        Args:
            subjects: size of the gallery.
            probes: at most `subjects`.
            seed: of the generator; the same seed draws the same.

        Returns: references and probes, float32, (subjects, dim) and (probes, dim), of unit length; probe i is another
            clip of subject i.
        """
        rng = np.random.default_rng(seed)
        between, within = _factor(self.between), _factor(self.within)
        references = np.empty((subjects, len(self.mean)), np.float32)
        drawn: list[Vectors] = []
        for start in range(0, subjects, DRAWN_AT_ONCE):
            count = min(DRAWN_AT_ONCE, subjects - start)
            own = self.mean.astype(np.float32) + _normal(rng, count, between)
            # the mean of a few clips scatters as one clip does, less by the root of their number
            mean_scatter = _normal(rng, count, within) / np.float32(np.sqrt(TEMPLATES))
            references[start : start + count] = _unit(own + mean_scatter)
            if start < probes:
                mated = own[: probes - start]
                drawn.append(_unit(mated + self._scatter(rng, len(mated), within)))
        return references, np.concatenate(drawn)

    def _scatter(self, rng: np.random.Generator, count: int, factor: Vectors) -> Vectors:
        lengths = np.interp(rng.random(count), np.linspace(0, 1, len(self.spread)), self.spread)
        return _normal(rng, count, factor) * lengths[:, None].astype(np.float32)


def load_gallery_model(path: Path = STATISTICS) -> GalleryModel:
    """Read the committed statistics."""
    with np.load(path) as stored:
        return GalleryModel(
            stored["mean"], _symmetric(stored["between"]), _symmetric(stored["within"]), stored["spread"]
        )


def fit_gallery_model(embeddings: Vectors, subjects: list[str]) -> GalleryModel:
    """Fit the distribution to embeddings of unit length.

    The scatter within subjects is pooled. The covariance of the subjects' mean embeddings, less what the scatter adds
    to it, is the covariance between subjects; what falls below zero is set to zero.

    Args:
        embeddings: float32, (clips, dim).
        subjects: of each clip; each has two or more.
    """
    names, owner = np.unique(subjects, return_inverse=True)
    counts = np.bincount(owner)
    rows = embeddings.astype(np.float64)
    means = np.stack([rows[owner == index].mean(axis=0) for index in range(len(names))])
    scatter = rows - means[owner]
    within = scatter.T @ scatter / (len(rows) - len(names))
    between = np.cov(means, rowvar=False) - within * np.mean(1 / counts)
    values, axes = np.linalg.eigh(between)
    positive = (axes * np.maximum(values, 0)) @ axes.T
    between = (1 - SHRINKAGE) * positive + SHRINKAGE * within * (np.trace(positive) / np.trace(within))
    distances = np.linalg.norm(scatter, axis=1)
    spread = np.quantile(distances / np.sqrt(np.mean(distances**2)), np.linspace(0, 1, SPREAD_QUANTILES))
    return GalleryModel(means.mean(axis=0), between, within, spread)


def save_gallery_model(model: GalleryModel, path: Path = STATISTICS) -> None:
    """Write the statistics: float32, and of each covariance the upper triangle."""
    upper = np.triu_indices(len(model.mean))
    np.savez_compressed(
        path,
        mean=model.mean.astype(np.float32),
        between=model.between[upper].astype(np.float32),
        within=model.within[upper].astype(np.float32),
        spread=model.spread.astype(np.float32),
        source=np.array(SOURCE),
    )


def main() -> None:
    """Embed the recordings over HTTP and write the statistics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8009")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/speech"))
    parser.add_argument("--out", type=Path, default=STATISTICS)
    arguments = parser.parse_args()
    clips = read_clips(arguments.data)
    embeddings = embed_all(arguments.url, [path for _, path in clips])
    save_gallery_model(fit_gallery_model(embeddings, [subject for subject, _ in clips]), arguments.out)
    Console().print(f"{len(embeddings)} embeddings -> {arguments.out}, {arguments.out.stat().st_size / 1e3:.0f} kB")


def read_clips(folder: Path) -> list[tuple[str, Path]]:
    """Subject and path of every clip."""
    with (folder / "utterances.csv").open(encoding="utf-8", newline="") as file:
        clips = [(row["speaker"], folder / row["path"]) for row in csv.DictReader(file)]
    if not clips:
        sys.exit(f"no clips in {folder}")
    return clips


def embed_all(url: str, paths: list[Path]) -> Vectors:
    """Full embeddings of every clip, (clips, full_dim)."""

    def embed(start: int) -> list[list[float]]:
        parts = [("file", (path.name, path.read_bytes())) for path in paths[start : start + FILES_PER_REQUEST]]
        answer = requests.post(f"{url}/v1/embed", data={"model": "voice"}, files=parts, timeout=TIMEOUT_S)
        answer.raise_for_status()
        rows: list[list[float]] = answer.json()["embeddings"]
        return rows

    starts = range(0, len(paths), FILES_PER_REQUEST)
    with ThreadPoolExecutor(2) as pool:
        batches = list(track(pool.map(embed, starts), "Embedding", len(starts), console=Console(stderr=True)))
    return np.asarray([row for batch in batches for row in batch], np.float32)


def _unit(rows: Vectors) -> Vectors:
    unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _normal(rng: np.random.Generator, count: int, factor: Vectors) -> Vectors:
    rows: Vectors = rng.standard_normal((count, len(factor)), np.float32) @ factor
    return rows


def _factor(covariance: Matrix) -> Vectors:
    """F with F.T @ F equal to the covariance, which may be singular."""
    values, axes = np.linalg.eigh(covariance)
    factor: Vectors = (axes * np.sqrt(np.maximum(values, 0))).T.astype(np.float32)
    return factor


def _symmetric(upper: Vectors) -> Matrix:
    dim = int((np.sqrt(8 * len(upper) + 1) - 1) / 2)
    full = np.zeros((dim, dim))
    full[np.triu_indices(dim)] = upper
    whole: Matrix = full + np.triu(full, 1).T
    return whole


if __name__ == "__main__":
    main()
