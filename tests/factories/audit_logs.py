"""A log of ten records in an SQLite file, and ways to change it behind its back."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy.orm import Session

from matchka.store.audit.checkpoint import CheckpointFile
from matchka.store.audit.log import AuditLog
from matchka.store.audit.prunings import Prunings
from matchka.store.audit.records import Event, Outcome
from matchka.store.audit.verification import AuditReport, verify_log
from matchka.store.engine import open_engine, reading
from matchka.store.migrations.migrate import bring_up_to_date
from matchka.store.subject_hash import SubjectHasher

START = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
EVENTS = [
    Event(
        Outcome.MATCH if number % 2 else Outcome.NO_MATCH,
        "POST /v1/verify",
        "clinic" if number % 3 else "other",
        "0123456789ab",
        f"subject-{number}",
        "voice",
        "1",
        0.1 + number / 7,
        request_id=f"{number:032x}",
    )
    for number in range(1, 11)
]


class LogFile:
    """A store with a log, its checkpoint, and the key of both."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "matchka.sqlite"
        self.hasher = SubjectHasher(bytes(range(32)))
        self.checkpoint = CheckpointFile(folder / "audit.checkpoint", self.hasher)
        self.engine = open_engine(f"sqlite:///{self.path}")
        bring_up_to_date(self.engine)
        self.log = AuditLog(self.engine, self.hasher, is_on=True)

    def append(self, events: list[Event], start: datetime = START) -> None:
        with Session(self.engine) as session, session.begin():
            timed = [(event, start + timedelta(seconds=n)) for n, event in enumerate(events)]
            self.checkpoint.write(self.log.append(session, timed))

    def change(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    def rows(self, query: str) -> list[tuple]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query).fetchall()

    def verified(self) -> AuditReport:
        checkpoint = self.checkpoint.read()
        with reading(self.engine) as session:
            return verify_log(session, checkpoint, Prunings(self.hasher), lambda _done, _total: None)

    def flaws(self) -> list[tuple[int, str]]:
        return [(flaw.sequence, flaw.what) for flaw in self.verified().flaws]


@contextmanager
def log_in(folder: Path) -> Iterator[LogFile]:
    log = LogFile(folder)
    try:
        yield log
    finally:
        log.engine.dispose()
