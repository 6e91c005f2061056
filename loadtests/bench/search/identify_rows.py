"""What the service adds to FAISS called directly: rows `search.http/*`.

    python -m loadtests.bench.search.identify_rows --models models --clip build/samples/voice/cards/001.wav

The same clip is embedded and identified by a real server with drawn subjects in its store, and its embedding is looked
up by FAISS' exact index of the same references, in turn. identify less embed is what the search, the decision, the look
into the store and the longer answer take together.
"""

import argparse
import base64
import http.client
import json
import random
import sqlite3
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
from rich.console import Console
from urllib3.filepost import encode_multipart_formdata

from loadtests.bench.rows import Row, alone, append_rows
from loadtests.bench.search.gallery_model import load_gallery_model
from loadtests.bench.search.search_rows import block_medians
from loadtests.bench.search.search_store import MODEL, write_store
from loadtests.server import HOST, started_server

ROUNDS = 220
TOP_K = 5


def main() -> None:
    """Measure and append the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--clip", type=Path, default=Path("build/samples/voice/cards/001.wav"))
    parser.add_argument(
        "--store", type=Path, help="A folder that search_store.py made; one is made where it is left out."
    )
    parser.add_argument("--subjects", type=int, default=100_000)
    parser.add_argument("--output", type=Path, default=Path("build/bench/search.jsonl"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = arguments.store or Path(folder) / "store"
        if not (store / "matchka.sqlite").is_file():
            write_store(arguments.models, store, load_gallery_model().draw(arguments.subjects, 1)[0])
        references = stored_references(store)
        with started_server(store, arguments.models, store.with_suffix(".log")) as server:
            times = asked_in_turn(server.port, arguments.clip, references)
    append_rows(arguments.output, rows_of(times, *references.shape))


@dataclass(frozen=True)
class Times:
    """Milliseconds of each round: two calls of the service, and FAISS called directly between them."""

    embed: list[float]
    identify: list[float]
    direct: list[float]


def asked_in_turn(port: int, clip: Path, references: npt.NDArray[np.float32]) -> Times:
    """Embed, search with FAISS, identify; over and over, on one connection."""
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(references.shape[1])
    index.add(references)
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    embed = _form(clip, model=MODEL, encoding="base64")
    identify = _form(clip, model=MODEL, top_k=str(TOP_K))
    times = Times([], [], [])
    probe, best = np.zeros((1, references.shape[1]), np.float32), ""

    def ask_embed() -> None:
        answer = _timed(connection, "/v1/embed", embed, times.embed)
        probe[:] = np.frombuffer(base64.b64decode(answer["embeddings"][0]), "<f4")

    def ask_faiss() -> None:
        nonlocal best
        begun = time.perf_counter()
        _, rows = index.search(probe, TOP_K)
        times.direct.append(1e3 * (time.perf_counter() - begun))
        best = f"s{rows[0][0]:07d}"

    def ask_identify() -> None:
        found = _timed(connection, "/v1/identify", identify, times.identify)
        if best and found["candidates"][0]["subject_id"] != best:
            raise AssertionError(f"identify finds {found['candidates'][0]}, FAISS {best}")

    calls = [ask_embed, ask_faiss, ask_identify]
    ask_embed()
    for number in range(ROUNDS):
        # each comes behind each other one as often: what ran before decides what the caches hold
        for call in random.Random(number).sample(calls, len(calls)):
            call()
    del times.embed[0]
    return times


def rows_of(times: Times, subjects: int, dim: int) -> list[Row]:
    """What was measured as rows."""
    embed, identify, direct = (np.asarray(one) for one in (times.embed, times.identify, times.direct))
    of = f"{subjects:,} x {dim}"
    search = identify - embed
    Console(stderr=True).print(
        f"embed {np.median(embed):.2f} ms, identify {np.median(identify):.2f}, FAISS {np.median(direct):.2f},"
        f" search and decision {np.median(search):.2f}"
    )
    whole = f"identify p50 {np.median(identify):.2f} ms, embed p50 {np.median(embed):.2f} ms, one caller"
    beyond = f"p50 of identify less embed less FAISS IndexFlatIP called directly, {of}, one caller"
    return [
        alone(
            f"search.http/{subjects}/added", beyond, block_medians((search - direct).tolist()), "ms",
            f"the service searches by its own policy; FAISS takes {np.median(direct):.2f} ms; {whole}", "<= 3",
        ),
        alone(
            f"search.http/{subjects}/search", f"p50 of identify less embed, {of}", block_medians(search.tolist()), "ms",
            f"search, decision, the store's answer and its JSON; {whole}",
        ),
        alone(
            f"search.http/{subjects}/share", f"share of identify that is not embedding, {of}",
            block_medians((search / identify).tolist()), "x", whole,
        ),
    ]  # fmt: skip


def stored_references(store: Path) -> npt.NDArray[np.float32]:
    """The references of a store in the order of its subjects' names, of unit length."""
    with closing(sqlite3.connect(f"file:{store / 'matchka.sqlite'}?mode=ro", uri=True)) as connection:
        found = connection.execute(
            "SELECT embedding FROM subject_references WHERE model = ? ORDER BY subject_key", (MODEL,)
        )
        rows = [embedding for (embedding,) in found]
    references = np.frombuffer(b"".join(rows), "<f4").reshape(len(rows), -1)
    return np.ascontiguousarray(references / np.linalg.norm(references, axis=1, keepdims=True), np.float32)


def _timed(
    connection: http.client.HTTPConnection, path: str, form: tuple[str, bytes], ms: list[float]
) -> dict[str, list[dict[str, str]]]:
    begun = time.perf_counter()
    connection.request("POST", path, form[1], {"Content-Type": form[0]})
    answer = connection.getresponse()
    body = answer.read()
    ms.append(1e3 * (time.perf_counter() - begun))
    if answer.status != 200:
        raise AssertionError(body.decode())
    values: dict[str, list[dict[str, str]]] = json.loads(body)
    return values


def _form(clip: Path, **fields: str) -> tuple[str, bytes]:
    """Content type and body of a multipart form."""
    body, content_type = encode_multipart_formdata({**fields, "file": (clip.name, clip.read_bytes())})
    return content_type, body


if __name__ == "__main__":
    main()
