"""Fixtures of the service's tests: small real graphs, bundles on disk, and a real server."""

import contextlib
import hashlib
import io
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
import uvicorn
from onnx import TensorProto, helper, numpy_helper

from matchka.app import create_app
from matchka.client import Client
from matchka.settings import Settings, read_settings

RATE_HZ = 16000
WINDOW, CONTEXT, HOP = 1600, 200, 800
LEVEL_DBFS = -30.0
FULL_DIM = 8
DIMS = (2, 4, 8)
VERSION = "1.0.0"
# thresholds by number of templates, then by FMR; low enough that a clip matches itself, and not every other
POINTS = {
    "1": [(1e-1, 0.50, True), (1e-2, 0.80, True), (1e-3, 0.97, False)],
    "3": [(1e-1, 0.55, True), (1e-2, 0.85, True), (1e-3, 0.98, False)],
}
CALIBRATION = {"1": (12.0, -9.0), "3": (14.0, -11.0)}


def projection(seed: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weights of the test graph: |windows @ bands| @ mix + bias."""
    rng = np.random.default_rng(seed)
    bands = rng.normal(size=(WINDOW, 24)).astype(np.float32)
    mix = rng.normal(size=(24, FULL_DIM)).astype(np.float32)
    return bands, mix, rng.normal(size=FULL_DIM).astype(np.float32)


def write_graph(path: Path, seed: int = 7, input_name: str = "windows", window: int = WINDOW) -> None:
    """A real graph, small enough to recompute by hand."""
    bands, mix, bias = projection(seed)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", [input_name, "bands"], ["filtered"]),
            helper.make_node("Abs", ["filtered"], ["energies"]),
            helper.make_node("MatMul", ["energies", "mix"], ["mixed"]),
            helper.make_node("Add", ["mixed", "bias"], ["embeddings"]),
        ],
        "small",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, ["batch", window])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["batch", FULL_DIM])],
        [
            numpy_helper.from_array(np.resize(bands, (window, 24)), "bands"),
            numpy_helper.from_array(mix, "mix"),
            numpy_helper.from_array(bias, "bias"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def dim_report() -> dict[str, Any]:
    """Made-up measurements of one dim."""
    metrics = {
        "eer": 0.05,
        "min_dcf": 0.4,
        "tar_at_fmr": {"0.001": 0.8},
        "subjects": 60,
        "mated_pairs": 100,
        "non_mated_pairs": 1000,
    }
    return {
        "metrics": {"made-up": metrics},
        "backbone_metrics": {"made-up": metrics},
        "calibration": {
            count: {"scale": scale, "offset": offset, "cllr": 0.2, "min_cllr": 0.1}
            for count, (scale, offset) in CALIBRATION.items()
        },
        "operating_points": {
            count: [{"fmr": fmr, "threshold": threshold, "measured": measured} for fmr, threshold, measured in points]
            for count, points in POINTS.items()
        },
    }


def write_bundle(folder: Path, name: str = "voice", version: str = VERSION, seed: int = 7, **changes: object) -> Path:
    """A bundle that checks out, unless `changes` to its manifest say otherwise."""
    folder.mkdir(parents=True)
    write_graph(folder / "model.onnx", seed)
    source = {"name": "made-up", "source": "tests", "version": "1", "sha256": "0" * 64, "licence": "Apache-2.0"}
    manifest = {
        "schema_version": 1,
        "name": name,
        "version": version,
        "task": "speaker verification",
        "input": {
            "kind": "audio",
            "sample_rate_hz": RATE_HZ,
            "window_samples": WINDOW,
            "hop_samples": HOP,
            "context_samples": CONTEXT,
            "level_dbfs": LEVEL_DBFS,
        },
        "output": {"kind": "embedding"},
        "full_dim": FULL_DIM,
        "dims": list(DIMS),
        "per_dim": {str(dim): dim_report() for dim in DIMS},
        "backbone": source,
        "projection": source,
        "datasets": [],
        "files": {"model.onnx": hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()},
        "libraries": {"onnxruntime": "any"},
        **changes,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def encoded(samples: np.ndarray, rate_hz: int = RATE_HZ, kind: str = "WAV", subtype: str | None = None) -> bytes:
    """An audio file's bytes."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=kind, subtype=subtype)
    return file.getvalue()


def voice(person: int, take: int = 0, seconds: float = 1.0) -> np.ndarray:
    """A made-up voice: a chord of the person's own, a little noise of the take's own, 16 kHz, float32."""
    own, noise = np.random.default_rng(person), np.random.default_rng(1000 * person + take)
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    chord = sum(np.sin(2 * np.pi * f * time_s + own.uniform(0, 6)) for f in own.uniform(100, 4000, 4))
    return (0.05 * chord + 0.01 * noise.normal(size=time_s.size)).astype(np.float32)


def sample(person: int, take: int = 0, seconds: float = 1.0) -> bytes:
    """A made-up voice as a WAV file that loses nothing."""
    return encoded(voice(person, take, seconds), subtype="FLOAT")


def embedding_of(samples: np.ndarray, seed: int = 7) -> np.ndarray:
    """What the service must compute, in float64 and with loops: level, windows, graph, mean; unit length."""
    bands, mix, bias = (weights.astype(np.float64) for weights in projection(seed))
    clip = samples.astype(np.float64)
    rms = np.sqrt(np.sum(clip * clip) / clip.size)
    clip = clip * max(1.0, 10 ** (LEVEL_DBFS / 20) / rms)
    outputs = []
    start = -CONTEXT
    while True:
        window = np.array([clip[i] if 0 <= i < clip.size else 0.0 for i in range(start, start + WINDOW)])
        outputs.append(np.abs(window @ bands) @ mix + bias)
        if start + WINDOW - CONTEXT >= clip.size:
            break
        start += HOP
    mean = np.sum(outputs, axis=0) / len(outputs)
    return mean / np.sqrt(np.sum(mean * mean))


def cosine(a: np.ndarray, b: np.ndarray, dim: int = FULL_DIM) -> float:
    """The cosine of two prefixes, in float64."""
    a, b = np.asarray(a[:dim], np.float64), np.asarray(b[:dim], np.float64)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def small_settings(folder: Path, **changes: object) -> Settings:
    """Settings for one bundle folder `models` and one data folder beside it."""
    given = {"models_dir": folder / "models", "data_dir": folder / "data", "session_threads": 1, "workers": 2}
    return read_settings({}, **{**given, **changes})


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of the shell that runs the tests must not enter them."""
    for name in [name for name in os.environ if name.upper().startswith("MATCHKA_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with one bundle, `voice`."""
    write_bundle(tmp_path / "models" / "voice")
    return small_settings(tmp_path)


@dataclass(frozen=True)
class SmallServer:
    """A real server in a thread of this process."""

    url: str
    settings: Settings

    def client(self, api_key: str | None = None, timeout_s: float = 20.0) -> Client:
        return Client(self.url, api_key, timeout_s)


@contextlib.contextmanager
def serving(settings: Settings) -> Iterator[SmallServer]:
    """Serve an application on a free port until the end of the block."""
    config = uvicorn.Config(create_app(settings), port=0, log_level="critical", ws="none", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server ended before it started"
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        running = SmallServer(f"http://127.0.0.1:{port}", settings)
        key = settings.api_key.get_secret_value() if settings.api_key else None
        running.client(key).wait_until_ready(20)
        yield running
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """One server for a module's tests; they use subjects of their own names."""
    folder = tmp_path_factory.mktemp("small")
    write_bundle(folder / "models" / "voice")
    with serving(small_settings(folder)) as running:
        yield running


@pytest.fixture
def start_small_server() -> Iterator[Callable[[Settings], SmallServer]]:
    """Starts servers that end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda settings: stack.enter_context(serving(settings))
