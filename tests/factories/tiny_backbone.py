"""A spectrum as the frozen backbone: as a module, and as an ONNX file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from matchka.modalities.audio.spec import AudioInputSpec
from matchka_train.weights.source import WeightSource
from tests.factories.voice_folders import RATE_HZ

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
    auxiliary: tuple[()] = ()

    @property
    def published(self) -> "TinyBackbone":
        return self

    def module(self) -> torch.nn.Module:
        return Spectrum(self.gain).eval()


def write_tiny_onnx(path: Path) -> None:
    """The tiny backbone as an ONNX file."""
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
