"""One clip of one identity, as every layout's reader returns it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """A clip, or one of several equal parts of a clip.

    Attributes:
        path: the file.
        subject: `corpus/identity`; data sets of one corpus share their identities.
        domain: recording conditions the clip belongs to; accuracy is reported per domain.
        part: which of the equal consecutive parts of the clip, from 0.
        parts: into how many parts the clip is cut; 1 is the whole clip.
    """

    path: Path
    subject: str
    domain: str
    part: int = 0
    parts: int = 1


def ends_with(path: Path, end: Path) -> bool:
    """Whether a path ends with these parts, whole names only.

    >>> ends_with(Path("data/ann/1.wav"), Path("ann/1.wav")), ends_with(Path("data/ann/1.wav"), Path("1.wav"))
    (True, True)
    >>> ends_with(Path("data/joann/1.wav"), Path("ann/1.wav"))
    False
    """
    return path.parts[-len(end.parts) :] == end.parts
