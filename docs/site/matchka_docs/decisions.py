"""Decisions by subject, and the list of experiments."""

from pathlib import Path
from typing import Final

from matchka.errors import MatchkaError
from matchka_docs.source import DOCS

# numbers are given in blocks; those of a block that was not used up stay its own
SUBJECTS: Final = {
    "What a model is, and what it promises": "1 3 20-27 31-32 35-36 62 115-116 121",
    "Voices": "30 33 70 72-75 100 123-124 215",
    "Spoken and seen challenges": "104-109",
    "Faces": "40-45 71 130-139",
    "Radio": "110-114",
    "Settings of an equalizer": "120 122",
    "Batches, searches and speed": "50-53 82 148 180-183 187-192 203-204 211-212 217",
    "Training on large data sets": "213-214 219",
    "What is stored, and for how long": "34 60-61 63 158-162 165-166 168-169 171 173 205",
    "Replicas, processes and databases": "167 172 174-179 193-195 216",
    "Keys, encryption and attacks": "140-147 151 155 163",
    "Fairness and load": "80-81 150 164 198-200",
    "Images, packages and tests": "152 196-197 209-210",
    "Logs, traces and alerts": "184-186",
    "Interfaces for programs and people": "2 91 170 201-202 206-208",
}


class UnsortedDecisionError(MatchkaError):
    """A decision whose number is of no subject."""


def subject_of(number: int) -> str:
    """The first subject that has a number.

    Raises: UnsortedDecisionError: none has.

    >>> subject_of(22)
    'What a model is, and what it promises'
    """
    for subject, numbers in SUBJECTS.items():
        for block in numbers.split():
            first, _, last = block.partition("-")
            if int(first) <= number <= int(last or first):
                return subject
    raise UnsortedDecisionError(
        "The decision is of no subject.", value=number, remedy=f"Add its number to SUBJECTS of {Path(__file__).name}."
    )


def decisions_page() -> str:
    """The page of all decisions."""
    found = sorted((DOCS / "decisions").glob("*.md"))
    by_subject: dict[str, list[Path]] = {subject: [] for subject in SUBJECTS}
    for page in found:
        by_subject[subject_of(int(page.name.partition("-")[0]))].append(page)
    parts = ["# Decisions", "What was decided, what was measured for it, and what was rejected, by subject."]
    for subject, listed in by_subject.items():
        lines = "\n".join(f"- {{doc}}`decisions/{page.stem}`" for page in listed)
        parts.append(f"## {subject}\n\n{lines}")
    return "\n\n".join([*parts, _tree("decisions", found)])


def experiments_page() -> str:
    """The page of all experiments."""
    found = sorted((DOCS / "experiments").glob("*.md"))
    lines = "\n".join(f"- {{doc}}`experiments/{page.stem}`" for page in found)
    said = "Questions that were put to data, with how to repeat each."
    return "\n\n".join(["# Experiments", said, lines, _tree("experiments", found)])


def _tree(folder: str, listed: list[Path]) -> str:
    return "```{toctree}\n:hidden:\n\n" + "\n".join(f"{folder}/{page.stem}" for page in listed) + "\n```\n"
