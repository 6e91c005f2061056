"""What is known of the readers: their ages, and the marks that other people gave them."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from matchka_train.datasets.layouts.csv import read_columns
from matchka_train.datasets.sample import Sample
from matchka_train.datasets.transcripts import ReadSpeech
from matchka_train.errors import DatasetError
from matchka_train.evaluation.pronunciation import Agreement, agreement

AGE_COLUMN: Final = "age"
ADULT_AGE: Final = 18
CHILDREN: Final = "below 18"
ADULTS: Final = "18 and above"
LOW_MARK: Final = 8.0  # marks of 7 and below are known as "at most 7" only

Values: TypeAlias = npt.NDArray[np.float64]


def read_marks(path: Path) -> dict[str, float]:
    """Marks by utterance; one that is only known to be at most 7 counts as 7.

    Raises: DatasetError: no such file, or not one of marks.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {row["utterance"]: float(row["accuracy"]) for row in csv.DictReader(file)}
    except (OSError, KeyError, ValueError) as error:
        raise DatasetError(
            f"The marks {path} cannot be read.", value=error, remedy="Set marks=null to leave them out."
        ) from error


def read_ages(datasets: Sequence[ReadSpeech], parts: Sequence[Sequence[Sample]]) -> dict[str, int]:
    """How old each reader is.

    Args:
        datasets: their manifests have a column of ages.
        parts: the clips of each.

    Raises: DatasetError: no such column.
    """
    found: dict[str, int] = {}
    for dataset, samples in zip(datasets, parts, strict=True):
        ages = read_columns(dataset.path, dataset.path_column, (AGE_COLUMN,), dataset.where)
        found |= {sample.subject: int(ages[sample.path][0]) for sample in samples}
    return found


def by_age(scores: Values, marks: Values, subjects: Sequence[str], ages: Mapping[str, int]) -> dict[str, Agreement]:
    """Agreement with people's marks within each group of age that has low marks and others.

    Args:
        scores: (clips,), higher is better.
        marks: (clips,), of people.
        subjects: who reads each clip.
        ages: of the readers.

    Returns: by the words of the group.
    """
    is_child = np.array([ages[subject] < ADULT_AGE for subject in subjects])
    return by_group(scores, marks, subjects, {CHILDREN: is_child, ADULTS: ~is_child})


def by_group(
    scores: Values, marks: Values, subjects: Sequence[str], groups: Mapping[str, npt.NDArray[np.bool_]]
) -> dict[str, Agreement]:
    """Agreement with people's marks within each group that has low marks and others.

    Args:
        scores: (clips,), higher is better.
        marks: (clips,), of people.
        subjects: who reads each clip.
        groups: (clips,), whether a clip belongs to the group of that name.
    """
    found = {}
    for name, inside in groups.items():
        low = marks[inside] < LOW_MARK
        if low.any() and not low.all():
            people = [subject for subject, is_in in zip(subjects, inside, strict=True) if is_in]
            found[name] = agreement(scores[inside], marks[inside], low, people)
    return found
