"""Where pretrained weights came from, as bundles name it."""

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
