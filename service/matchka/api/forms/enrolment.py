"""Forms of calls that embed and enrol, and that change what a subject is enrolled for."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from matchka.api.forms.fields import Dim, Files, Flag, Notes, OneFace, SampleFormat, StatedFiles, SubjectId, Term
from matchka.api.forms.form import Form, ModelForm
from matchka.store.attempts import Target
from matchka.store.enrolment_limits import Mode
from matchka.store.rights.given_terms import read_expiry
from matchka.store.rights.terms import TermsChange


class EmbedForm(ModelForm):
    """POST /v1/embed."""

    file: Files
    dim: Dim = None
    face: OneFace = None
    sample_format: SampleFormat = None
    encoding: Literal["float", "base64"] = "float"


class EmbeddingsForm(ModelForm):
    """POST /v1/embeddings: what OpenAI's interface calls the fields of POST /v1/embed."""

    input: StatedFiles
    dimensions: Dim = None
    encoding_format: Literal["float", "base64"] = "float"
    user: Annotated[str | None, Field(description="Ignored.")] = None
    face: OneFace = None
    sample_format: SampleFormat = None


class EnrollForm(ModelForm):
    """POST /v1/enroll."""

    subject_id: SubjectId
    file: Files
    face: OneFace = None
    sample_format: SampleFormat = None
    mode: Annotated[
        Mode, Field(description="create refuses a subject that has templates of the model, append one that has none.")
    ] = "create_or_append"
    on_duplicate: Annotated[
        Literal["report", "refuse"] | None,
        Field(
            description="Somebody else who may be the same person is reported in similar_subjects, or refuses the "
            "enrolment. The service's MATCHKA_ON_DUPLICATE by default; where that is refuse, report changes nothing."
        ),
    ] = None
    on_error: Annotated[
        Literal["fail", "skip"],
        Field(description="fail: one file that is refused refuses all. skip: it is left out and listed in skipped."),
    ] = "fail"
    force: Annotated[
        Flag,
        Field(
            description="Enrol samples that agree neither with the subject nor with each other, and in spite of "
            "MATCHKA_ON_DUPLICATE. Needs the scope admin."
        ),
    ] = False
    consent: Annotated[Term, Field(min_length=1, description="Reference to the consent that was given.")] = None
    purpose: Annotated[Term, Field(min_length=1, description="What the enrolment is for.")] = None
    expires_at: Annotated[
        datetime | None,
        BeforeValidator(read_expiry),
        Field(description="ISO 8601 with its zone: from then on the subject is in no answer, and is deleted."),
    ] = None
    metadata: Annotated[Notes, Field(description="Up to 32 texts and numbers by name, 4 KiB in all.")] = None

    @property
    def terms(self) -> TermsChange:
        """What it changes of the subject's terms."""
        return TermsChange(self.consent, self.purpose, self.expires_at, self.metadata)

    @property
    def target(self) -> Target | None:
        """The subject, with whose templates the samples are compared unless that is not asked."""
        return None if self.force else self.subject_id


class SubjectForm(Form):
    """PATCH /v1/subjects/{subject_id}: what is left out stays, an empty text or object removes what was there."""

    consent: Annotated[Term, Field(description="Reference to the consent that was given.")] = None
    purpose: Annotated[Term, Field(description="What the enrolment is for.")] = None
    expires_at: Annotated[
        datetime | Literal[""] | None,
        BeforeValidator(read_expiry),
        Field(description="ISO 8601 with its zone; empty: never."),
    ] = None
    metadata: Annotated[Notes, Field(description="In place of all that was there.")] = None

    @property
    def terms(self) -> TermsChange:
        """What it changes."""
        never = self.expires_at == ""
        return TermsChange(self.consent, self.purpose, self.expires_at or None, self.metadata, never)
