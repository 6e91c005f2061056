"""What the Verifier answers with: plain values that routes turn into replies."""

from dataclasses import dataclass
from typing import TypeAlias

from service.bundle import Manifest
from service.decision import Decision, Threshold
from service.media.faces.reader import FaceReading
from service.vectors import FloatArray

Faces: TypeAlias = tuple[FaceReading | None, ...]


@dataclass(frozen=True)
class Embeddings:
    """float32, (samples, dim), each of unit length, what made them, and the face that each shows."""

    manifest: Manifest
    dim: int
    vectors: FloatArray
    faces: Faces


@dataclass(frozen=True)
class SubjectSimilarity:
    """A subject and its cosine similarity to the probe."""

    subject_id: str
    similarity: float


@dataclass(frozen=True)
class Candidate(SubjectSimilarity):
    """A subject that a search found: similarities of two versions are on scales of their own, each with a threshold."""

    manifest: Manifest
    dim: int
    threshold: Threshold

    @property
    def margin(self) -> float:
        """How far the similarity lies above its own version's threshold."""
        return self.similarity - self.threshold.value


@dataclass(frozen=True)
class Enrolled:
    """What an enrolment stored, and the subjects so similar that they may be the same person."""

    template_ids: tuple[str, ...]
    template_count: int
    similar_subjects: list[SubjectSimilarity]
    faces: Faces


@dataclass(frozen=True)
class Verified:
    """A 1:1 decision and what it rests on; the faces are those of the probe, or of both samples compared."""

    manifest: Manifest
    dim: int
    max_fmr: float
    decision: Decision
    faces: Faces


@dataclass(frozen=True)
class FusedVerified:
    """A 1:1 decision on two modalities at full dim, and the decision that each would make alone."""

    name: str
    max_fmr: float
    decision: Decision
    parts: dict[str, Verified]


@dataclass(frozen=True)
class Identified:
    """A 1:N decision: the subject, or None for a stranger; candidates are listed whatever the threshold says.

    `manifest`, `dim` and `threshold` are those of the first candidate.
    """

    manifest: Manifest
    dim: int
    max_fpir: float
    match: str | None
    candidates: list[Candidate]
    threshold: Threshold
    gallery_size: int
    face: FaceReading | None


@dataclass(frozen=True)
class ServedVersion:
    """A served bundle, and whom it answers for in one tenant.

    Attributes:
        is_current: enrolments go to it.
        subjects: in its gallery.
        subjects_to_reenroll: of the current version, subjects without a template of it; of any other, `subjects`.
    """

    manifest: Manifest
    is_current: bool
    subjects: int
    subjects_to_reenroll: int
