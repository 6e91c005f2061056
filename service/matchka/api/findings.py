"""Findings of samples -> wire types."""

from matchka.api.answers.samples import FaceAnswer
from matchka.modalities.modality import Finding
from matchka.tasks.embedding.results import Findings


def faces_answer(findings: Findings) -> list[FaceAnswer | None] | None:
    """One entry for each sample, or None where none was a face; an entry is None where its own says nothing."""
    return [face_answer(finding) for finding in findings] if any(map(_is_face, findings)) else None


def face_answer(finding: Finding | None) -> FaceAnswer | None:
    """The wire type of a face; None for a finding of anything else."""
    seen = finding.as_json() if finding and _is_face(finding) else None
    return None if seen is None else FaceAnswer.model_validate(seen)


def _is_face(finding: Finding | None) -> bool:
    return finding is not None and finding.listed_as == "faces"
