"""A backbone that is brought as an ONNX file gets its projection, and still equals a slow computation."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from matchka.modalities.audio.spec import AudioInputSpec
from matchka.modalities.face.spec import ImageInputSpec
from matchka_export.errors import ParityError
from matchka_export.graph.build import build_graph
from matchka_train.backbones.front_end import FbankRecipe, PixelsRecipe
from matchka_train.backbones.onnx_file import OnnxFile
from matchka_train.backbones.served_graph import open_session
from matchka_train.backbones.speaker.fbank import KaldiFbank
from matchka_train.weights.source import WeightSource
from tests.factories.feature_graphs import source_of, write_frames_onnx, write_pixels_onnx

pytestmark = pytest.mark.slow  # whole graphs are exported

WINDOW, DIM, FULL = 50, 6, 4
INPUT = AudioInputSpec(
    sample_rate_hz=16_000, window_samples=WINDOW, hop_samples=25, context_samples=0, level_dbfs=-30.0
)


def bring(path: Path, opset: int = 17) -> OnnxFile:
    """A file whose embeddings are not of unit length, with names of its own."""
    weight = np.random.default_rng(1).standard_normal((WINDOW, DIM)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "someone",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WINDOW])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", DIM])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, str(path))
    source = WeightSource("someone's", "a disk", "1", hashlib.sha256(path.read_bytes()).hexdigest(), "MIT")
    return OnnxFile(path, "someone", source, INPUT, DIM)


@pytest.mark.parametrize("opset", [13, 17, 20])
def test_build_graph_when_backbone_is_a_file_equals_numpy(opset: int, tmp_path: Path) -> None:
    backbone = bring(tmp_path / "theirs.onnx", opset)
    torch.manual_seed(0)
    projection = torch.nn.Linear(DIM, FULL)
    model = build_graph(backbone, projection, tmp_path / "model.onnx")
    windows = np.random.default_rng(2).standard_normal((7, WINDOW)).astype(np.float32)
    weight = onnx.numpy_helper.to_array(onnx.load(str(backbone.path)).graph.initializer[0]).astype(np.float64)
    raw = windows @ weight
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    expected = unit @ projection.weight.detach().numpy().T + projection.bias.detach().numpy()
    np.testing.assert_allclose(
        open_session(tmp_path / "model.onnx", INPUT, FULL).run(windows)["embeddings"], expected, atol=1e-5
    )
    np.testing.assert_allclose(model(torch.tensor(windows)).detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("opset", [13, 14, 17])
def test_build_graph_when_the_file_takes_mel_frames_has_the_filter_bank_inside(opset: int, tmp_path: Path) -> None:
    mix = write_frames_onnx(tmp_path / "theirs.onnx", opset=opset).astype(np.float64)
    spec = INPUT.model_copy(update={"window_samples": 8_000, "hop_samples": 4_000})
    path = tmp_path / "theirs.onnx"
    front_end = FbankRecipe(kind="kaldi_fbank", taper="hamming")
    backbone = OnnxFile(path, "someone", source_of(path), spec, mix.shape[1], front_end=front_end)
    torch.manual_seed(0)
    projection = torch.nn.Linear(mix.shape[1], FULL)
    model = build_graph(backbone, projection, tmp_path / "model.onnx")
    windows = spec.example(4, seed=1)  # its last window ends in zeros
    bands = KaldiFbank(16_000, 80, "hamming")(torch.from_numpy(windows)).numpy().astype(np.float64)
    raw = bands.std(axis=1) @ mix  # their mean is 0
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    expected = unit @ projection.weight.detach().numpy().T + projection.bias.detach().numpy()
    found = open_session(tmp_path / "model.onnx", spec, FULL).run(windows)["embeddings"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(model(torch.tensor(windows)).detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_build_graph_when_the_file_takes_pixels_scales_the_chips_inside(order: str, tmp_path: Path) -> None:
    mix = write_pixels_onnx(tmp_path / "theirs.onnx", side=8).astype(np.float64)
    spec = ImageInputSpec(chip_px=8, template_points=((0, 0),) * 5, template_weights=(1,) * 5)
    path = tmp_path / "theirs.onnx"
    front_end = PixelsRecipe(kind="pixels", order=order)
    backbone = OnnxFile(path, "someone", source_of(path), spec, mix.shape[1], front_end=front_end)
    build_graph(backbone, torch.nn.Identity(), tmp_path / "model.onnx")
    chips = np.random.default_rng(1).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    pixels = (chips.astype(np.float64) - 127.5) / 127.5
    deviation = np.sqrt((pixels**2).mean(axis=(1, 2)))
    raw = (deviation if order == "rgb" else deviation[:, ::-1]) @ mix
    expected = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    found = open_session(tmp_path / "model.onnx", spec, mix.shape[1]).run(chips)["embeddings"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_build_graph_when_backbone_file_is_too_old_refuses(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="operation set"):
        build_graph(bring(tmp_path / "old.onnx", 11), torch.nn.Linear(DIM, FULL), tmp_path / "model.onnx")


def test_build_graph_when_file_backbone_should_be_rounded_refuses(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="left as they are"):
        build_graph(bring(tmp_path / "a.onnx"), torch.nn.Identity(), tmp_path / "model.onnx", float16=True)
