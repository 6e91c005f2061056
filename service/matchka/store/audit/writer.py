"""The background writer: calls that change nothing are recorded in groups, and the checkpoint follows the log."""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Condition, Thread
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from matchka.errors import MatchkaError
from matchka.store.audit.chain import BEGINNING, Link
from matchka.store.audit.checkpoint import CheckpointFile
from matchka.store.audit.log import (
    OWN_CALL,
    PRUNED_AT_ONCE,
    AuditLog,
    hash_at,
    head_place,
    is_pruning_genuine,
    lift_head,
    pruned_place,
)
from matchka.store.audit.prunings import Prunings
from matchka.store.audit.records import Event, Outcome
from matchka.store.audit.refusals import RefusalCounts
from matchka.store.database_errors import reason_of

GATHER_S: Final = 0.75  # a group is written within a second or so, the writing included
PRUNE_EVERY_S: Final = 3600.0
MOST_WAITING: Final = 20_000  # events; some 20 MB
WRITTEN_AT_ONCE: Final = 1_000  # events of one transaction, which others wait for
LOGGER: Final = logging.getLogger("matchka.store.audit")


@dataclass(frozen=True)
class AuditCounts:
    """Since the start. Attributes: written: records; lost: events that could not be written; waiting: still to be."""

    written: int
    lost: int
    waiting: int


class AuditWriter:
    """Writes what it is given in a thread of its own, at most a second later, and the rest when it is closed.

    While the database cannot be written, events wait; those beyond the most that may are lost, and counted.

    Args:
        log: what is written to.
        checkpoint: the file beside it; None where nothing can sign it, or another process keeps it.
        keep_days: after which records are pruned.
        most_waiting: events that may wait.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        log: AuditLog,
        checkpoint: CheckpointFile | None,
        keep_days: float,
        most_waiting: int = MOST_WAITING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = log.engine
        self._log = log
        self._checkpoint = checkpoint
        self._prunings = None if log.hasher is None else Prunings(log.hasher)
        self._known: Link | None = None  # the checkpoint's place, once it was looked at
        self._keep = timedelta(days=keep_days)
        self._most_waiting = most_waiting
        self._clock = clock
        self._pruned_when = -math.inf
        self._changed = Condition()
        self._waiting: deque[tuple[Event, datetime]] = deque()
        self._refusals = RefusalCounts()
        self._is_closing = False
        self._is_failing = False
        self._written = 0
        self._lost = 0
        self._step()  # before anybody appends: a log that is new gets its checkpoint now
        self._thread = Thread(target=self._run, name="matchka-audit", daemon=True)
        self._thread.start()

    def submit(self, event: Event) -> None:
        """Record an event within a second."""
        with self._changed:
            if event.outcome == Outcome.REFUSED:
                counted = self._refusals.take(event, self._clock())
                if counted is None:
                    return
                event = counted
            self._put(event)

    def counts(self) -> AuditCounts:
        """What became of the events."""
        with self._changed:
            return AuditCounts(self._written, self._lost, len(self._waiting))

    def close(self) -> None:
        """Write what waits, and stop."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join()

    def _put(self, event: Event) -> None:
        if len(self._waiting) >= self._most_waiting:
            self._lost += 1
            return
        self._waiting.append((event, datetime.now(UTC)))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closing, GATHER_S)
                is_last = self._is_closing
                for event in self._refusals.ended(math.inf if is_last else self._clock()):
                    self._put(event)
            self._step()
            if is_last:
                with self._changed:
                    self._lost += len(self._waiting)
                return

    def _step(self) -> None:
        try:
            self._follow()
            while self._write_some():
                pass
            self._prune()
        except (SQLAlchemyError, MatchkaError, OSError) as error:
            if not self._is_failing:
                LOGGER.error("the audit log cannot be written; the metrics count what it loses: %s", reason_of(error))
            self._is_failing = True
            return
        if self._is_failing:
            LOGGER.warning("the audit log is written again")
        self._is_failing = False

    def _write_some(self) -> bool:
        with self._changed:
            some = [self._waiting[place] for place in range(min(len(self._waiting), WRITTEN_AT_ONCE))]
        if not some:
            return False
        with Session(self._engine) as session, session.begin():
            place = self._log.append(session, some)
        with self._changed:
            for _ in some:
                self._waiting.popleft()
            self._written += len(some)
        self._move_checkpoint(place)
        return True

    def _follow(self) -> None:
        """Compare the log with the checkpoint, and move that to where others have brought the log."""
        if self._checkpoint is None:
            return
        with Session(self._engine) as session:
            head = head_place(session)
            if head == self._known:
                return
            doubt = self._doubt(session, head)
        if doubt is not None:
            (LOGGER.critical if doubt.outcome == Outcome.BROKEN else LOGGER.warning)("audit log: %s", doubt.detail)
            with Session(self._engine) as session, session.begin():
                lift_head(session)  # else nothing could be appended, where it names a record that has successors
                head = self._log.append(session, [(doubt, datetime.now(UTC))])
        self._move_checkpoint(head)

    def _doubt(self, session: Session, head: Link) -> Event | None:
        """What is to be said of the log before it goes on; nothing where it holds what the checkpoint names."""
        if self._known is None and self._checkpoint is not None:
            found = self._checkpoint.read()
            if found is None:
                what = f"there was no checkpoint at a start behind record {head.sequence}"
                return Event(Outcome.UNANCHORED, OWN_CALL, detail=what) if head.sequence else None
            if not found.is_genuine:
                what = f"the checkpoint at a start behind record {head.sequence} had not the signature of the key"
                return Event(Outcome.BROKEN, OWN_CALL, detail=what)
            self._known = found.place
        known = self._known or BEGINNING
        if known.sequence <= head.sequence and self._is_held(session, known):
            return None
        what = f"the checkpoint named record {known.sequence}, and the log ended at {head.sequence} or was another one"
        return Event(Outcome.BROKEN, OWN_CALL, detail=what)

    def _is_held(self, session: Session, known: Link) -> bool:
        """Whether the log has a record still, or has pruned it."""
        if known.sequence < pruned_place(session).sequence:
            return self._prunings is not None and is_pruning_genuine(session, self._prunings)
        return hash_at(session, known.sequence) == known.hash

    def _move_checkpoint(self, place: Link) -> None:
        if self._checkpoint is not None and place != self._known:
            self._checkpoint.write(place)
            self._known = place

    def _prune(self) -> None:
        if self._clock() - self._pruned_when < PRUNE_EVERY_S:
            return
        count = PRUNED_AT_ONCE
        while count == PRUNED_AT_ONCE and not self._is_closing:
            with Session(self._engine) as session, session.begin():
                count = self._log.prune(session, datetime.now(UTC) - self._keep)
        self._pruned_when = self._clock()


@contextmanager
def writing_audit(log: AuditLog, checkpoint_file: Path | None, keep_days: float) -> Iterator[AuditWriter | None]:
    """What writes calls that change nothing, closed at the end of the block; None where the log is off.

    Args:
        log: what is written to.
        checkpoint_file: beside it; None where another process keeps it.
        keep_days: after which records are pruned.
    """
    if not log.is_on:
        yield None
        return
    checkpoint = None
    if log.hasher is not None and checkpoint_file is not None:
        checkpoint = CheckpointFile(checkpoint_file, log.hasher)
    writer = AuditWriter(log, checkpoint, keep_days)
    try:
        yield writer
    finally:
        writer.close()
