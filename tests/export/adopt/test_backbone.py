"""What a file shows of its input becomes a recipe's keys; what it does not show is asked for by name."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import TensorProto, helper, numpy_helper
from pydantic import TypeAdapter

from matchka.modalities.face.spec import ImageInputSpec
from matchka_export.adopt.backbone import backbone_of_file, published
from matchka_train.backbones.face.edgeface import EDGEFACE_INPUT
from matchka_train.backbones.onnx_file import OnnxFile
from matchka_train.backbones.onnx_interface import Declared
from matchka_train.errors import BackboneFileError, CatalogueError, UnknownWeightsError
from matchka_train.modalities import AnyBackboneRecipe
from tests.factories.feature_graphs import write_frames_onnx, write_pixels_onnx
from tests.factories.graphs import FULL_DIM, WINDOW, write_graph


def opened(path: Path, declared: Declared | None = None) -> OnnxFile:
    keys = backbone_of_file(path, None, declared or Declared(), "MIT")
    backbone: OnnxFile = TypeAdapter(AnyBackboneRecipe).validate_python(keys).open()
    return backbone


def write(path: Path, kind: int, axes: list[object], outputs: list[object]) -> None:
    """A file of any interface; its rows are fives of ones, as many as the batch has."""
    graph = helper.make_graph(
        [
            helper.make_node("Shape", ["x"], ["batch"], start=0, end=1),
            helper.make_node("Concat", ["batch", "once"], ["times"], axis=0),
            helper.make_node("Tile", ["ones", "times"], ["y"]),
        ],
        "someone",
        [helper.make_tensor_value_info("x", kind, axes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, outputs)],
        [numpy_helper.from_array(np.ones(1, np.int64), "once"), numpy_helper.from_array(np.ones((1, 5), "f"), "ones")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def test_backbone_of_a_file_that_takes_windows_embeds_them(tmp_path: Path) -> None:
    write_graph(tmp_path / "My Net.onnx")
    backbone = opened(tmp_path / "My Net.onnx", Declared(sample_rate_hz=8_000))
    assert (backbone.name, backbone.source.licence) == ("my-net", "MIT")
    assert (backbone.input.sample_rate_hz, backbone.input.window_samples) == (8_000, WINDOW)
    assert backbone.module()(torch.ones(2, WINDOW)).shape == (2, FULL_DIM)


def test_backbone_of_a_file_that_takes_mel_frames_makes_them_as_declared(tmp_path: Path) -> None:
    write_frames_onnx(tmp_path / "w.onnx")
    backbone = opened(tmp_path / "w.onnx", Declared(window_s=2.0, fbank="hamming"))
    assert backbone.input.window_samples == 32_000
    assert backbone.front_end is not None
    assert backbone.front_end.features(backbone.input).shape == (198, 80)
    assert backbone.module()(torch.rand(2, 32_000)).shape == (2, 6)


def test_backbone_of_a_file_with_a_fixed_number_of_frames_has_windows_of_as_many(tmp_path: Path) -> None:
    write(tmp_path / "w.onnx", TensorProto.FLOAT, ["n", 200, 80], ["n", 5])
    backbone = opened(tmp_path / "w.onnx", Declared(fbank="povey"))
    assert backbone.front_end is not None
    assert backbone.front_end.features(backbone.input).shape == (200, 80)


def test_backbone_of_a_file_that_takes_pixels_aligns_faces_as_arcface_does(tmp_path: Path) -> None:
    write_pixels_onnx(tmp_path / "f.onnx", side=56)
    spec = opened(tmp_path / "f.onnx").input
    assert isinstance(spec, ImageInputSpec)
    assert spec.chip_px == 56
    halved = [(x / 2, y / 2) for x, y in EDGEFACE_INPUT.template_points]
    assert [list(point) for point in spec.template_points] == [pytest.approx(list(point)) for point in halved]


def test_backbone_of_a_file_with_a_description_beside_it_is_what_that_says(tmp_path: Path) -> None:
    write_frames_onnx(tmp_path / "w.onnx")
    window = {"sample_rate_hz": 16_000, "window_samples": 24_000, "hop_samples": 8_000, "context_samples": 0}
    keys = {"input": {**window, "level_dbfs": -25.0}, "front_end": {"kind": "kaldi_fbank"}, "embedding_dim": 6}
    (tmp_path / "w.yaml").write_text(yaml.safe_dump(keys), encoding="utf-8")
    backbone = opened(tmp_path / "w.onnx")
    assert (backbone.input.hop_samples, backbone.input.level_dbfs) == (8_000, -25.0)


@pytest.mark.parametrize(
    ("kind", "axes", "outputs", "message"),
    [
        (TensorProto.FLOAT, ["n", "t", 80], ["n", 5], "--fbank hamming"),
        (TensorProto.FLOAT, ["n", "t", "bands"], ["n", 5], "must be its bands"),
        (TensorProto.INT64, ["n", 512], ["n", 5], "Known are float32"),
        (TensorProto.DOUBLE, ["n", 512], ["n", 5], "Known are float32"),
        (TensorProto.FLOAT, [1, 3, 112, 112], [1, 5], "free batch axis"),
        (TensorProto.FLOAT, ["n", 1, 112, 112], ["n", 5], "three channels first"),
        (TensorProto.UINT8, ["n", 112, 96, 3], ["n", 5], "three channels last"),
        (TensorProto.FLOAT, ["n", 512], ["n", "width"], "embedding_dim"),
    ],
)
def test_backbone_of_a_file_that_takes_something_else_says_what_is_known(
    kind: int, axes: list[object], outputs: list[object], message: str, tmp_path: Path
) -> None:
    write(tmp_path / "a.onnx", kind, axes, outputs)
    with pytest.raises(BackboneFileError) as caught:
        backbone_of_file(tmp_path / "a.onnx", None, Declared(), None)
    assert message in f"{caught.value.detail} {caught.value.remedy}"


@pytest.mark.parametrize("beside", ["- a list", "embedding_dim: ["])
def test_backbone_of_a_file_when_the_description_is_none_refuses(beside: str, tmp_path: Path) -> None:
    write_graph(tmp_path / "a.onnx")
    (tmp_path / "a.yaml").write_text(beside, encoding="utf-8")
    with pytest.raises(BackboneFileError, match=r"a\.yaml"):
        backbone_of_file(tmp_path / "a.onnx", None, Declared(), None)


def test_backbone_of_a_file_that_is_no_graph_refuses(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"no graph")
    with pytest.raises(BackboneFileError, match="not a graph"):
        backbone_of_file(tmp_path / "a.onnx", None, Declared(), None)


def test_backbone_of_a_checkpoint_without_a_kind_asks_for_it(tmp_path: Path) -> None:
    (tmp_path / "b2.pt").write_bytes(b"")
    with pytest.raises(BackboneFileError, match="--kind redimnet"):
        backbone_of_file(tmp_path / "b2.pt", None, Declared(), None)
    assert backbone_of_file(tmp_path / "b2.pt", "redimnet", Declared(), None)["kind"] == "redimnet"


def test_backbone_of_a_folder_with_a_configuration_is_a_transformer(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert backbone_of_file(tmp_path, None, Declared(), None)["kind"] == "speech_transformer"


def test_published_when_neither_file_nor_name_is_known_says_both(tmp_path: Path) -> None:
    with pytest.raises(UnknownWeightsError, match=r"No file .* no weights"):
        published("nobody", tmp_path)
    known = published("wespeaker-voxceleb-resnet34-LM", tmp_path)
    assert known is not None
    assert known.licence == "CC-BY-4.0"


@pytest.mark.parametrize("content", ["[", "- {name: x}", "- 7", "- {name: x, files: [{size: 3}]}"])
def test_published_when_the_catalogue_in_the_folder_is_none_refuses(content: str, tmp_path: Path) -> None:
    (tmp_path / "catalogue.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(CatalogueError, match=r"catalogue\.yaml"):
        published("nobody", tmp_path)
