"""A tiny world to train in: synthetic voices, a spectrum as the frozen backbone, and recipes over both."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch
import yaml
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.progress import Progress

from matchka.modalities.audio.spec import AudioInputSpec
from matchka_train.errors import DownloadError
from matchka_train.features.features import Features
from matchka_train.weights.package_catalogue import GE2E_WEIGHTS
from matchka_train.weights.packages import DEFAULT_CACHE_DIR, read_member
from matchka_train.weights.source import WeightSource
from tests.conftest import ROOT

RATE_HZ = 8_000
FRAME = 160
FRAMES = 20
BANDS = 24
TINY_INPUT = AudioInputSpec(
    sample_rate_hz=RATE_HZ,
    window_samples=FRAME * FRAMES,
    hop_samples=FRAME * FRAMES // 2,
    context_samples=0,
    level_dbfs=-30.0,
)


TINY_SOURCE = WeightSource("tiny", "tests", "1", "0" * 64, "Apache-2.0")


class Spectrum(torch.nn.Module):
    """Mean log power in a few bands: enough to tell synthetic voices apart."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        at = torch.arange(FRAME) * torch.arange(1, BANDS + 1)[:, None] * (2 * torch.pi / FRAME)
        self.cosine, self.sine, self.gain = torch.cos(at).T, torch.sin(at).T, gain

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        frames = windows.reshape(len(windows), FRAMES, FRAME)
        power = (frames @ self.cosine).square() + (frames @ self.sine).square()
        return torch.nn.functional.normalize(torch.log(self.gain * power.mean(dim=1) + 1e-3), dim=1)


@dataclass(frozen=True)
class TinyBackbone:
    """A small but complete backbone: waveform windows in, unit embeddings out."""

    gain: float = 1.0
    name: str = "tiny"
    source: WeightSource = TINY_SOURCE
    input: AudioInputSpec = TINY_INPUT
    embedding_dim: int = BANDS
    detector: None = None

    @property
    def published(self) -> "TinyBackbone":
        return self

    def module(self) -> torch.nn.Module:
        return Spectrum(self.gain).eval()


def voice(identity: int, clip: int, seconds: float, tilt: float) -> np.ndarray:
    """A harmonic tone whose pitch and formants belong to the identity, in noise that belongs to the clip."""
    who, what = np.random.default_rng([1, identity]), np.random.default_rng([2, identity, clip])
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    pitch = who.uniform(90, 300) * what.uniform(0.93, 1.07)
    amplitudes = who.uniform(0.05, 1, 12) * what.uniform(0.4, 1.6, 12)
    tone = sum(a * np.sin(2 * np.pi * pitch * (k + 1) * time_s) for k, a in enumerate(amplitudes))
    noise = np.cumsum(what.standard_normal(len(time_s))) if tilt else what.standard_normal(len(time_s))
    mixed = tone / np.std(tone) + 0.5 * noise / np.std(noise)
    return (0.05 * mixed / np.std(mixed)).astype(np.float32)


def write_voices(root: Path, identities: range, clips: int, tilt: float = 0.0, seconds: float = 1.0) -> None:
    for identity in identities:
        folder = root / f"p{identity:03d}"
        folder.mkdir(parents=True)
        for clip in range(clips):
            soundfile.write(folder / f"{clip}.wav", voice(identity, clip, seconds, tilt), RATE_HZ)


@pytest.fixture(scope="session")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """studio/{train,dev} and street/{train,dev}: a folder per identity, no identity in two of them."""
    root = tmp_path_factory.mktemp("voices")
    write_voices(root / "studio/train", range(12), 5)
    write_voices(root / "studio/dev", range(20, 28), 5)
    write_voices(root / "street/train", range(40, 52), 4, tilt=1.0)
    write_voices(root / "street/dev", range(60, 68), 4, tilt=1.0)
    return root


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny backbone as an ONNX file."""
    path = tmp_path_factory.mktemp("backbone") / "tiny.onnx"
    spectrum = Spectrum()
    constants = {
        "frames": np.array([-1, FRAMES, FRAME], np.int64),
        "cosine": spectrum.cosine.numpy(),
        "sine": spectrum.sine.numpy(),
        "axis": np.array([1], np.int64),
        "floor": np.array(1e-3, np.float32),
    }
    nodes = [
        helper.make_node("Reshape", ["windows", "frames"], ["framed"]),
        helper.make_node("MatMul", ["framed", "cosine"], ["real"]),
        helper.make_node("MatMul", ["framed", "sine"], ["imaginary"]),
        helper.make_node("Mul", ["real", "real"], ["real2"]),
        helper.make_node("Mul", ["imaginary", "imaginary"], ["imaginary2"]),
        helper.make_node("Add", ["real2", "imaginary2"], ["power"]),
        helper.make_node("ReduceMean", ["power", "axis"], ["mean"], keepdims=0),
        helper.make_node("Add", ["mean", "floor"], ["above"]),
        helper.make_node("Log", ["above"], ["embeddings"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("windows", TensorProto.FLOAT, ["n", FRAME * FRAMES])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["n", BANDS])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(path))
    return path


@pytest.fixture
def recipe_path(voices: Path, tiny_onnx: Path, tmp_path: Path) -> Path:
    """A recipe over the tiny world; tests override what they are about."""

    def dataset(domain: str, part: str) -> dict[str, object]:
        return {"corpus": domain, "domain": domain, "layout": "folder", "path": str(voices / domain / part)}

    content = {
        "name": "tiny",
        "seed": 3,
        "dims": [4, 8, 24],
        "backbone": {
            "kind": "onnx",
            "path": str(tiny_onnx),
            "name": "tiny",
            "embedding_dim": BANDS,
            "input": {
                "sample_rate_hz": RATE_HZ,
                "window_samples": FRAME * FRAMES,
                "hop_samples": FRAME * FRAMES // 2,
                "context_samples": 0,
                "level_dbfs": -30.0,
            },
        },
        "data": {
            "train": [dataset("studio", "train"), dataset("street", "train")],
            "validation": [dataset("studio", "dev"), dataset("street", "dev")],
            "cache_dir": str(tmp_path / "features"),
        },
        "projection": {"family": "linear"},
        "optimisation": {"epochs": 6, "identities_per_batch": 8, "clips_per_identity": 3, "checkpoint_every_epochs": 2},
        "output_dir": str(tmp_path / "checkpoint"),
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Matrices here are tiny: on a busy machine a second thread is only waited for."""
    torch.set_num_threads(1)


@pytest.fixture
def quiet() -> Progress:
    return Progress(disable=True)


def make_features(
    identities: int, clips: int, dim: int, domain: str = "a", seed: int = 0, windows: int = 2, spread: float = 0.6
) -> Features:
    """Unit embeddings about one centre for each identity, offset from the origin as real ones are."""
    generator = np.random.default_rng(seed)
    offset = generator.standard_normal(dim) * 2
    centres = generator.standard_normal((identities, dim)) * np.linspace(1.5, 0.2, dim)
    rows = np.repeat(centres, clips * windows, axis=0) + offset
    rows = rows + spread * generator.standard_normal(rows.shape)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    count = identities * clips
    return Features(
        rows.astype(np.float32),
        np.full(count, windows, np.int64),
        tuple(f"{domain}/{number // clips:03d}" for number in range(count)),
        (domain,) * count,
        tuple(f"{domain}/{number:04d}.wav" for number in range(count)),
        np.tile(np.array([[0.0, 1.0]], np.float32), (count, 1)),
    )


@pytest.fixture(scope="session")
def ge2e_weights() -> bytes:
    try:
        return read_member(GE2E_WEIGHTS, ROOT / DEFAULT_CACHE_DIR, Console(stderr=True))
    except DownloadError as error:
        pytest.skip(f"the GE2E weights are neither in the cache nor to be fetched: {error}")
