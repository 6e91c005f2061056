"""Rows of clips as they lie on the disk: one file of windows, and an index that has a hash of every clip's rows."""

import errno
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from matchka.runtime.atomic_file import atomic_file
from matchka.vectors import FloatArray
from matchka_train.datasets.sample import Parts
from matchka_train.errors import DiskFullError
from matchka_train.modalities.skipped import Skipped

INDEX_NAME: Final = "index.json"
WINDOWS_NAME: Final = "windows.npy"
# a quota and a limit on a file's size end a write as a full disk does
FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Clip: TypeAlias = tuple[str, int, Parts]  # sha256 of the file's bytes, which part of it, of which parts
ClipRows: TypeAlias = FloatArray | Skipped


@dataclass(frozen=True)
class StoredRows:
    """Rows of a list of clips, one behind the other.

    Attributes:
        windows: float32, (w, dim), memory-mapped.
        window_counts: int64, (clips,), 0 for a skipped one.
        skipped: the clips that could not be read.
    """

    windows: FloatArray
    window_counts: npt.NDArray[np.int64]
    skipped: tuple[Skipped, ...]

    def per_clip(self) -> Iterator[ClipRows]:
        """Each clip's windows, (its count, dim), or why it has none."""
        windows, skipped = np.asarray(self.windows), iter(self.skipped)  # slices of a memmap cost more than rows
        end = 0
        for count in self.window_counts.tolist():
            end += count
            yield windows[end - count : end] if count else next(skipped)


@dataclass(frozen=True)
class Index:
    """A folder of rows that was finished; its rows are not verified yet."""

    clips: tuple[Clip, ...]
    rows_sha256: tuple[str, ...]
    rows: StoredRows

    def entries(self) -> Iterator[tuple[Clip, ClipRows, str]]:
        """Each clip, its rows, and the hash they had."""
        return zip(self.clips, self.rows.per_clip(), self.rows_sha256, strict=True)

    @property
    def is_intact(self) -> bool:
        """Whether all rows are those that were written."""
        return all(hash_rows(rows) == sha256 for _, rows, sha256 in self.entries())


def write_rows(folder: Path, clips: Sequence[Clip], rows: Iterable[ClipRows], windows: int, dim: int) -> None:
    """Write the rows of clips one after the other, then the index, without which the folder counts as unfinished.

    The file is written from front to back and not through a memory map: on a full disk that would end the process.

    Args:
        folder: made if absent.
        clips: in order.
        rows: of each of them.
        windows: how many rows there are in all.
        dim: components of a row.

    Raises: DiskFullError.
    """
    counts, hashes, skipped = [], [], []
    with atomic_feature_file(folder / WINDOWS_NAME) as partial, partial.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (windows, dim)}
        np.lib.format.write_array_header_1_0(file, header)
        for entry in rows:
            hashes.append(hash_rows(entry))
            counts.append(0 if isinstance(entry, Skipped) else len(entry))
            if isinstance(entry, Skipped):
                skipped.append(asdict(entry))
            else:
                file.write(np.ascontiguousarray(entry, "<f4").data)
    index = {"clips": clips, "window_counts": counts, "rows_sha256": hashes, "skipped": skipped}
    write_whole(folder / INDEX_NAME, json.dumps(index).encode())


def read_index(folder: Path) -> Index | None:
    """What a folder holds; None where it is not finished, or its files were cut short or do not fit each other."""
    try:
        content: dict[str, Any] = json.loads((folder / INDEX_NAME).read_text(encoding="utf-8"))
        windows: FloatArray = np.load(folder / WINDOWS_NAME, mmap_mode="r")
        counts = np.asarray(content["window_counts"], np.int64)
        skipped = tuple(Skipped(**entry) for entry in content["skipped"])
        clips = tuple((str(sha256), int(part), _parts_of(parts)) for sha256, part, parts in content["clips"])
        rows_sha256 = tuple(map(str, content["rows_sha256"]))
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None
    fits = windows.ndim == 2 and windows.dtype == np.float32 and len(windows) == counts.sum()
    if not fits or not len(clips) == len(counts) == len(rows_sha256) or np.sum(counts == 0) != len(skipped):
        return None
    return Index(clips, rows_sha256, StoredRows(windows, counts, skipped))


def hash_rows(rows: ClipRows) -> str:
    """The sha256 of a clip's rows, or of why it has none."""
    content = rows.reason.encode() if isinstance(rows, Skipped) else np.ascontiguousarray(rows).tobytes()
    return hashlib.sha256(content).hexdigest()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is whole or not there.

    Raises: DiskFullError.
    """
    with atomic_feature_file(path) as partial:
        partial.write_bytes(content)


@contextmanager
def atomic_feature_file(path: Path) -> Iterator[Path]:
    """A file that is whole or not there, as matchka.runtime.atomic_file.atomic_file; a full disk is its own error."""
    try:
        with atomic_file(path) as partial:
            yield partial
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise DiskFullError(
            "The disk is full; what was finished is kept and will be used again.",
            value=path.parent,
            remedy="Free some space, or set data.cache_dir to another disk, and run the same command.",
        ) from error


def _parts_of(stored: int | list[float]) -> Parts:
    """JSON knows no tuples."""
    return tuple(float(share) for share in stored) if isinstance(stored, list) else int(stored)
