"""Findings of samples -> wire types."""

from matchka.api.schemas import FaceAnswer
from matchka.modalities.modality import Finding
from matchka.tasks.embedding.results import Findings


def faces_answer(findings: Findings) -> list[FaceAnswer | None] | None:
    """One entry for each sample, or None where nothing is told of any; an entry is None where its own says nothing."""
    return None if all(finding is None for finding in findings) else [face_answer(finding) for finding in findings]


def face_answer(finding: Finding | None) -> FaceAnswer | None:
    """The wire type of a finding."""
    seen = None if finding is None else finding.as_json()
    return None if seen is None else FaceAnswer.model_validate(seen)
