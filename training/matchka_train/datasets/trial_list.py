"""Published lists of which clips are compared: `label path path` (VoxCeleb) and `model path label` (CN-Celeb)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from matchka_train.datasets.sample import Sample
from matchka_train.errors import DatasetError

LABELS: Final = {"1": True, "0": False, "target": True, "nontarget": False}


def read_trials(path: Path, samples: Sequence[Sample]) -> npt.NDArray[np.int64]:
    """Read a list of trials and find each clip among the samples.

    A name in the list is the end of a clip's path, with or without its suffix, so that lists need not know where the
    data lie.

    Args:
        path: the list, one trial a line; the label is the first or the last field.
        samples: the clips, each whole.

    Returns: int64, (trials, 2), numbers of samples.

    Raises: DatasetError: unreadable, a malformed line, a clip that is not there or not unique, or a label that
        contradicts the identities.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"The trial list {path} cannot be read.", value=error, remedy="Check its path.") from error
    places = _places(samples)
    trials = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        is_mated, names = _fields(path, number, line)
        first, second = (_find(path, number, name, places) for name in names)
        if (samples[first].subject == samples[second].subject) != is_mated:
            raise DatasetError(
                f"Line {number} of {path} contradicts the identities "
                f"{samples[first].subject} and {samples[second].subject}.",
                value=line,
                remedy="Use the list that belongs to these clips.",
            )
        trials.append((first, second))
    if not trials:
        raise DatasetError("The trial list is empty.", value=path, remedy="Check its path.")
    return np.asarray(trials, np.int64)


def _fields(path: Path, number: int, line: str) -> tuple[bool, tuple[str, str]]:
    fields = line.split()
    if len(fields) == 3 and fields[0] in LABELS:
        return LABELS[fields[0]], (fields[1], fields[2])
    if len(fields) == 3 and fields[2] in LABELS:
        return LABELS[fields[2]], (fields[0], fields[1])
    raise DatasetError(
        f"Line {number} of {path} is neither `label path path` nor `path path label`.",
        value=line,
        remedy="Labels are 1 and 0, or target and nontarget.",
    )


def _places(samples: Sequence[Sample]) -> dict[str, list[int]]:
    """Every end of every clip's path, with and without its suffix -> the samples it may mean."""
    places: dict[str, list[int]] = {}
    for number, sample in enumerate(samples):
        for whole in (sample.path, sample.path.with_suffix("")):
            parts = whole.parts
            for start in range(max(0, len(parts) - 4), len(parts)):  # lists name at most identity/video/clip
                places.setdefault("/".join(parts[start:]), []).append(number)
    return places


def _find(path: Path, number: int, name: str, places: dict[str, list[int]]) -> int:
    found = places.get(name.lstrip("./"), [])
    if len(found) != 1:
        raise DatasetError(
            f"Line {number} of {path} names {'no clip' if not found else f'{len(found)} clips'} of the data set.",
            value=name,
            remedy="Give the folder the list was made for; trials need whole clips (clip_parts: 1).",
        )
    return found[0]
