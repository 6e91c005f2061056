"""What is answered of a sample itself."""

from matchka.api.answers.answer import Answer


class QualityAnswer(Answer):
    """Figures of a face: see matchka.modalities.face.quality.Quality."""

    eye_distance_px: float
    sharpness: float
    contrast: float
    yaw: float
    roll_deg: float
    visible: float


class FaceAnswer(Answer):
    """A face that was used: box (x0, y0, x1, y1) and five landmarks (x, y) in pixels, detector confidence, quality.

    `native_px`: side of the square around the face that was embedded, in pixels of the picture; `enhanced`: whether it
    was so small that it was enhanced before.
    """

    box: list[float]
    landmarks: list[list[float]]
    confidence: float
    quality: QualityAnswer
    native_px: float | None = None  # no older service of version 1 tells these two
    enhanced: bool = False
