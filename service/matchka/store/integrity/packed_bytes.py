"""Byte strings of one length in one array: many embeddings as a server sends them, without an object for each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class PackedBytes(Sequence[bytes]):
    """They look like a list of them.

    Attributes:
        array: uint8, (strings, bytes).
    """

    array: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> "PackedBytes": ...
    def __getitem__(self, place: int | slice) -> "bytes | PackedBytes":
        if isinstance(place, slice):
            return PackedBytes(self.array[place])
        one: bytes = self.array[place].tobytes()
        return one

    def __iter__(self) -> Iterator[bytes]:
        size = self.array.shape[1]
        together = self.array.tobytes()
        return (together[place * size : (place + 1) * size] for place in range(len(self.array)))


def packed(strings: Sequence[bytes]) -> PackedBytes | None:
    """The same strings in one array; None where their lengths differ, or are 0.

    >>> packed([b"ab", b"cd"]).array.tolist(), packed([b"ab", b"c"])
    ([[97, 98], [99, 100]], None)
    """
    if isinstance(strings, PackedBytes):
        return strings
    lengths = set(map(len, strings))
    if len(lengths) != 1 or 0 in lengths:
        return None
    return PackedBytes(np.frombuffer(b"".join(strings), np.uint8).reshape(len(strings), lengths.pop()))
