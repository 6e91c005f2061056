"""Bring your own: what is declared is checked before anything is embedded."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from pydantic import TypeAdapter, ValidationError

from matchka.modalities.audio.spec import AudioInputSpec
from matchka.modalities.face.spec import ImageInputSpec
from matchka_train.backbones.face.mtcnn import Mtcnn
from matchka_train.backbones.onnx_file import OnnxFile
from matchka_train.backbones.speaker.ge2e import Ge2e
from matchka_train.backbones.speaker.recipes import Ge2eRecipe
from matchka_train.errors import ChecksumError, DeviceError, FeatureError
from matchka_train.modalities import AnyBackboneRecipe
from matchka_train.weights.source import WeightSource
from tests.factories.feature_graphs import write_frames_onnx

WINDOW, DIM = 50, 6
WINDOW_RECIPE = {
    "sample_rate_hz": 16_000,
    "window_samples": WINDOW,
    "hop_samples": 25,
    "context_samples": 0,
    "level_dbfs": -30.0,
}


def write_file(path: Path, axes: list[object], outputs: int = DIM) -> np.ndarray:
    weight = np.random.default_rng(1).standard_normal((WINDOW, outputs)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "someone",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, axes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [axes[0], outputs])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return weight


def declare(path: Path) -> OnnxFile:
    source = WeightSource("someone's", "a disk", "1", hashlib.sha256(path.read_bytes()).hexdigest(), "MIT")
    return OnnxFile(path, "someone", source, AudioInputSpec(**WINDOW_RECIPE), DIM)


@pytest.mark.parametrize("axes", [["n", WINDOW], ["n", "t"]])
def test_module_when_file_fits_gives_unit_length_embeddings(axes: list[object], tmp_path: Path) -> None:
    weight = write_file(tmp_path / "a.onnx", axes)
    windows = np.random.default_rng(2).standard_normal((5, WINDOW)).astype(np.float32)
    found = declare(tmp_path / "a.onnx").module()(torch.tensor(windows)).numpy()
    raw = windows.astype(np.float64) @ weight
    np.testing.assert_allclose(found, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("axes", [["n", 40, WINDOW], [1, WINDOW]], ids=["mel matrix", "fixed batch"])
def test_module_when_file_takes_something_else_refuses(axes: list[object], tmp_path: Path) -> None:
    write_file(tmp_path / "a.onnx", axes)
    with pytest.raises(FeatureError, match=r"must take windows as float32 \(batch, 50\)"):
        declare(tmp_path / "a.onnx").module()


def test_module_when_file_returns_another_width_refuses(tmp_path: Path) -> None:
    write_file(tmp_path / "a.onnx", ["n", WINDOW], outputs=DIM + 1)
    with pytest.raises(FeatureError, match=r"must take windows as float32 \(batch, 50\)"):
        declare(tmp_path / "a.onnx").module()


def test_module_when_something_is_trained_through_it_refuses(tmp_path: Path) -> None:
    write_file(tmp_path / "a.onnx", ["n", WINDOW])
    with pytest.raises(FeatureError, match="trained through an ONNX file") as refused:
        declare(tmp_path / "a.onnx").module()(torch.zeros(1, WINDOW, requires_grad=True))
    assert "edgeface" in refused.value.remedy


def test_module_when_rows_lie_on_another_device_names_the_cpu(tmp_path: Path) -> None:
    write_file(tmp_path / "a.onnx", ["n", WINDOW])
    with pytest.raises(DeviceError, match="--device cpu"):
        declare(tmp_path / "a.onnx").module()(torch.zeros(1, WINDOW, device="meta"))


@pytest.mark.parametrize(("threads", "expected"), [(1, 1), (2, 2), (3, 2)])
def test_module_runs_in_no_more_threads_than_torch(threads: int, expected: int, tmp_path: Path) -> None:
    """Of several processes each has one."""
    write_file(tmp_path / "a.onnx", ["n", WINDOW])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        session = declare(tmp_path / "a.onnx").module()._session
    finally:
        torch.set_num_threads(before)
    assert session.get_session_options().intra_op_num_threads == expected


def test_module_when_file_takes_pictures_embeds_them(tmp_path: Path) -> None:
    spec = ImageInputSpec(chip_px=2, template_points=((0, 0),) * 5, template_weights=(1,) * 5)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["f"], ["y"], axes=[1, 2], keepdims=0),
        ],
        "someone",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["n", 2, 2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
    )
    path = tmp_path / "a.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    content = {"kind": "onnx", "path": str(path), "name": "x", "input": spec.model_dump(), "embedding_dim": 3}
    backbone = TypeAdapter(AnyBackboneRecipe).validate_python(content).open()
    assert [type(part) for part in backbone.auxiliary] == [Mtcnn]  # faces are found before they are embedded
    chips = np.random.default_rng(2).integers(0, 256, (5, 2, 2, 3), dtype=np.uint8)
    means = chips.astype(np.float64).mean(axis=(1, 2))
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(backbone.module()(torch.tensor(chips)).numpy(), expected, atol=1e-6)
    larger = TypeAdapter(AnyBackboneRecipe).validate_python(content | {"input": {**spec.model_dump(), "chip_px": 3}})
    with pytest.raises(FeatureError, match=r"must take chips as uint8 \(batch, 3, 3, 3\)"):
        larger.open().module()


def test_module_when_file_is_no_graph_refuses(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"no graph")
    with pytest.raises(FeatureError, match="not a graph"):
        declare(tmp_path / "a.onnx").module()


def test_module_when_file_is_another_refuses(tmp_path: Path) -> None:
    write_file(tmp_path / "a.onnx", ["n", WINDOW])
    backbone = declare(tmp_path / "a.onnx")
    with pytest.raises(ChecksumError):
        replace(backbone, source=replace(backbone.source, sha256="1" * 64)).module()


def test_open_backbone_when_recipe_names_ge2e_opens_it() -> None:
    recipe: Ge2eRecipe = TypeAdapter(AnyBackboneRecipe).validate_python({"kind": "ge2e"})
    assert recipe.open() == Ge2e()


def test_open_backbone_when_recipe_names_a_file_declares_what_it_says(tmp_path: Path) -> None:
    write_file(tmp_path / "a.onnx", ["n", WINDOW])
    content = {
        "kind": "onnx",
        "path": str(tmp_path / "a.onnx"),
        "name": "someone",
        "input": WINDOW_RECIPE,
        "embedding_dim": DIM,
    }
    backbone = TypeAdapter(AnyBackboneRecipe).validate_python(content).open()
    assert backbone.input == AudioInputSpec(**WINDOW_RECIPE)
    assert backbone.source.sha256 == hashlib.sha256((tmp_path / "a.onnx").read_bytes()).hexdigest()
    assert backbone.module()(torch.ones(2, WINDOW)).shape == (2, DIM)


def test_open_backbone_when_file_is_absent_says_so(tmp_path: Path) -> None:
    content = {
        "kind": "onnx",
        "path": str(tmp_path / "no.onnx"),
        "name": "x",
        "input": WINDOW_RECIPE,
        "embedding_dim": 2,
    }
    with pytest.raises(ChecksumError, match=r"no\.onnx"):
        TypeAdapter(AnyBackboneRecipe).validate_python(content).open()


@pytest.mark.parametrize("content", [{"kind": "other"}, {"kind": "ge2e", "speed": 2}])
def test_backbone_recipe_when_key_or_kind_is_unknown_refuses(content: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(AnyBackboneRecipe).validate_python(content)


def of_frames(path: Path, **changes: object) -> dict[str, object]:
    content = {"kind": "onnx", "path": str(path), "name": "x", "embedding_dim": 6, "front_end": {"kind": "kaldi_fbank"}}
    window = {**WINDOW_RECIPE, "window_samples": 8_000, "hop_samples": 4_000}
    return {**content, "input": window, **changes}


def test_module_when_the_file_takes_features_and_no_front_end_is_named_says_so(tmp_path: Path) -> None:
    write_frames_onnx(tmp_path / "a.onnx")
    backbone = TypeAdapter(AnyBackboneRecipe).validate_python(of_frames(tmp_path / "a.onnx", front_end=None)).open()
    with pytest.raises(FeatureError, match="front_end where it takes features"):
        backbone.module()


def test_module_when_the_front_end_makes_other_features_refuses(tmp_path: Path) -> None:
    write_frames_onnx(tmp_path / "a.onnx")
    content = of_frames(tmp_path / "a.onnx", front_end={"kind": "kaldi_fbank", "bands": 40})
    with pytest.raises(FeatureError, match=r"must take features as float32 \(batch, 48, 40\)"):
        TypeAdapter(AnyBackboneRecipe).validate_python(content).open().module()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"front_end": {"kind": "pixels"}}, "made of pictures"),
        ({"input": {**WINDOW_RECIPE, "window_samples": 500, "hop_samples": 400}}, "at least two frames"),
        (
            {"input": {"kind": "image", "chip_px": 2, "template_points": [(0, 0)] * 5, "template_weights": [1] * 5}},
            "made of audio",
        ),
    ],
)
def test_module_when_the_front_end_is_not_for_the_input_refuses(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    write_frames_onnx(tmp_path / "a.onnx")
    with pytest.raises(FeatureError, match=message):
        TypeAdapter(AnyBackboneRecipe).validate_python(of_frames(tmp_path / "a.onnx", **changes)).open().module()
