"""Terms: the consent that a subject's enrolment rests on, its purpose, when it expires, and the caller's own notes."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, TypeAlias

from sqlalchemy import select
from sqlalchemy.orm import Session

from matchka.errors import ConsentRequiredError, InvalidFieldError, MissingScopeError, StorageDamagedError
from matchka.store.clock import time_of
from matchka.store.keys.scopes import Scope, missing_scope
from matchka.store.schema import SubjectRow, TemplateRow, TermsRow
from matchka.store.vault.sealed import NO_TEMPLATE
from matchka.store.vault.vault import Plain, Vault

Metadata: TypeAlias = Mapping[str, str | int | float]

REQUIRABLE: Final = ("consent", "purpose")  # what a setting can ask of every enrolment


@dataclass(frozen=True)
class Terms:
    """The terms of one subject. Attributes: expires_at: by the database's clock; None: never."""

    consent: str | None = None
    purpose: str | None = None
    expires_at: datetime | None = None
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True)
class TermsChange:
    """What to change of a subject's terms; None leaves what is there, an empty text or mapping removes it.

    Attributes: never_expires: removes the expiry.
    """

    consent: str | None = None
    purpose: str | None = None
    expires_at: datetime | None = None
    metadata: Metadata | None = None
    never_expires: bool = False

    def applied_to(self, terms: Terms) -> Terms:
        """The terms with this change.

        >>> TermsChange(consent="form 7").applied_to(Terms(purpose="doors"))
        Terms(consent='form 7', purpose='doors', expires_at=None, metadata={})
        """
        expires_at = None if self.never_expires else self.expires_at or terms.expires_at
        consent = terms.consent if self.consent is None else self.consent or None
        purpose = terms.purpose if self.purpose is None else self.purpose or None
        metadata = terms.metadata if self.metadata is None else dict(self.metadata)
        return Terms(consent, purpose, expires_at, metadata)


NO_CHANGE: Final = TermsChange()


@dataclass(frozen=True)
class TermsRights:
    """What an enrolment may do to terms, and which it has to leave the subject with.

    Attributes:
        may_renew: whether those of a subject that is there may be changed.
        may_shorten: whether such a subject may be made to expire earlier, which is to delete it.
        required: names among REQUIRABLE.
    """

    may_renew: bool = True
    may_shorten: bool = True
    required: frozenset[str] = frozenset()


ALL_RIGHTS: Final = TermsRights()


def read_terms(session: Session, vault: Vault, subject: SubjectRow) -> Terms:
    """The terms of a subject.

    Raises:
        KeyDestroyedError: nothing opens them any more.
        StorageDamagedError: they are not what was stored.
    """
    row = session.get(TermsRow, subject.key)
    terms = Terms(expires_at=subject.expires_at)
    if row is None:
        return terms
    return replace(terms, **open_terms(vault, row.content, terms_binding(subject.key, subject.tenant)))


def open_terms(vault: Vault, content: bytes, binding: bytes) -> dict[str, Any]:
    """What is stored of terms beside their expiry, by name.

    Args:
        vault: of the store.
        content: of the row.
        binding: see terms_binding().

    Raises:
        KeyDestroyedError: nothing opens them any more.
        StorageDamagedError: they are not what was stored.
    """
    (plain,) = vault.opener([content]).open([content], [binding])
    try:
        found: dict[str, Any] = json.loads(plain)
        Terms(**found)
    except (ValueError, TypeError) as error:
        raise StorageDamagedError(
            "The terms of a subject cannot be read: they are not what was written.",
            remedy="Run `matchka gallery verify`, and restore a backup into a new data folder.",
        ) from error
    return found


def write_terms(session: Session, vault: Vault, subject: SubjectRow, terms: Terms) -> None:
    """Store the terms of a subject, which has its key by now."""
    subject.expires_at = terms.expires_at
    held = {"consent": terms.consent, "purpose": terms.purpose, "metadata": terms.metadata or None}
    held = {name: value for name, value in held.items() if value is not None}
    row = session.get(TermsRow, subject.key)
    if not held:
        if row is not None:
            session.delete(row)
        return
    plain = json.dumps(held, ensure_ascii=False).encode()
    (content,) = vault.seal([Plain(subject.key_id, terms_binding(subject.key, subject.tenant), plain)])
    if row is None:
        session.add(TermsRow(subject_key=subject.key, content=content))
    else:
        row.content = content


def renew_terms(session: Session, vault: Vault, subject: SubjectRow, change: TermsChange, rights: TermsRights) -> None:
    """Change the terms of a subject that is being enrolled; to be called before its new templates are added.

    Raises:
        ConsentRequiredError: it would be enrolled without what is required.
        MissingScopeError: it is there already, and the caller may not change that.
        InvalidFieldError: it would have expired already.
    """
    if change == NO_CHANGE and not rights.required:
        return
    before = read_terms(session, vault, subject)
    after = change.applied_to(before)
    if after != before:
        if has_templates(session, subject):
            if not rights.may_renew:
                raise _guessed(missing_scope(Scope.APPEND))
            if not rights.may_shorten and _is_earlier(after.expires_at, before.expires_at):
                raise _guessed(missing_scope(Scope.SUBJECTS_DELETE))
        _require_future(session, change)
        write_terms(session, vault, subject, after)
    require_terms(after, rights.required)


def change_terms(
    session: Session, vault: Vault, subject: SubjectRow, change: TermsChange, required: Collection[str]
) -> Terms:
    """Change the terms of a subject.

    Raises:
        ConsentRequiredError: it would be left without what is required.
        InvalidFieldError: it would have expired already.
    """
    after = change.applied_to(read_terms(session, vault, subject))
    require_terms(after, required)
    _require_future(session, change)
    write_terms(session, vault, subject, after)
    return after


def require_terms(terms: Terms, required: Collection[str]) -> None:
    """Refuse terms that lack what a setting requires.

    Raises: ConsentRequiredError: they do.
    """
    missing = [name for name in REQUIRABLE if name in required and getattr(terms, name) is None]
    if missing:
        raise ConsentRequiredError(
            f"This service enrols nobody without {' and '.join(missing)}.",
            value=", ".join(missing),
            remedy=f"Send {' and '.join(missing)}: a reference to the consent that was given, and what the enrolment "
            "is for. MATCHKA_ENROLMENT_REQUIRES asks for it.",
        )


def has_templates(session: Session, subject: SubjectRow) -> bool:
    """Whether a subject has templates of any model."""
    one = select(TemplateRow.template_id).where(TemplateRow.subject_key == subject.key).limit(1)
    return session.scalar(one) is not None


def terms_binding(subject_key: int, tenant: str) -> bytes:
    """Associated data of encrypted terms: whose they are."""
    return subject_key.to_bytes(8) + NO_TEMPLATE + b"matchka-terms-1" + tenant.encode()


def _is_earlier(one: datetime | None, other: datetime | None) -> bool:
    """Whether a time of expiry is earlier; None is never.

    >>> _is_earlier(datetime(2030, 1, 1), None), _is_earlier(None, datetime(2030, 1, 1))
    (True, False)
    """
    return one is not None and (other is None or one < other)


def _guessed(refusal: MissingScopeError) -> MissingScopeError:
    """A refusal that tells something of the terms that a subject has: it counts as a failed try of that subject."""
    refusal.failed_tries = 1
    return refusal


def _require_future(session: Session, change: TermsChange) -> None:
    if change.expires_at is not None and change.expires_at <= time_of(session):
        raise InvalidFieldError(
            "expires_at has to lie in the future, by the database's clock.",
            value=change.expires_at.isoformat(),
            remedy="Send a later time, or delete the subject.",
        )
