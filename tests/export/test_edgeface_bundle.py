"""EdgeFace through the whole exporter on real photographs, with made weights, and served: no step is special to it."""

import csv
import shutil
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from matchka.bundles.bundle import Bundle, read_bundle
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.client import Client
from matchka.errors import MatchkaError
from matchka.modalities.face.detection import FaceDetector
from matchka.modalities.face.image import ImageLimits
from matchka.modalities.face.reader import FaceLimits, FaceReader
from matchka.vectors import truncate_and_normalise
from matchka_export.run import ExportOptions, export_bundle
from matchka_train.backbones.face.edgeface import EDGEFACE_INPUT, SHAPES, EdgeFace
from matchka_train.backbones.face.edgeface_network import EdgeFaceNetwork
from matchka_train.backbones.face.recipes import EdgeFaceRecipe
from matchka_train.backbones.served_graph import auxiliary_files
from matchka_train.projections.affine import AffineProjection
from matchka_train.projections.storage import ProjectionInfo
from tests.factories.checkout import ROOT
from tests.factories.checkpoints import write_checkpoint
from tests.factories.named_weights import weights_by_name
from tests.factories.pictures import encoded
from tests.factories.server_process import start, stop

pytestmark = pytest.mark.shared_data
DOWNLOADS = ROOT / "build" / "downloads"
DIMS = (16, 64)
PEOPLE, PICTURES = 12, 3
ANY_FACE = FaceLimits(0.0, 0.0, 9.0, 0.0, 1)
Rows = list[dict[str, str]]


def pictures_of(faces: Path, split: str) -> Rows:
    """A few pictures of the first people of a split that have as many."""
    with (faces / "images.csv").open(encoding="utf-8", newline="") as file:
        rows = sorted((row for row in csv.DictReader(file) if row["split"] == split), key=lambda row: row["identity"])
    people = [list(group) for _, group in groupby(rows, key=lambda row: row["identity"])]
    return [row for group in people if len(group) >= PICTURES for row in group[:PICTURES]][: PEOPLE * PICTURES]


def detector_of(bundle: Path) -> FaceDetector:
    (part,) = auxiliary_files(bundle, EDGEFACE_INPUT)
    return FaceDetector(*part.open())


@pytest.fixture(scope="module")
def faces(shared_data: Path) -> Path:
    return shared_data / "face"


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> EdgeFace:
    path = tmp_path_factory.mktemp("weights") / "edgeface_xxs.pt"
    shapes = {name: tuple(tensor.shape) for name, tensor in EdgeFaceNetwork(SHAPES["xxs"]).state_dict().items()}
    torch.save(weights_by_name(shapes, seed=3), path)
    recipe = EdgeFaceRecipe(kind="edgeface", path=path, variant="xxs", downloads_dir=DOWNLOADS, licence="made up")
    backbone = recipe.open()
    try:
        backbone.detector.open()
    except MatchkaError as error:
        pytest.skip(f"the detector's weights are neither in the cache nor to be fetched: {error}")
    return backbone


@pytest.fixture(scope="module")
def projection() -> AffineProjection:
    generator = np.random.default_rng(4)
    rows = np.linalg.qr(generator.standard_normal((512, DIMS[-1])))[0].T
    return AffineProjection(rows.astype(np.float32), np.zeros(DIMS[-1], np.float32))


@pytest.fixture(scope="module")
def bundle(
    faces: Path, backbone: EdgeFace, projection: AffineProjection, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """A checkpoint as training leaves it, through `matchka-export run`."""
    home = tmp_path_factory.mktemp("edgeface")
    for split in ("train", "dev"):
        with (home / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            rows = [(str(faces / row["path"]), row["identity"]) for row in pictures_of(faces, split)]
            csv.writer(file).writerows([("path", "identity"), *rows])
    checkpoint = home / "checkpoint"
    info = ProjectionInfo("rotation", "affine", DIMS, backbone.name, backbone.source.sha256, ())
    dataset = {"corpus": "lfw", "domain": "photographs", "layout": "csv", "subject_column": "identity"}
    recipe = {
        "name": "edgeface",
        "dims": list(DIMS),
        "backbone": {
            "kind": "edgeface",
            "path": str(backbone.path),
            "variant": "xxs",
            "sha256": backbone.source.sha256,
            "downloads_dir": str(DOWNLOADS),
            "licence": "made up",
        },
        "data": {
            "train": [dataset | {"path": str(home / "train.csv")}],
            "validation": [dataset | {"path": str(home / "dev.csv")}],
            "cache_dir": str(home / "cache"),
        },
        "projection": {"family": "rotation"},
        "output_dir": str(checkpoint),
    }
    write_checkpoint(checkpoint, recipe, projection, info)
    # random weights tell nobody apart; fewer components of them may do so significantly worse
    options = ExportOptions(accept_worse="random weights")
    return export_bundle(checkpoint, home / "models" / "face-edgeface", options, Console(quiet=True))


@pytest.fixture(scope="module")
def client(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    models = tmp_path_factory.mktemp("served") / "models"
    shutil.copytree(bundle.path, models / bundle.path.name)
    server = start(models, models.parent / "data")
    yield server.client()
    stop(server.process)


def embedded_by_hand(chip: np.ndarray, backbone: EdgeFace, projection: AffineProjection) -> np.ndarray:
    with torch.inference_mode():
        raw = backbone.module().network(torch.tensor(chip)[None]).numpy()[0].astype(float)
    projected = projection.weight.numpy().astype(float) @ (raw / np.sqrt(np.sum(raw**2)))
    return projected / np.sqrt(np.sum(projected**2))


def test_export_bundle_of_edgeface_writes_its_own_template_and_names_the_weights(bundle: Bundle) -> None:
    manifest = read_bundle(bundle.path).manifest
    assert manifest.name == "face-edgeface"
    assert manifest.input == EDGEFACE_INPUT
    assert (manifest.backbone.name, manifest.backbone.licence) == ("EdgeFace xxs", "made up")
    assert manifest.output(EmbeddingOutput).dims == DIMS
    assert set(manifest.files) == {"model.onnx", "pnet.onnx", "rnet.onnx", "onet.onnx", "report.json"}


def test_embed_of_an_aligned_chip_equals_torch(
    client: Client, bundle: Bundle, backbone: EdgeFace, projection: AffineProjection, faces: Path
) -> None:
    reader = FaceReader(detector_of(bundle.path), EDGEFACE_INPUT, ImageLimits(25.0), ANY_FACE)
    chip = reader.read((faces / pictures_of(faces, "dev")[0]["path"]).read_bytes(), "dominant")[0].chip
    answer = client.embed([encoded(Image.fromarray(chip), "PNG")], bundle.manifest.name, face="aligned")
    assert answer.faces == [None]
    np.testing.assert_allclose(answer.embeddings[0], embedded_by_hand(chip, backbone, projection), atol=1e-4)


def test_embed_of_a_photograph_finds_aligns_and_equals_torch_at_each_dim(
    client: Client, bundle: Bundle, backbone: EdgeFace, projection: AffineProjection, faces: Path
) -> None:
    photograph = (faces / pictures_of(faces, "dev")[0]["path"]).read_bytes()
    reader = FaceReader(detector_of(bundle.path), EDGEFACE_INPUT, ImageLimits(25.0), ANY_FACE)
    chip = reader.read(photograph, "dominant")[0].chip
    assert chip.shape == (112, 112, 3)
    expected = embedded_by_hand(chip, backbone, projection)
    for dim in DIMS:
        answer = client.embed([photograph], bundle.manifest.name, dim=dim)
        assert answer.faces is not None
        assert answer.faces[0] is not None
        prefix = truncate_and_normalise(expected[None].astype(np.float32), dim)[0]
        np.testing.assert_allclose(answer.embeddings[0], prefix, atol=1e-4)
