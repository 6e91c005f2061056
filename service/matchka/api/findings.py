"""What a reply says of the faces that were used."""

from matchka.api.schemas import FaceAnswer, QualityAnswer
from matchka.modalities.face.reader import FaceReading
from matchka.tasks.embedding.results import Faces


def faces_answer(faces: Faces) -> list[FaceAnswer | None] | None:
    """One entry for each sample, or None where samples are not pictures; an aligned sample's entry is None."""
    return None if all(face is None for face in faces) else [face_answer(face) for face in faces]


def face_answer(reading: FaceReading | None) -> FaceAnswer | None:
    """A face's box, landmarks, confidence and quality."""
    if reading is None or reading.face is None or reading.quality is None:
        return None
    quality = reading.quality
    return FaceAnswer(
        box=reading.face.box.tolist(),
        landmarks=reading.face.landmarks.tolist(),
        confidence=reading.face.confidence,
        quality=QualityAnswer(
            eye_distance_px=quality.eye_distance_px,
            sharpness=quality.sharpness,
            contrast=quality.contrast,
            yaw=quality.yaw,
            roll_deg=quality.roll_deg,
            visible=quality.visible,
        ),
    )
