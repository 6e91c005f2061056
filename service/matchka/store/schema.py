"""Tables of the system of record."""

import uuid
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import (
    BigInteger,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, validates

from matchka.store.integrity.digest import digest_of

SCHEMA_VERSION: Final = 11
LONGEST_SUBJECT_ID: Final = 256  # characters, fixed by the HTTP interface
TEMPLATE_ID: Final = "[0-9a-f]{32}"  # a regular expression: what uuid4().hex makes


class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC: SQLite drops the zone, and a server may answer in its own."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Read a time as UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """The tables' common metadata."""


class SchemaVersion(Base):
    """One row: the version of these tables, so that a newer program never guesses."""

    __tablename__ = "schema_version"
    version: Mapped[int] = mapped_column(Integer, primary_key=True)


class RevisionRow(Base):
    """One row: the same version in Alembic's record, under a name that no other application's Alembic uses."""

    __tablename__ = "schema_revision"
    __table_args__ = (PrimaryKeyConstraint("version_num", name="schema_revision_pkc"),)  # Alembic's own name for it
    version_num: Mapped[str] = mapped_column(String(32))


class IdentityRow(Base):
    """One row: a random name of this store; a restored one has a new name, so nothing derived from the old fits it."""

    __tablename__ = "store_identity"
    identity: Mapped[str] = mapped_column(String(32), primary_key=True, default=lambda: uuid.uuid4().hex)


class SubjectRow(Base):
    """A subject of a tenant. Keys are never reused, so a stale index entry can never point at somebody else.

    `key_id` names the key in the key store that encrypts all of its embeddings; null where they are in clear.
    From `expires_at` on, by the database's clock, the subject is in no answer; null where it never expires.
    """

    __tablename__ = "subjects"
    __table_args__ = (
        UniqueConstraint("tenant", "subject_id"),
        Index("subjects_by_expiry", "expires_at"),
        {"sqlite_autoincrement": True},
    )
    key: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    tenant: Mapped[str] = mapped_column(String(64))
    subject_id: Mapped[str] = mapped_column(String(LONGEST_SUBJECT_ID))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    key_id: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class TermsRow(Base):
    """Why a subject is enrolled: JSON in UTF-8, encrypted where its subject has a key (store/rights/terms.py)."""

    __tablename__ = "subject_terms"
    subject_key: Mapped[int] = mapped_column(ForeignKey("subjects.key", ondelete="CASCADE"), primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)


def with_digest(row: "TemplateRow | ReferenceRow", _name: str, embedding: bytes) -> bytes:
    """Give a row the digest of the embedding that it is given."""
    row.digest = digest_of(embedding)
    return embedding


class TemplateRow(Base):
    """One sample's embedding: little-endian float32, full_dim components, unit length; and the digest of these bytes.

    Where its subject has a key, the bytes are encrypted (store/vault/sealed.py), and the digest is of the ciphertext.

    `row_count` says of how many rows of the graph's output it is the mean; null in templates from before it was kept.
    `condition` is the value that decides which of the bundle's thresholds hold; null where the bundle has one set.
    """

    __tablename__ = "templates"
    __table_args__ = (Index("templates_of_subject", "subject_key", "model"),)
    template_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    subject_key: Mapped[int] = mapped_column(ForeignKey("subjects.key", ondelete="CASCADE"))
    model: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(64))
    embedding: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    digest: Mapped[int | None] = mapped_column(BigInteger)
    row_count: Mapped[int | None] = mapped_column(Integer)
    condition: Mapped[float | None] = mapped_column(Double)
    _with_digest = validates("embedding")(with_digest)


class ReferenceRow(Base):
    """A subject's reference for one model and version: the mean of its templates, little-endian float32.

    The digest is that of the embedding (store/integrity/digest.py) and is written with it, always: an embedding that
    does not fit its digest is damaged. `row_count` is the sum over the templates, `condition` the lowest of them; each
    is null where one of them has none.
    """

    __tablename__ = "subject_references"  # `references` is a reserved word of SQL
    # the whole gallery's keys and digests without its embeddings: 4 % of their size
    __table_args__ = (Index("references_listed", "model", "version", "subject_key", "digest"),)
    subject_key: Mapped[int] = mapped_column(ForeignKey("subjects.key", ondelete="CASCADE"), primary_key=True)
    model: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[str] = mapped_column(String(64), primary_key=True)
    template_count: Mapped[int] = mapped_column(Integer)
    embedding: Mapped[bytes] = mapped_column(LargeBinary)
    digest: Mapped[int | None] = mapped_column(BigInteger)
    row_count: Mapped[int | None] = mapped_column(Integer)
    condition: Mapped[float | None] = mapped_column(Double)
    _with_digest = validates("embedding")(with_digest)


class DeletionRow(Base):
    """A template that was deleted: its id and the time, no vector. Template ids are random and never come back.

    `subject_hash` tells whose it was to whoever has the key (store/subject_hash.py) and the id; null where the key was
    not at hand.
    """

    __tablename__ = "deletions"
    __table_args__ = (Index("deletions_by_time", "deleted_at"),)
    template_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    deleted_at: Mapped[datetime] = mapped_column(UtcDateTime)
    subject_hash: Mapped[str | None] = mapped_column(String(64))


class DeletionHorizonRow(Base):
    """At most one row: no later deletion than this was ever taken off the deletion log because of its age."""

    __tablename__ = "deletion_horizon"
    forgotten_until: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)


class ChangeRow(Base):
    """A change of what galleries show of a subject, written in the transaction that makes it (store/feed/changes.py).

    It names whom to look at again, and says nothing of what was or is there. `transaction_id` is the database's own
    number of the transaction; `model` is null where every model of the subject is meant, because it is gone say.
    """

    __tablename__ = "changes"
    __table_args__ = (Index("changes_by_transaction", "transaction_id", "number"), {"sqlite_autoincrement": True})
    number: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    transaction_id: Mapped[int] = mapped_column(BigInteger)
    tenant: Mapped[str] = mapped_column(String(64))
    subject_key: Mapped[int] = mapped_column(Integer)
    model: Mapped[str | None] = mapped_column(String(64))
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ChangeHorizonRow(Base):
    """At most one row: no change of a later transaction was ever removed because of its age."""

    __tablename__ = "change_horizon"
    transaction_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class KeyStoreNameRow(Base):
    """At most one row: the identity of the key store that has the subjects' keys."""

    __tablename__ = "key_store_identity"
    identity: Mapped[str] = mapped_column(String(32), primary_key=True)


class KeyErasureRow(Base):
    """A key of a subject that is deleted: to be destroyed in the key store, then to be forgotten here."""

    __tablename__ = "key_erasures"
    key_id: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)


class ChallengeRow(Base):
    """What a subject was asked; it goes with the subject. `used_at` is null until it is redeemed, which happens once.

    Kept for the subject's next ones to differ from it. Content is words separated by blanks.
    """

    __tablename__ = "challenges"
    __table_args__ = (Index("challenges_of_subject", "subject_key", "number"), {"sqlite_autoincrement": True})
    number: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    challenge_id: Mapped[str] = mapped_column(String(32), unique=True)
    subject_key: Mapped[int] = mapped_column(ForeignKey("subjects.key", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(32))
    content: Mapped[str] = mapped_column(String(1024))
    issued_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class IdempotencyKeyRow(Base):
    """A request that its caller gave a key: digests of whose key it is and of what was asked for (store/idempotency/).

    It names nobody, and stays where the subject is deleted.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("idempotency_keys_by_time", "created_at"),)
    name: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class EnrolmentAnswerRow(Base):
    """What an enrolment with such a key was answered; encrypted where its subject has a key, and gone with it."""

    __tablename__ = "enrolment_answers"
    __table_args__ = (Index("enrolment_answers_of_subject", "subject_key"),)
    name: Mapped[bytes] = mapped_column(ForeignKey("idempotency_keys.name", ondelete="CASCADE"), primary_key=True)
    subject_key: Mapped[int] = mapped_column(ForeignKey("subjects.key", ondelete="CASCADE"))
    answer: Mapped[bytes] = mapped_column(LargeBinary)


class KeyRow(Base):
    """An API key: the digest of its secret, what it may do, and how it ended. Rows stay, so that no old key comes back.

    `revision` is higher than that of every earlier change of any key: whoever knows the highest sees whether there is
    news. `scopes` are separated by blanks; a ceiling that is null bounds nothing.
    """

    __tablename__ = "api_keys"
    __table_args__ = (Index("keys_by_revision", "revision"),)
    key_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(64))
    tenant: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[str] = mapped_column(String(256))
    max_fmr: Mapped[float | None] = mapped_column(Double)
    max_fpir: Mapped[float | None] = mapped_column(Double)
    requests_per_s: Mapped[float | None] = mapped_column(Double)
    max_subjects: Mapped[int | None] = mapped_column(Integer)
    max_templates: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    replaced_by: Mapped[str | None] = mapped_column(String(16))
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revision: Mapped[int] = mapped_column(Integer)


class AttemptRow(Base):
    """What failed of late with one key: of one subject, or, where `subject_key` is 0 or less, of searches.

    `level` is a count that leaks away with time; `strikes` says how often it overflowed, and `blocked_until` until when
    the next one has to wait. A row names nobody: keys of subjects are numbers that are never used again.
    """

    __tablename__ = "attempts"
    __table_args__ = (Index("attempts_by_time", "updated_at"),)
    key_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    subject_key: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    level: Mapped[float] = mapped_column(Double)
    strikes: Mapped[int] = mapped_column(Integer)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    blocked_until: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AuditRow(Base):
    """A record of the audit log (store/audit/records.py), and the hash that chains it to the one before."""

    __tablename__ = "audit_log"
    __table_args__ = (Index("audit_of_tenant", "tenant", "sequence"),)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    outcome: Mapped[str] = mapped_column(String(16))
    call: Mapped[str] = mapped_column(String(128))
    tenant: Mapped[str | None] = mapped_column(String(64))
    key_id: Mapped[str | None] = mapped_column(String(16))
    subject: Mapped[str | None] = mapped_column(String(64))
    model: Mapped[str | None] = mapped_column(String(64))
    version: Mapped[str | None] = mapped_column(String(64))
    threshold: Mapped[float | None] = mapped_column(Double)
    detail: Mapped[str | None] = mapped_column(String(256))
    network: Mapped[str | None] = mapped_column(String(64))
    request_id: Mapped[str | None] = mapped_column(String(32))
    count: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(String(64))


class AuditHeadRow(Base):
    """One row: the last record's sequence and hash, which whoever appends locks, and those of the last one pruned."""

    __tablename__ = "audit_head"
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False, default=1)
    sequence: Mapped[int] = mapped_column(BigInteger, default=0)
    hash: Mapped[str] = mapped_column(String(64), default="0" * 64)
    pruned_sequence: Mapped[int] = mapped_column(BigInteger, default=0)
    pruned_hash: Mapped[str] = mapped_column(String(64), default="0" * 64)
