"""EER of the embeddings a running service returns, at every dim, beside what its bundles state.

    python -m loadtests.bench.served_accuracy --url http://127.0.0.1:8009 --data ../shared/data

It speaks HTTP and compares and counts by itself, so it checks the bundles' own numbers from outside.
"""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import requests
from rich.console import Console
from rich.progress import track
from rich.table import Table

from loadtests.scoring import Comparison, Counted, read_comparison

# What is measured of each model: the list of samples, its column of identities, and the domain its bundle reports.
SETS = {
    "voice": ("speech/utterances.csv", "speaker", "read-english"),
    "face": ("face/images.csv", "identity", "news-photographs"),
}
TIMEOUT_S = 120

Similarities = npt.NDArray[np.float64]


def main() -> None:
    """Embed every dev sample over HTTP and print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8009")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--models", type=Path, default=Path("models"), help="the served bundles, for their scorers")
    arguments = parser.parse_args()
    for model in requests.get(f"{arguments.url}/v1/models", timeout=TIMEOUT_S).json()["models"]:
        listing, column, domain = SETS[model["name"]]
        samples = read_dev_samples(arguments.data / listing, column)
        comparison = read_comparison(arguments.models, model["name"], model["version"])
        embedded, identities = embed_all(arguments.url, model["name"], samples)
        title = f"{model['name']} {model['version']}: {len(identities)} of {len(samples)} samples"
        table = Table("dim", "served EER %", "bundle's EER %", "raw backbone EER %", title=title)
        for dim in model["dims"]:
            report = model["per_dim"][str(dim)]
            stated = report["metrics"].get(domain, {}).get("eer", float("nan"))
            raw = report["backbone_metrics"].get(domain, {}).get("eer", float("nan"))
            served = equal_error_rate(all_pairs(comparison, embedded, dim), identities)
            table.add_row(str(dim), *(f"{100 * eer:.2f}" for eer in (served, stated, raw)))
        Console().print(table)


def read_dev_samples(listing: Path, column: str) -> list[tuple[str, Path]]:
    """Identity and path of every sample of the dev split."""
    with listing.open(encoding="utf-8", newline="") as file:
        samples = [(r[column], listing.parent / r["path"]) for r in csv.DictReader(file) if r["split"] == "dev"]
    if not samples:
        sys.exit(f"no dev samples in {listing}")
    return samples


def embed_all(url: str, model: str, samples: list[tuple[str, Path]]) -> tuple[Counted, list[str]]:
    """Full embeddings and their identities, without the samples the service refuses (no face)."""
    rows: list[list[float]] = []
    counts: list[int] = []
    identities: list[str] = []
    for identity, path in track(samples, f"Embedding ({model})", console=Console(stderr=True)):
        parts = [("file", (path.name, path.read_bytes()))]
        answer = requests.post(f"{url}/v1/embed", data={"model": model}, files=parts, timeout=TIMEOUT_S)
        if answer.status_code == 422:
            continue
        answer.raise_for_status()
        rows += answer.json()["embeddings"]
        counts += answer.json()["row_counts"]
        identities.append(identity)
    return Counted(np.asarray(rows), np.asarray(counts, np.float64)), identities


def all_pairs(comparison: Comparison, embedded: Counted, dim: int) -> Similarities:
    """Similarities of all pairs of samples, in the order of numpy's upper triangle."""
    first, second = np.triu_indices(len(embedded.vectors), 1)
    return comparison.table(embedded, embedded, dim)[first, second]


def equal_error_rate(similarities: Similarities, identities: list[str]) -> float:
    """The rate at which false matches and false non-matches are equal, over all pairs of samples."""
    names = np.asarray(identities)
    first, second = np.triu_indices(len(names), 1)
    order = np.argsort(similarities, kind="stable")
    mated = (names[first] == names[second])[order]
    fnmr = np.cumsum(mated) / mated.sum()
    fmr = 1 - np.cumsum(~mated) / (~mated).sum()
    crossing = int(np.argmin(np.abs(fnmr - fmr)))
    return float((fnmr[crossing] + fmr[crossing]) / 2)


if __name__ == "__main__":
    main()
