"""What people can ask of a store: their terms, all that is held about them, and the receipt of their erasure."""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from matchka.errors import StoreError
from matchka.store.audit.log import AuditLog
from matchka.store.audit.records import Outcome
from matchka.store.clock import time_of
from matchka.store.conflicts import repeated_on_conflict
from matchka.store.deletions import forget_old_deletions
from matchka.store.engine import reading
from matchka.store.feed.feed import forget_old_changes
from matchka.store.queries import require_subject
from matchka.store.rights.erasure import Erasure
from matchka.store.rights.person import Person, read_person
from matchka.store.rights.receipt import Receipt, receipt_key, sign_receipt
from matchka.store.rights.terms import Terms, TermsChange, change_terms, read_terms
from matchka.store.schema import IdentityRow
from matchka.store.subject_hash import SubjectHasher
from matchka.store.vault.subject_keys import give_key, new_key_destroyed_on_failure
from matchka.store.vault.vault import Vault


class Rights:
    """The rights of the subjects of every tenant.

    Args:
        engine: of the store.
        vault: of the store.
        hasher: of the store; without it, nothing is receipted.
        audit: of the store.
    """

    def __init__(self, engine: Engine, vault: Vault, hasher: SubjectHasher | None, audit: AuditLog) -> None:
        self._engine = engine
        self._vault = vault
        self._hasher = hasher
        self._audit = audit

    def terms(self, tenant: str, subject_id: str) -> Terms:
        """The terms of a subject.

        Raises: UnknownSubjectError: no such subject.
        """
        with Session(self._engine) as session:
            return read_terms(session, self._vault, require_subject(session, tenant, subject_id))

    @repeated_on_conflict
    def change_terms(self, tenant: str, subject_id: str, change: TermsChange, required: Collection[str] = ()) -> Terms:
        """Change the terms of a subject.

        Args:
            tenant: owner of the subject.
            subject_id: whose.
            change: what to change.
            required: names among REQUIRABLE that the subject has to be left with.

        Raises:
            UnknownSubjectError: no such subject.
            ConsentRequiredError: it would be left without what is required.
            InvalidFieldError: it would have expired already.
        """
        self._vault.make_ready(tenant)
        with Session(self._engine) as session, session.begin(), new_key_destroyed_on_failure(self._vault) as made:
            subject = require_subject(session, tenant, subject_id, to_change=True)
            give_key(session, self._vault, subject, made, self._hasher)
            changed = change_terms(session, self._vault, subject, change, required)
            self._audit.note(session, Outcome.CHANGED, tenant, subject_id)
        return changed

    def person(self, tenant: str, subject_id: str) -> Person:
        """All that is held about one subject.

        Raises: UnknownSubjectError: no such subject.
        """
        with reading(self._engine) as session:
            subject = require_subject(session, tenant, subject_id)
            return read_person(session, self._vault, self._hasher, subject)

    def receipt(self, erasure: Erasure, complete: bool) -> Receipt:
        """A signed receipt of an erasure.

        Args:
            erasure: what was erased.
            complete: whether nothing of it is left in a write-ahead log.

        Raises: StoreError: the key is not at hand.
        """
        with Session(self._engine) as session:
            service = session.scalars(select(IdentityRow.identity)).one()
        return sign_receipt(erasure, self._signing, service, complete)

    @property
    def receipt_key(self) -> str:
        """The public key of the receipts, base64."""
        return receipt_key(self._signing)

    def forget_old_deletions(self, older_than: timedelta, most: int) -> int:
        """Take the oldest deletions off the log, at most so many, by the database's clock; how many it were."""
        with Session(self._engine) as session, session.begin():
            return forget_old_deletions(session, time_of(session) - older_than, most)

    def forget_old_changes(self, older_than: timedelta, most: int) -> int:
        """Take the oldest changes off the change feed, at most so many, by the database's clock; how many it were."""
        with Session(self._engine) as session, session.begin():
            return forget_old_changes(session, older_than, most)

    @property
    def time(self) -> datetime:
        """The time by which subjects expire: the database's."""
        with Session(self._engine) as session:
            return time_of(session)

    @property
    def _signing(self) -> SubjectHasher:
        if self._hasher is None:
            raise StoreError("This store was opened without the key of its receipts.", remedy="Open it with a hasher.")
        return self._hasher
