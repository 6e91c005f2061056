"""Reads and writes of the system of record; each write is one transaction, committed before the call returns."""

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

import numpy as np
from sqlalchemy import delete, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from service.errors import NotEnrolledError, OtherVersionError, StoreError, UnknownSubjectError, UnknownTemplateError
from service.store.digest import LITTLE_ENDIAN_FLOAT32, digests
from service.store.engine import open_engine
from service.store.records import Enrolment, Reference, Removal, Subject, SubjectSummary, Template
from service.store.schema import Base, ReferenceRow, SchemaVersion, SubjectRow, TemplateRow
from service.store.upgrade import upgrade_tables
from service.vectors import FloatArray, mean_reference

SCHEMA_VERSION: Final = 2
LOGGER: Final = logging.getLogger("matchka.store")
READ_BATCH_ROWS: Final = 10_000  # references read at once when the gallery is rebuilt


class Store:
    """Subjects, templates and references of every tenant.

    Args: url: an SQLAlchemy URL. SQLite runs in WAL mode with full synchronisation and secure deletion.

    Raises: StoreError: the database cannot be opened, or its tables are of another version.
    """

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        self._sessions = sessionmaker(self._engine)
        try:
            Base.metadata.create_all(self._engine)
            with self._sessions.begin() as session:
                found = session.scalar(select(SchemaVersion.version))
                if found is None:
                    session.add(SchemaVersion(version=SCHEMA_VERSION))
            if found is not None:
                found = upgrade_tables(self._engine, found)
        except SQLAlchemyError as error:
            raise StoreError(
                "The database cannot be opened.",
                value=error,
                remedy="Check MATCHKA_DATABASE_URL and its file's rights.",
            ) from error
        if found not in (None, SCHEMA_VERSION):
            raise StoreError(
                f"The database has tables of version {found}; this program needs {SCHEMA_VERSION}.",
                remedy="Use the program version that made it, or another data folder.",
            )

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def add_templates(
        self, tenant: str, subject_id: str, model: str, version: str, embeddings: FloatArray
    ) -> Enrolment:
        """Store templates and recompute the subject's reference; all or nothing.

        Args:
            tenant: owner of the subject.
            subject_id: made new where it does not exist.
            model: the bundle's name.
            version: the bundle's version.
            embeddings: float32, (templates, full_dim), unit length.
        """
        now = datetime.now(UTC)
        ids = tuple(uuid.uuid4().hex for _ in embeddings)
        with self._sessions.begin() as session:
            subject = _find_subject(session, tenant, subject_id)
            if subject is None:
                subject = SubjectRow(tenant=tenant, subject_id=subject_id, created_at=now)
                session.add(subject)
                session.flush()
            for template_id, embedding in zip(ids, embeddings, strict=True):
                session.add(
                    TemplateRow(
                        template_id=template_id,
                        subject_key=subject.key,
                        model=model,
                        version=version,
                        embedding=_to_bytes(embedding),
                        created_at=now,
                    )
                )
            session.flush()
            reference = _recompute_reference(session, subject, model, version)
            if reference is None:
                raise StoreError("An enrolment needs at least one template.", remedy="Send at least one sample.")
        return Enrolment(ids, reference)

    def reference(self, tenant: str, subject_id: str, model: str, version: str) -> Reference:
        """The reference of one subject.

        Raises:
            UnknownSubjectError: no such subject.
            NotEnrolledError: it has no templates of this model.
            OtherVersionError: its templates are of another version.
        """
        with self._sessions() as session:
            subject = _require_subject(session, tenant, subject_id)
            row = session.get(ReferenceRow, (subject.key, model, version))
            if row is not None:
                return _to_reference(row, subject.subject_id)
            other = session.scalar(
                select(ReferenceRow.version).where(ReferenceRow.subject_key == subject.key, ReferenceRow.model == model)
            )
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

    def references_of_keys(self, tenant: str, keys: list[int], model: str, version: str) -> dict[int, SubjectSummary]:
        """Subject id and template count for each of some subject keys; keys that are gone are left out."""
        with self._sessions() as session:
            rows = session.execute(
                select(SubjectRow.key, SubjectRow.subject_id, SubjectRow.created_at, ReferenceRow.template_count)
                .join(ReferenceRow, ReferenceRow.subject_key == SubjectRow.key)
                .where(SubjectRow.tenant == tenant, SubjectRow.key.in_(keys))
                .where(ReferenceRow.model == model, ReferenceRow.version == version)
            ).all()
        return {row.key: SubjectSummary(row.subject_id, row.created_at, row.template_count) for row in rows}

    def all_references(self, model: str, version: str) -> Iterator[tuple[str, list[int], FloatArray]]:
        """Every reference of a model and version, in batches of one tenant each.

        Yields: tenant, subject keys, embeddings float32 (keys, full_dim).
        """
        with self._sessions() as session:
            rows = session.execute(
                select(SubjectRow.tenant, SubjectRow.key, ReferenceRow.embedding)
                .join(ReferenceRow, ReferenceRow.subject_key == SubjectRow.key)
                .where(ReferenceRow.model == model, ReferenceRow.version == version)
                .order_by(SubjectRow.tenant, SubjectRow.key)
            ).yield_per(READ_BATCH_ROWS)
            for partition in rows.partitions():
                for tenant in sorted({row.tenant for row in partition}):
                    own = [row for row in partition if row.tenant == tenant]
                    embeddings = np.frombuffer(b"".join(row.embedding for row in own), LITTLE_ENDIAN_FLOAT32)
                    yield tenant, [row.key for row in own], embeddings.reshape(len(own), -1).astype(np.float32)

    def subject(self, tenant: str, subject_id: str) -> Subject:
        """One subject with its templates.

        Raises: UnknownSubjectError: no such subject.
        """
        with self._sessions() as session:
            return _to_subject(session, _require_subject(session, tenant, subject_id))

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
            .where(SubjectRow.tenant == tenant)
            .order_by(SubjectRow.subject_id)
            .limit(limit)
        )
        if after is not None:
            query = query.where(SubjectRow.subject_id > after)
        with self._sessions() as session:
            return [SubjectSummary(*row) for row in session.execute(query)]

    def delete_subject(self, tenant: str, subject_id: str) -> int:
        """Delete a subject with all its templates and references, of every model.

        Returns: its key, which is never used again.

        Raises: UnknownSubjectError: no such subject.
        """
        with self._sessions.begin() as session:
            subject = _require_subject(session, tenant, subject_id)
            key = subject.key
            session.execute(delete(TemplateRow).where(TemplateRow.subject_key == key))
            session.execute(delete(ReferenceRow).where(ReferenceRow.subject_key == key))
            session.delete(subject)
        self._erase_from_log()
        return key

    def delete_template(self, tenant: str, template_id: str) -> Removal:
        """Delete one template and recompute the reference; a subject whose last template goes, goes with it.

        Raises: UnknownTemplateError: no such template.
        """
        with self._sessions.begin() as session:
            found = session.execute(
                select(TemplateRow, SubjectRow)
                .join(SubjectRow, SubjectRow.key == TemplateRow.subject_key)
                .where(TemplateRow.template_id == template_id, SubjectRow.tenant == tenant)
            ).one_or_none()
            if found is None:
                raise UnknownTemplateError(
                    "There is no such template.", value=template_id, remedy="List them with GET /v1/subjects/{id}."
                )
            template, subject = found
            key, model, version = subject.key, template.model, template.version
            session.delete(template)
            session.flush()
            reference = _recompute_reference(session, subject, model, version)
            if not session.scalar(select(func.count()).where(TemplateRow.subject_key == key)):
                session.delete(subject)
        self._erase_from_log()
        return Removal(key, model, version, reference)

    def _erase_from_log(self) -> None:
        """Empty SQLite's write-ahead log, where what was deleted would stay readable until the next checkpoint."""
        if self._engine.dialect.name != "sqlite":
            return
        with self._engine.connect() as connection:
            busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar_one()
        if busy:
            LOGGER.warning("a long read kept the write-ahead log from being emptied after a deletion")


@contextmanager
def opened_store(url: str) -> Iterator[Store]:
    """A store that is closed at the end of the block."""
    store = Store(url)
    try:
        yield store
    finally:
        store.close()


def _find_subject(session: Session, tenant: str, subject_id: str) -> SubjectRow | None:
    return session.scalar(select(SubjectRow).where(SubjectRow.tenant == tenant, SubjectRow.subject_id == subject_id))


def _require_subject(session: Session, tenant: str, subject_id: str) -> SubjectRow:
    subject = _find_subject(session, tenant, subject_id)
    if subject is None:
        raise UnknownSubjectError(
            "There is no such subject.",
            value=subject_id,
            remedy="Enrol it, or list the known ones with GET /v1/subjects.",
        )
    return subject


def _recompute_reference(session: Session, subject: SubjectRow, model: str, version: str) -> Reference | None:
    rows = session.scalars(
        select(TemplateRow.embedding)
        .where(TemplateRow.subject_key == subject.key, TemplateRow.model == model, TemplateRow.version == version)
        .order_by(TemplateRow.created_at, TemplateRow.template_id)
    ).all()
    row = session.get(ReferenceRow, (subject.key, model, version))
    if not rows:
        if row is not None:
            session.delete(row)
        return None
    mean = mean_reference(np.stack([_from_bytes(data) for data in rows]))
    if row is None:
        row = ReferenceRow(subject_key=subject.key, model=model, version=version)
        session.add(row)
    row.template_count, row.embedding = len(rows), _to_bytes(mean)
    row.digest = int(digests(mean[None, :])[0])
    return Reference(subject.key, subject.subject_id, len(rows), mean)


def _to_subject(session: Session, row: SubjectRow) -> Subject:
    templates = session.scalars(
        select(TemplateRow)
        .where(TemplateRow.subject_key == row.key)
        .order_by(TemplateRow.created_at, TemplateRow.template_id)
    )
    return Subject(
        row.subject_id,
        row.created_at,
        tuple(Template(t.template_id, t.model, t.version, t.created_at) for t in templates),
    )


def _to_reference(row: ReferenceRow, subject_id: str) -> Reference:
    return Reference(row.subject_key, subject_id, row.template_count, _from_bytes(row.embedding))


def _to_bytes(embedding: FloatArray) -> bytes:
    return embedding.astype(LITTLE_ENDIAN_FLOAT32).tobytes()


def _from_bytes(data: bytes) -> FloatArray:
    return np.frombuffer(data, LITTLE_ENDIAN_FLOAT32).astype(np.float32)
