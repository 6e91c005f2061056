"""Where pretrained weights came from, as bundles name it."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class WeightSource:
    """Where weights came from.

    Attributes:
        name: what they are, for people.
        source: the package or hub and the member in it.
        version: of that package, or the hub's revision.
        sha256: of the weights file, 64 hexadecimal digits.
        licence: SPDX identifier.
    """

    name: str
    source: str
    version: str
    sha256: str
    licence: str


def joined_sha256(hashes: Iterable[str]) -> str:
    """The sha256 of weights that are several files: of their hashes, one behind the other."""
    return hashlib.sha256("".join(hashes).encode()).hexdigest()
