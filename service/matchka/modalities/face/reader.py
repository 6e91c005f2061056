"""A picture -> the chips of the faces asked for, with what was seen of each."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, Literal, TypeAlias

import numpy as np
from PIL import Image

from matchka.errors import NoFaceError, PoorFaceError, SeveralFacesError, SmallFaceError, TooManyFacesError
from matchka.modalities.face.alignment import expected_box, extract_chip, fit_similarity
from matchka.modalities.face.detection import Face, FaceDetector
from matchka.modalities.face.image import ImageLimits, read_image
from matchka.modalities.face.look import SECOND_FACE_SHARE, Look, Settled, look_at, look_closer
from matchka.modalities.face.pyramid import SETTINGS, PixelArray
from matchka.modalities.face.quality import Quality, measure_quality
from matchka.modalities.face.spec import SMALL_PX, ImageInputSpec

FaceChoice: TypeAlias = Literal["dominant", "only", "aligned", "all"]
# The mean confidence of the detector's second look below which a sample that came aligned is no face
# (docs/decisions/045).
MIN_CONFIDENCE: Final = 0.85
# One look at the box as it is, and at its mirror image, takes a third of the time. From this mean on, the mean of all
# six has never been too low (docs/decisions/204).
GLANCE: Final = replace(SETTINGS, second_look=(1.0,))
CERTAIN: Final = 0.98
# A face of 16 px loses a ninth of its errors by the bicubic one; the backbone's own are cut by the bilinear one.
SMALL_RESAMPLING: Final = Image.Resampling.BICUBIC
FULL_RESAMPLING: Final = Image.Resampling.BILINEAR
LARGEST_ASKED: Final = 8  # faces of a crowd, the largest boxes first: is any of them of full size?
# `all` is not here: any face that is overlooked would be missing.
SETTLED: Final[Mapping[FaceChoice, Settled]] = {"dominant": Look.settles_dominant, "only": Look.settles_only}


@dataclass(frozen=True)
class FaceLimits:
    """Which faces are compared; see Quality for the figures.

    Attributes:
        min_eye_distance_px: smaller faces are refused.
        min_sharpness: more blurred ones are refused.
        max_yaw: further turned ones are refused.
        min_visible: faces with a smaller share of the chip inside the picture are refused.
        max_faces: most faces of one picture that are looked up together.
        min_enrolled_px: faces of a smaller native_px do not become templates.
    """

    min_eye_distance_px: float
    min_sharpness: float
    max_yaw: float
    min_visible: float
    max_faces: int
    min_enrolled_px: float = 0.0


@dataclass(frozen=True)
class FaceReading:
    """A chip and what was seen. `face` and `quality` are None for a sample that came aligned.

    Attributes:
        chip: uint8, (chip_px, chip_px, 3).
        native_px: side of the square that became the chip, in pixels of the picture; None of a sample that came
            aligned, which may have been enlarged before.
        enhanced: whether the chip was.
    """

    chip: PixelArray
    face: Face | None
    quality: Quality | None
    native_px: float | None = None
    enhanced: bool = False


class FaceReader:
    """Reads pictures for one bundle.

    Where the bundle reads small faces, and a picture shows no other, an enlarged copy of it is looked at; the chips are
    cut out of the picture itself all the same.

    Args:
        detector: finds faces.
        spec: the bundle's input.
        image_limits: checked before decoding.
        face_limits: checked on every face that is chosen.
        settled: of each choice, when a look at what is large is enough; of others every level of the pyramid is looked
            at.
    """

    def __init__(
        self,
        detector: FaceDetector,
        spec: ImageInputSpec,
        image_limits: ImageLimits,
        face_limits: FaceLimits,
        settled: Mapping[FaceChoice, Settled] = SETTLED,
    ) -> None:
        self._detector = detector
        self._glancing = detector.with_settings(GLANCE)
        self._chip_px = spec.chip_px
        self._template = spec.template
        self._reads_small = spec.enhancer is not None
        self._image_limits = image_limits
        self._face_limits = face_limits
        self._settled = settled

    def read(self, data: bytes, choice: FaceChoice) -> list[FaceReading]:
        """The faces of a picture that a choice names.

        Args:
            data: the whole file.
            choice: `dominant`, the large and central face; `only`, refused if a second face has more than 60 % of the
                largest one's area; `aligned`, the picture is a chip already; `all`, every face, most prominent first.

        Returns: at least one reading; exactly one unless `all` was asked for.

        Raises:
            EmptyFileError, NotImageError, ImageTooLargeError, ImageTooThinError, ImageTooComplexError,
            TruncatedFileError: see read_image.
            NoFaceError, SeveralFacesError, PoorFaceError, TooManyFacesError: no face that can be used.
        """
        return self.readings_of(self.decode(data), choice)

    def decode(self, data: bytes) -> Image.Image:
        """The first half of read(): the picture."""
        return read_image(data, self._image_limits)

    def readings_of(self, image: Image.Image, choice: FaceChoice) -> list[FaceReading]:
        """The second half of read(): the faces of a picture."""
        if choice == "aligned":
            return [self._read_aligned(image)]
        look = self._look(image, choice)
        if choice == "all":
            return self._read_all(image, look)
        if choice == "only":
            _require_one(list(islice(look.seen(largest_first=True), 2)))
        for face in look.seen():
            return [self._checked(self._align(image, face))]
        raise _no_face()

    def _look(self, image: Image.Image, choice: FaceChoice) -> Look:
        """The look at the picture, or a closer one that sees what this one does not."""
        look = look_at(self._detector, image, self._settled.get(choice))
        if not self._reads_small:
            return look
        largest = islice(look.seen(largest_first=True), LARGEST_ASKED)
        if any(self._native_px(face) >= SMALL_PX for face in largest):
            return look
        closer = look_closer(self._detector, image)
        return look if closer is None or not any(True for _ in closer.seen()) else closer

    def _native_px(self, face: Face) -> float:
        return fit_similarity(face.landmarks, self._template).scale * self._chip_px

    def require_enrollable(self, reading: FaceReading) -> None:
        """Refuse a face that is too small for a template, where its size is known.

        A template lasts: two small faces tell far less of each other than a small and a large one.

        Raises: SmallFaceError: it is too small.
        """
        least = self._face_limits.min_enrolled_px
        if reading.native_px is not None and reading.native_px < least:
            raise SmallFaceError(
                f"The face is too small to be enrolled: it covers {reading.native_px:.0f} pixels a side, and "
                f"{least:g} are needed.",
                value=round(reading.native_px, 1),
                remedy="Enrol a picture that shows it larger; small faces can be compared with that. The setting "
                "MATCHKA_FACE__MIN_ENROLLED_PX says what is needed.",
            )

    def _read_aligned(self, image: Image.Image) -> FaceReading:
        """The picture as a chip, if the detector sees a face where the template puts it."""
        side = (self._chip_px, self._chip_px)
        chip = image.resize(side, Image.Resampling.BILINEAR, reducing_gap=2.0)
        landmarks = np.asarray(self._template.points, dtype=np.float32)
        if not self._is_face(chip, Face(expected_box(self._template), landmarks, 0.0)):
            raise NoFaceError(
                "The aligned picture shows no face in its middle.",
                remedy="Leave face=aligned out, so that the face is found and aligned; or send another picture.",
            )
        return FaceReading(np.asarray(chip), None, None)

    def _is_face(self, chip: Image.Image, expected: Face) -> bool:
        return (
            self._glancing.look_again(chip, expected).confidence >= CERTAIN
            or self._detector.look_again(chip, expected).confidence >= MIN_CONFIDENCE
        )

    def _read_all(self, image: Image.Image, look: Look) -> list[FaceReading]:
        if len(look) > self._face_limits.max_faces:
            raise TooManyFacesError(
                f"The picture shows more than {self._face_limits.max_faces} faces.",
                value=len(look),
                remedy="Cut it into parts, or ask for face=dominant.",
            )
        readings = [self._align(image, face) for face in look.seen(largest_first=True)]
        if not readings:
            raise _no_face()
        usable = [reading for reading in readings if self._quality_problem(reading) is None]
        return usable or [self._checked(readings[0])]

    def _align(self, image: Image.Image, face: Face) -> FaceReading:
        """A face and its chip."""
        similarity = fit_similarity(face.landmarks, self._template)
        native_px = similarity.scale * self._chip_px
        is_small = self._reads_small and native_px < SMALL_PX
        chip = extract_chip(image, similarity, self._chip_px, SMALL_RESAMPLING if is_small else FULL_RESAMPLING)
        return FaceReading(chip, face, measure_quality(face, chip, similarity, image), native_px)

    def _checked(self, reading: FaceReading) -> FaceReading:
        problem = self._quality_problem(reading)
        if problem is not None:
            raise PoorFaceError(
                f"The face cannot be compared: {problem}.",
                remedy="Send a picture of the face from the front, sharp, near and whole.",
            )
        return reading

    def _quality_problem(self, reading: FaceReading) -> str | None:
        limits, quality = self._face_limits, reading.quality
        if quality is None:
            return None
        if quality.eye_distance_px < limits.min_eye_distance_px:
            return f"its eyes are {quality.eye_distance_px:.1f} pixels apart, {limits.min_eye_distance_px:g} are needed"
        if quality.sharpness < limits.min_sharpness:
            return f"its sharpness is {quality.sharpness:.2f}, {limits.min_sharpness:g} is needed"
        if abs(quality.yaw) > limits.max_yaw:
            return f"it is turned by {quality.yaw:+.2f}, at most {limits.max_yaw:g} is allowed"
        if quality.visible < limits.min_visible:
            return f"{quality.visible:.0%} of it lies in the picture, {limits.min_visible:.0%} is needed"
        return None


def _no_face() -> NoFaceError:
    return NoFaceError(
        "No face was found in the picture.",
        remedy="Send a picture that shows a face from the front, at least a twelfth of its shorter side wide.",
    )


def _require_one(largest: list[Face]) -> None:
    """Refuse a second face of similar size. Args: largest: the two largest faces, or fewer."""
    if len(largest) < 2:
        return
    share = (largest[1].side_px / largest[0].side_px) ** 2
    if share > SECOND_FACE_SHARE:
        raise SeveralFacesError(
            f"The picture shows more than one face, and the second is {share:.0%} as large as the first.",
            value=f"{share:.0%}",
            remedy="Cut out the one that is meant, or ask for face=dominant.",
        )
