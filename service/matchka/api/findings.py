"""Findings of samples -> wire types."""

from matchka.api.schemas import FaceAnswer
from matchka.modalities.face.finding import FaceFinding
from matchka.modalities.modality import Finding
from matchka.tasks.embedding.results import Findings


def faces_answer(findings: Findings) -> list[FaceAnswer | None] | None:
    """One entry for each sample, or None where none was a face; an entry is None where its own says nothing."""
    seen = [isinstance(finding, FaceFinding) for finding in findings]
    return [face_answer(finding) for finding in findings] if any(seen) else None


def face_answer(finding: Finding | None) -> FaceAnswer | None:
    """The wire type of a face; None for a finding of anything else."""
    seen = finding.as_json() if isinstance(finding, FaceFinding) else None
    return None if seen is None else FaceAnswer.model_validate(seen)
