"""Backups of a store in a PostgreSQL server: the same archive as of a file, with its rows in a file of SQLite."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, MetaData, Table, create_engine, func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from matchka.errors import BackupError, StoreError
from matchka.store.database_errors import as_matchka_error
from matchka.store.engine import open_engine, reading
from matchka.store.migrations.migrate import require_current_tables
from matchka.store.schema import Base
from matchka.store.sqlite.backup import BackupManifest, archive_copy
from matchka.store.transfer.archive import Advance

ROWS_AT_ONCE: Final = 5_000
SEQUENCES: Final = "SELECT pg_get_serial_sequence(%s, %s)"


def write_server_backup(url: str, target: Path, advance: Advance) -> BackupManifest:
    """Copy a store into an archive, which restores into a file as well; services may serve from it meanwhile.

    All rows are of one snapshot.

    Args:
        url: of the server's database.
        target: the archive; it appears when it is whole.
        advance: called with rows, and afterwards with bytes, done of how many.

    Raises:
        StoreError: there is no store, or one of another program version.
        BackupError: the archive cannot be written, or the server cannot be read.
    """
    return archive_copy(lambda copy: _copy(url, copy, advance), target, advance)


def require_server_store(url: str) -> None:
    """Refuse a database without a store of today's tables.

    Raises: StoreError: there is none, or the server cannot be asked.
    """
    server = open_engine(url)
    try:
        require_current_tables(server)
    except SQLAlchemyError as error:
        known = as_matchka_error(error)
        raise StoreError(
            "The database cannot be read.",
            value=known.value if known else error,
            remedy="Check MATCHKA_DATABASE_URL and the database server.",
        ) from error
    finally:
        server.dispose()


def _copy(url: str, target: Path, advance: Advance) -> None:
    server = open_engine(url)
    try:
        require_current_tables(server)
        copy_to_file(server, target, Base.metadata, advance)
    finally:
        server.dispose()


def copy_to_file(server: Engine, target: Path, metadata: MetaData, advance: Advance) -> None:
    """Copy the rows of one snapshot into a new file of SQLite with the same tables, and count them there.

    Args:
        server: what is copied.
        target: the file.
        metadata: of the tables.
        advance: called with the rows done, of how many.

    Raises: BackupError: the server cannot be read, or the file not be written.
    """
    file = create_engine(f"sqlite:///{target}", hide_parameters=True)
    try:
        metadata.create_all(file)
        tables = metadata.sorted_tables
        with reading(server) as session, file.begin() as copy:
            source = session.connection()
            copy_rows(source, copy, advance, tables)
            sequences = {table.name: last_number(source, table) for table in numbered_tables(metadata)}
            if row_counts_of(copy, tables) != row_counts_of(source, tables):
                raise BackupError(
                    "The copy does not hold what the database does.", value=target, remedy="Check this disk."
                )
        with closing(sqlite3.connect(target)) as connection, connection:
            for name, number in sequences.items():
                connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
                connection.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (name, number))
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise BackupError(
            "The database cannot be copied.", value=error, remedy="Check the database server, and this disk's space."
        ) from error
    finally:
        file.dispose()


def row_counts_of(connection: Connection, tables: Sequence[Table]) -> list[int]:
    """How many rows each table has."""
    return [connection.scalar(select(func.count()).select_from(table)) or 0 for table in tables]


def copy_rows(
    source: Connection, target: Connection, advance: Advance, tables: Sequence[Table] = Base.metadata.sorted_tables
) -> None:
    """Copy every row of tables; owners before what refers to them.

    Args:
        source: reads one state.
        target: has the tables, empty; the caller commits.
        advance: called with the rows done, of how many.
        tables: all by default.
    """
    total = sum(row_counts_of(source, tables))
    done = 0
    for table in tables:
        with source.execution_options(yield_per=ROWS_AT_ONCE).execute(select(table)) as found:
            for rows in found.mappings().partitions():
                target.execute(insert(table), [dict(row) for row in rows])
                done += len(rows)
                advance(done, total)


def numbered_tables(metadata: MetaData = Base.metadata) -> list[Table]:
    """The tables whose keys the database counts, and never gives twice."""
    return [table for table in metadata.sorted_tables if table.autoincrement_column is not None]


def last_number(connection: Connection, table: Table) -> int:
    """The last key that the server has given; 0 before the first."""
    sequence = sequence_of(connection, table)
    number, is_given = connection.exec_driver_sql(f"SELECT last_value, is_called FROM {sequence}").one()  # noqa: S608
    return int(number) if is_given else 0


def go_on_behind(connection: Connection, table: Table, number: int) -> None:
    """Let the server give keys above a number next."""
    connection.exec_driver_sql(
        "SELECT setval(%s, %s, %s)", (sequence_of(connection, table), max(1, number), number > 0)
    )


def sequence_of(connection: Connection, table: Table) -> str:
    """The name of what counts a table's keys.

    Raises: StoreError: nothing does.
    """
    column = table.autoincrement_column
    name = column.name if column is not None else ""
    found = connection.exec_driver_sql(SEQUENCES, (table.name, name)).scalar_one()
    if found is None:
        raise StoreError(
            "The database counts no keys of a table.", value=table.name, remedy="Restore a backup into a new database."
        )
    return str(found)
