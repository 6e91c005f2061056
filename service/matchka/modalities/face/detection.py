"""Face detection: an image -> boxes and five landmarks per face, by the MTCNN cascade on ONNX graphs.

Coordinates are pixels of the given image with (0, 0) at the outer corner of its first pixel, so that the
centre of that pixel is (0.5, 0.5). Boxes are (x0, y0, x1, y1).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from matchka.modalities.face.pyramid import (
    ONET_PX,
    OUTSIDE_GREY,
    PNET_STRIDE_PX,
    PNET_WINDOW_PX,
    RETRY,
    RNET_PX,
    SETTINGS,
    DetectorSettings,
    FaceCandidates,
    best_windows,
    crop_squares,
    overlooked_px,
    pyramid,
    shift_boxes,
    square_boxes,
    suppress_overlaps,
    window_grid,
    working_image,
)
from matchka.modalities.graph import Graph
from matchka.vectors import FloatArray

# Order of the landmarks in a mirrored picture.
MIRRORED: Final = (1, 0, 2, 4, 3)
CROPS_AT_ONCE: Final = 32
SURE: Final = 1e-4  # nearer to 0 or 1 the last network's confidence says no more


@dataclass(frozen=True)
class Face:
    """One detected face.

    Attributes:
        box: float32, (4,), x0 y0 x1 y1 in pixels; may reach beyond the image.
        landmarks: float32, (5, 2), x y in pixels: the eye on the left of the image, the other eye, nose tip,
            mouth corner on the left of the image, the other corner.
        confidence: of the last network, 0..1; after `look_again`, its mean over the looks.
        evidence: after `look_again`, that this is a face: log-odds, the mean of the better half of the looks and half
            the cascade's own.
    """

    box: FloatArray
    landmarks: FloatArray
    confidence: float
    evidence: float = -math.inf

    @property
    def side_px(self) -> float:
        """Geometric mean of the box's width and height."""
        width, height = (self.box[2:] - self.box[:2]).tolist()
        return math.sqrt(max(width, 0.0) * max(height, 0.0))


Matters: TypeAlias = Callable[[FloatArray], npt.NDArray[np.bool_]]  # boxes (n, 4), pixels -> (n,)


@dataclass(frozen=True)
class Sighting:
    """What one look at an image saw.

    Attributes:
        faces: in order of falling confidence.
        overlooked_px: smaller faces may be there as well, by their side; 0 of a look at every level, which sees what
            there is to be seen.
        overlooked: looks for smaller faces among the boxes that matter.
    """

    faces: list[Face]
    overlooked_px: float
    overlooked: Callable[[Matters], list[Face]] = field(default=lambda _matters: [], repr=False)


class FaceDetector:
    """The MTCNN cascade: windows on a pyramid, then two networks that look closer.

    Source: Zhang et al. 2016, arXiv:1604.02878.
    """

    def __init__(
        self,
        pnet: Graph,
        rnet: Graph,
        onet: Graph,
        settings: DetectorSettings = SETTINGS,
        retry: DetectorSettings | None = RETRY,
    ) -> None:
        """Keep the three graphs and the settings.

        Args:
            pnet: first network; like the others it has one input, `pixels`, uint8 NHWC.
            rnet: second network.
            onet: last network.
            settings: for every picture.
            retry: for a picture in which `settings` find nothing; None never tries again.
        """
        self._pnet = pnet
        self._rnet = rnet
        self._onet = onet
        self._settings = settings
        self._retries = () if retry is None else (retry,)

    def with_settings(self, settings: DetectorSettings) -> "FaceDetector":
        """The same networks with other settings, and none to try again with."""
        return FaceDetector(self._pnet, self._rnet, self._onet, settings, retry=None)

    def detect(self, image: Image.Image) -> list[Face]:
        """Find faces, small ones as well.

        Args:
            image: RGB, orientation already applied; any size.
        Returns: faces in order of falling confidence; empty when there are none.
        """
        return next((sighting.faces for sighting in self.sightings(image, coarse=False) if sighting.faces), [])

    def sightings(self, image: Image.Image, *, coarse: bool = True) -> Iterator[Sighting]:
        """Look again and again, each time more closely, as long as the caller asks for more.

        Args:
            image: RGB, orientation already applied; any size.
            coarse: begin with what is large; otherwise with every level of the pyramid.
        """
        for settings in (self._settings, *self._retries):
            search = _Search(self, image, settings)
            for skipped in settings.skipped_levels if coarse else settings.skipped_levels[-1:]:
                yield search.look(skipped)

    def look_again(self, image: Image.Image, face: Face) -> Face:
        """Look at one face again at several sizes and mirrored, and average the landmarks and the confidence.

        A single look places the landmarks relative to a coarse box; the mean of six halves the disagreement with
        dlib's alignment that looking once leaves. What only resembles a face seldom does so six times
        (docs/decisions/045).

        Args:
            image: the picture `face` was found in.
            face: as returned by `detect`; its landmarks are not used, and its confidence only for the evidence.
        Returns: the face with better landmarks, the mean confidence and the evidence.
        """
        centre = (face.box[:2] + face.box[2:]) / 2
        half = (
            np.asarray(self._settings.second_look, dtype=np.float32)[:, None] * (face.box[2:] - face.box[:2]).max() / 2
        )
        boxes = np.concatenate([centre - half, centre + half], axis=1)
        crops = crop_squares(image, boxes, ONET_PX)
        confidence, _, points = self._onet.run(None, {"pixels": np.concatenate([crops, crops[:, :, ::-1]])})
        seen, mirrored = points[: len(boxes)], points[len(boxes) :, MIRRORED]
        mirrored = mirrored * np.array([-1, 1], np.float32) + np.array([1, 0], np.float32)
        placed = boxes[:, None, :2] + (seen + mirrored) / 2 * (boxes[:, None, 2:] - boxes[:, None, :2])
        better_half = np.sort(log_odds(confidence.ravel()))[len(boxes) :]
        evidence = float(better_half.mean() + log_odds(np.asarray(face.confidence)) / 2)
        return replace(face, landmarks=placed.mean(axis=0), confidence=float(confidence.mean()), evidence=evidence)

    def propose(
        self, level: Image.Image, size: tuple[int, int], settings: DetectorSettings, matters: Matters | None = None
    ) -> FaceCandidates:
        """Run the first network on one pyramid level.

        Args:
            level: of the pyramid.
            size: of the image that the windows are returned in.
            settings: of the pyramid.
            matters: which windows it is run on; others between them may be returned as well.
        """
        stretch = np.asarray((size[0] / level.width, size[1] / level.height) * 2, dtype=np.float32)
        pad = math.ceil(settings.pad_windows * PNET_WINDOW_PX)
        width, height = (max(side + 2 * pad, PNET_WINDOW_PX) for side in level.size)
        pixels = np.full((height, width, 3), OUTSIDE_GREY, dtype=np.uint8)
        pixels[pad : pad + level.height, pad : pad + level.width] = np.asarray(level)
        top = left = 0
        if matters is not None:
            grid = window_grid(width, height)
            wanted = matters(((grid - pad) * stretch).reshape(-1, 4)).reshape(grid.shape[:2])
            if not wanted.any():
                return FaceCandidates(np.empty((0, 4), np.float32), np.empty(0, np.float32))
            (top, bottom), (left, right) = (np.flatnonzero(wanted.any(axis))[[0, -1]] for axis in (1, 0))
            end = PNET_STRIDE_PX * np.array([bottom, right]) + PNET_WINDOW_PX
            pixels = pixels[PNET_STRIDE_PX * top : end[0], PNET_STRIDE_PX * left : end[1]]
        confidence, offsets = self._pnet.run(None, {"pixels": pixels[None]})
        flat = confidence[0].ravel()
        proposed = np.flatnonzero(flat >= settings.pnet_threshold)
        if len(proposed) > settings.max_level_windows:
            best = np.argpartition(-flat[proposed], settings.max_level_windows)[: settings.max_level_windows]
            proposed = np.sort(proposed[best])
        rows, cols = np.unravel_index(proposed, confidence[0].shape)
        corner = np.stack([cols + left, rows + top], axis=1) * np.float32(PNET_STRIDE_PX) - np.float32(pad)
        windows = np.concatenate([corner, corner + PNET_WINDOW_PX], axis=1) * stretch
        scores = confidence[0, rows, cols]
        keep = suppress_overlaps(windows, scores, 0.5)
        boxes = shift_boxes(windows[keep], offsets[0, :, rows[keep], cols[keep]])
        return FaceCandidates(boxes.astype(np.float32), scores[keep])

    def refine(self, image: Image.Image, candidates: FaceCandidates, settings: DetectorSettings) -> FaceCandidates:
        """Run the second network on the windows."""
        squares = square_boxes(candidates.boxes)
        if not len(squares):
            return candidates
        confidence, offsets = _run_on_crops(self._rnet, image, squares, RNET_PX)
        passed = confidence >= settings.rnet_threshold
        boxes = shift_boxes(squares[passed], offsets[passed])
        refined = FaceCandidates(boxes, confidence[passed])
        return refined.take(suppress_overlaps(boxes, refined.confidence, 0.7))

    def describe(
        self, image: Image.Image, candidates: FaceCandidates, scale: FloatArray, settings: DetectorSettings
    ) -> list[Face]:
        """Run the last network and scale its answers back to the given image."""
        squares = square_boxes(candidates.boxes)
        if not len(squares):
            return []
        confidence, offsets, landmarks = _run_on_crops(self._onet, image, squares, ONET_PX)
        passed = confidence >= settings.onet_threshold
        squares, confidence = squares[passed], confidence[passed]
        corner, side = squares[:, None, :2], squares[:, None, 2:] - squares[:, None, :2]
        points = (corner + landmarks[passed] * side) * scale[:2]
        boxes = shift_boxes(squares, offsets[passed]) * scale
        keep = suppress_overlaps(boxes, confidence, 0.7, of_smaller=True)
        return [Face(boxes[i], points[i], float(confidence[i])) for i in keep]


def log_odds(confidence: npt.NDArray[Any]) -> FloatArray:
    """How sure a confidence is, on a scale where independent evidence adds up; at most +-9.2.

    Args: confidence: 0..1, any shape.
    >>> print(log_odds(np.array([0.0, 0.5, 0.9])).round(2))
    [-9.21  0.    2.2 ]
    """
    bounded = np.clip(np.asarray(confidence, dtype=np.float64), SURE, 1 - SURE)
    return np.asarray(np.log(bounded / (1 - bounded)), dtype=np.float32)


class _Search:
    """One image and its pyramid; what a look proposed is kept for the next."""

    def __init__(self, detector: FaceDetector, image: Image.Image, settings: DetectorSettings) -> None:
        self._detector = detector
        self._size = image.size
        self._settings = settings
        self._working = working_image(image, settings)
        self._levels = pyramid(self._working, settings)
        self._proposed: dict[int, FaceCandidates] = {}

    def look(self, skipped: int) -> Sighting:
        """At all levels but the finest. Args: skipped: so many; the coarsest is always looked at."""
        first = min(skipped, len(self._levels) - 1)
        faces = self._faces(self._windows(range(first, len(self._levels))))
        side_px = overlooked_px(*self._size, self._settings, first)
        return Sighting(faces, side_px, partial(self._overlooked, range(first)))

    def _overlooked(self, levels: range, matters: Matters) -> list[Face]:
        def here(boxes: FloatArray) -> npt.NDArray[np.bool_]:
            return matters(boxes * self._scale)

        size, settings = self._working.size, self._settings
        proposed = [self._detector.propose(self._levels[number], size, settings, here) for number in levels]
        windows = best_windows(proposed, settings.max_candidates)
        return self._faces(windows.take(np.flatnonzero(here(windows.boxes))))

    def _windows(self, levels: range) -> FaceCandidates:
        for number in levels:
            if number not in self._proposed:
                proposed = self._detector.propose(self._levels[number], self._working.size, self._settings)
                self._proposed[number] = proposed
        return best_windows([self._proposed[number] for number in levels], self._settings.max_candidates)

    def _faces(self, windows: FaceCandidates) -> list[Face]:
        refined = self._detector.refine(self._working, windows, self._settings)
        return self._detector.describe(self._working, refined, self._scale, self._settings)

    @property
    def _scale(self) -> FloatArray:
        """From the working image's x and y to the image's, for the two corners of a box."""
        (width, height), working = self._size, self._working
        return np.tile(np.array([width / working.width, height / working.height], np.float32), 2)


def _run_on_crops(graph: Graph, image: Image.Image, squares: FloatArray, side_px: int) -> list[Any]:
    """Run a network on crops, a few at a time: 256 at once took 140 MB in the last network."""
    parts = [
        graph.run(None, {"pixels": crop_squares(image, squares[start : start + CROPS_AT_ONCE], side_px)})
        for start in range(0, len(squares), CROPS_AT_ONCE)
    ]
    return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]
