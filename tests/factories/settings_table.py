"""Tables of settings with words, made up: a graphic equalizer of many bands whose two words tilt it either way."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from matchka_train.heads.words.recipe import WordsRecipe

PEOPLE, ROWS_EACH = 24, 6


def graphic_equalizer_recipe(folder: Path, bands: int = 40, **changes: Any) -> WordsRecipe:
    """A recipe for gains at fixed frequencies, with a table of them in the folder."""
    frequencies = np.geomspace(20, 20000, bands)
    names = [f"band{number}_gain_db" for number in range(bands)]
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["contributor", "descriptor", *names])
        writer.writerows(_rows(bands))
    content = {
        "name": "graphic",
        "seed": 3,
        "dims": [2, 4, bands],
        "fields": [{"name": name, "unit": "dB", "low": -24, "high": 24} for name in names],
        "bands": [
            {"kind": "peak", "gain": name, "frequency": float(hz), "q": 4.3}
            for name, hz in zip(names, frequencies, strict=True)
        ],
        "kept_aside": names[-1],
        "aside_value": 0.0,
        "words": ["warm", "bright"],
        "decoder": {"hidden": 8, "steps": 5},
        "strengths": [0, 1],
        "table": {"path": str(folder / "table.csv"), "source": "made up", "licence": "Apache-2.0"},
        "output_dir": str(folder / "checkpoint"),
    }
    return WordsRecipe.model_validate(content | changes)


def _rows(bands: int) -> list[list[object]]:
    generator = np.random.default_rng(5)
    tilt = np.linspace(-6, 6, bands)
    found: list[list[object]] = []
    for person in range(PEOPLE):
        for number in range(ROWS_EACH):
            word, sign = (("Bright ", 1.0), ("warm", -1.0))[number % 2]
            gains = (sign * tilt + generator.normal(0, 3, bands)).clip(-24, 24)
            found.append([f"person{person}", word, *gains.tolist()])
    return found
