"""Stored embeddings: little-endian float32, encrypted or not, with a digest of their bytes that every read compares."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from matchka.errors import StorageDamagedError
from matchka.store.integrity.digest import LITTLE_ENDIAN_FLOAT32, digest_of, digests
from matchka.store.integrity.packed_bytes import packed
from matchka.vectors import FloatArray


def require_digest(embedding: bytes, digest: int | None, what: str) -> None:
    """Refuse an embedding whose bytes do not have the digest that was stored; one without a digest cannot be judged.

    Raises: StorageDamagedError: they do not.
    """
    if digest is not None and (len(embedding) % LITTLE_ENDIAN_FLOAT32.itemsize or digest_of(embedding) != digest):
        raise damaged(what)


def require_digests(embeddings: Sequence[bytes], stored: Sequence[int | None], names: Sequence[str]) -> None:
    """Refuse embeddings of which one does not have its digest, as require_digest() does; together, which is faster.

    Args:
        embeddings: as they are stored.
        stored: the digest of each, or None.
        names: what each is called, should it be damaged.

    Raises: StorageDamagedError: one is not what was stored.
    """
    sizes = {len(one) for one in embeddings}
    if len(sizes) == 1 and not max(sizes) % LITTLE_ENDIAN_FLOAT32.itemsize and None not in stored:
        words = np.frombuffer(b"".join(embeddings), LITTLE_ENDIAN_FLOAT32).reshape(len(embeddings), -1)
        if digests(words).tolist() == list(stored):
            return
    for embedding, digest, name in zip(embeddings, stored, names, strict=True):  # which one it is
        require_digest(embedding, digest, name)


def verified_rows(
    keys: npt.NDArray[np.int64],
    embeddings: Sequence[bytes],
    stored: Sequence[int | None],
    opened: Sequence[bytes],
) -> FloatArray:
    """References as float32, (rows, full_dim), checked together, which is faster than one by one.

    Of encrypted ones the digest of the ciphertext is not compared: what opens it finds more.

    Args:
        keys: of the subjects.
        embeddings: at least one.
        stored: the digest of each, or None.
        opened: the embeddings in clear; where they are stored so, the same objects.

    Raises: StorageDamagedError: an embedding is not what was stored.
    """
    if opened is not embeddings:
        stored = [
            digest if one is plain else None for one, plain, digest in zip(embeddings, opened, stored, strict=True)
        ]
    together = packed(opened)
    if together is None or together.array.shape[1] % LITTLE_ENDIAN_FLOAT32.itemsize:
        raise _damaged_reference(keys[_odd_one(opened)])
    rows = together.array.view(LITTLE_ENDIAN_FLOAT32).astype(np.float32, copy=False)
    now = digests(rows)
    is_damaged = _known(stored, now) != now
    if np.any(is_damaged):
        raise _damaged_reference(keys[int(is_damaged.argmax())])
    return rows


def _known(stored: Sequence[int | None], now: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Stored digests; one that there is none of cannot be judged, and is taken to be what it is now."""
    if isinstance(stored, np.ndarray):
        return stored
    return np.asarray([n if s is None else s for s, n in zip(stored, now.tolist(), strict=True)], np.int64)


def _odd_one(embeddings: Sequence[bytes]) -> int:
    """The place of the first whose length is not the commonest, or no embedding's."""
    sizes = np.fromiter(map(len, embeddings), np.int64, len(embeddings))
    values, counts = np.unique(sizes, return_counts=True)
    size = int(values[counts.argmax()])
    return int(((sizes != size) | (size % LITTLE_ENDIAN_FLOAT32.itemsize != 0) | (sizes == 0)).argmax())


def _damaged_reference(key: int) -> StorageDamagedError:
    return damaged(f"the reference of subject number {key}")


def damaged(what: str) -> StorageDamagedError:
    """The error for a part of the database that is not what was stored."""
    return StorageDamagedError(
        "The database is damaged: it does not hold what was written.",
        value=what,
        remedy="Check the disk, and restore a backup into a new data folder.",
    )


def to_bytes(embedding: FloatArray) -> bytes:
    """An embedding as it is stored: little-endian float32."""
    return embedding.astype(LITTLE_ENDIAN_FLOAT32).tobytes()


def from_bytes(data: bytes) -> FloatArray:
    """A stored embedding, float32, (full_dim,)."""
    return np.frombuffer(data, LITTLE_ENDIAN_FLOAT32).astype(np.float32)
