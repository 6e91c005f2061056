"""Two files that hold the same recording or picture, though not the same bytes, and how a modality finds them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy.typing as npt

Fingerprint: TypeAlias = npt.NDArray[Any]  # of the type its modality chose


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


@dataclass(frozen=True)
class CopyFinder:
    """How copies of one kind of sample are found.

    Attributes:
        version: of the fingerprint; those that were kept of another one are not used.
        fingerprint: the bytes of a file -> what it sounds or looks like; a MatchkaError where they cannot be read.
        find: fingerprints by key -> the pairs that are copies, each once, keys as `first` and `second`.
    """

    version: str
    fingerprint: Callable[[bytes], Fingerprint]
    find: Callable[[Mapping[str, Fingerprint]], list[Copy]]
