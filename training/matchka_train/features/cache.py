"""The folder that keeps features: by what they depend on, then by list of clips; every clip's rows have their hash."""

import errno
import hashlib
import io
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
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

KEY_CHARACTERS: Final = 32  # of the sha256; 128 bits
KEY_NAME: Final = "key.json"
INDEX_NAME: Final = "index.json"
WINDOWS_NAME: Final = "windows.npy"
FINGERPRINT_NAME: Final = "fingerprint.npy"
LISTS_NAME: Final = "lists"

Clip: TypeAlias = tuple[str, int, Parts]  # sha256 of the file's bytes, which part of it, of which parts
ClipRows: TypeAlias = FloatArray | Skipped

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shard:
    """Features of a few consecutive samples.

    Attributes:
        windows: float32, (w, dim).
        window_counts: int64, (samples,), 0 for a skipped one.
        skipped: the clips that could not be read.
    """

    windows: FloatArray
    window_counts: npt.NDArray[np.int64]
    skipped: tuple[Skipped, ...]

    def per_clip(self) -> list[ClipRows]:
        """Each sample's windows, (its count, dim), or why it has none."""
        skipped = iter(self.skipped)
        ends = np.cumsum(self.window_counts)
        return [
            self.windows[end - count : end] if count else next(skipped)
            for end, count in zip(ends.tolist(), self.window_counts.tolist(), strict=True)
        ]


def shard_of(clips: Sequence[ClipRows], dim: int) -> Shard:
    """Features of a few samples, put together; the inverse of Shard.per_clip."""
    return Shard(
        np.concatenate([np.zeros((0, dim), np.float32), *(rows for rows in clips if not isinstance(rows, Skipped))]),
        np.asarray([0 if isinstance(rows, Skipped) else len(rows) for rows in clips], np.int64),
        tuple(rows for rows in clips if isinstance(rows, Skipped)),
    )


class FeatureCache:
    """The features that depend on the same things, save for the clips; its folder's name is the hash of those things.

    Every file appears under its name only when it is whole, so an interruption leaves shards that can be used again
    and never a half-written one.
    """

    def __init__(self, cache_dir: Path, description: dict[str, object]) -> None:
        self._description = json.dumps(description, sort_keys=True)
        self.path = cache_dir / _key_of(self._description)

    def open(self) -> None:
        """Make the folder, or empty one whose description is not this one.

        Raises: DiskFullError.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        key = self.path / KEY_NAME
        if key.is_file() and key.read_text(encoding="utf-8") == self._description:
            return
        self.clear()
        _write_whole(key, self._description.encode())

    def clear(self) -> None:
        """Remove all features that depend on these things."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True, exist_ok=True)

    def fingerprint(self) -> FloatArray | None:
        """The backbone's embeddings of fixed windows when the folder was begun; None where it is new."""
        path = self.path / FINGERPRINT_NAME
        return np.load(path) if path.is_file() else None

    def keep_fingerprint(self, embeddings: FloatArray) -> None:
        """Remember what the backbone made of fixed windows.

        Raises: DiskFullError.
        """
        _write_whole(self.path / FINGERPRINT_NAME, _as_npy(embeddings))

    def list_of(self, clips: Sequence[Clip]) -> "FeatureList":
        """The features of these clips, in this order; the folder is made if there is none."""
        path = self.path / LISTS_NAME / _key_of(json.dumps(clips))
        path.mkdir(parents=True, exist_ok=True)
        return FeatureList(path, clips)

    def find(self, wanted: AbstractSet[Clip]) -> dict[Clip, ClipRows]:
        """The clips that some list holds already; rows that are not those its index names are left out, and logged."""
        found: dict[Clip, ClipRows] = {}
        for folder in sorted((self.path / LISTS_NAME).iterdir()):
            index = _read_index(folder)
            if index is None:
                continue
            for clip, rows, sha256 in index.entries():
                if clip not in wanted or clip in found:
                    continue
                if _hash_rows(rows) == sha256:
                    found[clip] = rows
                else:
                    _log.warning("features of the clip %s in %s were changed; it is embedded again", clip[0], folder)
        return found


@dataclass(frozen=True)
class FeatureList:
    """Features of the clips of one list, filled shard by shard, complete only when the index is there.

    Attributes:
        path: its folder.
        clips: in order.
    """

    path: Path
    clips: Sequence[Clip]

    def shard(self, number: int) -> Shard | None:
        """A shard that an earlier run finished, or None."""
        path = self._shard_path(number)
        if not path.is_file():
            return None
        with np.load(path) as stored:
            skipped = tuple(Skipped(**entry) for entry in json.loads(str(stored["skipped"])))
            return Shard(stored["windows"], stored["window_counts"], skipped)

    def keep_shard(self, number: int, shard: Shard) -> None:
        """Write one shard.

        Raises: DiskFullError.
        """
        content = io.BytesIO()
        skipped = json.dumps([asdict(entry) for entry in shard.skipped])
        np.savez(content, windows=shard.windows, window_counts=shard.window_counts, skipped=np.asarray(skipped))
        _write_whole(self._shard_path(number), content.getvalue())

    def finish(self, shard_count: int, dim: int) -> None:
        """Join all shards into one file that can be memory-mapped, then write the index, then drop the shards.

        Raises: DiskFullError.
        """
        shards = [self._required_shard(number) for number in range(shard_count)]
        counts = np.concatenate([shard.window_counts for shard in shards])
        with atomic_feature_file(self.path / WINDOWS_NAME) as partial:
            joined = np.lib.format.open_memmap(partial, "w+", np.float32, (int(counts.sum()), dim))
            position = 0
            for shard in shards:
                joined[position : position + len(shard.windows)] = shard.windows
                position += len(shard.windows)
            joined.flush()
            del joined
        index = {
            "clips": self.clips,
            "window_counts": counts.tolist(),
            "rows_sha256": [_hash_rows(rows) for shard in shards for rows in shard.per_clip()],
            "skipped": [asdict(entry) for shard in shards for entry in shard.skipped],
        }
        _write_whole(self.path / INDEX_NAME, json.dumps(index).encode())
        for number in range(shard_count):
            self._shard_path(number).unlink()

    def read(self) -> Shard | None:
        """All features, memory-mapped; None where they are not complete, or some are not those the index names."""
        index = _read_index(self.path)
        if index is None or any(_hash_rows(rows) != sha256 for _, rows, sha256 in index.entries()):
            return None
        return index.features

    def _required_shard(self, number: int) -> Shard:
        shard = self.shard(number)
        if shard is None:
            raise FileNotFoundError(self._shard_path(number))
        return shard

    def _shard_path(self, number: int) -> Path:
        return self.path / f"shard-{number:05d}.npz"


@dataclass(frozen=True)
class _Index:
    """A finished list as it lies on the disk, its rows not verified yet."""

    clips: tuple[Clip, ...]
    rows_sha256: tuple[str, ...]
    features: Shard

    def entries(self) -> Iterator[tuple[Clip, ClipRows, str]]:
        return zip(self.clips, self.features.per_clip(), self.rows_sha256, strict=True)


def _read_index(folder: Path) -> _Index | None:
    """None where the list is not finished, or its files do not fit each other."""
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
    return _Index(clips, rows_sha256, Shard(windows, counts, skipped))


def _hash_rows(rows: ClipRows) -> str:
    content = rows.reason.encode() if isinstance(rows, Skipped) else np.ascontiguousarray(rows).tobytes()
    return hashlib.sha256(content).hexdigest()


def _parts_of(stored: int | list[float]) -> Parts:
    """JSON knows no tuples."""
    return tuple(float(share) for share in stored) if isinstance(stored, list) else int(stored)


def _key_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_CHARACTERS]


def _as_npy(array: FloatArray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def _write_whole(path: Path, content: bytes) -> None:
    with atomic_feature_file(path) as partial:
        partial.write_bytes(content)


@contextmanager
def atomic_feature_file(path: Path) -> Iterator[Path]:
    """A file that is whole or not there, as matchka.runtime.atomic_file.atomic_file; a full disk is its own error."""
    try:
        with atomic_file(path) as partial:
            yield partial
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFullError(
            "The disk is full; what was finished is kept and will be used again.",
            value=path.parent,
            remedy="Free some space, or set data.cache_dir to another disk, and run the same command.",
        ) from error
