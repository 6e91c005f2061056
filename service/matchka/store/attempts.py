"""Failed attempts: how often one key has failed of late, and how long it has to wait; by the database's clock."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final, TypeAlias

from sqlalchemy import Engine, Row, bindparam, delete, select
from sqlalchemy.orm import Session

from matchka.errors import TooManyAttemptsError
from matchka.store.clock import Now, time_of
from matchka.store.conflicts import repeated_on_conflict
from matchka.store.engine import lock_name
from matchka.store.queries import find_subject, unexpired
from matchka.store.schema import AttemptRow, SubjectRow

FIRST_WAIT_S: Final = 60.0  # and twice as long each time
FORGOTTEN_AFTER: Final = timedelta(days=1)  # without a failure
HOUR_S: Final = 3600.0
MOST_DOUBLINGS: Final = 30

_Counted: TypeAlias = Row[datetime | None, int, datetime, datetime]  # until when, strikes, since when, the time


class Searches(IntEnum):
    """What searches the whole gallery; each counts for itself, in place of a subject's key, which begin at 1."""

    IDENTIFY = 0
    ENROLL = -1  # which tells who is similar


Target: TypeAlias = str | Searches  # a subject id, or a search


@dataclass(frozen=True)
class AttemptRules:
    """How many failures are free, and what comes then.

    Attributes:
        free_in_an_hour: failures that leak away within an hour.
        longest_wait_s: longest that one failure has to be waited for.
        is_each_a_strike: whether several failures at once, beyond what is free, wait as long as one after the other
            would have; otherwise they are one, as the faces of one picture that nobody was found for.
    """

    free_in_an_hour: float
    longest_wait_s: float
    is_each_a_strike: bool = True


@dataclass(frozen=True)
class FailureCount:
    """What is remembered of one key and one subject.

    Attributes:
        level: failures that have not leaked away.
        strikes: failures beyond those that are free, within the last day.
        updated_at: when the last one failed.
        blocked_until: when the next attempt is let in; None: at once.
    """

    level: float
    strikes: int
    updated_at: datetime
    blocked_until: datetime | None = None

    def after(self, failures: int, now: datetime, rules: AttemptRules) -> "FailureCount":
        """The count after some more failures at once; what succeeds changes nothing."""
        if now - self.updated_at >= FORGOTTEN_AFTER:
            return FailureCount(0.0, 0, now).after(failures, now, rules)
        elapsed_s = max(0.0, (now - self.updated_at).total_seconds())  # a clock may be set back
        level = max(0.0, self.level - elapsed_s * rules.free_in_an_hour / HOUR_S) + failures
        if level <= rules.free_in_an_hour and not self.strikes:
            return FailureCount(level, 0, now)
        beyond = failures if self.strikes else min(failures, math.ceil(level - rules.free_in_an_hour))
        strikes = self.strikes + (beyond if rules.is_each_a_strike else 1)
        wait_s = sum(
            min(FIRST_WAIT_S * 2.0 ** min(strike, MOST_DOUBLINGS), rules.longest_wait_s)
            for strike in range(self.strikes, strikes)
        )
        return FailureCount(level, strikes, now, now + timedelta(seconds=wait_s))


class Attempts:
    """The failures of every key.

    Args: engine: of the store.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # made once: every verification asks
        counted = select(AttemptRow.blocked_until, AttemptRow.strikes, AttemptRow.updated_at, Now().label("now")).where(
            AttemptRow.key_id == bindparam("of_key")
        )
        self._counted_search = counted.where(AttemptRow.subject_key == bindparam("of_target"))
        self._counted_subject = counted.join(SubjectRow, SubjectRow.key == AttemptRow.subject_key).where(
            SubjectRow.tenant == bindparam("of_tenant"), SubjectRow.subject_id == bindparam("of_subject"), unexpired()
        )
        self._waiting = (
            select(SubjectRow.subject_id)
            .join(AttemptRow, SubjectRow.key == AttemptRow.subject_key)
            .where(
                AttemptRow.key_id == bindparam("of_key"),
                AttemptRow.blocked_until > Now(),
                SubjectRow.tenant == bindparam("of_tenant"),
                unexpired(),
            )
        )

    def wait_s(self, key_id: str, tenant: str, target: Target) -> float:
        """Seconds until the next attempt is let in; 0 where it is at once.

        Args:
            key_id: of the caller.
            tenant: of the subject.
            target: the subject that the sample is said to be of, or what searches the gallery.
        """
        return _wait_s(self._counted(key_id, tenant, target))

    def admit(self, key_id: str, tenant: str, target: Target) -> bool:
        """Refuse an attempt that has to wait; the arguments are those of wait_s().

        Returns: whether failures beyond those that are free are remembered, so that the next one leads to a wait.
            Attempts then have to come one at a time: of several at once, all would be let in at the end of a wait.
        Raises: TooManyAttemptsError: too many failed; it says how long to wait.
        """
        counted = self._counted(key_id, tenant, target)
        wait_s = _wait_s(counted)
        if wait_s > 0:
            whom = "to verify this subject" if isinstance(target, str) else "to find somebody"
            raise TooManyAttemptsError(
                f"Too many attempts {whom} failed with this key.",
                value=target if isinstance(target, str) else None,
                remedy="Try again after the seconds in Retry-After; each further failure doubles the wait.",
                retry_after_s=wait_s,
            )
        return counted is not None and counted.strikes > 0 and counted.now - counted.updated_at < FORGOTTEN_AFTER

    def _counted(self, key_id: str, tenant: str, target: Target) -> _Counted | None:
        """What failed of late, and the time of the database."""
        if isinstance(target, str):
            query = self._counted_subject
            values: dict[str, str | int] = {"of_key": key_id, "of_tenant": tenant, "of_subject": target}
        else:
            query = self._counted_search
            values = {"of_key": key_id, "of_target": int(target)}
        with self._engine.connect() as connection:
            return connection.execute(query, values).one_or_none()

    @repeated_on_conflict
    def note_failed(self, key_id: str, tenant: str, target: Target, failures: int, rules: AttemptRules) -> None:
        """Count failures, in one short transaction; of a subject that is gone by now, none.

        Args:
            key_id: of the caller.
            tenant: of the subject.
            target: the subject that the sample was said to be of, or what searched the gallery.
            failures: how many at once, >= 1.
            rules: what they lead to.
        """
        with Session(self._engine) as session, session.begin():
            now = _begin(session, key_id)
            subject_key = _key_of(session, tenant, target)
            if subject_key is not None:
                _add(_row_of(session, key_id, subject_key, now), failures, now, rules)

    @repeated_on_conflict
    def note_near(self, key_id: str, tenant: str, failures: Mapping[str, int], rules: AttemptRules) -> set[str]:
        """Count failures of several subjects, of those whose next attempt is let in, in one short transaction.

        Args:
            key_id: of the caller.
            tenant: of the subjects.
            failures: how many of each, >= 1.
            rules: what they lead to.

        Returns: the subjects whose attempts have to wait, of whom nothing may be told.
        """
        waiting = set()
        with Session(self._engine) as session, session.begin():
            now = _begin(session, key_id)
            for subject_id, count in sorted(failures.items()):
                subject_key = _key_of(session, tenant, subject_id)
                if subject_key is None:
                    continue
                row = _row_of(session, key_id, subject_key, now)
                if row.blocked_until is not None and row.blocked_until > now:
                    waiting.add(subject_id)
                else:
                    _add(row, count, now, rules)
        return waiting

    def waiting(self, key_id: str, tenant: str) -> set[str]:
        """The subjects whose next attempt is not let in yet."""
        with self._engine.connect() as connection:
            found = connection.execute(self._waiting, {"of_key": key_id, "of_tenant": tenant})
            return set(found.scalars())


def _wait_s(counted: _Counted | None) -> float:
    if counted is None or counted.blocked_until is None:
        return 0.0
    return max(0.0, float((counted.blocked_until - counted.now).total_seconds()))


def _begin(session: Session, key_id: str) -> datetime:
    """The time; a change comes first: SQLite has one writer from here on, and what nobody asks for is gone."""
    lock_name(session, f"attempts/{key_id}")
    now = time_of(session)
    session.execute(
        delete(AttemptRow).where(AttemptRow.updated_at < now - FORGOTTEN_AFTER),
        execution_options={"synchronize_session": False},
    )
    return now


def _key_of(session: Session, tenant: str, target: Target) -> int | None:
    if not isinstance(target, str):
        return int(target)
    subject = find_subject(session, tenant, target)
    return None if subject is None else subject.key


def _row_of(session: Session, key_id: str, subject_key: int, now: datetime) -> AttemptRow:
    row = session.get(AttemptRow, (key_id, subject_key))
    if row is None:
        row = AttemptRow(key_id=key_id, subject_key=subject_key, level=0.0, strikes=0, updated_at=now)
        session.add(row)
    return row


def _add(row: AttemptRow, failures: int, now: datetime, rules: AttemptRules) -> None:
    count = FailureCount(row.level, row.strikes, row.updated_at).after(failures, now, rules)
    row.level, row.strikes, row.updated_at = count.level, count.strikes, count.updated_at
    row.blocked_until = count.blocked_until
