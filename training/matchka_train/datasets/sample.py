"""One clip of one identity, as every layout's reader returns it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

Parts = int | tuple[float, ...]  # how many equal parts, or the share of each


@dataclass(frozen=True)
class Sample:
    """A clip, or one of several consecutive parts of a clip.

    Attributes:
        path: the file.
        subject: `corpus/identity`; data sets of one corpus share their identities.
        domain: recording conditions the clip belongs to; accuracy is reported per domain.
        part: which of the parts of the clip, from 0.
        parts: into how many equal parts the clip is cut, or into which shares of it; 1 is the whole clip.
    """

    path: Path
    subject: str
    domain: str
    part: int = 0
    parts: Parts = 1

    @property
    def span(self) -> tuple[float, float]:
        """Where the part begins and ends, as fractions of the clip.

        >>> Sample(Path("a.wav"), "who", "here", part=1, parts=(0.5, 0.25, 0.25)).span
        (0.5, 0.75)
        """
        if isinstance(self.parts, int):
            return self.part / self.parts, (self.part + 1) / self.parts
        edges = np.cumsum((0.0, *self.parts))
        last = self.part + 1 == len(self.parts)
        return float(edges[self.part]), 1.0 if last else float(edges[self.part + 1])

    def within(self, length: int) -> slice:
        """The part of a clip of so many values; the parts of a clip share none and together hold all."""
        if isinstance(self.parts, int):
            edges = np.linspace(0, length, self.parts + 1).astype(np.int64)
            return slice(edges[self.part], edges[self.part + 1])
        start, end = self.span
        return slice(int(start * length), int(end * length))


def count_parts(parts: Parts) -> int:
    """How many parts a clip is cut into.

    >>> count_parts(2), count_parts((0.7, 0.2, 0.1))
    (2, 3)
    """
    return parts if isinstance(parts, int) else len(parts)


def ends_with(path: Path, end: Path) -> bool:
    """Whether a path ends with these parts, whole names only.

    >>> ends_with(Path("data/ann/1.wav"), Path("ann/1.wav")), ends_with(Path("data/ann/1.wav"), Path("1.wav"))
    (True, True)
    >>> ends_with(Path("data/joann/1.wav"), Path("ann/1.wav"))
    False
    """
    return path.parts[-len(end.parts) :] == end.parts
