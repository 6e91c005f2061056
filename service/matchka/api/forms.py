"""Forms: checked field by field, and described for OpenAPI from the same class."""

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeVar

from fastapi import Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic.fields import FieldInfo

from matchka.api.bodies.body import read_body
from matchka.api.bodies.fields import FieldKind, Fields
from matchka.api.bodies.json_object import JSON
from matchka.api.bodies.multipart import MULTIPART
from matchka.bundles.fusion_file import JOINT
from matchka.errors import (
    CeilingError,
    InvalidFieldError,
    MatchkaError,
    MissingFieldError,
    UnknownFieldError,
)
from matchka.modalities import MODALITIES, OPTION_NAMES
from matchka.store.attempts import Searches, Target
from matchka.store.enrolment_limits import Mode
from matchka.store.keys.records import DEFAULT_MAX_FMR, DEFAULT_MAX_FPIR, Ceilings
from matchka.store.rights.given_terms import LONGEST_TERM, check_term, read_expiry, read_metadata
from matchka.store.rights.terms import Metadata, TermsChange
from matchka.store.subject_id import check_subject_id
from matchka.tasks.embedding.fusion import Require

PHONEMES: Final = "phonemes"  # the default model of calls about what is said
LONGEST_TEXT: Final = 1000  # characters: more are not said in 15 s
# fields that a key bounds, by which of its ceilings; where that is lower than the last number, by this instead
BOUNDS: Final = {"max_fmr": ("max_fmr", 0.0), "max_fpir": ("max_fpir", 0.0)}
OF_PARTS: Final = {"max_fmr_each": ("max_fmr", 1e-2), "max_far": ("max_fmr", 1e-2)}  # whose defaults these are
NUMBER: Final = re.compile(r"[-+.0-9eE]+")

FormT = TypeVar("FormT", bound="Form")


def _read_number(value: object) -> object:
    """Accept what a person writes as a number, and neither `true` nor other scripts' digits."""
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
        return value.strip()
    raise ValueError("must be a number")


def _read_flag(value: object) -> object:
    """Accept `true` and `false`, and no other spelling of them."""
    if value in ("true", "false"):
        return value == "true"
    raise ValueError("must be true or false")


FILE_IN_JSON: Final = {
    "anyOf": [
        {
            "type": "string",
            "contentEncoding": "base64",
            "description": "Base64 of the file, or a data: URI of it.",
        },
        {"type": "object", "description": "The file itself, where it is a JSON object."},
    ]
}
FileBytes = Annotated[bytes, WithJsonSchema({"type": "string", "format": "binary"})]
SubjectId = Annotated[str, AfterValidator(check_subject_id)]
Dim = Annotated[int | None, BeforeValidator(_read_number), Field(description="A trained dim; full_dim by default.")]
Rate = Annotated[float, BeforeValidator(_read_number), Field(gt=0, lt=1, allow_inf_nan=False)]
Share = Annotated[float, BeforeValidator(_read_number), Field(ge=0, le=1, allow_inf_nan=False)]
Flag = Annotated[bool, BeforeValidator(_read_flag)]
LISTS_OF_FILES: Final = (list[FileBytes], list[FileBytes] | None)
ProbeFiles = Annotated[
    list[FileBytes] | None,
    Field(description="One; with a challenge of kind head_turn 3 to 8, in the order in which they were taken."),
]
Ceiling = Annotated[float, BeforeValidator(_read_number), Field(gt=0, le=1, allow_inf_nan=False)]
Quota = Annotated[int | None, BeforeValidator(_read_number), Field(ge=1, lt=2**31)]
Term = Annotated[str | None, AfterValidator(check_term), Field(max_length=LONGEST_TERM)]
Notes = Annotated[
    Metadata | None,
    BeforeValidator(read_metadata),
    WithJsonSchema({"type": "object", "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "number"}]}}),
]
Files = Annotated[
    list[FileBytes],
    Field(
        min_length=1,
        description="1 to 32 files. "
        + " ".join(f"For {known.things}: {', '.join(known.media_types)}." for known in MODALITIES.values()),
    ),
]


OneFace = Annotated[
    Literal["dominant", "only", "aligned"] | None,
    Field(description="Which face of a picture: dominant, only (refuse a second one), aligned (it is a chip already)."),
]
AnyFace = Annotated[
    Literal["dominant", "only", "aligned", "all"] | None, Field(description="As elsewhere, or all: look up every face.")
]

SampleFormat = Annotated[
    Literal["npy", "cf32", "ci16", "wav", "sigmf"] | None,
    Field(description="Format of a radio recording. cf32 and ci16, bare samples, have to be named; the others show."),
]


class Form(BaseModel):
    """A form's fields; a field that is not declared is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    bounds: ClassVar[Mapping[str, tuple[str, float]]] = BOUNDS

    @property
    def target(self) -> Target | None:
        """Whom the call tells something about: the subject that a sample is said to be of, or who a search finds."""
        return None

    def within(self, ceilings: Ceilings) -> Self:
        """The form, with rates that were left out lowered to what a key may ask for.

        Raises: CeilingError: one that was given lies above that.
        """
        lowered = {}
        for name, (of_key, least) in self.bounds.items():
            rate: float | None = getattr(self, name, None)
            given: float | None = getattr(ceilings, of_key)
            if rate is None or given is None or rate <= (ceiling := max(given, least)):
                continue
            if name in self.model_fields_set:
                raise CeilingError(
                    f"With this key {name} may be at most {ceiling:g}.",
                    value=rate,
                    remedy="Ask for less, or use a key with a higher ceiling.",
                )
            lowered[name] = ceiling
        if not lowered:
            return self
        changed = self.model_copy(update=lowered)
        changed.__pydantic_fields_set__.difference_update(lowered)  # nobody gave them, which some checks look at
        return changed


class ModelForm(Form):
    """The fields of a call of one model."""

    model: str

    @property
    def options(self) -> dict[str, str]:
        """The caller's choices of how samples are read: those fields that a modality knows as its options."""
        return {name: value for name in OPTION_NAMES if (value := getattr(self, name, None)) is not None}


class EmbedForm(ModelForm):
    """POST /v1/embed."""

    file: Files
    dim: Dim = None
    face: OneFace = None
    sample_format: SampleFormat = None
    encoding: Literal["float", "base64"] = "float"


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


class VerifyForm(ModelForm):
    """POST /v1/verify: `file` for one model; `voice_file` and `face_file` for `model=voice+face`, without dim.

    One file of each, unless a challenge of kind head_turn is redeemed: its pictures are all sent as `file`, or all as
    `face_file`.

    `require` and `max_fmr_each` belong to `model=voice+face`. `both`: the fused ratio keeps `max_fmr`, and each part
    alone `max_fmr_each`. `sum`: the fused ratio alone, so that a strong part makes up for a weak one; refused with a
    challenge, because the part that answers it has to be the subject's.
    """

    bounds: ClassVar[Mapping[str, tuple[str, float]]] = BOUNDS | OF_PARTS

    subject_id: SubjectId
    file: ProbeFiles = None
    voice_file: FileBytes | None = None
    face_file: ProbeFiles = None
    dim: Dim = None
    max_fmr: Rate = 1e-3
    face: OneFace = None
    sample_format: SampleFormat = None
    require: Annotated[
        Require, Field(description="voice+face: both parts must pass beside their sum, or the sum alone.")
    ] = "both"
    max_fmr_each: Annotated[
        Rate, Field(description="voice+face with require=both: the false match rate that each part alone keeps.")
    ] = 1e-2
    challenge_id: Annotated[
        str | None,
        Field(
            max_length=64,
            description="Of POST /v1/challenges: the voice must also say its phrase, or the head turn as it asks. "
            "Used up by this call. Left out or null: a verification without a challenge.",
        ),
    ] = None
    max_far: Annotated[
        Rate,
        Field(description="With challenge_id: share of clips that say something else and are accepted all the same."),
    ] = 1e-2

    @property
    def part_floor(self) -> float | None:
        """The false match rate that each part has to keep alone, or None where only their sum counts."""
        return self.max_fmr_each if self.require == "both" else None

    @property
    def target(self) -> Target:
        """The subject that it names."""
        return self.subject_id


def probes_of(form: VerifyForm) -> dict[str, list[bytes]]:
    """The files of a verification by the name of the model that each is for.

    Raises: MissingFieldError, InvalidFieldError: the files do not fit the model asked for, or are several of one where
        no challenge asks for them.
    """
    given = _files_given(form)
    probes = {form.model if name == "file" else name.removesuffix("_file"): files for name, files in given.items()}
    if form.challenge_id is None:
        for name, files in given.items():
            if len(files) > 1:
                raise _given_often(name, len(files))
    return probes


def _files_given(form: VerifyForm) -> dict[str, list[bytes]]:
    """The files by field, where they are those that the model asked for needs."""
    names = form.model.split(JOINT)
    if len(names) == 1:
        if form.voice_file is not None or form.face_file is not None:
            raise InvalidFieldError(
                "voice_file and face_file belong to model=voice+face.",
                value=form.model,
                remedy="Send the file as `file`.",
            )
        for name in ("require", "max_fmr_each"):
            if name in form.model_fields_set:
                raise InvalidFieldError(
                    f"{name} belongs to model=voice+face.", value=form.model, remedy="Leave it out; max_fmr decides."
                )
        if form.file is None:
            raise MissingFieldError("The field file is missing.", value="file", remedy="Send the probe as `file`.")
        return {"file": form.file}
    if form.file is not None or form.dim is not None or form.options:
        raise InvalidFieldError(
            "A fused verification takes voice_file and face_file, and neither file, dim, face nor sample_format.",
            value=form.model,
            remedy="Leave those out; both models are compared at full dim.",
        )
    _require_meaningful_sum(form)
    given = {"voice_file": None if form.voice_file is None else [form.voice_file], "face_file": form.face_file}
    for name, files in given.items():
        if files is None:
            raise MissingFieldError(f"The field {name} is missing.", value=name, remedy="Send one file of each kind.")
    return {name: files for name, files in given.items() if files is not None}


def _require_meaningful_sum(form: VerifyForm) -> None:
    """Refuse the sum alone where something else asks for each part."""
    if form.require != "sum":
        return
    if "max_fmr_each" in form.model_fields_set:
        raise InvalidFieldError(
            "max_fmr_each asks something of each part, and require=sum nothing.",
            value=form.max_fmr_each,
            remedy="Leave max_fmr_each out, or ask for require=both.",
        )
    if form.challenge_id is not None:
        raise InvalidFieldError(
            "With require=sum the other part could make up for the one that answers the challenge.",
            value=form.require,
            remedy="Leave require out: with a challenge both parts have to pass.",
        )


class CompareForm(ModelForm):
    """POST /v1/compare."""

    file_a: FileBytes
    file_b: FileBytes
    dim: Dim = None
    max_fmr: Rate = 1e-3
    face: OneFace = None
    sample_format: SampleFormat = None


class IdentifyForm(ModelForm):
    """POST /v1/identify."""

    file: FileBytes
    top_k: Annotated[int, BeforeValidator(_read_number), Field(ge=1, le=100)] = 5
    dim: Dim = None
    max_fpir: Rate = 1e-2
    face: AnyFace = None
    sample_format: SampleFormat = None

    @property
    def target(self) -> Target:
        """Everybody."""
        return Searches.IDENTIFY


class ClassifyForm(ModelForm):
    """POST /v1/classify."""

    file: FileBytes
    sample_format: SampleFormat = None


class ChallengeForm(Form):
    """POST /v1/challenges."""

    subject_id: SubjectId
    kind: Annotated[
        Literal["phrase", "head_turn"],
        Field(description="head_turn is experimental, and offered where the service's MATCHKA_HEAD_TURN is set."),
    ] = "phrase"
    words: Annotated[
        int | None, BeforeValidator(_read_number), Field(ge=4, le=10, description="Of the phrase; 6 by default.")
    ] = None


class PronounceForm(ModelForm):
    """POST /v1/pronounce."""

    model: str = PHONEMES
    file: FileBytes
    text: Annotated[str, Field(max_length=LONGEST_TEXT, description="What was to be said, in words.")]
    max_far: Rate = 1e-2


class TranscribeForm(ModelForm):
    """POST /v1/transcribe."""

    model: str = PHONEMES
    file: FileBytes


class KeyForm(Form):
    """POST /v1/keys."""

    name: Annotated[str, Field(description="For people; 1 to 64 letters, digits, blanks and `._:@-`.")]
    scopes: Annotated[str, Field(max_length=256, description="Separated by commas or blanks.")] = (
        "enroll verify identify"
    )
    lifetime_s: Annotated[
        float | None,
        BeforeValidator(_read_number),
        Field(gt=0, le=3.1536e9, allow_inf_nan=False, description="Seconds until it expires; never by default."),
    ] = None
    max_fmr: Annotated[Ceiling, Field(description="Highest false match rate; 1 bounds nothing.")] = DEFAULT_MAX_FMR
    max_fpir: Annotated[Ceiling, Field(description="Highest FPIR; 1 bounds nothing.")] = DEFAULT_MAX_FPIR
    requests_per_s: Annotated[
        float | None, BeforeValidator(_read_number), Field(ge=0.01, le=1e6, description="Requests a second.")
    ] = None
    max_subjects: Annotated[Quota, Field(description="Subjects of the tenant.")] = None
    max_templates: Annotated[Quota, Field(description="Templates of a subject.")] = None


class GenerateForm(ModelForm):
    """POST /v1/generate."""

    descriptor: Annotated[str, Field(min_length=1, max_length=64, description="The word; GET /v1/models lists them.")]
    strength: Annotated[Share, Field(description="0 changes nothing, 1 is the word as people meant it.")] = 1.0


class MorphForm(ModelForm):
    """POST /v1/morph."""

    a: Annotated[FileBytes, Field(description="The setting at t = 0: a JSON object of named numbers.")]
    b: Annotated[FileBytes, Field(description="The setting at t = 1.")]
    t: Annotated[Share, Field(description="How far from a to b.")] = 0.5


def reads(kind: type[FormT]) -> Callable[[Request], Awaitable[FormT]]:
    """A dependency that reads a request's body as one kind of form."""
    takes = {name: _kind_of(field) for name, field in kind.model_fields.items()}

    async def read(request: Request) -> FormT:
        return check_fields(kind, await read_body(request, takes))

    return read


def body_schema(kind: type[Form]) -> dict[str, Any]:
    """The OpenAPI description of a form."""
    schema = kind.model_json_schema()
    content = {MULTIPART: {"schema": schema}, JSON: {"schema": _with_files_as_text(schema)}}
    return {"requestBody": {"required": True, "content": content}}


def _with_files_as_text(schema: Any) -> Any:
    """A form's schema, with what stands for a file in JSON; one of several files needs no array."""
    if isinstance(schema, list):
        return [_with_files_as_text(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "binary":
        return FILE_IN_JSON
    changed = {name: _with_files_as_text(part) for name, part in schema.items()}
    if changed.get("items") == FILE_IN_JSON:
        told = {name: changed.pop(name) for name in ("title", "description") if name in changed}
        return {"anyOf": [changed, FILE_IN_JSON], **told}
    return changed


def check_fields(kind: type[FormT], fields: Fields) -> FormT:
    """Make a form of named values.

    Raises:
        UnknownFieldError, MissingFieldError: a name that the call does not have, or lacks.
        InvalidFieldError: a value that cannot be read, or is given twice.
        InvalidSubjectIdError: see check_subject_id.
    """
    known = kind.model_fields
    for name in fields:
        if name not in known:
            raise UnknownFieldError(
                "This call has no such field.", value=name, remedy=f"Its fields are {', '.join(known)}."
            )
    values = {name: _one_or_many(kind, name, given) for name, given in fields.items() if given}
    try:
        return kind(**values)
    except ValidationError as error:
        raise _field_error(kind, error) from error


def _one_or_many(kind: type[Form], name: str, given: list[str | bytes]) -> object:
    takes = _kind_of(kind.model_fields[name])
    if any(isinstance(value, bytes) != takes.is_file for value in given):
        expected = "a file (a part with a filename)" if takes.is_file else "text, not a file"
        raise InvalidFieldError(f"The field {name} must be {expected}.", value=name, remedy="Correct the form.")
    if takes.is_list:
        return given
    if len(given) > 1:
        raise _given_often(name, len(given))
    return given[0]


def _given_often(name: str, count: int) -> InvalidFieldError:
    return InvalidFieldError(f"The field {name} is given {count} times.", value=name, remedy="Give it once.")


def _kind_of(field: FieldInfo) -> FieldKind:
    return FieldKind(
        is_file=field.annotation in (bytes, FileBytes, FileBytes | None, *LISTS_OF_FILES),
        is_number=_is_read_by(_read_number, field),
        is_flag=_is_read_by(_read_flag, field),
        is_list=field.annotation in LISTS_OF_FILES,
        is_object=any(isinstance(rule, BeforeValidator) and rule.func is read_metadata for rule in field.metadata),
    )


def _is_read_by(reader: Callable[[object], object], field: FieldInfo) -> bool:
    return any(isinstance(rule, BeforeValidator) and rule.func is reader for rule in field.metadata)


def _field_error(kind: type[Form], error: ValidationError) -> MatchkaError:
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0])
    if first["type"] == "missing":
        return MissingFieldError(
            f"The field {name} is missing.", value=name, remedy=f"The call's fields are {', '.join(kind.model_fields)}."
        )
    return InvalidFieldError(
        f"The field {name} is not valid: {first['msg'].removeprefix('Value error, ')}.",
        value=first["input"],
        remedy="Correct the value; /docs describes every field.",
    )
