"""Reads and writes of the system of record; each write is one transaction, committed before the call returns."""

import logging
import re
import uuid
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from matchka.errors import NotEnrolledError, OtherVersionError, StoreError, UnknownTemplateError
from matchka.store.attempts import Attempts
from matchka.store.audit.log import AuditLog
from matchka.store.audit.records import Outcome
from matchka.store.challenges import Challenges
from matchka.store.conflicts import repeated_on_conflict
from matchka.store.connections.pool import MeasuredPool
from matchka.store.database import UNHURRIED, Limits
from matchka.store.database_errors import as_matchka_error
from matchka.store.deletions import in_chunks, note_deletions
from matchka.store.engine import database_of, disposed_on_failure, lock_name, open_engine, reading
from matchka.store.enrolment_limits import NO_LIMITS, EnrolmentLimits
from matchka.store.enrolment_review import NO_REVIEW, Review
from matchka.store.feed.feed import ChangeFeed, forget_foreign_changes
from matchka.store.feed.snapshot import Snapshot
from matchka.store.idempotency.answers import NO_RECORDING, RecordedAnswers, Recording
from matchka.store.integrity.page_check import require_sound_pages
from matchka.store.integrity.stored_embeddings import to_bytes
from matchka.store.keys.keys import Keys
from matchka.store.migrations.migrate import bring_up_to_date
from matchka.store.queries import (
    find_or_make_subject,
    read_templates,
    recompute_reference,
    reference_query,
    references_query,
    require_subject,
    summaries_query,
    to_references,
    to_subject,
    unexpired,
    unseen_query,
    write_reference,
)
from matchka.store.records import Enrolment, Reference, Removal, Subject, SubjectSummary, Unseen
from matchka.store.references import StoredReferences, read_references
from matchka.store.rights.erasure import Erasure, erase_expired, erase_subject, expired_subjects
from matchka.store.rights.rights import Rights
from matchka.store.rights.terms import NO_CHANGE, TermsChange, renew_terms
from matchka.store.schema import TEMPLATE_ID, IdentityRow, ReferenceRow, SubjectRow, TemplateRow
from matchka.store.sqlite.wal import ERASE_WAIT_S
from matchka.store.statistics import subjects_without, tenants_in
from matchka.store.subject_hash import SubjectHasher
from matchka.store.vault.open_vault import key_destroyed
from matchka.store.vault.sealed import Binding
from matchka.store.vault.subject_keys import (
    drop_unreadable,
    finish_erasures,
    give_key,
    is_unreadable,
    new_key_destroyed_on_failure,
    require_keys,
    subjects_in_clear,
)
from matchka.store.vault.vault import CLEAR, Plain, Vault
from matchka.store.writer_turns import WriterTurns
from matchka.vectors import FloatArray

DATABASE_NAMES: Final = ("templates", "keys")  # of its engines
MOST_UNSEEN: Final = 10_000  # changes that a search looks at, while an import is under way say
LOGGER: Final = logging.getLogger("matchka.store")


class Store:
    """Subjects, templates and references of every tenant; what subjects are asked, and the keys of who asks.

    Args:
        url: an SQLAlchemy URL. SQLite runs in WAL mode with full synchronisation and secure deletion.
        vault: encrypts embeddings; the caller closes it. In clear by default.
        limits: of the waits for a database server.
        hasher: of the ids of subjects, in the deletion log and the audit log; without it they are in neither.
        is_audited: whether there is an audit log.

    Raises: StoreError: the database cannot be opened, or its tables are of another version.
    """

    def __init__(
        self,
        url: str,
        vault: Vault = CLEAR,
        *,
        limits: Limits = UNHURRIED,
        hasher: SubjectHasher | None = None,
        is_audited: bool = False,
    ) -> None:
        self._vault = vault
        self._hasher = hasher
        self._engine = open_engine(url, limits)
        self._turns = WriterTurns(database_of(self._engine).most_writers(limits))
        self._sessions = sessionmaker(self._engine)
        # made once: each verify asks the first and each identify another, and making them takes longer than they
        self._reference, self._references = reference_query(), references_query()
        self._summaries, self._unseen = summaries_query(), unseen_query()
        try:
            with disposed_on_failure(self._engine):
                bring_up_to_date(self._engine, hasher)
                with self._sessions.begin() as session:
                    forget_foreign_changes(session)
        except (SQLAlchemyError, UnicodeError) as error:  # the latter where a damaged file's text is none
            known_error = as_matchka_error(error)
            raise StoreError(
                "The database cannot be opened.",
                value=known_error.value if known_error else error,
                remedy=known_error.remedy if known_error else "Check MATCHKA_DATABASE_URL and its file's rights.",
            ) from error
        self.challenges = Challenges(self._engine)
        self.audit = AuditLog(self._engine, hasher, is_audited)
        self.keys = Keys(self._engine, self.audit)
        self.attempts = Attempts(self._engine)
        self.answers = RecordedAnswers(self._engine, vault, hasher)
        self.rights = Rights(self._engine, vault, hasher, self.audit)
        self._erasure = database_of(self._engine).erasure(self._engine)
        self.feed = ChangeFeed(self._engine, vault, limits)
        self._erasure.request()  # of what a process that was killed had deleted and not yet erased

    def close(self) -> None:
        """Close every connection."""
        self._erasure.close()
        self.feed.close()
        self._engine.dispose()

    @repeated_on_conflict
    def add_templates(
        self,
        tenant: str,
        subject_id: str,
        model: str,
        version: str,
        embeddings: FloatArray,
        row_counts: Sequence[int] | None = None,
        conditions: Sequence[float | None] | None = None,
        limits: EnrolmentLimits = NO_LIMITS,
        review: Review = NO_REVIEW,
        terms: TermsChange = NO_CHANGE,
        recording: Recording = NO_RECORDING,
    ) -> Enrolment:
        """Store templates and recompute the subject's reference; all or nothing, but for what a review leaves out.

        Args:
            tenant: owner of the subject.
            subject_id: made new where it does not exist.
            model: the bundle's name.
            version: the bundle's version.
            embeddings: float32, (templates, full_dim), unit length.
            row_counts: of how many rows of the graph's output each is the mean; None where not known.
            conditions: of each the value that decides which thresholds hold; None where the bundle has one set.
            limits: of what the caller may add.
            review: looks at what is stored before it is committed.
            terms: what to change of the subject's.
            recording: lets a request that is sent again be done once.

        Raises:
            EnrolmentRepeated: it was done before; see Recording.begin().
            DuplicateSampleError: one is that of a sample which is stored already, or twice among them.
            ConsentRequiredError: it lacks what the limits require.
            MatchkaError: it is beyond the limits (see EnrolmentLimits.require_room), or the review refuses it.
        """
        now = datetime.now(UTC)
        counts = [None] * len(embeddings) if row_counts is None else row_counts
        held = [None] * len(embeddings) if conditions is None else conditions
        ids = tuple(uuid.uuid4().hex for _ in embeddings)
        binding = Binding(tenant, model, version)
        self._vault.make_ready(tenant)
        with self._changing() as session, new_key_destroyed_on_failure(self._vault) as made:
            recording.begin(session, self._vault)
            subject = find_or_make_subject(session, tenant, subject_id, now)
            replaced = erase_expired(session, subject, self._hasher)
            if replaced is not None:
                subject = find_or_make_subject(session, tenant, subject_id, now)
            give_key(session, self._vault, subject, made, self._hasher)
            renew_terms(session, self._vault, subject, terms, limits.terms)
            sealed = self._vault.seal(
                [
                    Plain(subject.key_id, binding.of_template(subject.key, template_id), to_bytes(embedding))
                    for template_id, embedding in zip(ids, embeddings, strict=True)
                ]
            )
            for template_id, stored, row_count, condition in zip(ids, sealed, counts, held, strict=True):
                session.add(
                    TemplateRow(
                        template_id=template_id,
                        subject_key=subject.key,
                        model=model,
                        version=version,
                        embedding=stored,
                        created_at=now,
                        row_count=row_count,
                        condition=condition,
                    )
                )
            session.flush()
            # as SQLite's one writer, or with the subject locked: nothing is committed between this look and the commit
            limits.require_room(session, subject, model, len(ids))
            templates = read_templates(session, subject, model, version, self._vault)
            refused = review.refused(templates, ids, subject_id)
            for place in refused:
                session.delete(session.get_one(TemplateRow, ids[place]))
                del templates[ids[place]]
            reference = write_reference(session, subject, model, version, templates, self._vault)
            if reference is None:
                raise StoreError("An enrolment needs at least one template.", remedy="Send at least one sample.")
            if review.is_exclusive:
                lock_name(session, f"{tenant}//{model}")  # a subject's name has one slash, and is locked before
            review.accept(reference)
            kept = tuple(one for place, one in enumerate(ids) if place not in refused)
            if replaced is not None:
                self.audit.note(session, Outcome.DELETED, tenant, subject_id, count=len(replaced.template_ids))
            self.audit.note(session, Outcome.ENROLLED, tenant, subject_id, model, version, count=len(kept))
            enrolment = Enrolment(kept, reference, refused)
            recording.finish(session, self._vault, subject, enrolment)
        if replaced is not None:
            self._erase(ERASE_WAIT_S)
        return enrolment

    def reference(self, tenant: str, subject_id: str, model: str, version: str) -> Reference:
        """The reference of one subject.

        Raises:
            UnknownSubjectError: no such subject.
            NotEnrolledError: it has no templates of this model.
            OtherVersionError: its templates are of another version.
        """
        values = {"of_tenant": tenant, "of_subject": subject_id, "of_model": model, "of_version": version}
        with self._engine.connect() as connection:
            found = connection.execute(self._reference, values).one_or_none()
        if found is not None:
            opened = to_references([found], Binding(tenant, model, version), self._vault)
            if opened:
                return opened[0]
            raise key_destroyed()
        with self._sessions() as session:
            subject = require_subject(session, tenant, subject_id)
            other = session.scalar(
                select(ReferenceRow.version).where(ReferenceRow.subject_key == subject.key, ReferenceRow.model == model)
            )
        if other == version:  # enrolled between the two looks
            return self.reference(tenant, subject_id, model, version)
        if other is not None:
            raise OtherVersionError(
                f"The subject was enrolled with version {other} of model {model}; {version} is served.",
                value=subject_id,
                remedy="Enrol the subject again.",
            )
        raise NotEnrolledError(
            f"The subject has no templates of model {model}.",
            value=subject_id,
            remedy="Enrol it with this model first.",
        )

    def references_of_keys(self, tenant: str, keys: Sequence[int], model: str, version: str) -> dict[int, Reference]:
        """The reference of each of some subject keys; keys that are gone are left out.

        Raises: StorageDamagedError: one is not what was stored.
        """
        found: dict[int, Reference] = {}
        for chunk in in_chunks(keys):
            values = {"of_tenant": tenant, "keys": chunk, "of_model": model, "of_version": version}
            with self._engine.connect() as connection:
                rows = connection.execute(self._references, values).all()
            references = to_references(rows, Binding(tenant, model, version), self._vault)
            found |= {reference.subject_key: reference for reference in references}
        return found

    def unseen(self, snapshot: Snapshot, tenant: str, model: str, version: str) -> Unseen:
        """Which subjects of a tenant were changed by transactions that a snapshot did not see."""
        values: dict[str, object] = {"of_tenant": tenant, "of_model": model, "of_version": version}
        values |= {"next_id": snapshot.next_id, "running": sorted(snapshot.running), "most": MOST_UNSEEN}
        with self._engine.connect() as connection:
            rows = connection.execute(self._unseen, values).all()
        return Unseen({row.subject_key: row.is_held for row in rows}, len(rows) < MOST_UNSEEN)

    def summaries_of_keys(
        self, tenant: str, keys: Sequence[int], model: str, version: str
    ) -> dict[int, SubjectSummary]:
        """Subject id and template count for each of some subject keys; keys that are gone are left out."""
        found: dict[int, SubjectSummary] = {}
        for chunk in in_chunks(keys):
            values = {"of_tenant": tenant, "keys": chunk, "of_model": model, "of_version": version}
            with self._engine.connect() as connection:
                rows = connection.execute(self._summaries, values).all()
            found |= {row.key: SubjectSummary(row.subject_id, row.created_at, row.template_count) for row in rows}
        return found

    def subjects_without(self, model: str, version: str) -> list[tuple[str, int]]:
        """Tenant and key of each subject that has templates of a model, but none of this version."""
        with reading(self._engine) as session:  # all of them
            return subjects_without(session, model, version)

    def tenants(self) -> list[str]:
        """Every tenant that has subjects."""
        with reading(self._engine) as session:
            return tenants_in(session)

    def all_references(
        self, model: str, version: str, unless: Sequence[str] = ()
    ) -> Generator[StoredReferences, None, None]:
        """Every reference of a model and version, a few thousand of one tenant at a time, by their keys.

        Args:
            model: the bundle's name.
            version: the bundle's version.
            unless: versions; subjects that have a reference of one of them are left out.
        """
        return read_references(self._engine, model, version, unless, self._vault)

    def subject(self, tenant: str, subject_id: str) -> Subject:
        """One subject with its templates.

        Raises: UnknownSubjectError: no such subject.
        """
        with self._sessions() as session:
            return to_subject(session, require_subject(session, tenant, subject_id))

    def subjects(self, tenant: str, limit: int, after: str | None) -> list[SubjectSummary]:
        """A page of subjects in the order of their ids, starting behind `after`."""
        count = (
            select(func.count())
            .select_from(TemplateRow)
            .where(TemplateRow.subject_key == SubjectRow.key)
            .scalar_subquery()
        )
        query = (
            select(SubjectRow.subject_id, SubjectRow.created_at, count.label("template_count"))
            .where(SubjectRow.tenant == tenant, unexpired())
            .order_by(SubjectRow.subject_id)
            .limit(limit)
        )
        if after is not None:
            query = query.where(SubjectRow.subject_id > after)
        with self._sessions() as session:
            return [SubjectSummary(*row) for row in session.execute(query)]

    def delete_subject(self, tenant: str, subject_id: str, wait_s: float = ERASE_WAIT_S) -> Erasure:
        """Delete a subject with all its templates and references, of every model, and note them in the deletion log.

        One that has expired and is not deleted yet is deleted as well.

        Args:
            tenant: owner of the subject.
            subject_id: whose.
            wait_s: longest wait, in seconds, until its key is destroyed and no byte of it is left in SQLite's
                write-ahead log; without any, wait_until_erased() is the caller's.

        Raises: UnknownSubjectError: no such subject.
        """
        erasure = self._delete_subject(tenant, subject_id)
        self._erase(wait_s)
        return erasure

    @repeated_on_conflict
    def _delete_subject(self, tenant: str, subject_id: str) -> Erasure:
        with self._changing() as session:
            subject = require_subject(session, tenant, subject_id, to_change=True, even_expired=True)
            erasure = erase_subject(session, subject, self._hasher)
            self.audit.note(session, Outcome.DELETED, tenant, subject_id, count=len(erasure.template_ids))
        return erasure

    def delete_expired(self, most: int) -> list[Erasure]:
        """Delete some of the subjects whose time is over, longest first; wait_until_erased() is the caller's.

        Several processes may do so at once: each subject is deleted by one of them.

        Args: most: subjects, in one transaction.
        """
        with self._changing() as session:
            found = (erase_expired(session, subject, self._hasher) for subject in expired_subjects(session, most))
            erased = [one for one in found if one is not None]
            for one in erased:
                self.audit.note(session, Outcome.DELETED, one.tenant, one.subject_id, count=len(one.template_ids))
        if erased:
            self._erase(0.0)
        return erased

    def delete_template(self, tenant: str, template_id: str, wait_s: float = ERASE_WAIT_S) -> Removal:
        """Delete one template and recompute the reference; a subject whose last template goes, goes with it.

        Where nothing opens the subject's templates any more, all of them go.

        Args:
            tenant: owner of the template.
            template_id: which.
            wait_s: longest wait, in seconds, until no byte of it is left in SQLite's write-ahead log.

        Raises: UnknownTemplateError: no such template.
        """
        if not re.fullmatch(TEMPLATE_ID, template_id):  # PostgreSQL fails on text that has a NUL
            raise _no_such_template(template_id)
        removal = self._delete_template(tenant, template_id)
        self._erase(wait_s)
        return removal

    @repeated_on_conflict
    def _delete_template(self, tenant: str, template_id: str) -> Removal:
        with self._changing() as session:
            subject = session.scalar(
                select(SubjectRow)
                .join(TemplateRow, SubjectRow.key == TemplateRow.subject_key)
                .where(TemplateRow.template_id == template_id, SubjectRow.tenant == tenant)
                .with_for_update(of=SubjectRow)  # see find_subject()
            )
            template = session.get(TemplateRow, template_id) if subject is not None else None
            if subject is None or template is None:  # the latter where it was deleted while this waited for the subject
                raise _no_such_template(template_id)
            key, model, version = subject.key, template.model, template.version
            if is_unreadable(subject, self._vault):
                drop_unreadable(session, subject, self._hasher)
                reference = None
            else:
                give_key(session, self._vault, subject, [], self._hasher)
                note_deletions(session, subject, [template_id], datetime.now(UTC), self._hasher)
                session.delete(template)
                session.flush()
                reference = recompute_reference(session, subject, model, version, self._vault)
            if not session.scalar(select(func.count()).where(TemplateRow.subject_key == key)):
                erase_subject(session, subject, self._hasher)
            self.audit.note(session, Outcome.DELETED, tenant, subject.subject_id, model, version)
        return Removal(key, model, version, reference)

    def wait_until_erased(self, wait_s: float = ERASE_WAIT_S) -> bool:
        """Destroy the keys of deleted subjects, and wait until nothing of them is left in SQLite's write-ahead logs.

        Returns: False where a long read of another process, a backup say, keeps it there for longer; it is erased in
            the background as soon as that read ends.
        """
        is_destroyed = finish_erasures(self._engine, self._vault)
        erased = self._erasure.wait(wait_s) and is_destroyed
        if not erased:
            LOGGER.warning("a long read keeps what was deleted in the write-ahead log; it is erased when that ends")
        return erased

    @property
    def erasures_waiting(self) -> int:
        """Deletions whose bytes are still in a write-ahead log, a subject's and its key's, while a long read lasts."""
        return self._erasure.waiting + self._vault.erasures_waiting

    def require_keys(self) -> None:
        """Refuse to serve what cannot be opened; destroy the keys of whoever was deleted when a process was killed.

        Raises: VaultLockedError: the vault is locked, or its key store is another.
        """
        require_keys(self._engine, self._vault)
        finish_erasures(self._engine, self._vault)
        if self._vault.is_sealing and self._vault.accepts_clear:
            with self._sessions() as session:
                in_clear = subjects_in_clear(session)
                is_new = not session.scalar(select(func.count()).select_from(SubjectRow))
            if is_new and self._vault.is_unused:  # else the key store may be that of a store in clear elsewhere
                self._vault.accept_only_sealed()
            elif in_clear:
                LOGGER.warning("%d subjects are not encrypted yet: run `matchka vault encrypt`", in_clear)
            else:
                LOGGER.warning("embeddings in clear would still be accepted: run `matchka vault encrypt`")

    def require_sound_pages(self) -> None:
        """Compare tables with their indexes, where the database does not do so itself: damage that no digest shows.

        Raises: StorageDamagedError: something is not what was written.
        """
        require_sound_pages(self._engine)

    @property
    def engines(self) -> tuple[Engine, ...]:
        """Of every database that a request may need: this one, and the key store's where there is one."""
        return (self._engine, *self._vault.engines)

    @property
    def pools(self) -> dict[str, MeasuredPool]:
        """The connections to each of them, by what lies there."""
        pools = [engine.pool for engine in self.engines]
        return {name: pool for name, pool in zip(DATABASE_NAMES, pools, strict=False) if isinstance(pool, MeasuredPool)}

    @property
    def identity(self) -> str:
        """The random name of this store, 32 hexadecimal digits; a restored store has a new one."""
        with self._sessions() as session:
            return session.scalars(select(IdentityRow.identity)).one()

    @contextmanager
    def _changing(self) -> Iterator[Session]:
        """A transaction that changes templates, when it is its turn."""
        with self._turns.turn(), self._sessions.begin() as session:
            database_of(self._engine).begin_writing(session.connection())
            yield session

    def _erase(self, wait_s: float) -> None:
        self._erasure.request()
        if wait_s > 0:
            self.wait_until_erased(wait_s)


def _no_such_template(template_id: str) -> UnknownTemplateError:
    return UnknownTemplateError(
        "There is no such template.", value=template_id, remedy="List them with GET /v1/subjects/{id}."
    )


@contextmanager
def opened_store(
    url: str,
    vault: Vault = CLEAR,
    *,
    limits: Limits = UNHURRIED,
    hasher: SubjectHasher | None = None,
    is_audited: bool = False,
) -> Iterator[Store]:
    """A store that is closed at the end of the block."""
    store = Store(url, vault, limits=limits, hasher=hasher, is_audited=is_audited)
    try:
        yield store
    finally:
        store.close()
