"""The keys of every tenant in the database: made, listed, revoked, rotated, and read again when they change."""

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, ScalarSelect, Select, func, insert, literal, or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from matchka.errors import MatchkaError, UnknownKeyError
from matchka.store.audit.log import AuditLog
from matchka.store.audit.records import Outcome
from matchka.store.clock import Now, time_of
from matchka.store.engine import lock_name
from matchka.store.keys.records import ApiKey, Ceilings, KeySpec, digest_of, new_key_id, new_secret
from matchka.store.keys.scopes import read_scopes, write_scopes
from matchka.store.schema import AttemptRow, KeyRow

CEILINGS: Final = ("max_fmr", "max_fpir", "requests_per_s", "max_subjects", "max_templates")
KEY_ID: Final = "[0-9a-f]{12}"  # a regular expression: what new_key_id() makes; PostgreSQL fails on text with a NUL
LOCK: Final = "api_keys"  # one change at a time, so that revisions rise in the order of the commits

NEWEST: Final = select(func.coalesce(func.max(KeyRow.revision), 0), Now())
UNREADABLE: Final = (SQLAlchemyError, MatchkaError, ValueError, TypeError)  # no text, no scope, no time
LOGGER: Final = logging.getLogger("matchka.store.keys.keys")
UNSYNCHRONISED: Final = {"synchronize_session": False}


@dataclass(frozen=True)
class NewKey:
    """A key that was just made. Attributes: secret: what its callers send; it cannot be had again."""

    key: ApiKey
    secret: str


@dataclass(frozen=True)
class KeySnapshot:
    """All keys that are not revoked, by the digest of their secret.

    Attributes:
        revision: of the newest change; 0 where there never was a key.
        read_at: by the database's clock.
        keys: None where nothing changed since the revision that the reader knows.
    """

    revision: int
    read_at: datetime
    keys: Mapping[str, ApiKey] | None


class Keys:
    """The keys of every tenant.

    Args:
        engine: of the store.
        audit: records each change in its transaction; of a store without one by default.
    """

    def __init__(self, engine: Engine, audit: AuditLog | None = None) -> None:
        self._engine = engine
        self._audit = audit or AuditLog(engine)

    def create(self, spec: KeySpec) -> NewKey:
        """Make a key; its secret is in the answer and nowhere else."""
        with Session(self._engine) as session, session.begin():
            lock_name(session, LOCK)
            made = self._insert(session, spec, expires_at=None)
            self._audit.note(session, Outcome.CREATED, made.key.tenant, detail=f"key {made.key.key_id}")
            return made

    def list_keys(self, tenant: str | None = None) -> list[ApiKey]:
        """The keys of a tenant, or of all, revoked ones included, oldest first."""
        query = select(KeyRow).order_by(KeyRow.created_at, KeyRow.key_id)
        with Session(self._engine) as session:
            return [_to_key(row) for row in session.scalars(query if tenant is None else _of(query, tenant))]

    def revoke(self, key_id: str, tenant: str | None = None) -> ApiKey:
        """Take a key out of force; one that is revoked already stays so.

        Args:
            key_id: which.
            tenant: whose it has to be; None: of any.

        Raises: UnknownKeyError: there is none.
        """
        _require_id(key_id)
        with Session(self._engine) as session, session.begin():
            lock_name(session, LOCK)
            change = _of(update(KeyRow).where(KeyRow.key_id == key_id, KeyRow.revoked_at.is_(None)), tenant)
            ending = change.values(revoked_at=Now(), revision=_next_revision())
            ended = session.execute(ending, execution_options=UNSYNCHRONISED)
            row = session.scalar(_of(select(KeyRow).where(KeyRow.key_id == key_id), tenant))
            if row is None:
                raise _no_such_key(key_id)
            if ended.rowcount:  # type: ignore[attr-defined]  # of every result of a change
                self._audit.note(session, Outcome.REVOKED, row.tenant, detail=f"key {key_id}")
            return _to_key(row)

    def rotate(self, key_id: str, overlap: timedelta = timedelta(0), tenant: str | None = None) -> NewKey:
        """Make a key of the same rights in the place of one, which ends; of two rotations at once one succeeds.

        Args:
            key_id: which.
            overlap: for how long the old one stays in force, unless it expires before.
            tenant: whose it has to be; None: of any.

        Raises: UnknownKeyError: there is none in force that was not rotated before.
        """
        _require_id(key_id)
        with Session(self._engine) as session, session.begin():
            lock_name(session, LOCK)
            successor = new_key_id()
            # the first statement is a change: SQLite has one writer from here on
            is_open = (KeyRow.key_id == key_id, _in_force(), KeyRow.replaced_by.is_(None))
            change = _of(update(KeyRow).where(*is_open), tenant)
            found = session.execute(change.values(replaced_by=successor), execution_options=UNSYNCHRONISED)
            if not found.rowcount:  # type: ignore[attr-defined]  # of every result of a change
                raise _no_such_key(key_id)
            old = _to_key(session.get_one(KeyRow, key_id))
            end = time_of(session) + overlap
            ended: dict[str, Any] = {"revoked_at": Now()}
            if overlap > timedelta(0):
                ended = {"expires_at": end if old.expires_at is None else min(end, old.expires_at)}
            session.execute(
                update(KeyRow).where(KeyRow.key_id == key_id).values(revision=_next_revision(), **ended),
                execution_options=UNSYNCHRONISED,
            )
            _carry_attempts_over(session, key_id, successor)
            spec = KeySpec(old.name, old.tenant, old.scopes, old.ceilings)
            made = self._insert(session, spec, old.expires_at, successor)
            self._audit.note(session, Outcome.ROTATED, old.tenant, detail=f"key {key_id} to {successor}")
            return made

    def read(self, known_revision: int | None = None) -> KeySnapshot:
        """The keys that are not revoked, unless nothing changed since a revision."""
        with self._engine.connect() as connection:
            revision, now = connection.execute(NEWEST).one()
        if revision == known_revision:
            return KeySnapshot(revision, now, None)
        return KeySnapshot(revision, now, self._open_keys())

    def _open_keys(self) -> dict[str, ApiKey]:
        """All keys that are not revoked; one whose row cannot be read opens nothing, and keeps no other from ending."""
        query = select(KeyRow).where(KeyRow.revoked_at.is_(None))
        try:
            return self._keys_of(query)
        except UNREADABLE:
            with self._engine.connect() as connection:
                revisions = set(connection.execute(select(KeyRow.revision)).scalars())
        found: dict[str, ApiKey] = {}
        for revision in sorted(revisions):  # a number that every row has of its own: each by itself
            try:
                found |= self._keys_of(query.where(KeyRow.revision == revision))
            except UNREADABLE as error:
                self._require_readable()
                reason = type(error).__name__
                LOGGER.error("an API key (of revision %d) cannot be read, and opens nothing: %s", revision, reason)
        return found

    def _keys_of(self, query: Select[Any]) -> dict[str, ApiKey]:
        with Session(self._engine) as session:
            return {row.digest: _to_key(row) for row in session.scalars(query)}

    def _require_readable(self) -> None:
        """Raise where the database, and not one row of it, cannot be read."""
        with self._engine.connect() as connection:
            connection.execute(select(func.count()).select_from(KeyRow))

    def note_used(self, key_ids: Collection[str]) -> None:
        """Note that keys were used just now."""
        with self._engine.begin() as connection:
            connection.execute(update(KeyRow).where(KeyRow.key_id.in_(key_ids)).values(last_used_at=Now()))

    def _insert(
        self, session: Session, spec: KeySpec, expires_at: datetime | None, key_id: str | None = None
    ) -> NewKey:
        key_id = key_id or new_key_id()
        secret = new_secret(key_id)
        now = time_of(session)
        values = {
            "key_id": key_id,
            "digest": digest_of(secret),
            "name": spec.name,
            "tenant": spec.tenant,
            "scopes": write_scopes(spec.scopes),
            "created_at": now,
            "expires_at": expires_at if spec.lifetime is None else now + spec.lifetime,
            "revision": _next_revision(),
            **{name: getattr(spec.ceilings, name) for name in CEILINGS},
        }
        session.execute(insert(KeyRow).values(values))
        return NewKey(_to_key(session.get_one(KeyRow, key_id)), secret)


def _carry_attempts_over(session: Session, old: str, new: str) -> None:
    """Count on, or whoever may rotate could try on."""
    others = [column for column in AttemptRow.__table__.columns if column.name != "key_id"]
    copied = select(literal(new), *others).where(AttemptRow.key_id == old)
    session.execute(insert(AttemptRow).from_select(["key_id", *(column.name for column in others)], copied))


def _next_revision() -> ScalarSelect[int]:
    table = KeyRow.__table__.alias("every")
    return select(func.coalesce(func.max(table.c.revision), 0) + 1).scalar_subquery()


def _in_force() -> ColumnElement[bool]:
    return KeyRow.revoked_at.is_(None) & or_(KeyRow.expires_at.is_(None), KeyRow.expires_at > Now())


def _of(statement: Any, tenant: str | None) -> Any:
    return statement if tenant is None else statement.where(KeyRow.tenant == tenant)


def _to_key(row: KeyRow) -> ApiKey:
    return ApiKey(
        row.key_id,
        row.name,
        row.tenant,
        read_scopes(row.scopes),
        Ceilings(**{name: getattr(row, name) for name in CEILINGS}),
        row.created_at,
        row.expires_at,
        row.revoked_at,
        row.replaced_by,
        row.last_used_at,
    )


def _require_id(key_id: str) -> None:
    if not re.fullmatch(KEY_ID, key_id):
        raise _no_such_key(key_id)


def _no_such_key(key_id: str) -> UnknownKeyError:
    return UnknownKeyError(
        "There is no such key in force.", value=key_id, remedy="List them with `matchka keys list` or GET /v1/keys."
    )
