"""What one writes first: a FastAPI handler that decodes a file and runs the graph, one request at a time.

The service is measured against it. It does the same arithmetic on the same graph (level, windows, mean, unit length),
with none of the checks: no limits, no problems, no keys, no metrics, no batches.

    uvicorn --factory loadtests.bench.serving.plain_handler:create_app --port 8010 --log-level warning

MATCHKA_MODELS_DIR names the folder of bundles (models), PLAIN_THREADS the threads of one run (1; 0 = one per core),
PLAIN_SPINNING whether these wait for each other awake (1; by default 0), PLAIN_GRAPH the graph as MATCHKA_GRAPH does:
`float` (the bundle's own, by default) or `auto` (its 8-bit one).
"""

import io
import json
import os
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import soundfile
import soxr
from fastapi import FastAPI, Form, UploadFile
from PIL import Image

FloatArray = npt.NDArray[np.float32]
FLOAT = "float"
CHEAPEST = "auto"
CPU_INFO = Path("/proc/cpuinfo")  # names the instructions that Linux found


def graphs_of(folder: Path) -> dict[str, str]:
    """PLAIN_GRAPH -> the file of a bundle; its own first, and its first variant that this CPU has the features for."""
    content = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    info = CPU_INFO.read_text(encoding="utf-8", errors="replace") if CPU_INFO.is_file() else ""
    here = set(info.split())
    needs = {file: set(variant["cpu_features"]) for file, variant in content.get("variants", {}).items()}
    suited = [file for file, features in needs.items() if not features or here & features]
    return {FLOAT: "model.onnx", **({CHEAPEST: suited[0]} if suited else {})}


class PlainModel:
    """A bundle's graph, and the numbers of its manifest that a sample's preparation needs."""

    def __init__(self, folder: Path, threads: int, graph: str = FLOAT) -> None:
        self.spec: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["input"]
        files = graphs_of(folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", os.environ.get("PLAIN_SPINNING", "0"))
        providers = ["CPUExecutionProvider"]
        file = str(folder / files.get(graph, files[FLOAT]))
        self.session = onnxruntime.InferenceSession(file, options, providers=providers)

    def embed(self, data: bytes) -> list[float]:
        """The unit-length embedding of a file."""
        rows = windows(data, self.spec) if self.spec["kind"] == "audio" else chip(data, self.spec)
        (embeddings,) = self.session.run(None, {self.session.get_inputs()[0].name: rows})
        mean = embeddings.mean(axis=0)
        unit: list[float] = (mean / np.linalg.norm(mean)).tolist()
        return unit


def windows(data: bytes, spec: dict[str, Any]) -> FloatArray:
    """Decode, average the channels, resample, raise the level and cut: float32, (windows, window_samples)."""
    samples, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    clip = samples.mean(axis=1)
    if rate_hz != spec["sample_rate_hz"]:
        clip = soxr.resample(clip, rate_hz, spec["sample_rate_hz"])
    gain = 10 ** (spec["level_dbfs"] / 20) / np.sqrt(np.mean(clip**2))
    clip = clip * np.float32(max(1.0, gain))
    length, hop, context = spec["window_samples"], spec["hop_samples"], spec["context_samples"]
    count = 1 + max(0, -(-(clip.size - (length - 2 * context)) // hop))
    padded = np.zeros(length + (count - 1) * hop, np.float32)
    kept = clip[: padded.size - context]
    padded[context : context + kept.size] = kept
    return np.stack([padded[start : start + length] for start in range(0, count * hop, hop)])


def chip(data: bytes, spec: dict[str, Any]) -> npt.NDArray[np.uint8]:
    """Decode a picture that is a face's chip already: uint8, (1, chip_px, chip_px, 3)."""
    side = (spec["chip_px"], spec["chip_px"])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize(side, Image.Resampling.BILINEAR))[None]


def models_of_environment() -> dict[str, PlainModel]:
    """Every bundle by its name, opened as the environment says."""
    models_dir = Path(os.environ.get("MATCHKA_MODELS_DIR", "models"))
    threads, graph = int(os.environ.get("PLAIN_THREADS", "1")), os.environ.get("PLAIN_GRAPH", FLOAT)
    return {path.parent.name: PlainModel(path.parent, threads, graph) for path in models_dir.glob("*/model.onnx")}


def create_app() -> FastAPI:
    """Load the bundles and serve them."""
    models = models_of_environment()
    application = FastAPI()

    @application.post("/v1/embed")
    def embed(model: Annotated[str, Form()], file: UploadFile) -> dict[str, Any]:
        return {"model": model, "embeddings": [models[model].embed(file.file.read())]}

    return application
