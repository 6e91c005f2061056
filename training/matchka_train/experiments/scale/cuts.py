"""Distinct cuts of a data set's clips, with changed levels: as many files as a measurement needs."""

import csv
from pathlib import Path

import numpy as np
import soundfile

from matchka_train.datasets.reader import read_dataset
from matchka_train.datasets.recipe import DatasetRecipe
from matchka_train.datasets.sample import Sample

CUT_S = 2.0
LEVEL_DB = (-12.0, 0.0)
LISTED = "cuts.csv"


def write_cuts(dataset: DatasetRecipe, folder: Path, count: int) -> list[Path]:
    """Write cuts that are not there yet; the same number is always the same cut.

    Args:
        dataset: whose clips are cut.
        folder: takes the cuts and their list.
        count: how many there are afterwards.
    """
    clips = read_dataset(dataset)
    rows = []
    for number in range(count):
        clip = clips[number % len(clips)]
        path = folder / f"{number // 1000:04d}" / f"{number:07d}.flac"
        rows.append((path, clip.subject))
        if path.is_file():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(number)
        samples, rate_hz = soundfile.read(clip.path, dtype="float32")
        length = round(CUT_S * rate_hz)
        start = int(generator.integers(0, max(1, samples.size - length)))
        gain = 10.0 ** (generator.uniform(*LEVEL_DB) / 20.0)
        soundfile.write(path, samples[start : start + length] * gain, rate_hz)
    with (folder / LISTED).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return [path for path, _ in rows]


def read_cuts(folder: Path) -> list[Sample]:
    """The cuts that were written last."""
    with (folder / LISTED).open(encoding="utf-8", newline="") as file:
        return [Sample(Path(path), subject, "cuts") for path, subject in csv.reader(file)]
