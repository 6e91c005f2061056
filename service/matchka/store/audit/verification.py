"""Verification of the log: the chain from its first record to its last, and the checkpoint beside it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from matchka.store.audit.chain import BEGINNING, Flaw, Link, flaws_of
from matchka.store.audit.checkpoint import Checkpoint
from matchka.store.audit.log import ROWS_AT_ONCE, pruned_place, records_in
from matchka.store.audit.prunings import Prunings
from matchka.store.audit.records import AuditRecord, Outcome
from matchka.store.schema import AuditHeadRow, AuditRow

MOST_FLAWS: Final = 1_000  # told; more are counted

Progress = Callable[[int, int], None]  # records checked, of how many


@dataclass(frozen=True)
class AuditReport:
    """What a verification found.

    Attributes:
        records: how many are there.
        last: the place of the last one.
        pruned: how many were pruned before the first one.
        flaws: in the order of their sequence, up to MOST_FLAWS; what concerns the end of the log comes last.
        flaw_count: how many there are.
        notices: what the log says itself about how it went on without its checkpoint.
    """

    records: int
    last: int
    pruned: int
    flaws: tuple[Flaw, ...]
    flaw_count: int
    notices: tuple[str, ...]


class _Seen:
    """What is noted of records while their chain is followed."""

    def __init__(self, prunings: Prunings) -> None:
        self.records = 0
        self.pruned_to = BEGINNING
        self.broken: list[Flaw] = []  # that the service found while it ran, and forged ones of prunings
        self.notices: list[str] = []
        self._prunings = prunings

    def note(self, record: AuditRecord) -> None:
        """Take one more record in."""
        self.records += 1
        if record.outcome == Outcome.PRUNED:
            place = self._prunings.read(record.detail)
            if place is None:
                self.broken.append(Flaw(record.sequence, "this pruning has not the signature of the key at hand"))
            elif place.sequence > self.pruned_to.sequence:
                self.pruned_to = place
        elif record.outcome == Outcome.BROKEN:
            what = f"the service noted at {record.at:%Y-%m-%d %H:%M}: {record.detail}"
            self.broken.append(Flaw(record.sequence, what))
        elif record.outcome == Outcome.UNANCHORED:
            self.notices.append(f"record {record.sequence}, {record.at:%Y-%m-%d %H:%M}: {record.detail}")


def chain_flaws(session: Session) -> Iterator[Flaw]:
    """What is wrong with the chain, without a look at the checkpoint."""
    return (found for found in flaws_of(pruned_place(session), records_in(session)) if isinstance(found, Flaw))


def verify_log(session: Session, checkpoint: Checkpoint | None, prunings: Prunings, progress: Progress) -> AuditReport:
    """Check every record, and that none is missing.

    Args:
        session: reads one unchanging state (store/engine.py, reading).
        checkpoint: read before that state was: the log may have gone on since, and never goes back.
        prunings: reads what the log says of its own beginning.
        progress: called with the records checked, of how many.
    """
    here = start = pruned_place(session)
    total = session.scalar(select(func.count()).select_from(AuditRow)) or 0
    named = None if checkpoint is None else checkpoint.place.sequence
    at_checkpoint = start.hash if named == start.sequence else None
    seen, flaws, count = _Seen(prunings), list[Flaw](), 0

    def noted() -> Iterator[tuple[AuditRecord, str]]:
        for record, stored in records_in(session):
            seen.note(record)
            if seen.records % ROWS_AT_ONCE == 0:
                progress(seen.records, max(seen.records, total))
            yield record, stored

    for found in flaws_of(start, noted()):
        if isinstance(found, Link):
            here = found
            at_checkpoint = here.hash if here.sequence == named else at_checkpoint
            continue
        count += 1
        if len(flaws) < MOST_FLAWS:
            flaws.append(found)
    progress(seen.records, seen.records)
    ends = [*seen.broken, *_of_head(session, here), *_of_pruned(start, seen.pruned_to)]
    ends += _of_checkpoint(checkpoint, here, at_checkpoint)
    notices = tuple(seen.notices)
    return AuditReport(seen.records, here.sequence, start.sequence, (*flaws, *ends), count + len(ends), notices)


def _of_head(session: Session, last: Link) -> Iterator[Flaw]:
    head = session.execute(select(AuditHeadRow.sequence, AuditHeadRow.hash)).one_or_none()
    if head is None:
        yield Flaw(last.sequence, "the row of the log's head is missing")
    elif (head.sequence, head.hash) != (last.sequence, last.hash):
        yield Flaw(last.sequence, f"the log ends here, and its head says that it ends at record {head.sequence}")


def _of_pruned(start: Link, pruned_to: Link) -> Iterator[Flaw]:
    if start != pruned_to:
        what = f"the log begins behind this record, and says itself that it was pruned to {pruned_to.sequence}"
        yield Flaw(start.sequence, what)


def _of_checkpoint(checkpoint: Checkpoint | None, last: Link, found: str | None) -> Iterator[Flaw]:
    if checkpoint is None:
        if last.sequence:
            yield Flaw(last.sequence, "there is no checkpoint: records that were cut off after this one are not found")
    elif not checkpoint.is_genuine:
        yield Flaw(last.sequence, "the checkpoint has not the signature of the key at hand")
    elif checkpoint.place.sequence > last.sequence:
        first, end = last.sequence + 1, checkpoint.place.sequence
        yield Flaw(end, f"the log was cut off: records {first} to {end} were there at the checkpoint")
    elif found is not None and found != checkpoint.place.hash:
        yield Flaw(checkpoint.place.sequence, "the log up to this record is another one than at the checkpoint")
