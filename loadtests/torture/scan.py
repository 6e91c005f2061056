"""Looks for vectors in files, whatever stored them: float32, float16 or one byte a component, at any byte.

A vector counts as found when 16 components in a row are there, within rounding: an embedding that is computed twice may
differ in its last bits, and a page's end may cut a stored one in two, so several pieces of each vector are looked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

PIECE = 16  # components in a row that count as the vector
PIECE_STARTS = (0, 16, 32, 48, 64, 96)
BYTE_PIECE = 32  # one byte says less, so more of them must agree
FLOAT32_TOLERANCE = 3e-6
FLOAT16_TOLERANCE = 3e-4
FAINT = 100  # a piece shorter than this many tolerances is like any other: the last components of some models vanish
CODE_TOLERANCE = 0.6  # units of 1/127: the rounding, and a little for an embedding computed twice

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Found:
    """A vector in a file."""

    file: str
    offset: int
    kind: str
    label: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.label} as {self.kind} in {self.file} at byte {self.offset}"


def scan_folder(folder: Path, needles: dict[str, Vectors], as_codes: list[str]) -> tuple[list[Found], int]:
    """Look for vectors in every file below a folder.

    Args:
        folder: searched to its depth.
        needles: name -> float32, (full_dim,), full_dim >= 32.
        as_codes: names of those that are looked for as one byte a component too, which is the slow part.

    Returns: what was found, and how many bytes were looked at.
    """
    found: list[Found] = []
    scanned = 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue  # removed meanwhile
        scanned += len(content)
        name = str(path.relative_to(folder))
        if needles and content:
            found += [Found(name, *hit) for hit in scan_bytes(content, needles, as_codes)]
    return found, scanned


def scan_bytes(content: bytes, needles: dict[str, Vectors], as_codes: list[str]) -> Iterator[tuple[int, str, str]]:
    """Yields: offset, kind and name of each needle found."""
    labels = list(needles)
    for kind, dtype, tolerance in (("float32", "<f4", FLOAT32_TOLERANCE), ("float16", "<f2", FLOAT16_TOLERANCE)):
        pieces, owners = _pieces(np.stack([needles[label] for label in labels]), FAINT * tolerance)
        size = np.dtype(dtype).itemsize
        for shift in range(size):
            count = (len(content) - shift) // size
            if count < PIECE:
                continue
            numbers = np.frombuffer(content, dtype, count, shift).astype(np.float32)
            for at, piece in _matches(numbers, pieces, tolerance):
                yield shift + at * size, kind, labels[owners[piece]]
    for label in as_codes:
        for at in _code_matches(np.frombuffer(content, np.uint8), needles[label]):
            yield at, "codes", label


def _pieces(vectors: Vectors, shortest: float) -> tuple[Vectors, npt.NDArray[np.intp]]:
    starts = [start for start in PIECE_STARTS if start + PIECE <= vectors.shape[1]]
    pieces = np.concatenate([vectors[:, start : start + PIECE] for start in starts])
    owners = np.tile(np.arange(len(vectors)), len(starts))
    clear = np.flatnonzero(np.linalg.norm(pieces, axis=1) >= shortest)
    order = clear[np.argsort(pieces[clear, 0], kind="stable")]
    return pieces[order], owners[order]


def _matches(numbers: Vectors, pieces: Vectors, tolerance: float) -> Iterator[tuple[int, int]]:
    """Places where a piece begins: candidates by its first component, then the others one after the other."""
    last = len(numbers) - PIECE + 1
    with np.errstate(invalid="ignore", over="ignore"):
        heads = numbers[:last]
        # zeros are most of an erased file and the head of no piece that matters
        plausible = np.flatnonzero((np.abs(heads) <= 1.0) & (np.abs(heads) > 1e-12))
        low = np.searchsorted(pieces[:, 0], heads[plausible] - tolerance, "left")
        high = np.searchsorted(pieces[:, 0], heads[plausible] + tolerance, "right")
        counts = high - low
        places = np.repeat(plausible, counts)
        ends = np.cumsum(counts)
        chosen = np.arange(counts.sum()) - np.repeat(ends - counts, counts) + np.repeat(low, counts)
        for component in range(1, PIECE):
            close = np.abs(numbers[places + component] - pieces[chosen, component]) <= tolerance
            places, chosen = places[close], chosen[close]
    yield from zip(places.tolist(), chosen.tolist(), strict=True)


def _code_matches(content: npt.NDArray[np.uint8], vector: Vectors) -> Iterator[int]:
    """Places where the vector's first components stand as one byte each: offset by 128, or signed."""
    unit = vector / np.linalg.norm(vector)
    exact = 127 * unit[:BYTE_PIECE]
    last = len(content) - BYTE_PIECE + 1
    if last < 1:
        return
    for offset in (128, 0):
        places = np.arange(last)
        for component in np.argsort(-np.abs(exact)):  # the rarest values first
            difference = (content[places + component] - (exact[component] + offset) + 128) % 256 - 128
            places = places[np.abs(difference) <= CODE_TOLERANCE]
            if not len(places):
                break
        yield from places.tolist()
