"""What became of each row: a CSV file of them as they come, their counts, and the first failures."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

from pydantic import BaseModel

from matchka.cli.enrolment.errors import OutcomeFileError
from matchka.cli.enrolment.people_file import Row

SOME_FAILED: Final = 1
INTERRUPTED: Final = 130  # as shells say of a program that Ctrl-C ended


class Status(StrEnum):
    """What became of a row."""

    ENROLLED = "enrolled"
    PRESENT = "present"  # it was enrolled before
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a row.

    Attributes:
        line: of the file of people.
        subject_id: whose sample it is.
        file: as the row names it.
        model: that was asked.
        status: what became of it.
        template_id: where it is known.
        code: of what refused it.
        detail: what is to be known, one sentence.
        remedy: what can be done about it.
        similar_subjects: others who may be the same person, with a space between them; on the first row of a request.
            Of a row that an earlier run enrolled: as it was told then.
    """

    line: int
    subject_id: str
    file: str
    model: str
    status: Status
    template_id: str = ""
    code: str = ""
    detail: str = ""
    remedy: str = ""
    similar_subjects: str = ""


COLUMNS: Final = tuple(one.name for one in fields(Outcome))


def outcome_of(row: Row, status: Status, **more: str) -> Outcome:
    """What became of a row."""
    return Outcome(row.line, row.subject_id, row.file, row.model, status, **more)


class Writer(Protocol):
    """Writes outcomes down."""

    def __call__(self, outcomes: Sequence[Outcome]) -> None:
        """Write some."""


@contextmanager
def outcome_file(path: Path | None) -> Iterator[Writer]:
    """A CSV file of outcomes, in the order in which they come; none where no path is given.

    Raises: OutcomeFileError: it cannot be written.
    """
    if path is None:
        yield lambda _outcomes: None
        return
    with _failures_told(path):
        file = path.open("w", encoding="utf-8", newline="")
    with file:
        rows = csv.DictWriter(file, COLUMNS)

        def write(outcomes: Sequence[Outcome]) -> None:
            with _failures_told(path):
                rows.writerows(asdict(outcome) for outcome in outcomes)
                file.flush()

        with _failures_told(path):
            rows.writeheader()
            file.flush()
        yield write


@contextmanager
def _failures_told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutcomeFileError(
            "The report cannot be written.", value=path, remedy=f"Name another file with --report ({error.strerror})."
        ) from error


class PeopleEnrolled(BaseModel):
    """What became of the samples of a file of people: their numbers, and those that failed or of which more is to know.

    `not_reached`: rows that an interrupted run did not come to.
    """

    enrolled: int
    present: int
    failed: int
    not_reached: int
    failures: list[Outcome]
    notes: list[Outcome]

    @property
    def exit_code(self) -> int:
        """Of the command: 0, or 1 where samples failed, or 130 where it was interrupted."""
        if self.not_reached:
            return INTERRUPTED
        return SOME_FAILED if self.failed else 0


@dataclass
class Tally:
    """Outcomes so far.

    Attributes:
        rows: to enrol.
        counts: of each status.
        failures: all of them.
        notes: outcomes of samples that this run enrolled of which more is to be known.
    """

    rows: int
    counts: Counter[Status] = field(default_factory=Counter)
    failures: list[Outcome] = field(default_factory=list)
    notes: list[Outcome] = field(default_factory=list)

    @property
    def left(self) -> int:
        """Rows that were not reached."""
        return self.rows - self.counts.total()

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Count outcomes."""
        for outcome in outcomes:
            self.counts[outcome.status] += 1
            if outcome.status is Status.FAILED:
                self.failures.append(outcome)
            elif outcome.status is Status.ENROLLED and (outcome.detail or outcome.similar_subjects):
                self.notes.append(outcome)

    def summary(self) -> PeopleEnrolled:
        """What became of all."""
        return PeopleEnrolled(
            enrolled=self.counts[Status.ENROLLED],
            present=self.counts[Status.PRESENT],
            failed=self.counts[Status.FAILED],
            not_reached=self.left,
            failures=self.failures,
            notes=self.notes,
        )
