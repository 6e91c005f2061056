"""The store of wrapped keys: a database of its own, where deleting a row makes every copy of a subject unreadable."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, CursorResult, Engine, bindparam, delete, insert, inspect, select, update
from sqlalchemy.exc import SQLAlchemyError

from matchka.errors import RotationInProgressError, StoreError
from matchka.store.database import UNHURRIED, Limits
from matchka.store.database_errors import as_matchka_error
from matchka.store.deletions import in_chunks
from matchka.store.engine import changing_tables, database_of, disposed_on_failure, file_of, open_engine
from matchka.store.key_store.backup import KeyBackups, require_key_file
from matchka.store.key_store.tables import (
    KEY_TABLES_VERSION,
    KeyBase,
    KeyStoreRow,
    MasterWrapRow,
    SubjectKeyRow,
    TenantKeyRow,
)
from matchka.store.migrations.migrate import require_only_tables_of
from matchka.store.sqlite.wal import ERASE_WAIT_S
from matchka.store.vault.sealed import WrappedKey

KEYS_LOCK: Final = 0x6D6B79  # one writer of the key store at a time, as SQLite has
ROTATION_LOCK: Final = 0x6D726F
PRIVATE: Final = 0o700
FEW: Final = 32  # ids that are asked for one by one
SPREAD: Final = 4  # a range that holds more than this many times the ids asked for is not read


class KeyStore:
    """Tenants' and subjects' keys, all wrapped.

    Args:
        url: an SQLAlchemy URL of a database that holds nothing else.
        backup_file: a copy that is kept up to date; none by default.
        limits: of the waits for a database server.

    Raises:
        StoreError: it cannot be opened, or is of another version.
        VaultError: a copy is to be kept of what is no file.
    """

    def __init__(self, url: str, backup_file: Path | None = None, limits: Limits = UNHURRIED) -> None:
        file = file_of(url)
        if backup_file is not None:
            require_key_file(file)
        try:
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE)
            self.file = file
            self.engine: Engine = open_engine(url, limits)
            with disposed_on_failure(self.engine):
                self._make_tables()
        except (OSError, SQLAlchemyError) as error:
            known = as_matchka_error(error)
            raise StoreError(
                "The key store cannot be opened.",
                value=known.value if known else error,
                remedy="Check MATCHKA_KEY_DATABASE_URL and its rights.",
            ) from error
        self._erasure = database_of(self.engine).erasure(self.engine)
        self._erasure.request()  # of what a process that was killed had destroyed and not yet erased
        self._backups = None if backup_file is None else KeyBackups(self.engine, backup_file)
        columns = select(SubjectKeyRow.key_id, SubjectKeyRow.tenant_key, SubjectKeyRow.wrapped)
        self._one = columns.where(SubjectKeyRow.key_id == bindparam("id"))
        self._some = columns.where(SubjectKeyRow.key_id.in_(bindparam("ids", expanding=True)))
        self._range = columns.where(SubjectKeyRow.key_id.between(bindparam("low"), bindparam("high"))).limit(
            bindparam("most")
        )

    def _make_tables(self) -> None:
        with self.engine.connect() as connection:
            is_there = inspect(connection).has_table(KeyStoreRow.__tablename__)
        if not is_there:
            with changing_tables(self.engine, KEYS_LOCK) as connection:
                require_only_tables_of(connection, KeyBase.metadata)
                KeyBase.metadata.create_all(connection)
                if connection.scalar(select(KeyStoreRow.identity)) is None:
                    connection.execute(insert(KeyStoreRow))
        with self.engine.connect() as connection:
            version = connection.scalar(select(KeyStoreRow.version))
        if version != KEY_TABLES_VERSION:
            raise StoreError(
                f"The key store has tables of version {version}; this program needs {KEY_TABLES_VERSION}.",
                remedy="Use the program version that made it.",
            )

    def close(self) -> None:
        """Close every connection."""
        if self._backups is not None:
            self._backups.close()
        self._erasure.close()
        self.engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that nobody else's changes come between."""
        with self.engine.begin() as connection:
            database_of(self.engine).lock(connection, KEYS_LOCK)
            yield connection
        if self._backups is not None:
            self._backups.request()

    def wrapped_keys(self, key_ids: Collection[bytes]) -> dict[bytes, WrappedKey]:
        """The wrapped keys of these ids; those that were destroyed, or never were, are left out."""
        with self.engine.connect() as connection:
            if len(key_ids) == 1:  # of each verification
                (only,) = key_ids
                return {row[0]: row for row in _tuples(connection.execute(self._one, {"id": only}))}
            if len(key_ids) > FEW:
                most = SPREAD * len(key_ids)
                values = {"low": min(key_ids), "high": max(key_ids), "most": most + 1}
                rows = _tuples(connection.execute(self._range, values))
                if len(rows) <= most:  # keys that were made together lie together
                    return {row[0]: row for row in rows}
            found: dict[bytes, WrappedKey] = {}
            for chunk in in_chunks(key_ids):
                rows = _tuples(connection.execute(self._some, {"ids": chunk}))
                found.update({row[0]: row for row in rows})
        return found

    def add_subject_keys(self, connection: Connection, keys: Sequence[tuple[bytes, int, bytes]]) -> None:
        """Store keys: id, number of the tenant's key that wraps it, what it wraps."""
        names = ("key_id", "tenant_key", "wrapped")
        connection.execute(insert(SubjectKeyRow), [dict(zip(names, key, strict=True)) for key in keys])

    def destroy(self, key_ids: Iterable[bytes], wait_s: float = ERASE_WAIT_S) -> bool:
        """Delete keys for good; those that are gone already are passed over.

        Returns: False where a long read keeps them in SQLite's write-ahead log for longer; they leave it later.
        """
        with self.writing() as connection:
            for chunk in in_chunks(key_ids):
                connection.execute(delete(SubjectKeyRow).where(SubjectKeyRow.key_id.in_(chunk)))
        return self.erase_log(wait_s)

    def erase_log(self, wait_s: float = ERASE_WAIT_S) -> bool:
        """Leave nothing of what was deleted in SQLite's write-ahead log; while a long read lasts, later: then False."""
        self._erasure.request()
        return self._erasure.wait(wait_s)

    @property
    def erasures_waiting(self) -> int:
        """Deletions whose bytes are still in SQLite's write-ahead log, because a long read keeps them there."""
        return self._erasure.waiting

    def current_tenant_key(self, connection: Connection, tenant: str) -> int | None:
        """The number of the key that wraps a tenant's new subjects' keys."""
        query = select(TenantKeyRow.number).where(TenantKeyRow.tenant == tenant, TenantKeyRow.is_current)
        return connection.scalar(query)

    def add_tenant_key(self, connection: Connection, tenant: str) -> int:
        """Make a key the tenant's current one; its wraps are still to be added."""
        connection.execute(update(TenantKeyRow).where(TenantKeyRow.tenant == tenant).values(is_current=False))
        made = connection.execute(insert(TenantKeyRow).values(tenant=tenant, is_current=True))
        (number,) = made.inserted_primary_key or (None,)
        if number is None:
            raise StoreError("The database gave a tenant's key no number.", remedy="Check the key store's database.")
        return int(number)

    def add_wrap(self, connection: Connection, number: int, master: str, wrapped: bytes) -> None:
        """Store a tenant's key, wrapped by a master key."""
        connection.execute(insert(MasterWrapRow).values(tenant_key=number, master=master, wrapped=wrapped))

    def tenant_of(self, connection: Connection, number: int) -> str | None:
        """Whose key it is."""
        return connection.scalar(select(TenantKeyRow.tenant).where(TenantKeyRow.number == number))

    def wraps_of(self, connection: Connection, number: int) -> dict[str, bytes]:
        """A tenant's key as each master key wraps it, by the master key's name."""
        query = select(MasterWrapRow.master, MasterWrapRow.wrapped).where(MasterWrapRow.tenant_key == number)
        return {row.master: row.wrapped for row in connection.execute(query)}

    def has_keys_not_wrapped_by(self, connection: Connection, master: str) -> bool:
        """Whether there is a tenant's key that a master key does not open."""
        wrapped = select(MasterWrapRow.tenant_key).where(MasterWrapRow.master == master)
        query = select(TenantKeyRow.number).where(TenantKeyRow.number.not_in(wrapped)).limit(1)
        return connection.scalar(query) is not None

    def masters(self) -> dict[str, int]:
        """How many tenants' keys each master key opens, by its name."""
        found: dict[str, int] = {}
        with self.engine.connect() as connection:
            for (master,) in connection.execute(select(MasterWrapRow.master)):
                found[master] = found.get(master, 0) + 1
        return found

    def tenant_keys(self) -> list[tuple[int, str, bool]]:
        """Number, tenant and whether it is the current one, of every tenant's key."""
        query = select(TenantKeyRow.number, TenantKeyRow.tenant, TenantKeyRow.is_current).order_by(TenantKeyRow.number)
        with self.engine.connect() as connection:
            return [(row.number, row.tenant, row.is_current) for row in connection.execute(query)]

    @property
    def identity(self) -> str | None:
        """The random name of this key store, 32 hexadecimal digits."""
        with self.engine.connect() as connection:
            return connection.scalar(select(KeyStoreRow.identity))

    @property
    def only_sealed(self) -> bool:
        """Whether nothing in clear is accepted any more."""
        with self.engine.connect() as connection:
            return bool(connection.scalar(select(KeyStoreRow.only_sealed)))

    def accept_only_sealed(self) -> None:
        """Accept nothing in clear from now on."""
        with self.writing() as connection:
            connection.execute(update(KeyStoreRow).values(only_sealed=True))

    @contextmanager
    def rotating(self) -> Iterator[None]:
        """Be the only process that rotates keys or encrypts the store; a process that is killed lets go.

        Raises: RotationInProgressError: another one does.
        """
        with database_of(self.engine).alone(self.engine, "rotation", ROTATION_LOCK) as is_alone:
            if not is_alone:
                raise RotationInProgressError(
                    "Another process is rotating keys, or encrypting the store.", remedy="Wait until it has ended."
                )
            yield


def _tuples(result: CursorResult[tuple[bytes, int, bytes]]) -> list[WrappedKey]:
    """All rows as the driver's own tuples: SQLAlchemy's take longer to make than to read, at a million."""
    return [] if result.cursor is None else list(result.cursor.fetchall())
