"""A search engine that answers over standard input and output as `python -m matchka.gallery.search_benchmark` does.

    python -m loadtests.bench.search.search_contestant faiss-flat references.npy probes.npy

Each runs in a process of its own, asked one probe at a time, and times itself: neither the pipe nor JSON counts.
Milvus Lite and Qdrant run in this process, as their clients offer it (`:memory:` and a local file).
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Search = Callable[[Vectors, int], list[int]]  # probe, top_k -> rows, best first
INSERTED_AT_ONCE = 5_000
TRAINING_ROWS = 100_000  # about a hundred for each list
LISTS = 1_024


def main() -> None:
    """Build, then answer until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(BUILDERS))
    parser.add_argument("references", type=Path)
    parser.add_argument("probes", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dim", type=int, default=256)
    arguments = parser.parse_args()
    references = unit(np.load(arguments.references, mmap_mode="r")[:, : arguments.dim])
    probes = unit(np.load(arguments.probes)[:, : arguments.dim])
    begun = time.perf_counter()
    setters = BUILDERS[arguments.name](references, arguments.threads)
    answer({"put_s": time.perf_counter() - begun})
    for line in sys.stdin:
        method, _, top_k, number = line.split()
        search = setters(method)
        begun = time.perf_counter()
        found = search(probes[int(number)], int(top_k))
        answer({"ms": 1e3 * (time.perf_counter() - begun), "keys": found})


def faiss_flat(references: Vectors, threads: int) -> Callable[[str], Search]:
    """IndexFlatIP, called directly."""
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatIP(references.shape[1])
    index.add(references)
    return lambda _method: lambda probe, top_k: index.search(probe[None, :], top_k)[1][0].tolist()


def faiss_ivf(references: Vectors, threads: int) -> Callable[[str], Search]:
    """IndexIVFFlat; the method is `nprobe=16` or another number."""
    import faiss

    faiss.omp_set_num_threads(2)  # for the building
    index = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(references.shape[1]), references.shape[1], LISTS, faiss.METRIC_INNER_PRODUCT
    )
    index.train(references[:TRAINING_ROWS])
    index.add(references)
    faiss.omp_set_num_threads(threads)

    def set_method(method: str) -> Search:
        index.nprobe = int(method.partition("=")[2])
        return lambda probe, top_k: index.search(probe[None, :], top_k)[1][0].tolist()

    return set_method


def faiss_hnsw(references: Vectors, threads: int) -> Callable[[str], Search]:
    """IndexHNSWFlat of 32 neighbours; the method is `ef=64` or another number."""
    import faiss

    faiss.omp_set_num_threads(2)  # for the building
    index = faiss.IndexHNSWFlat(references.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 80
    index.add(references)
    faiss.omp_set_num_threads(threads)

    def set_method(method: str) -> Search:
        index.hnsw.efSearch = int(method.partition("=")[2])
        return lambda probe, top_k: index.search(probe[None, :], top_k)[1][0].tolist()

    return set_method


def milvus_lite(references: Vectors, _threads: int) -> Callable[[str], Search]:
    """Milvus Lite: the embedded server of pymilvus, in a file, with its flat index."""
    from pymilvus import DataType, MilvusClient

    client = MilvusClient(str(Path(tempfile.mkdtemp()) / "milvus.db"))
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=references.shape[1])
    indexes = client.prepare_index_params()
    indexes.add_index("vector", index_type="FLAT", metric_type="IP")
    client.create_collection("references", schema=schema, index_params=indexes)
    for start in range(0, len(references), INSERTED_AT_ONCE):
        part = references[start : start + INSERTED_AT_ONCE]
        client.insert("references", [{"id": start + n, "vector": row} for n, row in enumerate(part)])
    client.flush("references")  # before it, a search takes seconds
    client.load_collection("references")

    def search(probe: Vectors, top_k: int) -> list[int]:
        found = client.search("references", data=[probe], limit=top_k)
        return [hit["id"] for hit in found[0]]

    return lambda _method: search


def qdrant_local(references: Vectors, _threads: int) -> Callable[[str], Search]:
    """Qdrant's local mode: the client's own search in memory."""
    from qdrant_client import QdrantClient
    from qdrant_client.models import Distance, PointStruct, VectorParams

    client = QdrantClient(":memory:")
    client.create_collection("references", VectorParams(size=references.shape[1], distance=Distance.DOT))
    for start in range(0, len(references), INSERTED_AT_ONCE):
        part = references[start : start + INSERTED_AT_ONCE]
        client.upsert("references", [PointStruct(id=start + n, vector=row.tolist()) for n, row in enumerate(part)])

    def search(probe: Vectors, top_k: int) -> list[int]:
        return [int(point.id) for point in client.query_points("references", query=probe, limit=top_k).points]

    return lambda _method: search


BUILDERS: dict[str, Callable[[Vectors, int], Callable[[str], Search]]] = {
    "faiss-flat": faiss_flat,
    "faiss-hnsw": faiss_hnsw,
    "faiss-ivf": faiss_ivf,
    "milvus-lite": milvus_lite,
    "qdrant-local": qdrant_local,
}


def unit(rows: Vectors) -> Vectors:
    """Rows of unit length."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.ascontiguousarray(rows / lengths, np.float32)


def answer(values: dict[str, object]) -> None:
    """One line of JSON."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
