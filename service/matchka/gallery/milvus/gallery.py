"""A tenant's gallery in a collection of Milvus."""

from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from matchka.gallery.faiss_cpu.policy import Method
from matchka.gallery.gallery import SearchHit, SubjectKeys
from matchka.gallery.milvus.connection import MilvusConnection
from matchka.gallery.milvus.layout import (
    FULL,
    KEY,
    MOST_FOUND,
    TENANT,
    fields_of,
    of_tenant,
    rows_of,
    shortlist_for,
    shortlisting_dim,
)
from matchka.gallery.milvus.registry import STRONG
from matchka.vectors import FloatArray, truncate_and_normalise, truncate_and_normalise_or_zero

if TYPE_CHECKING:
    from pymilvus import MilvusClient

ROWS_AT_ONCE: Final = 1_000  # 1.5 MB at 256 components; a server takes 64 MB
KEYS_AT_ONCE: Final = 1_000


class MilvusGallery:
    """References of one tenant in one collection; another process may change them, too.

    Similarities at the dims of its fields are Milvus' own. At other dims a shortlist of the next smaller field is
    compared exactly: all subjects where there are no more than that, else the likely ones.

    Args:
        connection: to Milvus; the caller closes it.
        collection: of the model and version.
        tenant: the owner.
        full_dim: components of a reference.
    """

    def __init__(self, connection: MilvusConnection, collection: str, tenant: str, full_dim: int) -> None:
        self._connection = connection
        self._collection = collection
        self._tenant = tenant
        self._full_dim = full_dim
        self._fields = fields_of(full_dim)
        self._writing = Lock()
        self._lock = Lock()
        self._changes = 0
        self._size: int | None = None
        self._last_size: int | None = None
        self._searches = 0

    @property
    def is_shared(self) -> bool:
        """Another process may have written an older reference than this one's last."""
        return True

    def __len__(self) -> int:
        """Counted again after each change that this process makes: others' changes are made by it, too."""
        size, changes = self._size, self._changes
        if size is None:
            (row,) = self._connection.read(
                lambda client, limit_s: client.query(
                    self._collection,
                    filter=of_tenant(self._tenant),
                    output_fields=["count(*)"],
                    consistency_level=STRONG,
                    timeout=limit_s,
                )
            )
            size = int(row["count(*)"])
            with self._lock:
                self._last_size = size
                if changes == self._changes:
                    self._size = size
        return size

    @property
    def is_counted(self) -> bool:
        """Whether nothing has changed since its subjects were counted."""
        return self._size is not None

    @property
    def last_size(self) -> int | None:
        """Subjects when they were last counted, without asking; None where they never were."""
        return self._last_size

    @property
    def memory_bytes(self) -> int:
        """None of this process; see Gallery.memory_bytes."""
        return 0

    def searches(self) -> dict[Method, int]:
        """Searches made so far, by this process."""
        return {"milvus": self._searches}

    def count_of(self, subject_keys: SubjectKeys) -> int:
        """How many of some subjects are here."""
        keys = np.asarray(subject_keys, np.int64).tolist()
        parts = [keys[start : start + KEYS_AT_ONCE] for start in range(0, len(keys), KEYS_AT_ONCE)]
        return sum(self._count_of(part) for part in parts)

    def put(self, subject_keys: SubjectKeys, references: FloatArray) -> None:
        """Add or replace references, (subjects, full_dim)."""
        keys = np.asarray(subject_keys, np.int64)
        for start in range(0, len(keys), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            rows = rows_of(self._tenant, keys[part], references[part], self._full_dim)
            self._change(partial(_upsert, self._collection, rows))

    def remove(self, subject_key: int) -> None:
        """Remove a subject; its numbers stay in Milvus' files until those are compacted."""
        self._change(lambda client, limit_s: client.delete(self._collection, ids=[int(subject_key)], timeout=limit_s))

    def search(self, probe: FloatArray, dim: int, top_k: int) -> list[SearchHit]:
        """The most similar subjects, most similar first; no more than MOST_FOUND."""
        query = truncate_and_normalise(probe[None, :], dim)[0]
        self._searches += 1
        top_k = min(top_k, MOST_FOUND)
        if dim in self._fields:
            hits = self._ask(query, self._fields[dim], top_k, [])
            found = [(hit[KEY], float(hit["distance"])) for hit in hits]
        else:
            found = self._compared(query, self._shortlist(probe, dim, top_k))
        found.sort(key=lambda one: (-one[1], one[0]))
        return [SearchHit(key, min(1.0, max(-1.0, similarity))) for key, similarity in found[:top_k]]

    def _change(self, change: "Callable[[MilvusClient, float], object]") -> None:
        with self._writing:
            self._note_change()
            try:
                self._connection.write(change)
            finally:
                self._note_change()  # again: who counted meanwhile may have counted what was there before

    def _note_change(self) -> None:
        with self._lock:
            self._changes += 1
            self._size = None

    def _shortlist(self, probe: FloatArray, dim: int, top_k: int) -> list[dict[str, Any]]:
        listing_dim = shortlisting_dim(self._full_dim, dim)
        query = np.zeros(listing_dim, np.float32)
        shared = min(dim, listing_dim)
        query[:shared] = truncate_and_normalise_or_zero(probe[None, :shared], shared)[0]
        return self._ask(query, self._fields[listing_dim], shortlist_for(top_k), [FULL])

    def _compared(self, query: FloatArray, hits: list[dict[str, Any]]) -> list[tuple[int, float]]:
        if not hits:
            return []
        references = np.array([hit["entity"][FULL] for hit in hits], np.float32)
        similarities = truncate_and_normalise_or_zero(references, len(query)) @ query
        return list(zip([hit[KEY] for hit in hits], similarities.tolist(), strict=True))

    def _ask(self, query: FloatArray, field: str, count: int, fields: list[str]) -> list[dict[str, Any]]:
        def ask(client: "MilvusClient", limit_s: float) -> list[dict[str, Any]]:
            (hits,) = client.search(
                self._collection,
                data=[query],
                anns_field=field,
                filter=of_tenant(self._tenant),
                limit=count,
                output_fields=fields,
                search_params={"metric_type": "IP"},
                consistency_level=STRONG,
                timeout=limit_s,
            )
            return list(hits)

        return self._connection.read(ask)

    def _count_of(self, keys: list[int]) -> int:
        rows = self._connection.read(
            lambda client, limit_s: client.query(
                self._collection,
                filter=f"{KEY} in {keys}",
                output_fields=[TENANT],
                consistency_level=STRONG,
                timeout=limit_s,
            )
        )
        return sum(row[TENANT] == self._tenant for row in rows)


def _upsert(collection: str, rows: list[dict[str, object]], client: "MilvusClient", limit_s: float) -> object:
    return client.upsert(collection, rows, timeout=limit_s)
