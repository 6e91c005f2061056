"""Pictures as rows of features: one chip each, cached, skipped with a reason, and never cut or changed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from matchka.inference.session import open_ort_session
from matchka.modalities.face.alignment import by_prominence, extract_chip, fit_similarity
from matchka.modalities.face.detection import FaceDetector
from matchka.modalities.face.reader import FaceReader
from matchka.modalities.face.spec import EnhancerSpec, ImageInputSpec
from matchka.modalities.graph import Graph
from matchka_train.backbones.auxiliary import RequiredPart
from matchka_train.backbones.face.dlib import DLIB_INPUT, TEMPLATE
from matchka_train.backbones.face.mtcnn import Mtcnn
from matchka_train.datasets.sample import Sample
from matchka_train.errors import DownloadError, FeatureError, TooManyUnreadableError
from matchka_train.features.extraction import extract_features
from matchka_train.modalities import describe_reader, open_reader
from matchka_train.modalities.augmentation import AugmentationRecipe, View
from matchka_train.modalities.face import ANY_FACE, ANY_IMAGE, ChipReader
from matchka_train.modalities.skipped import Skipped
from matchka_train.weights.package_catalogue import FACE_RECOGNITION
from matchka_train.weights.packages import fetch_package, read_archived
from matchka_train.weights.source import WeightSource
from tests.factories.checkout import ROOT
from tests.factories.face_bundles import slow_enhanced, write_enhancer

DOWNLOADS = ROOT / "build" / "downloads"
LIMITS = {}


MTCNN = Mtcnn(DOWNLOADS)
SOURCE = WeightSource("colour", "tests", "1", "0" * 64, "Apache-2.0")


class Mean(torch.nn.Module):
    """The direction of a chip's mean colour in its four quarters."""

    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        quarters = chips.float().reshape(-1, 2, 75, 2, 75, 3).mean(dim=(2, 4)).flatten(1)
        return torch.nn.functional.normalize(quarters, dim=1)


@dataclass(frozen=True)
class ColourBackbone:
    auxiliary: tuple[RequiredPart, ...] = (MTCNN,)
    name: str = "colour"
    source: WeightSource = SOURCE
    input: ImageInputSpec = DLIB_INPUT
    embedding_dim: int = 12

    @property
    def published(self) -> "ColourBackbone":
        return self

    def module(self) -> torch.nn.Module:
        return Mean()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    names = ("biden", "obama", "obama2")
    members = {name: f"face_recognition-1.3.0/tests/test_images/{name}.jpg" for name in names}
    try:
        Mtcnn(DOWNLOADS).modules()
        contents = read_archived(fetch_package(FACE_RECOGNITION, DOWNLOADS, Console(quiet=True)), members.values())
    except DownloadError as error:
        pytest.skip(f"the pictures are neither in the cache nor to be fetched: {error}")
    for name, member in members.items():
        (folder / f"{name}.jpg").write_bytes(contents[member])
    return folder


def samples_in(folder: Path) -> list[Sample]:
    return [Sample(path, path.stem[:5], "here") for path in sorted(folder.glob("*.jpg"))]


def extract(samples: list[Sample], cache: Path, backbone: ColourBackbone, view: View | None = None):
    with Progress(console=Console(quiet=True)) as progress:
        return extract_features(samples, backbone, cache, progress, LIMITS, view)


@pytest.mark.slow
def test_extract_features_when_given_pictures_embeds_the_chip_cut_by_hand(pictures: Path, tmp_path: Path) -> None:
    features = extract(samples_in(pictures), tmp_path, ColourBackbone())
    assert features.window_counts.tolist() == [1, 1, 1]
    detector = FaceDetector(*Mtcnn(DOWNLOADS).open())
    for row, path in zip(features.windows, features.paths, strict=True):
        image = Image.open(path).convert("RGB")
        face = detector.look_again(image, by_prominence(detector.detect(image), *image.size)[0])
        chip = extract_chip(image, fit_similarity(face.landmarks, TEMPLATE), 150).astype(float)
        colours = np.array([chip[y : y + 75, x : x + 75].mean(axis=(0, 1)) for y in (0, 75) for x in (0, 75)]).ravel()
        np.testing.assert_allclose(row, colours / np.sqrt(np.sum(colours**2)), atol=1e-5)


@pytest.mark.slow
def test_extract_features_when_the_detector_is_another_computes_anew(pictures: Path, tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Other(Mtcnn):
        @property
        def sha256(self) -> str:
            return "1" * 64

    for detector in (Mtcnn(DOWNLOADS), Mtcnn(DOWNLOADS), Other(DOWNLOADS)):
        extract(samples_in(pictures), tmp_path, ColourBackbone((detector,)))
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2


@dataclass(frozen=True)
class Own:
    """An enhancer; see matchka_train.backbones.auxiliary.RequiredPart."""

    path: Path
    name: str = "enhancer"
    sha256: str = "2" * 64

    def open(self) -> tuple[Graph, ...]:
        return (open_ort_session(self.path, 1),)


@pytest.mark.slow
def test_extract_features_when_the_bundle_enhances_small_faces_embeds_them_as_the_service_does(
    pictures: Path, tmp_path: Path
) -> None:
    """Of the sizes that are enhanced, and of no others."""
    sizes = EnhancerSpec(sizes=((12.0, 30.0),))
    spec = DLIB_INPUT.model_copy(update={"enhancer": sizes})
    plain, enhanced = (
        ColourBackbone(parts, input=spec) for parts in ((MTCNN,), (MTCNN, Own(write_enhancer(tmp_path / "sr.onnx"))))
    )
    folder = tmp_path / "small"
    folder.mkdir()
    (large,) = FaceReader(FaceDetector(*MTCNN.open()), spec, ANY_IMAGE, ANY_FACE).read(
        (pictures / "biden.jpg").read_bytes(), "dominant"
    )
    photograph = Image.open(pictures / "biden.jpg").convert("RGB")
    for side in (24, 60):
        by = side / large.native_px
        photograph.resize((round(photograph.width * by), round(photograph.height * by))).save(folder / f"{side}.png")
    samples = [Sample(folder / f"{side}.png", f"{side}", "here") for side in (24, 60)]
    cut, found = (open_reader(backbone, LIMITS, None) for backbone in (plain, enhanced))
    for sample, is_small in zip(samples, (True, False), strict=True):
        before, after = (reader.rows(sample.path.read_bytes(), sample, "")[0] for reader in (cut, found))
        native = (
            FaceReader(FaceDetector(*MTCNN.open()), spec, ANY_IMAGE, ANY_FACE)
            .read(sample.path.read_bytes(), "dominant")[0]
            .native_px
        )
        assert np.array_equal(after, slow_enhanced(before, native) if is_small else before)
    assert describe_reader(plain, LIMITS) != describe_reader(enhanced, LIMITS)


@pytest.mark.slow
def test_rows_when_a_picture_shows_nobody_says_why(pictures: Path, tmp_path: Path) -> None:
    reader = ChipReader(DLIB_INPUT, Mtcnn(DOWNLOADS))
    Image.new("RGB", (80, 60), (9, 9, 9)).save(tmp_path / "nobody.png")
    (tmp_path / "text.jpg").write_text("no picture")
    for name, reason in (("nobody.png", "No face"), ("text.jpg", "not a picture")):
        skipped = reader.rows((tmp_path / name).read_bytes(), Sample(tmp_path / name, "x", "here"), "")
        assert isinstance(skipped, Skipped)
        assert reason in skipped.reason
    with pytest.raises(TooManyUnreadableError):
        extract([*samples_in(pictures), Sample(tmp_path / "text.jpg", "x", "here")], tmp_path / "c", ColourBackbone())


def test_open_reader_when_pictures_should_be_changed_or_cut_or_have_no_detector_refuses(pictures: Path) -> None:
    with pytest.raises(FeatureError, match="no changed copies"):
        open_reader(ColourBackbone(), LIMITS, View(1, 0, AugmentationRecipe()))
    with pytest.raises(FeatureError, match="no detector"):
        open_reader(ColourBackbone(()), LIMITS, None)
    with pytest.raises(FeatureError, match="no parts"):
        open_reader(ColourBackbone(), LIMITS, None).rows(b"", Sample(next(pictures.iterdir()), "x", "here", 0, 2), "")
