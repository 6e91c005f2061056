"""The calls of HTTP v1: each function describes one, and says how its answer is read. Nothing is sent here."""

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final, Generic, TypeAlias, TypeVar
from urllib.parse import quote

from matchka.client.answers import (
    AuditAnswer,
    ChallengeAnswer,
    ClassifyAnswer,
    DirectionsAnswer,
    EmbedAnswer,
    EnrollAnswer,
    FusedVerifyAnswer,
    IdentifyAnswer,
    KeysAnswer,
    ModelsAnswer,
    NewKeyAnswer,
    ParametersAnswer,
    PronounceAnswer,
    ReadyAnswer,
    Receipt,
    ReceiptKeyAnswer,
    SubjectAnswer,
    SubjectExportAnswer,
    SubjectsAnswer,
    SubjectTermsAnswer,
    TranscribeAnswer,
    VerifyAnswer,
)
from matchka.errors import InvalidFieldError, MissingFieldError

Sample: TypeAlias = Path | str | bytes | Mapping[str, float]
Part: TypeAlias = tuple[str, tuple[str, bytes]]
Value: TypeAlias = str | int | float | None
AnswerT = TypeVar("AnswerT")
IDEMPOTENCY_KEY: Final = "Idempotency-Key"
KEY_BYTES: Final = 24  # random ones, which no two calls share


@dataclass(frozen=True)
class Call(Generic[AnswerT]):
    """A request of the service.

    Attributes:
        method: of HTTP.
        path: below the service's root, quoted.
        read: makes the answer of the body; raises pydantic's ValidationError where it is none.
        fields: of the query of a GET, else of the form.
        files: of the form: (field, (file name, content)).
        headers: beside those of every call.
    """

    method: str
    path: str
    read: Callable[[bytes], AnswerT]
    fields: Mapping[str, str] = field(default_factory=dict)
    files: tuple[Part, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_known_again(self) -> bool:
        """Whether the service does it once, however often it is sent."""
        return IDEMPOTENCY_KEY in self.headers


def embed(
    samples: list[Sample],
    model: str = "voice",
    dim: int | None = None,
    face: str | None = None,
    sample_format: str | None = None,
) -> Call[EmbedAnswer]:
    """Embed samples (paths, bytes or named numbers) at a trained dim."""
    fields = {"model": model, "dim": dim, "face": face, "sample_format": sample_format}
    return _form("embed", EmbedAnswer.model_validate_json, fields, _files("file", samples))


def enroll(
    subject_id: str,
    samples: list[Sample],
    model: str = "voice",
    face: str | None = None,
    sample_format: str | None = None,
    mode: str | None = None,
    on_duplicate: str | None = None,
    on_error: str | None = None,
    force: bool = False,
    consent: str | None = None,
    purpose: str | None = None,
    expires_at: datetime | None = None,
    metadata: Mapping[str, str | int | float] | None = None,
    idempotency_key: str | None = None,
) -> Call[EnrollAnswer]:
    """Store one template for each sample, all or none unless bad ones are skipped.

    Sent again, up to four times, where its connection breaks or the service has no room; it is stored once.

    Args:
        subject_id: whom the samples are of.
        samples: paths, bytes or named numbers.
        model: asked for.
        face: which face of a picture.
        sample_format: what a recording's bytes are.
        mode: create_or_append (default); create refuses a subject that has templates, append one that has none.
        on_duplicate: report somebody else who may be the same person, or refuse; as the service is set by default.
        on_error: fail (default), or skip files that are refused.
        force: enrol samples that agree neither with the subject nor with each other; needs the scope admin.
        consent: reference to the consent that was given.
        purpose: what the enrolment is for.
        expires_at: with its zone; from then on the subject is in no answer, and is deleted.
        metadata: texts and numbers by name.
        idempotency_key: by which the service knows this enrolment again, 1 to 255 visible ASCII characters; a random
            one by default. Who keeps it with the samples can send them again after a crash of its own.
    """
    fields: dict[str, Value] = {"model": model, "subject_id": subject_id, "face": face, "sample_format": sample_format}
    fields |= {"mode": mode, "on_duplicate": on_duplicate, "on_error": on_error, "force": "true" if force else None}
    fields |= _terms(consent, purpose, expires_at, metadata)
    call = _form("enroll", EnrollAnswer.model_validate_json, fields, _files("file", samples))
    return replace(call, headers={IDEMPOTENCY_KEY: idempotency_key or secrets.token_urlsafe(KEY_BYTES)})


def verify(
    subject_id: str,
    sample: Sample,
    model: str = "voice",
    dim: int | None = None,
    max_fmr: float | None = None,
    face: str | None = None,
    sample_format: str | None = None,
    challenge_id: str | None = None,
    max_far: float | None = None,
) -> Call[VerifyAnswer]:
    """Compare a sample with the reference of a subject.

    Args:
        subject_id: whom the sample claims to be of.
        sample: path, bytes or named numbers.
        model: asked for.
        dim: a trained one; full_dim by default.
        max_fmr: false match rate to keep; 1e-3 by default.
        face: which face of a picture.
        sample_format: what a recording's bytes are.
        challenge_id: of challenge(): the sample has to say its phrase as well; used up by this call.
        max_far: with a challenge, the share of clips saying something else that may pass; 1e-2 by default.
    """
    fields: dict[str, Value] = {
        "model": model,
        "subject_id": subject_id,
        "dim": dim,
        "max_fmr": max_fmr,
        "face": face,
        "sample_format": sample_format,
        "challenge_id": challenge_id,
        "max_far": max_far,
    }
    return _form("verify", VerifyAnswer.model_validate_json, fields, _files("file", [sample]))


def verify_jointly(
    subject_id: str,
    voice_sample: Sample,
    face_sample: Sample,
    max_fmr: float | None = None,
    require: str | None = None,
    max_fmr_each: float | None = None,
    challenge_id: str | None = None,
    max_far: float | None = None,
) -> Call[FusedVerifyAnswer]:
    """Compare a voice and a face with the references of a subject; one decision on both.

    Args:
        subject_id: enrolled with both models.
        voice_sample: a clip.
        face_sample: a picture.
        max_fmr: false match rate that both together keep; 1e-3 by default.
        require: `both` (default), each part has to pass on its own as well; `sum`, a strong part makes up for a weak
            one, which no challenge allows.
        max_fmr_each: with `both`, the false match rate that each part keeps on its own; 1e-2 by default.
        challenge_id: of challenge(): the clip has to say its phrase as well; used up by this call.
        max_far: with a challenge, the share of clips saying something else that may pass; 1e-2 by default.
    """
    fields: dict[str, Value] = {
        "model": "voice+face",
        "subject_id": subject_id,
        "max_fmr": max_fmr,
        "require": require,
        "max_fmr_each": max_fmr_each,
        "challenge_id": challenge_id,
        "max_far": max_far,
    }
    files = _files("voice_file", [voice_sample]) + _files("face_file", [face_sample])
    return _form("verify", FusedVerifyAnswer.model_validate_json, fields, files)


def challenge(subject_id: str, words: int | None = None) -> Call[ChallengeAnswer]:
    """A phrase for a subject to say, for one verify() within a minute; of 6 words by default, 4 to 10."""
    fields: dict[str, Value] = {"subject_id": subject_id, "words": words}
    return _form("challenges", ChallengeAnswer.model_validate_json, fields, ())


def head_turn(subject_id: str) -> Call[DirectionsAnswer]:
    """Directions for a subject's head, for one verify_turning() within a minute. Experimental."""
    fields: dict[str, Value] = {"subject_id": subject_id, "kind": "head_turn"}
    return _form("challenges", DirectionsAnswer.model_validate_json, fields, ())


def verify_turning(
    subject_id: str, pictures: Sequence[Sample], challenge_id: str, model: str = "face", max_fmr: float | None = None
) -> Call[VerifyAnswer]:
    """Compare a subject with pictures of its head, and these with what head_turn() asked for. Experimental.

    Args:
        subject_id: whom the pictures claim to be of.
        pictures: 3 to 8 paths or bytes, in the order in which they were taken, not mirrored.
        challenge_id: of head_turn(); used up by this call.
        model: asked for.
        max_fmr: false match rate to keep; 1e-3 by default.
    """
    fields: dict[str, Value] = {
        "model": model,
        "subject_id": subject_id,
        "max_fmr": max_fmr,
        "challenge_id": challenge_id,
    }
    return _form("verify", VerifyAnswer.model_validate_json, fields, _files("file", pictures))


def pronounce(
    sample: Sample, text: str, model: str = "phonemes", max_far: float | None = None
) -> Call[PronounceAnswer]:
    """How well a clip says a text, word by word; nothing is stored."""
    fields: dict[str, Value] = {"model": model, "text": text, "max_far": max_far}
    return _form("pronounce", PronounceAnswer.model_validate_json, fields, _files("file", [sample]))


def transcribe(sample: Sample, model: str = "phonemes") -> Call[TranscribeAnswer]:
    """The phones of a clip; nothing is stored."""
    return _form("transcribe", TranscribeAnswer.model_validate_json, {"model": model}, _files("file", [sample]))


def compare(
    sample_a: Sample,
    sample_b: Sample,
    model: str = "voice",
    dim: int | None = None,
    max_fmr: float | None = None,
    face: str | None = None,
    sample_format: str | None = None,
) -> Call[VerifyAnswer]:
    """Compare two samples; nothing is stored."""
    fields: dict[str, Value] = {"model": model, "dim": dim, "max_fmr": max_fmr}
    fields |= {"face": face, "sample_format": sample_format}
    files = _files("file_a", [sample_a]) + _files("file_b", [sample_b])
    return _form("compare", VerifyAnswer.model_validate_json, fields, files)


def identify(
    sample: Sample,
    model: str = "voice",
    top_k: int | None = None,
    dim: int | None = None,
    max_fpir: float | None = None,
    face: str | None = None,
    sample_format: str | None = None,
) -> Call[IdentifyAnswer]:
    """Search a sample in the gallery; `match` is None where no candidate reaches the threshold."""
    fields: dict[str, Value] = {"model": model, "top_k": top_k, "dim": dim, "max_fpir": max_fpir}
    fields |= {"face": face, "sample_format": sample_format}
    return _form("identify", IdentifyAnswer.model_validate_json, fields, _files("file", [sample]))


def classify(sample: Sample, model: str = "radio", sample_format: str | None = None) -> Call[ClassifyAnswer]:
    """Of which class a sample is; `label` is None where it is of none that the model knows.

    Args:
        sample: a path, bytes or named numbers.
        model: one with a class output.
        sample_format: of a radio recording; cf32 and ci16 have to be named.
    """
    fields = {"model": model, "sample_format": sample_format}
    return _form("classify", ClassifyAnswer.model_validate_json, fields, _files("file", [sample]))


def generate(descriptor: str, strength: float | None = None, model: str = "equalizer") -> Call[ParametersAnswer]:
    """The setting that a word stands for, at a strength from 0 to 1 (the default)."""
    fields = {"model": model, "descriptor": descriptor, "strength": strength}
    return _form("generate", ParametersAnswer.model_validate_json, fields, ())


def morph(a: Sample, b: Sample, t: float | None = None, model: str = "equalizer") -> Call[ParametersAnswer]:
    """A setting on the way from one (t = 0) to another (t = 1); half way by default."""
    files = _files("a", [a]) + _files("b", [b])
    return _form("morph", ParametersAnswer.model_validate_json, {"model": model, "t": t}, files)


def subjects(limit: int = 100, cursor: str | None = None) -> Call[SubjectsAnswer]:
    """A page of subjects."""
    fields = {"limit": str(limit), **({"cursor": cursor} if cursor else {})}
    return Call("GET", "/v1/subjects", SubjectsAnswer.model_validate_json, fields)


def subject(subject_id: str) -> Call[SubjectAnswer]:
    """One subject and its templates."""
    return Call("GET", f"/v1/subjects/{_quoted(subject_id)}", SubjectAnswer.model_validate_json)


def change_subject(
    subject_id: str,
    consent: str | None = None,
    purpose: str | None = None,
    expires_at: datetime | str | None = None,
    metadata: Mapping[str, str | int | float] | None = None,
) -> Call[SubjectTermsAnswer]:
    """Change why a subject is enrolled, and until when; None leaves what is there, an empty value removes it.

    Args:
        subject_id: whose.
        consent: reference to the consent that was given.
        purpose: what the enrolment is for.
        expires_at: with its zone; from then on the subject is in no answer, and is deleted; empty: never.
        metadata: texts and numbers by name, in place of all that were there.
    """
    given = {
        name: str(value) for name, value in _terms(consent, purpose, expires_at, metadata).items() if value is not None
    }
    return Call("PATCH", f"/v1/subjects/{_quoted(subject_id)}", SubjectTermsAnswer.model_validate_json, given)


def export_subject(subject_id: str) -> Call[SubjectExportAnswer]:
    """All that is held about one subject, its embeddings in clear."""
    return Call("GET", f"/v1/subjects/{_quoted(subject_id)}/export", SubjectExportAnswer.model_validate_json)


def delete_subject(subject_id: str) -> Call[None]:
    """Delete a subject with the templates of every model."""
    return Call("DELETE", f"/v1/subjects/{_quoted(subject_id)}", _nothing)


def receipt_of_deletion(subject_id: str) -> Call[Receipt]:
    """Delete a subject as delete_subject() does; the signed receipt."""
    return Call("DELETE", f"/v1/subjects/{_quoted(subject_id)}?receipt=true", Receipt.model_validate_json)


def receipt_key() -> Call[ReceiptKeyAnswer]:
    """The public key of the service's receipts."""
    return Call("GET", "/v1/receipt-key", ReceiptKeyAnswer.model_validate_json)


def delete_template(template_id: str) -> Call[None]:
    """Delete one template."""
    return Call("DELETE", f"/v1/templates/{_quoted(template_id)}", _nothing)


def models() -> Call[ModelsAnswer]:
    """The served bundles."""
    return Call("GET", "/v1/models", ModelsAnswer.model_validate_json)


def keys() -> Call[KeysAnswer]:
    """The API keys of the caller's tenant, without their secrets."""
    return Call("GET", "/v1/keys", KeysAnswer.model_validate_json)


def create_key(
    name: str,
    scopes: str | None = None,
    lifetime_s: float | None = None,
    max_fmr: float | None = None,
    max_fpir: float | None = None,
    requests_per_s: float | None = None,
    max_subjects: int | None = None,
    max_templates: int | None = None,
) -> Call[NewKeyAnswer]:
    """Make an API key, in force within a second; `key` of the answer is its secret, which is told only there.

    Args:
        name: for people.
        scopes: separated by commas; `enroll,verify,identify` by default.
        lifetime_s: seconds until it expires; never by default.
        max_fmr: highest false match rate that its calls may ask for; 1e-2 by default, 1 bounds nothing.
        max_fpir: the same of identifications.
        requests_per_s: most requests a second.
        max_subjects: subjects of the tenant, above which it enrols nobody new.
        max_templates: most templates of a subject.
    """
    fields: dict[str, Value] = {
        "name": name,
        "scopes": scopes,
        "lifetime_s": lifetime_s,
        "max_fmr": max_fmr,
        "max_fpir": max_fpir,
        "requests_per_s": requests_per_s,
        "max_subjects": max_subjects,
        "max_templates": max_templates,
    }
    return _form("keys", NewKeyAnswer.model_validate_json, fields, ())


def revoke_key(key_id: str) -> Call[None]:
    """Take an API key out of force within a second."""
    return Call("DELETE", f"/v1/keys/{_quoted(key_id)}", _nothing)


def audit(limit: int = 100, cursor: str | None = None, subject_id: str | None = None) -> Call[AuditAnswer]:
    """A page of the tenant's audit log, oldest first.

    Args:
        limit: most records, 1 to 1000.
        cursor: next_cursor of the page before.
        subject_id: only records about this subject.
    """
    given = {"limit": str(limit), "cursor": cursor, "subject_id": subject_id}
    fields = {name: value for name, value in given.items() if value is not None}
    return Call("GET", "/v1/audit", AuditAnswer.model_validate_json, fields)


def metrics() -> Call[str]:
    """The service's metrics, in Prometheus's text format."""
    return Call("GET", "/metrics", bytes.decode)


def ready() -> Call[ReadyAnswer]:
    """Whether the service is ready; refused with status 503 while it is not."""
    return Call("GET", "/readyz", ReadyAnswer.model_validate_json)


def _form(
    name: str, read: Callable[[bytes], AnswerT], fields: Mapping[str, Value], files: tuple[Part, ...]
) -> Call[AnswerT]:
    given = {field: str(value) for field, value in fields.items() if value is not None}
    return Call("POST", f"/v1/{name}", read, given, files)


def _terms(
    consent: str | None,
    purpose: str | None,
    expires_at: datetime | str | None,
    metadata: Mapping[str, str | int | float] | None,
) -> dict[str, Value]:
    when = expires_at.isoformat() if isinstance(expires_at, datetime) else expires_at
    notes = None if metadata is None else json.dumps(dict(metadata))
    return {"consent": consent, "purpose": purpose, "expires_at": when, "metadata": notes}


def _quoted(name: str) -> str:
    """A name as one segment of a path.

    >>> _quoted("a/b")
    'a%2Fb'
    """
    return quote(name, safe="")


def _nothing(_: bytes) -> None:
    return None


def _files(name: str, samples: Sequence[Sample]) -> tuple[Part, ...]:
    if not samples:
        raise MissingFieldError("There is no sample to send.", value=name, remedy="Name at least one file.")
    return tuple((name, _named_bytes(sample)) for sample in samples)


def _named_bytes(sample: Sample) -> tuple[str, bytes]:
    if isinstance(sample, bytes):
        return "sample", sample
    if isinstance(sample, Mapping):
        return "sample.json", _json_of(sample)
    path = Path(sample)
    try:
        return path.name, path.read_bytes()
    except OSError as error:
        raise InvalidFieldError(
            "The file cannot be read.", value=path, remedy=f"Check the path ({error.strerror})."
        ) from error


def _json_of(numbers: Mapping[str, float]) -> bytes:
    """Named numbers as a file, numpy's scalars included; the service judges what they are.

    >>> _json_of({"length_m": 1.5})
    b'{"length_m": 1.5}'
    """
    try:
        return json.dumps(dict(numbers), default=float).encode()
    except (TypeError, ValueError) as error:
        raise InvalidFieldError(
            "The sample cannot be written as JSON.", value=error, remedy="Give numbers by their names."
        ) from error
