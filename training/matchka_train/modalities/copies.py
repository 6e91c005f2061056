"""Two files that hold the same recording or picture, though not the same bytes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Copy:
    """A pair of files.

    Attributes:
        first: path of one.
        second: path of the other.
        shared: what they have in common, in words.
        error_rate: share of the fingerprints' bits that differ, in [0, 1].
    """

    first: str
    second: str
    shared: str
    error_rate: float
