"""Samples that were embedded or enrolled, and what was seen of them."""

from pydantic import Field

from matchka.client.answers.answer import Answer


class QualityAnswer(Answer):
    """Figures of a face. Distances in pixels, the roll in degrees; yaw is 1 at about a profile, visible in [0, 1]."""

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


class EmbedAnswer(Answer):
    """Embeddings of unit length: lists of numbers, or base64 of little-endian float32."""

    model: str
    version: str
    dim: int
    encoding: str
    embeddings: list[list[float]] | list[str]
    row_counts: list[int] = Field(default_factory=list)  # no older service of version 1 tells them
    faces: list[FaceAnswer | None] | None = None


class SubjectSimilarityAnswer(Answer):
    """A subject, its similarity by the model's scorer, and the cosine."""

    subject_id: str
    similarity: float | None
    cosine: float | None = None  # no older service of version 1 tells it


class SkippedFileAnswer(Answer):
    """A file that was left out: its place in the call, from 1, and the code, detail and remedy of its problem."""

    file: int
    code: str
    detail: str
    remedy: str


class EnrolledFileAnswer(Answer):
    """A file of an enrolment: its place in the call, from 1, and its template; None and the code where left out."""

    file: int
    template_id: str | None
    code: str | None


class EnrollAnswer(Answer):
    """What was stored, and subjects that may be the same person.

    `similar_subjects` is None where that is not told: without the scope `identify`, and for a while after too many
    enrolments that resembled nobody. `skipped`: files that were left out; `faces` are those of the others. `files`:
    what became of each.
    """

    subject_id: str
    model: str
    version: str
    dim: int
    template_ids: list[str]
    template_count: int
    similar_subjects: list[SubjectSimilarityAnswer] | None
    faces: list[FaceAnswer | None] | None = None
    skipped: list[SkippedFileAnswer] = Field(default_factory=list)  # no older service of version 1 tells it
    files: list[EnrolledFileAnswer] = Field(default_factory=list)  # likewise
    position: str | None = None  # likewise
