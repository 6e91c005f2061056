"""Looks at a picture: the faces that the cascade found in it, or in an enlarged copy of it where they are small."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
from PIL import Image

from matchka.modalities.face.alignment import by_prominence
from matchka.modalities.face.detection import Face, FaceDetector
from matchka.modalities.face.pyramid import RETRY, smallest_face_px
from matchka.modalities.face.spec import SMALL_PX

# Below which there is no face in a photograph: the evidence of cascade and second look (docs/decisions/045).
MIN_EVIDENCE: Final = 3.7
# Of a closer look (docs/decisions/135). Boxes are a little larger than the squares that become chips.
SMALLEST_PX: Final = 14.0  # of a box that it looks for
LEAST_PX: Final = 12.0  # of a box that a second look makes smaller: texture; of 199 faces of 16 px none was below 13.1
LARGEST_PX: Final = 80.0  # larger ones were looked for before
MOST_ENLARGED: Final = 4.0  # more finds no more of them
ENLARGED_PX: Final = 1 << 21  # pixels of the enlarged copy: bounds its memory
LEVEL_PX: Final = 1 << 19  # see DetectorSettings: these two bound its time
LEVEL_WINDOWS: Final = 1024


class Look:
    """What the cascade found in a picture. Each face is looked at again once it is asked for, and never twice.

    Args:
        detector: that found them.
        image: that they were found in.
        faces: in pixels of that image.
        enlarged: how many times larger than the picture that image is.
        least_px: smaller faces are none, in pixels of that image.
    """

    def __init__(
        self,
        detector: FaceDetector,
        image: Image.Image,
        faces: list[Face],
        enlarged: float = 1.0,
        least_px: float = 0.0,
    ) -> None:
        self._detector = detector
        self._image = image
        self._faces = by_prominence(faces, *image.size)
        self._enlarged = enlarged
        self._least_px = least_px
        self._looked_at: dict[int, Face] = {}

    def __len__(self) -> int:
        """How many the cascade found."""
        return len(self._faces)

    def seen(self, largest_first: bool = False) -> Iterator[Face]:
        """Those that a second look sees as well, with better landmarks, one after the other.

        Args: largest_first: in this order; by default the most prominent come first.

        Returns: faces in pixels of the picture.
        """
        order = range(len(self._faces))
        for number in sorted(order, key=lambda n: -self._faces[n].side_px) if largest_first else order:
            if number not in self._looked_at:
                self._looked_at[number] = self._detector.look_again(self._image, self._faces[number])
            face = self._looked_at[number]
            if face.evidence >= MIN_EVIDENCE and face.side_px >= self._least_px:
                yield face if self._enlarged == 1.0 else _reduced(face, self._enlarged)


def look_at(detector: FaceDetector, image: Image.Image) -> Look:
    """Look at a picture as it is."""
    return Look(detector, image, detector.detect(image))


def look_closer(detector: FaceDetector, image: Image.Image) -> Look | None:
    """Look at an enlarged copy of a picture, for small faces; None of a picture too large to be searched for them.

    Args:
        detector: its networks look, with other settings.
        image: RGB, upright.
    """
    enlarged = max(1.0, min(MOST_ENLARGED, math.sqrt(ENLARGED_PX / (image.width * image.height))))
    size = round(image.width * enlarged), round(image.height * enlarged)
    # the less certain settings at once: to try the usual ones before would double the time where there is no face
    settings = replace(
        RETRY,
        min_face_fraction=0.0,
        min_face_px=SMALLEST_PX * enlarged,
        max_face_fraction=min(RETRY.max_face_fraction, LARGEST_PX * enlarged / min(size)),
        max_level_px=LEVEL_PX,
        max_level_windows=LEVEL_WINDOWS,
    )
    if smallest_face_px(*size, settings) >= SMALL_PX * enlarged:
        return None
    closer = detector.with_settings(settings)
    copy = image.resize(size, Image.Resampling.BICUBIC)
    return Look(closer, copy, closer.detect(copy), enlarged, LEAST_PX * enlarged)


def _reduced(face: Face, enlarged: float) -> Face:
    by = np.float32(enlarged)
    return replace(face, box=face.box / by, landmarks=face.landmarks / by)
