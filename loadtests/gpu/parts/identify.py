"""Identification over HTTP among many drawn subjects, by the real service on the device: rows `identify/*`."""

import base64
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from loadtests.bench.rows import alone
from loadtests.bench.search.gallery_model import load_gallery_model
from loadtests.bench.search.search_store import MODEL, write_store
from loadtests.client.caller import Caller, ConnectionLostError
from loadtests.gpu.driver import Cpu
from loadtests.gpu.options import Options
from loadtests.gpu.results import Result, Skipped
from loadtests.server import ServerFailedError, ServerProcess, started_server

TOP_K = 5
WARM = 5
ROUNDS_OF_A_TURN = 10
START_S = 3600.0  # references of ten million subjects are read from the database before it is ready
STORE_BYTES = 2_900  # of a subject
HOST_BYTES = 2_300  # of a subject: as they are drawn, and again in the service
PROPOSED = 1_000  # the scorer ranks anew what the gallery proposes: cosines tell no more than this
WITHIN = 2e-3  # of a cosine: 16-bit numbers


def measure(options: Options) -> Iterator[Result]:
    """The service's galleries of both kinds and precisions, on one store."""
    name, subjects = f"identify/{options.http_subjects}", options.http_subjects
    options.output.mkdir(parents=True, exist_ok=True)
    if lacking := _lacking(subjects, options.output):
        yield Skipped(name, lacking)
        return
    with tempfile.TemporaryDirectory(dir=options.output) as folder:
        store = Path(folder) / "store"
        references = load_gallery_model().draw(subjects, 1)[0]
        write_store(options.models, store, references)
        for gallery in ("faiss", "onnx"):
            for is_half in (False, True) if options.is_cuda else (False,):
                settings = {
                    "gallery": gallery,
                    "device": "gpu" if options.is_cuda else "cpu",
                    "gpu_half_precision": is_half,
                }
                label = f"{name}/{gallery}/{'float16' if is_half else 'float32'}"
                yield from _asked(label, store, references, settings, options)


def _asked(
    name: str, store: Path, references: np.ndarray, settings: Mapping[str, Any], options: Options
) -> Iterator[Result]:
    log = store.with_suffix(f".{name.replace('/', '-')}.log")
    try:
        with started_server(store, options.models, log, START_S, **settings) as server:
            embed, identify, probe, found = _in_turn(server.port, options)
            method = _method(server)
            memory_mib = server.memory_mib("VmHWM")
    except ServerFailedError as error:
        yield Skipped(name, str(error)[-400:])
        return
    if options.is_cuda and method not in ("gpu", "onnx"):
        yield Skipped(name, f"the service searched by {method}: {log.read_text(encoding='utf-8')[-300:]}")
        return
    similarities = references @ probe
    proposed = min(PROPOSED, len(references) // 10)
    least = np.partition(similarities, -proposed)[-proposed] - WITHIN
    if len(found) != TOP_K or (similarities[found] < least).any():
        raise AssertionError(f"identify finds {similarities[found]}; {proposed} subjects have {least:.4f} or more")
    note = f"searched by {method}; {memory_mib:,.0f} MiB of the machine's memory at most; one caller"
    of = f"{' '.join(name.split('/')[2:])}, {len(references):,} x {references.shape[1]}"
    yield alone(f"{name}/whole", f"identify, {of}, p50 of each turn", identify, "ms", note)
    less = [a - b for a, b in zip(identify, embed, strict=True)]
    yield alone(f"{name}/search", f"identify less embed, {of}, p50 of each turn", less, "ms", note)


def _in_turn(port: int, options: Options) -> tuple[list[float], list[float], np.ndarray, list[int]]:
    """Medians of embed and identify in each turn, and the clip's embedding with those who were found."""
    caller, clip = Caller(port), options.clip.read_bytes()
    fields = {"embed": {"encoding": "base64"}, "identify": {"top_k": str(TOP_K)}}
    medians: dict[str, list[float]] = {"embed": [], "identify": []}
    _warm_up(caller, clip)
    answers: dict[str, Any] = {}
    for _ in range(options.turns):
        ms: dict[str, list[float]] = {"embed": [], "identify": []}
        for _ in range(ROUNDS_OF_A_TURN):
            for call, given in fields.items():
                begun = time.perf_counter()
                answer = caller.post(call, [clip], model=MODEL, **given)
                ms[call].append(1e3 * (time.perf_counter() - begun))
                if answer.status != 200:
                    raise AssertionError(answer.body)
                answers[call] = answer.body
        for call, values in ms.items():
            medians[call].append(float(np.median(values)))
    caller.close()
    probe = np.frombuffer(base64.b64decode(answers["embed"]["embeddings"][0]), "<f4")
    found = [int(one["subject_id"].removeprefix("s")) for one in answers["identify"]["candidates"]]
    return medians["embed"], medians["identify"], probe, found


def _warm_up(caller: Caller, clip: bytes) -> None:
    """Identify until it is answered: the first search sends all references to the GPU, beyond a request's deadline."""
    begun, answered = time.monotonic(), 0
    while answered < WARM:
        if time.monotonic() - begun > START_S:
            raise ServerFailedError(f"no search was answered within {START_S:g} s")
        try:
            answered += caller.post("identify", [clip], model=MODEL, top_k=str(TOP_K)).status == 200
        except ConnectionLostError:
            time.sleep(1)


def _method(server: ServerProcess) -> str:
    """The method of most searches, as the service counts them."""
    counts = {
        name: value for name, value in server.metrics().items() if name.startswith("matchka_gallery_searches_total")
    }
    most = max(counts, key=lambda name: counts[name], default="")
    return most.partition('method="')[2].partition('"')[0] or "no method that it tells"


def _lacking(subjects: int, folder: Path) -> str:
    """What there is too little of; nothing if there is enough."""
    room = {
        "disk": (STORE_BYTES * subjects, shutil.disk_usage(folder).free),
        "memory": (HOST_BYTES * subjects, Cpu().free_bytes()),
    }
    short = [
        f"needs {needed / 2**30:.0f} GiB of {what}, {free / 2**30:.0f} are free"
        for what, (needed, free) in room.items()
        if needed > free
    ]
    return "; ".join(short)
