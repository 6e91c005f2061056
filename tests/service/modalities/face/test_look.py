"""When a coarse look is enough: the face that is chosen stays the same, whoever else is seen by a closer one."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from matchka.bundles.bundle import read_bundle
from matchka.errors import MatchkaError
from matchka.inference.session import open_ort_session
from matchka.modalities.face.alignment import by_prominence, prominence
from matchka.modalities.face.detection import Face, FaceDetector, Matters, Sighting
from matchka.modalities.face.image import ImageLimits
from matchka.modalities.face.look import SECOND_FACE_SHARE, Look
from matchka.modalities.face.reader import SETTLED, FaceChoice, FaceReader, FaceReading
from matchka.modalities.face.sample_reader import finding_of
from matchka.modalities.face.settings import FaceSettings
from matchka.modalities.face.spec import ImageInputSpec
from tests.factories.doubtful_faces import opened
from tests.factories.group_pictures import CROWDS, group_picture
from tests.factories.junk_pictures import junk_pictures

SIZE = (1200, 900)
OVERLOOKED_PX = 150.0
CHOICES: tuple[FaceChoice, ...] = ("dominant", "only")


class Sure:
    """A last network that has one opinion of everything."""

    def __init__(self, confidence: float) -> None:
        self._confidence = confidence

    def run(self, _names: None, feeds: Mapping[str, np.ndarray]) -> list[Any]:
        count = len(feeds["pixels"])
        landmarks = np.tile(np.float32([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]]), (count, 1, 1))
        return [np.full(count, self._confidence, np.float32), np.zeros((count, 4), np.float32), landmarks]


class Doubting(FaceDetector):
    """Takes faces of one side for none at a second look."""

    def __init__(self, side_px: float) -> None:
        network = Sure(0.99)
        super().__init__(network, network, network)
        self._side_px = side_px

    def look_again(self, image: Image.Image, face: Face) -> Face:
        found = super().look_again(image, face)
        return replace(found, evidence=-math.inf) if math.isclose(face.side_px, self._side_px) else found


def face(x: float, y: float, side: float) -> Face:
    """A face of this side around a place."""
    box = np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2], np.float32)
    return Face(box, np.zeros((5, 2), np.float32), 0.99)


def look(*faces: Face, confidence: float = 0.99, overlooked: Sequence[Face] = ()) -> Look:
    """A look at faces of 150 px and more; of the others a closer one sees those whose boxes are asked for."""
    network = Sure(confidence)
    detector = FaceDetector(network, network, network)

    def asked(matters: Matters) -> list[Face]:
        return [one for one in overlooked if matters(one.box[None])[0]]

    return Look(detector, Image.new("RGB", SIZE), Sighting(list(faces), OVERLOOKED_PX, asked))


@pytest.mark.parametrize(
    ("faces", "overlooked", "dominant", "only"),
    [
        ([], [], False, False),
        ([face(600, 450, 300)], [], True, True),
        ([face(600, 450, 149)], [], False, False),  # smaller windows would show it better
        ([face(600, 450, 160)], [face(900, 450, 149)], True, False),  # 87 % of the area
        ([face(600, 450, 160)], [face(900, 450, 120)], True, True),  # 56 %
        ([face(600, 450, 160)], [], True, True),
        ([face(150, 450, 300)], [], True, True),
        ([face(150, 450, 300)], [face(600, 450, 90)], False, False),  # 300 px, less half of 450, is 75
        ([face(150, 450, 300)], [face(600, 450, 70)], True, True),
        ([face(150, 450, 300)], [face(700, 450, 90)], True, True),  # 40
        ([face(150, 450, 300)], [face(150, 450, 140)], True, True),  # a part of the same face
        ([face(150, 450, 300), face(600, 450, 160)], [face(600, 300, 149)], True, True),
    ],
)
def test_look_that_overlooked_faces_below_150_px_is_enough_where_none_of_them_is_chosen(
    faces: list[Face], overlooked: list[Face], dominant: bool, only: bool
) -> None:
    assert look(*faces, overlooked=overlooked).settles_dominant() == dominant
    assert look(*faces, overlooked=overlooked).settles_only() == only


def test_look_at_what_is_no_face_at_a_second_look_is_not_enough() -> None:
    doubtful = look(face(600, 450, 300), confidence=0.5)
    assert not doubtful.settles_dominant()
    assert not doubtful.settles_only()


def test_face_behind_what_is_no_face_at_a_second_look_counts_as_another_one() -> None:
    shown, doubtful, behind = face(600, 450, 160), face(900, 450, 200), face(900, 450, 149)
    for detector, only in ((Doubting(200), False), (Doubting(1000), True)):
        sighting = Sighting([shown, doubtful], OVERLOOKED_PX, lambda _matters: [behind])
        assert Look(detector, Image.new("RGB", SIZE), sighting).settles_only() == only


def test_look_that_is_enough_names_the_same_face_whichever_smaller_ones_are_there() -> None:
    generator = np.random.default_rng(3)

    def drawn(least: float, most: float, count: int) -> list[Face]:
        sides, places = generator.uniform(least, most, count), generator.uniform((0, 0), SIZE, (count, 2))
        return [face(x, y, side) for (x, y), side in zip(places, sides, strict=True)]

    settled = {"dominant": 0, "only": 0}
    for _ in range(300):
        seen, overlooked = drawn(100, 600, int(generator.integers(1, 4))), drawn(1, OVERLOOKED_PX, 3)
        if any(overlap(one, other) for one in overlooked for other in (*seen, *overlooked) if one is not other):
            continue  # nobody is in front of somebody
        everybody = by_prominence([*seen, *overlooked], *SIZE)
        largest = sorted(everybody, key=lambda one: -one.side_px)
        coarse = look(*seen, overlooked=overlooked)
        if coarse.settles_dominant():
            settled["dominant"] += 1
            assert everybody[0] is by_prominence(seen, *SIZE)[0]
        if coarse.settles_only():
            settled["only"] += 1
            assert everybody[0] is by_prominence(seen, *SIZE)[0]
            second = [one for one in largest[1:] if one.side_px**2 > SECOND_FACE_SHARE * largest[0].side_px ** 2]
            assert all(any(one is other for other in seen) for one in second)
    assert min(settled.values()) > 30


def overlap(one: Face, other: Face) -> bool:
    sides = np.minimum(one.box[2:], other.box[2:]) - np.maximum(one.box[:2], other.box[:2])
    return bool((sides > 0).all())


def test_prominence_of_a_face_is_at_most_its_side() -> None:
    assert prominence(face(600, 450, 80), *SIZE) == pytest.approx(80)
    assert prominence(face(600, 150, 80), *SIZE) == pytest.approx(80 - 150)


@pytest.fixture(scope="module")
def detector(models_dir: Path) -> FaceDetector:
    graphs = (open_ort_session(models_dir / "face" / f"{name}.onnx", 1) for name in ("pnet", "rnet", "onet"))
    return FaceDetector(*graphs)


@pytest.fixture(scope="module")
def readers(detector: FaceDetector, models_dir: Path) -> tuple[FaceReader, FaceReader]:
    """One that looks at every level of the pyramid first, and one that begins with what is large."""
    spec = read_bundle(models_dir / "face").manifest.input
    assert isinstance(spec, ImageInputSpec)
    limits = FaceSettings().face_limits(spec)
    whole, usual = (FaceReader(detector, spec, ImageLimits(25.0), limits, rule) for rule in ({}, SETTLED))
    return whole, usual


def answer(reader: FaceReader, picture: Image.Image, choice: FaceChoice) -> FaceReading | str:
    """The face, or the name of the error."""
    try:
        (found,) = reader.readings_of(picture, choice)
    except MatchkaError as error:
        return type(error).__name__
    return found


def same(before: FaceReading | str, after: FaceReading | str) -> bool:
    if isinstance(before, str) or isinstance(after, str):
        return before == after
    return finding_of(before).is_same(finding_of(after))


def test_sightings_end_with_what_a_look_at_every_level_sees(detector: FaceDetector, face_samples: Path) -> None:
    picture = opened(face_samples / "obama" / "obama2.jpg")
    coarse, fine, retried = detector.sightings(picture)
    assert coarse.overlooked_px == pytest.approx(626 / 12 / 0.709**2)
    assert (fine.overlooked_px, retried.overlooked_px) == (0.0, 0.0)
    assert len(retried.faces) >= len(fine.faces) >= len(coarse.faces) >= 1
    for one, other in zip(fine.faces, detector.detect(picture), strict=True):
        np.testing.assert_array_equal(one.box, other.box)
        np.testing.assert_array_equal(one.landmarks, other.landmarks)


def test_read_of_the_samples_is_the_same_number_for_number(
    readers: tuple[FaceReader, FaceReader], face_samples: Path
) -> None:
    for path in sorted(face_samples.glob("*/*.jpg")):
        for choice in CHOICES:
            before, after = (answer(reader, opened(path), choice) for reader in readers)
            assert isinstance(before, FaceReading)
            assert isinstance(after, FaceReading)
            assert before.chip.tobytes() == after.chip.tobytes()
            assert (before.quality, before.native_px) == (after.quality, after.native_px)


def test_read_of_junk_finds_nobody_after_a_coarse_look_either(readers: tuple[FaceReader, FaceReader]) -> None:
    for one in junk_pictures(187, 1, 150):
        assert [answer(reader, one.picture, "dominant") for reader in readers] == ["NoFaceError"] * 2


def crowds(photographs: list[Image.Image], count: int) -> Iterator[Image.Image]:
    for crowd in CROWDS.values():
        generator = np.random.default_rng(187)
        for _ in range(count):
            yield group_picture(photographs, crowd, generator, (640, 480))


@pytest.mark.slow
def test_read_of_news_photographs_and_of_groups_of_their_people_chooses_the_same_face(
    readers: tuple[FaceReader, FaceReader], shared_data: Path
) -> None:
    photographs = [opened(path) for path in sorted((shared_data / "face" / "dev").rglob("*.jpg"))[::32]]
    for picture in [*photographs, *crowds(photographs, 4)]:
        for choice in CHOICES:
            before, after = (answer(reader, picture, choice) for reader in readers)
            assert same(before, after)
