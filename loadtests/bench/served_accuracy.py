"""EER of the embeddings a running service returns, at every dim, beside what its bundle states.

    python loadtests/bench/served_accuracy.py --url http://127.0.0.1:8009 --data ../shared/data/speech

It speaks HTTP and computes the EER by itself, so it checks the bundle's own numbers from outside.
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

DOMAIN = "read-english"
FILES_PER_REQUEST = 10
TIMEOUT_S = 120

Vectors = npt.NDArray[np.float64]


def main() -> None:
    """Embed every dev clip over HTTP and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8009")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/speech"))
    arguments = parser.parse_args()
    clips = read_dev_clips(arguments.data)
    model = requests.get(f"{arguments.url}/v1/models", timeout=TIMEOUT_S).json()["models"][0]
    table = Table(
        "dim", "served EER %", "bundle's EER %", "raw backbone EER %", title=f"{model['name']} {model['version']}"
    )
    full = embed_all(arguments.url, clips)
    speakers = [speaker for speaker, _ in clips]
    for dim in model["dims"]:
        report = model["per_dim"][str(dim)]
        stated, raw = (
            report[kind].get(DOMAIN, {}).get("eer", float("nan")) for kind in ("metrics", "backbone_metrics")
        )
        table.add_row(
            str(dim), *(f"{100 * eer:.2f}" for eer in (equal_error_rate(full[:, :dim], speakers), stated, raw))
        )
    Console().print(table)


def read_dev_clips(folder: Path) -> list[tuple[str, Path]]:
    """Speaker and path of every clip of the dev split."""
    with (folder / "utterances.csv").open(encoding="utf-8", newline="") as file:
        clips = [(row["speaker"], folder / row["path"]) for row in csv.DictReader(file) if row["split"] == "dev"]
    if not clips:
        sys.exit(f"no dev clips in {folder}/utterances.csv")
    return clips


def embed_all(url: str, clips: list[tuple[str, Path]]) -> Vectors:
    """Full embeddings of every clip, (clips, full_dim)."""
    rows: list[list[float]] = []
    for start in track(range(0, len(clips), FILES_PER_REQUEST), "Embedding", console=Console(stderr=True)):
        parts = [("file", (path.name, path.read_bytes())) for _, path in clips[start : start + FILES_PER_REQUEST]]
        answer = requests.post(f"{url}/v1/embed", data={"model": "voice"}, files=parts, timeout=TIMEOUT_S)
        answer.raise_for_status()
        rows += answer.json()["embeddings"]
    return np.asarray(rows)


def equal_error_rate(prefixes: Vectors, speakers: list[str]) -> float:
    """The rate at which false matches and false non-matches are equal, over all pairs of clips."""
    unit = prefixes / np.linalg.norm(prefixes, axis=1, keepdims=True)
    first, second = np.triu_indices(len(unit), 1)
    similarities = (unit @ unit.T)[first, second]
    names = np.asarray(speakers)
    order = np.argsort(similarities, kind="stable")
    mated = (names[first] == names[second])[order]
    fnmr = np.cumsum(mated) / mated.sum()
    fmr = 1 - np.cumsum(~mated) / (~mated).sum()
    crossing = int(np.argmin(np.abs(fnmr - fmr)))
    return float((fnmr[crossing] + fmr[crossing]) / 2)


if __name__ == "__main__":
    main()
