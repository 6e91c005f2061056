"""Finding of a face, and when two findings are of one face."""

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

import numpy as np

from matchka.modalities.face.detection import Face
from matchka.modalities.face.quality import Quality
from matchka.modalities.face.spec import NATIVE_PX
from matchka.vectors import FloatArray

LEAST_OVERLAP: Final = 0.5  # of two boxes of one face, as share of their union


@dataclass(frozen=True)
class FaceFinding:
    """A face and its quality; both None for a sample that came aligned.

    Attributes:
        native_px: side of the square that became the chip, in pixels of the picture; None where nobody knows.
        enhanced: whether the chip was enhanced before it was embedded.
    """

    face: Face | None
    quality: Quality | None
    native_px: float | None = None
    enhanced: bool = False
    listed_as: ClassVar[Literal["faces"]] = "faces"

    def as_json(self) -> dict[str, Any] | None:
        """Box, landmarks, confidence, quality, size and whether it was enhanced; None of a sample that came aligned."""
        if self.face is None or self.quality is None:
            return None
        quality = self.quality
        return {
            "box": self.face.box.tolist(),
            "landmarks": self.face.landmarks.tolist(),
            "confidence": self.face.confidence,
            "quality": {
                "eye_distance_px": quality.eye_distance_px,
                "sharpness": quality.sharpness,
                "contrast": quality.contrast,
                "yaw": quality.yaw,
                "roll_deg": quality.roll_deg,
                "visible": quality.visible,
            },
            "native_px": self.native_px,
            "enhanced": self.enhanced,
        }

    def measured(self) -> dict[str, float]:
        """Its size."""
        return {} if self.native_px is None else {NATIVE_PX: self.native_px}

    def is_same(self, other: "FaceFinding") -> bool:
        """Whether the boxes overlap by half: two versions may find one face with different networks.

        A picture that came aligned shows one face, which has no box.
        """
        return self.likeness(other) >= LEAST_OVERLAP

    def likeness(self, other: "FaceFinding") -> float:
        """Overlap of the boxes, in [0, 1]: intersection over union; 1 of two pictures that came aligned."""
        if self.face is None or other.face is None:
            return 1.0 if self.face is other.face else 0.0
        return _overlap(self.face.box, other.face.box)


def _overlap(a: FloatArray, b: FloatArray) -> float:
    """Intersection over union of two boxes."""
    width, height = np.maximum(0.0, np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]))
    both = float(width * height)
    return both / (float(np.prod(a[2:] - a[:2])) + float(np.prod(b[2:] - b[:2])) - both)
