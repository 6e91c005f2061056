"""Exact search with FAISS: one flat inner-product index for each dim that has been asked for."""

from threading import Lock

import faiss
import numpy as np

from service.gallery.gallery import Candidate
from service.vectors import FloatArray, truncate_and_normalise, truncate_and_normalise_or_zero


class FlatGallery:
    """Exact cosine search on CPU; see Gallery.

    The index at full_dim holds every reference at unit length. An index at a smaller dim is made from it when that dim
    is first searched, and follows every change from then on.

    Args: full_dim: components of a reference.
    """

    def __init__(self, full_dim: int) -> None:
        self._full_dim = full_dim
        self._lock = Lock()
        self._keys: set[int] = set()
        self._indexes: dict[int, faiss.IndexIDMap2] = {full_dim: _empty_index(full_dim)}

    def __len__(self) -> int:
        """Subjects held."""
        return len(self._keys)

    def put(self, subject_keys: list[int], references: FloatArray) -> None:
        """Add or replace references; see Gallery.put."""
        keys = np.asarray(subject_keys, np.int64)
        with self._lock:
            known = [key for key in subject_keys if key in self._keys]
            for dim, index in self._indexes.items():
                if known:
                    index.remove_ids(_selector(known))
                index.add_with_ids(truncate_and_normalise_or_zero(references, dim), keys)
            self._keys.update(subject_keys)

    def remove(self, subject_key: int) -> None:
        """Remove a subject; see Gallery.remove."""
        with self._lock:
            if subject_key in self._keys:
                for index in self._indexes.values():
                    index.remove_ids(_selector([subject_key]))
                self._keys.remove(subject_key)

    def search(self, probe: FloatArray, dim: int, top_k: int) -> list[Candidate]:
        """The most similar subjects; see Gallery.search."""
        query = truncate_and_normalise(probe[None, :], dim)
        with self._lock:
            similarities, keys = self._index_at(dim).search(query, min(top_k, max(1, len(self._keys))))
        found = [(float(s), int(k)) for s, k in zip(similarities[0], keys[0], strict=True) if k >= 0]
        found.sort(key=lambda pair: (-pair[0], pair[1]))
        return [Candidate(key, min(1.0, max(-1.0, similarity))) for similarity, key in found]

    def _index_at(self, dim: int) -> faiss.IndexIDMap2:
        if dim not in self._indexes:
            full = self._indexes[self._full_dim]
            index = _empty_index(dim)
            if full.ntotal:
                keys = faiss.vector_to_array(full.id_map)
                stored = full.index.reconstruct_n(0, full.ntotal)
                index.add_with_ids(truncate_and_normalise_or_zero(stored, dim), keys)
            self._indexes[dim] = index
        return self._indexes[dim]


def _empty_index(dim: int) -> faiss.IndexIDMap2:
    return faiss.IndexIDMap2(faiss.IndexFlatIP(dim))


def _selector(subject_keys: list[int]) -> faiss.IDSelector:
    return faiss.IDSelectorBatch(np.asarray(subject_keys, np.int64))
