"""What enrolments with an idempotency key were answered: stored with the templates, given again, and forgotten in time.

The row of a key is written in the transaction of the templates, first of all: of two requests with one key the second
waits there until the first is committed or has failed, in whichever process it is. The answer goes with its subject;
the key stays for its time, so that a late copy of the request does not enrol again who was deleted.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from sqlalchemy import Engine, delete, select
from sqlalchemy.orm import Session

from matchka.errors import EnrolmentUndoneError, IdempotencyKeyReusedError, StoreError
from matchka.store.clock import Now, time_of
from matchka.store.idempotency.requests import NamedRequest, named_request
from matchka.store.queries import unexpired
from matchka.store.records import Enrolment
from matchka.store.schema import EnrolmentAnswerRow, IdempotencyKeyRow, SubjectRow
from matchka.store.subject_hash import SubjectHasher
from matchka.store.vault.sealed import answer_binding
from matchka.store.vault.vault import Plain, Vault


class EnrolmentRepeated(Exception):  # noqa: N818 - it is no error: the request was done before
    """An enrolment that was done before. Attributes: answer: as it was described then."""

    def __init__(self, answer: bytes) -> None:
        super().__init__("This enrolment was done before.")
        self.answer = answer


class Recording(Protocol):
    """What an enrolment does in its transaction so that it is done once."""

    def begin(self, session: Session, vault: Vault) -> None:
        """Take the key, before anything else.

        Raises:
            EnrolmentRepeated: it is done already.
            IdempotencyKeyReusedError: with this key something else was asked for.
            EnrolmentUndoneError: it was done, and what it stored is deleted.
        """

    def finish(self, session: Session, vault: Vault, subject: SubjectRow, enrolment: Enrolment) -> None:
        """Keep the answer, last of all."""


@dataclass(frozen=True)
class OnceRecording:
    """Of a request with a key. Attributes: describe: makes the answer that is kept."""

    request: NamedRequest
    describe: Callable[[Enrolment], bytes]

    def begin(self, session: Session, vault: Vault) -> None:
        """See Recording."""
        require_new(session, vault, self.request)
        session.add(IdempotencyKeyRow(name=self.request.name, content=self.request.content, created_at=Now()))
        session.flush()

    def finish(self, session: Session, vault: Vault, subject: SubjectRow, enrolment: Enrolment) -> None:
        """See Recording."""
        plain = Plain(subject.key_id, answer_binding(subject.key, subject.tenant), self.describe(enrolment))
        (answer,) = vault.seal([plain])
        session.add(EnrolmentAnswerRow(name=self.request.name, subject_key=subject.key, answer=answer))


class _NoRecording:
    """Of a request without a key."""

    def begin(self, session: Session, vault: Vault) -> None:
        """There is no key."""

    def finish(self, session: Session, vault: Vault, subject: SubjectRow, enrolment: Enrolment) -> None:
        """Nothing is kept."""


NO_RECORDING: Final = _NoRecording()


def require_new(session: Session, vault: Vault, request: NamedRequest) -> None:
    """Refuse a request whose key was used; see Recording.begin() for what it raises."""
    row = session.get(IdempotencyKeyRow, request.name)
    if row is None:
        return
    if not hmac.compare_digest(row.content, request.content):
        raise IdempotencyKeyReusedError(
            "Another request was sent with this Idempotency-Key.",
            remedy="Send the same fields and files again, or another key.",
        )
    query = select(EnrolmentAnswerRow.answer, SubjectRow.key).join(SubjectRow)
    found = session.execute(query.where(EnrolmentAnswerRow.name == request.name, unexpired())).one_or_none()
    if found is not None:
        opener = vault.opener([found.answer])
        if not opener.lacks(found.answer):
            (plain,) = opener.open([found.answer], [answer_binding(found.key, request.tenant)])
            raise EnrolmentRepeated(bytes(plain))
    raise EnrolmentUndoneError(
        "The subject that was enrolled with this Idempotency-Key was deleted since, or has expired.",
        remedy="To enrol it anew, send another key.",
    )


class RecordedAnswers:
    """The answers of a store's enrolments.

    Args:
        engine: of the store.
        vault: of the store.
        hasher: of the store; without it no request has a name.
    """

    def __init__(self, engine: Engine, vault: Vault, hasher: SubjectHasher | None) -> None:
        self._engine = engine
        self._vault = vault
        self._hasher = hasher

    def named(self, tenant: str, key_id: str | None, idempotency_key: str, content: bytes) -> NamedRequest:
        """A caller's request; see named_request()."""
        if self._hasher is None:
            raise StoreError("This store was opened without the key of its digests.", remedy="Open it with a hasher.")
        return named_request(self._hasher, tenant, key_id, idempotency_key, content)

    def require_new(self, request: NamedRequest) -> None:
        """Look before the work begins; see Recording.begin() for what it raises."""
        with Session(self._engine) as session:
            require_new(session, self._vault, request)

    def forget_old(self, older_than: timedelta, most: int) -> int:
        """Forget the oldest keys and their answers, at most so many, by the database's clock; how many it were."""
        with Session(self._engine) as session, session.begin():
            before = time_of(session) - older_than
            query = select(IdempotencyKeyRow.name).where(IdempotencyKeyRow.created_at < before)
            names = session.scalars(query.order_by(IdempotencyKeyRow.created_at).limit(most)).all()
            session.execute(delete(IdempotencyKeyRow).where(IdempotencyKeyRow.name.in_(names)))
        return len(names)
