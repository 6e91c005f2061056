"""The folder that keeps features: one per key, filled shard by shard, complete only when its index is there."""

import errno
import hashlib
import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from matchka.runtime.atomic_file import atomic_file
from matchka.vectors import FloatArray
from matchka_train.errors import DiskFullError
from matchka_train.modalities.skipped import Skipped

KEY_CHARACTERS: Final = 32  # of the sha256; 128 bits
KEY_NAME: Final = "key.json"
INDEX_NAME: Final = "index.json"
WINDOWS_NAME: Final = "windows.npy"


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


class FeatureFolder:
    """One folder of the cache; its name is the hash of everything its features depend on.

    Every file appears under its name only when it is whole, so an interruption leaves shards that can be used again
    and never a half-written one.
    """

    def __init__(self, cache_dir: Path, description: dict[str, object]) -> None:
        text = json.dumps(description, sort_keys=True)
        self.path = cache_dir / hashlib.sha256(text.encode()).hexdigest()[:KEY_CHARACTERS]
        self._description = text

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
        """Remove all features of this key."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True, exist_ok=True)

    def fingerprint(self) -> FloatArray | None:
        """The backbone's embeddings of fixed windows when the folder was begun; None where it is new."""
        path = self.path / "fingerprint.npy"
        return np.load(path) if path.is_file() else None

    def keep_fingerprint(self, embeddings: FloatArray) -> None:
        """Remember what the backbone made of fixed windows.

        Raises: DiskFullError.
        """
        _write_whole(self.path / "fingerprint.npy", _as_npy(embeddings))

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
        skipped = [asdict(entry) for shard in shards for entry in shard.skipped]
        index = {"window_counts": counts.tolist(), "dim": dim, "skipped": skipped}
        _write_whole(self.path / INDEX_NAME, json.dumps(index).encode())
        for number in range(shard_count):
            self._shard_path(number).unlink()

    def read(self) -> Shard | None:
        """All features, memory-mapped; None where they are not complete or do not fit their index."""
        index_path, windows_path = self.path / INDEX_NAME, self.path / WINDOWS_NAME
        if not (index_path.is_file() and windows_path.is_file()):
            return None
        index = json.loads(index_path.read_text(encoding="utf-8"))
        windows: FloatArray = np.load(windows_path, mmap_mode="r")
        counts = np.asarray(index["window_counts"], np.int64)
        if windows.shape != (int(counts.sum()), index["dim"]):
            return None
        return Shard(windows, counts, tuple(Skipped(**entry) for entry in index["skipped"]))

    def _required_shard(self, number: int) -> Shard:
        shard = self.shard(number)
        if shard is None:
            raise FileNotFoundError(self._shard_path(number))
        return shard

    def _shard_path(self, number: int) -> Path:
        return self.path / f"shard-{number:05d}.npz"


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
