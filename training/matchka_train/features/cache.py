"""The folder that keeps features: by what they depend on, then by list of clips; every clip's rows have their hash."""

import hashlib
import io
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from matchka.vectors import FloatArray
from matchka_train.features.stored import (
    WINDOWS_NAME,
    Clip,
    ClipRows,
    StoredRows,
    hash_rows,
    read_index,
    write_rows,
    write_whole,
)
from matchka_train.modalities.skipped import Skipped

KEY_CHARACTERS: Final = 32  # of the sha256; 128 bits
KEY_NAME: Final = "key.json"
FINGERPRINT_NAME: Final = "fingerprint.npy"
LISTS_NAME: Final = "lists"
SHARDS_NAME: Final = "shards"
OPEN_FILES: Final = 64  # of rows that are joined; a million clips lie in more shards than a process may open files

_log = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where a clip's rows lie.

    Attributes:
        folder: of a list or a shard.
        start: the first of its windows in the folder's file.
        rows: how many there are, or why there are none.
    """

    folder: Path
    start: int
    rows: int | Skipped


class FeatureCache:
    """The features that depend on the same things, save for the clips; its folder's name is the hash of those things.

    A folder of shards holds what is embedded but not yet joined into a list, each in the form of a small list. Every
    file appears under its name only when it is whole, so an interruption leaves shards that any run can use, whatever
    list it asks for, and never a half-written one.
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
        write_whole(key, self._description.encode())

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
        write_whole(self.path / FINGERPRINT_NAME, _as_npy(embeddings))

    def read_list(self, clips: Sequence[Clip]) -> StoredRows | None:
        """The features of these clips, in this order; None where they were not joined, or rows were changed since."""
        index = read_index(self._folder_of(LISTS_NAME, clips))
        return None if index is None or not index.is_intact else index.rows

    def keep_shard(self, clips: Sequence[Clip], rows: Sequence[ClipRows], dim: int) -> None:
        """Keep the rows of a few clips until they are joined into a list.

        Raises: DiskFullError.
        """
        windows = sum(0 if isinstance(entry, Skipped) else len(entry) for entry in rows)
        write_rows(self._folder_of(SHARDS_NAME, clips), clips, rows, windows, dim)

    def join(self, clips: Sequence[Clip], places: Sequence[Place], dim: int) -> None:
        """Join rows that lie in several places into the list of these clips, then drop the shards it makes needless.

        Args:
            clips: in order.
            places: of find, of each of them.
            dim: components of a row.

        Raises: DiskFullError.
        """
        windows = sum(place.rows for place in places if not isinstance(place.rows, Skipped))
        write_rows(self._folder_of(LISTS_NAME, clips), clips, _rows_at(places), windows, dim)
        joined = frozenset(clips)
        for folder in self._folders(SHARDS_NAME):
            index = read_index(folder)
            if index is None or joined.issuperset(index.clips):
                shutil.rmtree(folder)

    def find(self, wanted: AbstractSet[Clip], kinds: Sequence[str] = (LISTS_NAME, SHARDS_NAME)) -> dict[Clip, Place]:
        """The clips that some folder holds; rows that are not those its index names are left out, and logged.

        Args:
            wanted: the clips to look for.
            kinds: of folders that are looked into.
        """
        found: dict[Clip, Place] = {}
        for folder in [folder for kind in kinds for folder in self._folders(kind)]:
            index = read_index(folder)
            if index is None:
                continue
            end = 0
            for clip, rows, sha256 in index.entries():
                start, end = end, end + (0 if isinstance(rows, Skipped) else len(rows))
                if clip not in wanted or clip in found:
                    continue
                if hash_rows(rows) == sha256:
                    found[clip] = Place(folder, start, rows if isinstance(rows, Skipped) else len(rows))
                else:
                    _log.warning("features of the clip %s in %s were changed; it is embedded again", clip[0], folder)
        return found

    def _folders(self, kind: str) -> list[Path]:
        folder = self.path / kind
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def _folder_of(self, kind: str, clips: Sequence[Clip]) -> Path:
        return self.path / kind / _key_of(json.dumps(clips))


def _rows_at(places: Sequence[Place]) -> Iterator[ClipRows]:
    @lru_cache(maxsize=OPEN_FILES)
    def windows_of(folder: Path) -> FloatArray:
        return np.asarray(np.load(folder / WINDOWS_NAME, mmap_mode="r"))

    for folder, start, rows in places:
        yield rows if isinstance(rows, Skipped) else windows_of(folder)[start : start + rows]


def _key_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_CHARACTERS]


def _as_npy(array: FloatArray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()
