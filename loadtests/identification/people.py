"""Whose samples are used as what: people nobody trained on, and others who only fill a gallery."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import soundfile

COHORT_PARTS = 3  # an audiobook reader has one clip of up to 10 s: a part must stay long enough to be a template


@dataclass(frozen=True)
class Person:
    """Somebody with samples.

    Attributes:
        name: unique within the data.
        unseen: whether nothing was trained on them; only such people are impostors and probes.
        samples: files, as a caller would send them.
    """

    name: str
    unseen: bool
    samples: tuple[bytes, ...]


def read_people(model: str, data: Path) -> list[Person]:
    """Everybody a model can be measured with.

    Args:
        model: `voice` or `face`.
        data: the folder that docs/data.md describes.
    """
    if model == "face":
        return list(_people_of(data / "face/images.csv", "identity"))
    speakers = list(_people_of(data / "speech/utterances.csv", "speaker"))
    return speakers + list(_readers_of(data / "speech/cohort.csv"))


def _people_of(listing: Path, column: str) -> Iterator[Person]:
    files: dict[tuple[str, str], list[Path]] = defaultdict(list)
    with listing.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            files[row["split"], row[column]].append(listing.parent / row["path"])
    for (split, name), paths in sorted(files.items()):
        yield Person(name, split == "dev", tuple(path.read_bytes() for path in sorted(paths)))


def _readers_of(listing: Path) -> Iterator[Person]:
    """Readers of audiobooks only fill galleries: half of them were trained on, and each has one clip."""
    with listing.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            samples, rate_hz = soundfile.read(listing.parent / row["path"], dtype="float32")
            step = len(samples) // COHORT_PARTS
            parts = []
            for number in range(COHORT_PARTS):
                part = io.BytesIO()
                soundfile.write(part, samples[number * step : (number + 1) * step], rate_hz, format="WAV")
                parts.append(part.getvalue())
            yield Person(f"reader-{row['speaker']}", False, tuple(parts))
