"""Bundles opened to be judged: checked as the service checks them, and computing what their graphs compute."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from matchka.bundles.bundle import read_bundle
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.errors import BundleError
from matchka_train.errors import CheckpointError
from matchka_train.judging.models import open_model


def test_open_model_of_a_voice_bundle_computes_what_its_graph_computes(models_dir: Path) -> None:
    model = open_model(models_dir / "voice")
    windows = np.random.default_rng(0).normal(0.0, 0.03, (3, 25_840)).astype(np.float32)
    session = onnxruntime.InferenceSession(models_dir / "voice" / "model.onnx", providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {session.get_inputs()[0].name: windows})
    found = model.embed_windows(model.backbone.module()(torch.from_numpy(windows)).numpy())
    np.testing.assert_allclose(found, expected, atol=1e-5)
    embedding = read_bundle(models_dir / "voice").manifest.output(EmbeddingOutput)
    assert model.dims == embedding.dims
    assert model.thresholds[embedding.full_dim] == [
        (point.fmr, point.threshold) for point in embedding.per_dim[str(embedding.full_dim)].operating_points["1"]
    ]


@pytest.mark.parametrize(("part", "graphs"), [("detector", ("pnet", "rnet", "onet")), ("enhancer", ("sr",))])
def test_open_model_of_a_face_bundle_names_its_parts_by_the_hashes_of_their_graphs(
    models_dir: Path, part: str, graphs: tuple[str, ...]
) -> None:
    parts = {one.name: one.sha256 for one in open_model(models_dir / "face").backbone.auxiliary}
    assert parts.keys() == {"detector", "enhancer"}
    files = [(models_dir / "face" / f"{name}.onnx").read_bytes() for name in graphs]
    joined = "".join(hashlib.sha256(file).hexdigest() for file in files)
    assert parts[part] == hashlib.sha256(joined.encode()).hexdigest()


@pytest.mark.parametrize("name", ["model.onnx", "report.json"])
def test_open_model_of_a_bundle_with_a_changed_file_is_refused(models_dir: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "voice"
    shutil.copytree(models_dir / "voice", folder)
    with (folder / name).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BundleError, match=name):
        open_model(folder)


def test_open_model_of_a_folder_that_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="neither"):
        open_model(tmp_path)
