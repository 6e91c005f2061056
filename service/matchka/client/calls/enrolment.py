"""Samples to embed or to enrol, and the people they are of."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from matchka.client.answers import (
    EmbedAnswer,
    EnrollAnswer,
    Receipt,
    SubjectAnswer,
    SubjectExportAnswer,
    SubjectsAnswer,
    SubjectTermsAnswer,
)
from matchka.client.calls.call import IDEMPOTENCY_KEY, Call, Sample, Value, files_of, form_call, nothing, quoted

KEY_BYTES: Final = 24  # random ones, which no two calls share


def embed(
    samples: list[Sample],
    model: str = "voice",
    dim: int | None = None,
    face: str | None = None,
    sample_format: str | None = None,
) -> Call[EmbedAnswer]:
    """Embed samples (paths, bytes or named numbers) at a trained dim."""
    fields = {"model": model, "dim": dim, "face": face, "sample_format": sample_format}
    return form_call("embed", EmbedAnswer.model_validate_json, fields, files_of("file", samples), is_safe=True)


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
    call = form_call("enroll", EnrollAnswer.model_validate_json, fields, files_of("file", samples))
    return replace(call, headers={IDEMPOTENCY_KEY: idempotency_key or secrets.token_urlsafe(KEY_BYTES)})


def subjects(limit: int = 100, cursor: str | None = None) -> Call[SubjectsAnswer]:
    """A page of subjects."""
    fields = {"limit": str(limit), **({"cursor": cursor} if cursor else {})}
    return Call("GET", "/v1/subjects", SubjectsAnswer.model_validate_json, fields, is_safe=True)


def subject(subject_id: str) -> Call[SubjectAnswer]:
    """One subject and its templates."""
    return Call("GET", f"/v1/subjects/{quoted(subject_id)}", SubjectAnswer.model_validate_json, is_safe=True)


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
    return Call("PATCH", f"/v1/subjects/{quoted(subject_id)}", SubjectTermsAnswer.model_validate_json, given)


def export_subject(subject_id: str) -> Call[SubjectExportAnswer]:
    """All that is held about one subject, its embeddings in clear."""
    return Call(
        "GET", f"/v1/subjects/{quoted(subject_id)}/export", SubjectExportAnswer.model_validate_json, is_safe=True
    )


def delete_subject(subject_id: str) -> Call[None]:
    """Delete a subject with the templates of every model."""
    return Call("DELETE", f"/v1/subjects/{quoted(subject_id)}", nothing)


def receipt_of_deletion(subject_id: str) -> Call[Receipt]:
    """Delete a subject as delete_subject() does; the signed receipt."""
    return Call("DELETE", f"/v1/subjects/{quoted(subject_id)}?receipt=true", Receipt.model_validate_json)


def delete_template(template_id: str) -> Call[None]:
    """Delete one template."""
    return Call("DELETE", f"/v1/templates/{quoted(template_id)}", nothing)


def _terms(
    consent: str | None,
    purpose: str | None,
    expires_at: datetime | str | None,
    metadata: Mapping[str, str | int | float] | None,
) -> dict[str, Value]:
    when = expires_at.isoformat() if isinstance(expires_at, datetime) else expires_at
    notes = None if metadata is None else json.dumps(dict(metadata))
    return {"consent": consent, "purpose": purpose, "expires_at": when, "metadata": notes}
