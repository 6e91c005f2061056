"""Databases under test, looked at and changed past the store."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy import create_engine


class UnderTest(Protocol):
    """An empty database."""

    @property
    def url(self) -> str: ...

    def rows(self, query: str) -> list[tuple[object, ...]]: ...

    def change(self, statement: str) -> None: ...

    def refuse(self, what: str, table: str, reason: str) -> None:
        """Let every DELETE, INSERT or UPDATE of a table fail."""
        ...


@dataclass(frozen=True)
class FileUnderTest:
    """A file of SQLite, by SQLite's own library."""

    path: Path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query).fetchall()

    def change(self, statement: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(statement)

    def refuse(self, what: str, table: str, reason: str) -> None:
        self.change(f"CREATE TRIGGER refuse BEFORE {what} ON {table} BEGIN SELECT RAISE(ABORT, '{reason}'); END")


@dataclass(frozen=True)
class ServerUnderTest:
    """A database of a PostgreSQL server."""

    url: str

    def rows(self, query: str) -> list[tuple[object, ...]]:
        engine = create_engine(self.url)
        with engine.connect() as connection:
            found = [tuple(row) for row in connection.exec_driver_sql(query)]
        engine.dispose()
        return found

    def change(self, statement: str) -> None:
        engine = create_engine(self.url)
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()

    def refuse(self, what: str, table: str, reason: str, state: str = "P0001") -> None:
        """As SQLite's, with an SQLSTATE."""
        body = f"BEGIN RAISE EXCEPTION '{reason}' USING ERRCODE = '{state}'; END"
        self.change(f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
        self.change(f"CREATE TRIGGER refuse BEFORE {what} ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()")


def row_counts(database: UnderTest) -> tuple[int, ...]:
    """Rows of the three tables of whoever is enrolled."""
    tables = ("subjects", "templates", "subject_references")
    query = "SELECT " + ", ".join(f"(SELECT count(*) FROM {table})" for table in tables)
    ((subjects, templates, references),) = database.rows(query)
    return (int(str(subjects)), int(str(templates)), int(str(references)))
