"""Face detection: an image -> boxes and five landmarks per face, by the MTCNN cascade on ONNX graphs.

Coordinates are pixels of the given image with (0, 0) at the outer corner of its first pixel, so that the
centre of that pixel is (0.5, 0.5). Boxes are (x0, y0, x1, y1).
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Final

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
    crop_squares,
    pyramid_scales,
    shift_boxes,
    square_boxes,
    suppress_overlaps,
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


@dataclass(frozen=True)
class FaceCandidates:
    """Windows that may hold a face: boxes float32 (n, 4), confidence float32 (n,)."""

    boxes: FloatArray
    confidence: FloatArray

    def take(self, index: npt.NDArray[np.intp]) -> "FaceCandidates":
        """Keep the rows named by `index`, in that order."""
        return FaceCandidates(self.boxes[index], self.confidence[index])


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
        self._retry = retry

    def with_settings(self, settings: DetectorSettings) -> "FaceDetector":
        """The same networks with other settings, and none to try again with."""
        return FaceDetector(self._pnet, self._rnet, self._onet, settings, retry=None)

    def detect(self, image: Image.Image) -> list[Face]:
        """Find faces.

        Args:
            image: RGB, orientation already applied; any size.
        Returns: faces in order of falling confidence; empty when there are none.
        """
        faces = self._detect(image, self._settings)
        if not faces and self._retry is not None:
            faces = self._detect(image, self._retry)
        return faces

    def _detect(self, image: Image.Image, settings: DetectorSettings) -> list[Face]:
        working = working_image(image, settings)
        scale = (image.width / working.width, image.height / working.height)
        candidates = self._propose(working, settings)
        candidates = self._refine(working, candidates, settings)
        return self._describe(working, candidates, scale, settings)

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

    def _propose(self, image: Image.Image, settings: DetectorSettings) -> FaceCandidates:
        """Run the first network over the pyramid."""
        found = []
        level = image
        for scale in pyramid_scales(image.width, image.height, settings):
            size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
            level = level.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
            found.append(self._propose_at(level, (image.width / size[0], image.height / size[1]), settings))
        merged = FaceCandidates(
            np.concatenate([level.boxes for level in found]), np.concatenate([level.confidence for level in found])
        )
        keep = suppress_overlaps(merged.boxes, merged.confidence, 0.7)
        return merged.take(keep[: settings.max_candidates])

    def _propose_at(
        self, level: Image.Image, stretch: tuple[float, float], settings: DetectorSettings
    ) -> FaceCandidates:
        """Run the first network on one pyramid level; `stretch` maps the level's x and y to the image's."""
        pad = math.ceil(settings.pad_windows * PNET_WINDOW_PX)
        width, height = (max(side + 2 * pad, PNET_WINDOW_PX) for side in level.size)
        pixels = np.full((height, width, 3), OUTSIDE_GREY, dtype=np.uint8)
        pixels[pad : pad + level.height, pad : pad + level.width] = np.asarray(level)
        confidence, offsets = self._pnet.run(None, {"pixels": pixels[None]})
        flat = confidence[0].ravel()
        proposed = np.flatnonzero(flat >= settings.pnet_threshold)
        if len(proposed) > settings.max_level_windows:
            best = np.argpartition(-flat[proposed], settings.max_level_windows)[: settings.max_level_windows]
            proposed = np.sort(proposed[best])
        rows, cols = np.unravel_index(proposed, confidence[0].shape)
        corner = np.stack([cols, rows], axis=1) * np.float32(PNET_STRIDE_PX) - np.float32(pad)
        factors = np.asarray(stretch * 2, dtype=np.float32)
        windows = np.concatenate([corner, corner + PNET_WINDOW_PX], axis=1) * factors
        scores = confidence[0, rows, cols]
        keep = suppress_overlaps(windows, scores, 0.5)
        boxes = shift_boxes(windows[keep], offsets[0, :, rows[keep], cols[keep]])
        return FaceCandidates(boxes.astype(np.float32), scores[keep])

    def _refine(self, image: Image.Image, candidates: FaceCandidates, settings: DetectorSettings) -> FaceCandidates:
        """Run the second network on the windows."""
        squares = square_boxes(candidates.boxes)
        if not len(squares):
            return candidates
        confidence, offsets = _run_on_crops(self._rnet, image, squares, RNET_PX)
        passed = confidence >= settings.rnet_threshold
        boxes = shift_boxes(squares[passed], offsets[passed])
        refined = FaceCandidates(boxes, confidence[passed])
        return refined.take(suppress_overlaps(boxes, refined.confidence, 0.7))

    def _describe(
        self, image: Image.Image, candidates: FaceCandidates, scale: tuple[float, float], settings: DetectorSettings
    ) -> list[Face]:
        """Run the last network and scale its answers back to the given image."""
        squares = square_boxes(candidates.boxes)
        if not len(squares):
            return []
        confidence, offsets, landmarks = _run_on_crops(self._onet, image, squares, ONET_PX)
        passed = confidence >= settings.onet_threshold
        squares, confidence = squares[passed], confidence[passed]
        corner, side = squares[:, None, :2], squares[:, None, 2:] - squares[:, None, :2]
        points = (corner + landmarks[passed] * side) * np.asarray(scale, dtype=np.float32)
        boxes = shift_boxes(squares, offsets[passed]) * np.asarray(scale * 2, dtype=np.float32)
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


def _run_on_crops(graph: Graph, image: Image.Image, squares: FloatArray, side_px: int) -> list[Any]:
    """Run a network on crops, a few at a time: 256 at once took 140 MB in the last network."""
    parts = [
        graph.run(None, {"pixels": crop_squares(image, squares[start : start + CROPS_AT_ONCE], side_px)})
        for start in range(0, len(squares), CROPS_AT_ONCE)
    ]
    return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]
