"""Forms of calls that decide: verify, compare, identify, classify; and that ask for a challenge."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from matchka.api.forms.fields import (
    AnyFace,
    Dim,
    FileBytes,
    OneFace,
    ProbeFiles,
    Rate,
    SampleFormat,
    SubjectId,
    given_often,
    read_number,
)
from matchka.api.forms.form import BOUNDS, OF_PARTS, Form, ModelForm
from matchka.bundles.fusion_file import JOINT
from matchka.errors import InvalidFieldError, MissingFieldError
from matchka.store.attempts import Searches, Target
from matchka.tasks.embedding.fusion import Require


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
                raise given_often(name, len(files))
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
    top_k: Annotated[int, BeforeValidator(read_number), Field(ge=1, le=100)] = 5
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
        int | None, BeforeValidator(read_number), Field(ge=4, le=10, description="Of the phrase; 6 by default.")
    ] = None
