"""Made recordings as files, so that they are read as anybody's are: a folder for each waveform."""

from pathlib import Path
from typing import Final

import numpy as np

from matchka.runtime.atomic_file import write_atomically
from matchka_train.datasets.generator.recipe import GeneratorRecipe
from matchka_train.datasets.generator.recordings import Draw, draw_recordings
from matchka_train.datasets.generator.waveforms import BETWEEN, HELD_OUT, WAVEFORMS

CONTENT_NAME: Final = "content.json"  # what lies in a folder
FULL_SCALE: Final = 0.1  # deviation of the samples: below a receiver's full scale of 1, and far from it
CHOICES: Final = {"trained": WAVEFORMS, "between": BETWEEN, "held_out": HELD_OUT}


def make_recordings(root: Path, recipe: GeneratorRecipe) -> list[tuple[Path, str]]:
    """Write the recordings, unless they lie there already.

    Args:
        root: folder of this data set alone; recordings of other values that lie there are written over.
        recipe: what is drawn.

    Returns: (file, waveform), by waveform.
    """
    choices = CHOICES[recipe.waveforms]
    waveforms = np.repeat(np.arange(len(choices)), recipe.recordings_each)
    snrs = np.resize(np.asarray(recipe.snrs_db, np.float32), recipe.recordings_each)
    listed = [
        (root / choice.name / f"{number:04d}.npy", choice.name)
        for choice in choices
        for number in range(recipe.recordings_each)
    ]
    content, known = recipe.model_dump_json().encode(), root / CONTENT_NAME
    if known.is_file() and known.read_bytes() == content and all(path.is_file() for path, _ in listed):
        return listed
    known.unlink(missing_ok=True)
    draw = Draw(recipe.seed, recipe.split, recipe.number)
    drawn = draw_recordings(choices, waveforms, np.tile(snrs, len(choices)), draw, recipe.windows)
    for (path, _), samples in zip(listed, drawn.noisy, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        deviation = np.sqrt(np.mean(np.abs(samples) ** 2))
        np.save(path, (samples * (FULL_SCALE / deviation)).astype(np.complex64))
    write_atomically(known, content)
    return listed
