"""What became of the files of an enrolment."""

from pydantic import Field

from matchka.api.answers.answer import Answer, Score
from matchka.api.answers.samples import FaceAnswer


class SubjectSimilarityAnswer(Answer):
    """A subject, its similarity by the model's scorer, and the cosine."""

    subject_id: str
    similarity: Score
    cosine: Score = None  # no older service of version 1 tells it


class SkippedFileAnswer(Answer):
    """A file that was left out: its place in the call, from 1, and the code, detail and remedy of its problem."""

    file: int
    code: str
    detail: str
    remedy: str


class EnrolledFileAnswer(Answer):
    """A file of an enrolment: its place in the call, from 1, and its template; null and the code where left out."""

    file: int
    template_id: str | None
    code: str | None


class EnrollAnswer(Answer):
    """What was stored, and subjects that may be the same person.

    `similar_subjects` is null where that is not told: without the scope `identify`, and for a while after too many
    enrolments that resembled nobody. `skipped`: with `on_error=skip` the files that were left out; `faces` are those
    of the others. `files` tells of each file what became of it. `position`: a search that is sent it as
    Matchka-Position shows what was enrolled.
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
    position: str | None = None
