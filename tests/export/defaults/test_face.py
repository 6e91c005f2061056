"""The default `face` bundle: what it says, what it computes, and that its detector is the one torch computes."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from matchka.bundles.bundle import read_bundle
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.inference.session import OrtSession, open_ort_session
from matchka.modalities.face.detection import FaceDetector
from matchka.modalities.face.image import ImageLimits
from matchka.modalities.face.reader import FaceLimits, FaceReader
from matchka.modalities.face.spec import EnhancerSpec, ImageInputSpec
from matchka.vectors import truncate_and_normalise
from matchka_export.defaults.catalogue import DEFAULT_MODELS, FACE_ENHANCER
from matchka_export.defaults.shipped import current_bundle, shipped_evidence
from matchka_export.gate.evidence import read_evidence
from matchka_train.backbones.face.dlib import DLIB_INPUT, DlibFace
from matchka_train.backbones.face.enhancer_file import read_enhancer
from matchka_train.backbones.face.mtcnn import Mtcnn
from matchka_train.backbones.served_graph import auxiliary_files
from matchka_train.modalities.reduction import reduced_chip
from matchka_train.projections.storage import load_projection
from tests.factories.checkout import ROOT

pytestmark = pytest.mark.slow

DOWNLOADS = ROOT / "build" / "downloads"
FROZEN = Path(__file__).with_name("face_embedding.json")
ANY_FACE = FaceLimits(0.0, 0.0, 9.0, 0.0, 10)


def detector_of(bundle: Path) -> FaceDetector:
    (part,) = auxiliary_files(bundle, DLIB_INPUT)
    return FaceDetector(*part.open())


@pytest.fixture(scope="module")
def chips(face: Path, pictures: Path) -> dict[str, np.ndarray]:
    reader = FaceReader(detector_of(face), DLIB_INPUT, ImageLimits(25.0), ANY_FACE)
    return {path.stem: reader.read(path.read_bytes(), "dominant")[0].chip for path in pictures.rglob("*.jpg")}


@pytest.fixture(scope="module")
def session(face: Path) -> OrtSession:
    return OrtSession(
        face / "model.onnx", "chips", (150, 150, 3), {"embeddings": (128,)}, threads=1, input_dtype="uint8"
    )


def test_face_bundle_when_done_holds_the_shipped_measurements_and_names_every_source(face: Path) -> None:
    manifest = json.loads((face / "manifest.json").read_text())
    evidence = json.loads(shipped_evidence("face").read_text())
    assert manifest["outputs"]["embeddings"]["per_dim"] == evidence["per_dim"]
    assert manifest["projection"]["sha256"] == hashlib.sha256(DEFAULT_MODELS["face"].fitted.read_bytes()).hexdigest()
    assert manifest["outputs"]["embeddings"]["dims"] == [8, 16, 32, 64, 128]
    assert manifest["task"] == "face verification"
    assert {dataset["licence"] for dataset in manifest["datasets"]} == {"none for the photographs: research use only"}
    uses = [dataset["use"] for dataset in manifest["datasets"]]
    assert uses == ["projection fitted", "validated", "enhancer trained", "reported"]
    assert (manifest["backbone"]["licence"], manifest["backbone"]["version"]) == ("CC0-1.0", "0.3.0")
    assert {source["licence"] for source in manifest["auxiliary"]["detector"]["sources"].values()} == {"MIT"}
    graphs = {"model.onnx", "pnet.onnx", "rnet.onnx", "onet.onnx", "sr.onnx"}
    # the 8-bit graph is there where it is at least 1.3 times as fast as the other; else the manifest says why it is not
    assert set(manifest.get("variants", {})) ^ set(manifest.get("left_out", {})) == {"model.int8.onnx"}
    variant = {"model.int8.onnx", "int8.examples.npz"} if "variants" in manifest else set()
    assert set(manifest["files"]) == {*graphs, *variant, "report.json", "int8.json"}
    assert manifest["outputs"]["embeddings"]["condition"] == evidence["condition"]
    (enhancer,) = manifest["auxiliary"]["enhancer"]["sources"].values()
    assert enhancer["sha256"] == evidence["enhancer"]["sha256"]


def test_face_bundle_when_read_is_current_until_a_detector_graph_changes(face: Path, tmp_path: Path) -> None:
    enhanced = read_evidence(shipped_evidence("face")).enhancer
    assert enhanced is not None
    expected = DLIB_INPUT.model_copy(update={"enhancer": EnhancerSpec(sizes=enhanced.sizes)})
    assert read_bundle(face).manifest.input == expected
    assert current_bundle(face, "face") is not None
    assert current_bundle(face, "voice") is None
    copy = tmp_path / "face"
    copy.mkdir()
    for path in face.iterdir():
        (copy / path.name).write_bytes(path.read_bytes() + (b"\0" if path.name == "rnet.onnx" else b""))
    assert current_bundle(copy, "face") is None


def test_shipped_evidence_when_read_meets_the_targets_relative_to_the_untouched_backbone() -> None:
    evidence = json.loads(shipped_evidence("face").read_text())
    raw = evidence["per_dim"]["128"]["backbone_metrics"]["news-photographs"]["eer"]
    ratio = {dim: report["metrics"]["news-photographs"]["eer"] / raw for dim, report in evidence["per_dim"].items()}
    assert ratio["128"] <= 1.00
    assert ratio["64"] <= 1.00
    assert ratio["32"] <= 1.30
    assert ratio["16"] <= 2.30
    for dim, report in evidence["per_dim"].items():
        assert report["gate"]["news-photographs"]["verdict"] == "passed", dim
    assert evidence["per_dim"]["128"]["gate"]["news-photographs"]["reference_eer"] == pytest.approx(raw)


def test_shipped_enhancer_ships_only_where_the_bound_lies_below_zero_and_names_its_thresholds() -> None:
    evidence = read_evidence(shipped_evidence("face"))
    enhancer = evidence.enhancer
    assert enhancer is not None
    shipped = [verdict for verdict in enhancer.verdicts if verdict.verdict == "ships"]
    assert len(enhancer.sizes) == len(shipped) >= 1
    for verdict in shipped:
        assert all(verdict.ways[way].upper < 0 for way in verdict.decided_by)
    for report in evidence.per_dim.values():
        assert report.bands is not None
        assert len(report.bands) == 4
        points = [point for band in report.bands for point in band.operating_points["1"] if point.fmr == 1e-3]
        *small, full = [point.threshold for point in points]
        assert (len(small), min(small) >= full) == (3, True)  # at 1e-4 nothing is measured
        assert report.bands[-1].operating_points == report.operating_points


def test_shares_of_small_faces_on_the_page_are_those_of_the_evidence() -> None:
    bands = read_evidence(shipped_evidence("face")).per_dim["128"].bands
    assert bands is not None
    lines = (ROOT / "docs" / "faces.md").read_text(encoding="utf-8").splitlines()
    for rate in ("0.001", "0.01"):
        (line,) = (line for line in lines if line.startswith(f"| `max_fmr` {rate}"))
        for cell, band in zip(line.strip("|").split("|")[1:], bands[:-1], strict=True):
            (found,) = (one for name, one in (band.metrics or {}).items() if name.endswith("own detection"))
            assert float(cell) == pytest.approx(100 * found.tar_at_fmr[rate], abs=0.51)


def test_enhancer_of_the_bundle_enhances_faces_of_the_sizes_that_ship(face: Path, chips: dict[str, np.ndarray]) -> None:
    spec = read_bundle(face).manifest.input
    assert isinstance(spec, ImageInputSpec)
    assert spec.enhancer is not None
    graph = open_ort_session(face / "sr.onnx", 1)
    trained = read_enhancer(FACE_ENHANCER)
    for chip in chips.values():
        native = np.array([spec.enhancer.sizes[0][0]], np.float32)
        small = reduced_chip(chip, int(native[0]))[None]
        (found,) = graph.run(["enhanced"], {"chips": small, "native_px": native})
        assert np.abs(found.astype(int) - trained.enhance(small, native)).max() <= 1
        assert not np.array_equal(found, small)


def test_graph_when_given_real_chips_equals_the_projection_of_both_views_by_hand(
    session: OrtSession, chips: dict[str, np.ndarray]
) -> None:
    network = DlibFace(DOWNLOADS).module().network
    projection, _ = load_projection(DEFAULT_MODELS["face"].fitted)
    weight = projection.state_dict()["weight"].numpy().astype(float)
    for chip in chips.values():
        views = [network(torch.tensor(np.ascontiguousarray(view))[None])[0].numpy() for view in (chip, chip[:, ::-1])]
        total = views[0].astype(float) + views[1]
        expected = weight @ (total / np.sqrt(np.sum(total**2)))
        np.testing.assert_allclose(session.run(chip[None])["embeddings"][0], expected, atol=1e-5)


def test_graph_when_comparing_people_tells_them_apart_at_every_dim(
    session: OrtSession, chips: dict[str, np.ndarray], face: Path
) -> None:
    embeddings = {name: session.run(chip[None])["embeddings"] for name, chip in chips.items()}
    for dim, report in read_bundle(face).manifest.output(EmbeddingOutput).per_dim.items():
        unit = {name: truncate_and_normalise(rows, int(dim))[0] for name, rows in embeddings.items()}
        threshold = next(p.threshold for p in report.operating_points["1"] if p.fmr == 1e-2)
        mated = [float(unit["obama"] @ unit[name]) for name in ("obama2", "obama3")]
        non_mated = [float(unit["biden"] @ unit[name]) for name in ("obama", "obama2", "obama3")]
        assert min(mated) >= threshold > max(non_mated), (dim, mated, non_mated)


def test_graph_when_embedding_a_known_chip_gives_the_frozen_embedding(session: OrtSession, face: Path) -> None:
    """If this fails because detection, alignment or the graph was changed on purpose, raise BASE_VERSION and freeze."""
    frozen = json.loads(FROZEN.read_text())
    y, x = np.mgrid[0:150, 0:150]
    chip = np.stack([(x + y) // 2 % 256, 255 - x, (x * y) // 100 % 256], axis=2).astype(np.uint8)
    embedding = truncate_and_normalise(session.run(chip[None])["embeddings"], 128)[0]
    assert read_bundle(face).manifest.version == frozen["version"]
    np.testing.assert_allclose(embedding, np.array(frozen["embedding"]), atol=1e-4)


def test_alignment_when_reading_known_pictures_finds_the_frozen_landmarks(face: Path, pictures: Path) -> None:
    frozen = json.loads(FROZEN.read_text())["landmarks"]
    reader = FaceReader(detector_of(face), DLIB_INPUT, ImageLimits(25.0), ANY_FACE)
    for name, expected in frozen.items():
        (reading,) = reader.read((pictures / f"{name}.jpg").read_bytes(), "dominant")
        assert reading.face is not None
        np.testing.assert_allclose(reading.face.landmarks, np.array(expected), atol=0.5)


def test_detector_when_exported_finds_what_torch_finds(face: Path, pictures: Path) -> None:
    from PIL import Image

    picture = Image.open(pictures / "obama" / "obama3.jpg").convert("RGB")
    faces = [detector.detect(picture)[0] for detector in (detector_of(face), FaceDetector(*Mtcnn(DOWNLOADS).open()))]
    np.testing.assert_allclose(faces[0].box, faces[1].box, atol=0.05)
    np.testing.assert_allclose(faces[0].landmarks, faces[1].landmarks, atol=0.05)
