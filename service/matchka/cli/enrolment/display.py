"""What a person sees of an enrolment: a progress bar, or a line now and then, and a summary at its end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from matchka.cli.enrolment.outcomes import Outcome, PeopleEnrolled, Status, Tally

LINE_EVERY_S: Final = 10.0
MOST_SHOWN: Final = 10
WORDS: Final = {
    Status.ENROLLED: "enrolled",
    Status.PRESENT: "enrolled before",
    Status.FAILED: "failed",
}


class Display(Protocol):
    """Shows how far an enrolment is."""

    def show(self, tally: Tally) -> None:
        """Show the counts."""

    def say(self, text: str) -> None:
        """Show a line."""


class Bar:
    """A progress bar."""

    def __init__(self, progress: Progress, rows: int) -> None:
        self._progress = progress
        self._task = progress.add_task("enrolling", total=rows)

    def show(self, tally: Tally) -> None:
        """See Display."""
        self._progress.update(self._task, completed=tally.counts.total(), description=counted(tally))

    def say(self, text: str) -> None:
        """See Display."""
        self._progress.console.print(escape(text), style="yellow", highlight=False)


class Lines:
    """A line now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = time.monotonic() + LINE_EVERY_S

    def show(self, tally: Tally) -> None:
        """See Display."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_EVERY_S
            done = f"{tally.counts.total()} of {tally.rows} files"
            self._console.print(f"{done}: {counted(tally)}", highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """See Display."""
        self._console.print(escape(text), highlight=False, soft_wrap=True)


@contextmanager
def displayed(console: Console, rows: int) -> Iterator[Display]:
    """A display for a console: a bar on a terminal."""
    if not console.is_terminal:
        yield Lines(console)
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console) as progress:
        yield Bar(progress, rows)


def counted(tally: Tally) -> str:
    """The counts as words.

    >>> tally = Tally(3)
    >>> tally.counts[Status.ENROLLED] = 2
    >>> counted(tally)
    '2 enrolled'
    """
    told = [f"{tally.counts[status]} {word}" for status, word in WORDS.items() if tally.counts[status]]
    return ", ".join(told) or "none yet"


def show_summary(console: Console, enrolled: PeopleEnrolled) -> None:
    """Show the counts, the first samples of which more is to be known, and how to go on."""
    table = Table("", "files", show_header=False)
    table.add_row("enrolled", str(enrolled.enrolled))
    table.add_row("enrolled before", str(enrolled.present))
    table.add_row("failed", str(enrolled.failed))
    if enrolled.not_reached:
        table.add_row("not reached", str(enrolled.not_reached))
    console.print(table)
    for outcomes, style in ((enrolled.failures, "red"), (enrolled.notes, "yellow")):
        for outcome in outcomes[:MOST_SHOWN]:
            console.print(_line(outcome), style=style, markup=False, highlight=False, soft_wrap=True)
        if len(outcomes) > MOST_SHOWN:
            console.print(f"and {len(outcomes) - MOST_SHOWN} more: --report lists them", style=style, highlight=False)
    if enrolled.not_reached:
        again = "Run the same command again to go on: what is enrolled is not sent again."
        console.print(again, style="yellow", highlight=False, soft_wrap=True)
    elif enrolled.failed:
        again = "Correct what failed, and run the same command again: only what is not enrolled is sent."
        console.print(again, style="yellow", highlight=False, soft_wrap=True)


def _line(outcome: Outcome) -> str:
    similar = f"may be the same person as {outcome.similar_subjects}" if outcome.similar_subjects else ""
    told = " ".join(part for part in (outcome.detail, outcome.remedy, similar) if part)
    return f"line {outcome.line}, {outcome.subject_id}, {outcome.file}: {told}"
