"""Looks at a picture: the faces that the cascade found in it, or in an enlarged copy of it where they are small."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from matchka.modalities.face.alignment import by_prominence, prominence
from matchka.modalities.face.detection import Face, FaceDetector, Sighting
from matchka.modalities.face.pyramid import RETRY, smallest_face_px, suppress_overlaps
from matchka.modalities.face.spec import SMALL_PX
from matchka.vectors import FloatArray

# Below which there is no face in a photograph: the evidence of cascade and second look (docs/decisions/045).
MIN_EVIDENCE: Final = 3.7
# How much larger than the first network's window around it a face may turn out; its box is narrower than it is high.
WINDOW_MARGIN: Final = 1.25
SECOND_FACE_SHARE: Final = 0.6  # of the largest face's area, above which a second face makes a picture ambiguous


@dataclass(frozen=True)
class CloserLook:
    """What a closer look looks for; boxes are a little larger than the squares that become chips.

    Attributes:
        smallest_px: side of a box that it looks for.
        least_px: smaller boxes are texture, where a second look makes one smaller; of 199 faces of 16 px none was below
            13.1.
        largest_px: larger ones were looked for before.
        most_enlarged: more finds no more of them.
        enlarged_px: pixels of the enlarged copy: bounds its memory.
        max_level_px: see DetectorSettings: these two bound its time.
        max_level_windows: likewise.

    Source: docs/decisions/135.
    """

    smallest_px: float = 14.0
    least_px: float = 12.0
    largest_px: float = 80.0
    most_enlarged: float = 4.0
    enlarged_px: int = 1 << 21
    max_level_px: int = 1 << 19
    max_level_windows: int = 1024


CLOSER: Final = CloserLook()


class Look:
    """What the cascade found in a picture. Each face is looked at again once it is asked for, and never twice.

    Args:
        detector: that found them.
        image: that they were found in.
        sighting: what was found, in pixels of that image.
        enlarged: how many times larger than the picture that image is.
        least_px: smaller faces are none, in pixels of that image.
    """

    def __init__(
        self,
        detector: FaceDetector,
        image: Image.Image,
        sighting: Sighting,
        enlarged: float = 1.0,
        least_px: float = 0.0,
    ) -> None:
        self._detector = detector
        self._image = image
        self._faces = by_prominence(sighting.faces, *image.size)
        self._sighting = sighting
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
        for face in self._seen(largest_first):
            yield face if self._enlarged == 1.0 else _reduced(face, self._enlarged)

    def _seen(self, largest_first: bool = False) -> Iterator[Face]:
        """The same in pixels of the image."""
        order = range(len(self._faces))
        for number in sorted(order, key=lambda n: -self._faces[n].side_px) if largest_first else order:
            if number not in self._looked_at:
                self._looked_at[number] = self._detector.look_again(self._image, self._faces[number])
            face = self._looked_at[number]
            if face.evidence >= MIN_EVIDENCE and face.side_px >= self._least_px:
                yield face

    def settles_dominant(self) -> bool:
        """Whether the face that comes first would do so too, and look the same, in a look at every level."""
        first = next(self._seen(), None)
        return first is not None and self._settles(first, math.inf)

    def settles_only(self) -> bool:
        """Whether none is large enough to be a second one beside the largest either."""
        first, largest = next(self._seen(), None), next(self._seen(largest_first=True), None)
        if first is None or largest is None:
            return False
        return self._settles(first, math.sqrt(SECOND_FACE_SHARE) * largest.side_px)

    def _settles(self, first: Face, large_px: float) -> bool:
        """Whether nobody was overlooked who is more prominent than the first face, or larger than a number of pixels.

        Small faces are looked for only where one would be. A first face that is small itself settles nothing: smaller
        windows show it better.
        """
        prominent_px, overlooked_px = self._prominence(first), self._sighting.overlooked_px

        def may_matter(boxes: FloatArray) -> NDArray[np.bool_]:
            sides = WINDOW_MARGIN * np.maximum(*(boxes[:, 2:] - boxes[:, :2]).T)
            centres = (boxes[:, :2] + boxes[:, 2:]) / 2 - np.asarray(self._image.size, np.float32) / 2
            return np.asarray((sides - np.hypot(*centres.T) / 2 > prominent_px) | (sides > large_px))

        if min(prominent_px, large_px) >= overlooked_px:
            return True
        if first.side_px < overlooked_px:
            return False
        return not any(
            (self._prominence(face) > prominent_px or face.side_px > large_px)
            and self._detector.look_again(self._image, face).evidence >= MIN_EVIDENCE
            for face in self._others(self._sighting.overlooked(may_matter))
        )

    def _others(self, found: list[Face]) -> list[Face]:
        """Those that are not faces which a second look saw as well, looked at in smaller windows."""
        known = list(self._seen())
        seen = len(known)
        boxes = np.array([face.box for face in (*known, *found)])
        kept = suppress_overlaps(boxes, -np.arange(len(boxes), dtype=np.float32), 0.7, of_smaller=True)
        return [found[number - seen] for number in kept if number >= seen]

    def _prominence(self, face: Face) -> float:
        return prominence(face, *self._image.size)


Settled: TypeAlias = Callable[[Look], bool]


def look_at(detector: FaceDetector, image: Image.Image, settled: Settled | None = None) -> Look:
    """Look at a picture as it is.

    Args:
        detector: its networks look.
        image: RGB, upright.
        settled: whether what a coarse look saw is enough; without it there is none, and small faces are seen as well.
    """
    for sighting in detector.sightings(image, coarse=settled is not None):
        look = Look(detector, image, sighting)
        if settled(look) if settled is not None and sighting.overlooked_px else len(look):
            break
    return look


def look_closer(detector: FaceDetector, image: Image.Image) -> Look | None:
    """Look at an enlarged copy of a picture, for small faces; None of a picture too large to be searched for them.

    Args:
        detector: its networks look, with other settings.
        image: RGB, upright.
    """
    enlarged = max(1.0, min(CLOSER.most_enlarged, math.sqrt(CLOSER.enlarged_px / (image.width * image.height))))
    size = round(image.width * enlarged), round(image.height * enlarged)
    # the less certain settings at once: to try the usual ones before would double the time where there is no face
    settings = replace(
        RETRY,
        min_face_fraction=0.0,
        min_face_px=CLOSER.smallest_px * enlarged,
        max_face_fraction=min(RETRY.max_face_fraction, CLOSER.largest_px * enlarged / min(size)),
        max_level_px=CLOSER.max_level_px,
        max_level_windows=CLOSER.max_level_windows,
    )
    if smallest_face_px(*size, settings) >= SMALL_PX * enlarged:
        return None
    closer = detector.with_settings(settings)
    copy = image.resize(size, Image.Resampling.BICUBIC)
    return Look(closer, copy, Sighting(closer.detect(copy), 0.0), enlarged, CLOSER.least_px * enlarged)


def _reduced(face: Face, enlarged: float) -> Face:
    by = np.float32(enlarged)
    return replace(face, box=face.box / by, landmarks=face.landmarks / by)
