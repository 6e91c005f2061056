"""What a long command shows while it works: bars on a terminal, plain lines in a log or a pipe."""

from datetime import timedelta
from typing import Any, Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

LINE_EVERY_S: Final = 30.0  # a log stays short, and nobody wonders for long whether anything happens


class LineProgress(Progress):
    """A line for each task now and then; a task of one step, of which nothing can be counted, is announced.

    `update(task, line=...)` writes a line at once: what an epoch ended with, for example, and what is left, if much is.
    Bars do not show it.

    Args:
        console: where the lines go.
        every_s: seconds from one line of a task to the next.
    """

    def __init__(self, console: Console, every_s: float = LINE_EVERY_S) -> None:
        super().__init__(console=console, disable=True)
        self._every_s = every_s
        self._last_line: dict[TaskID, float] = {}

    def add_task(self, description: str, *arguments: Any, **values: Any) -> TaskID:
        """Begin a task."""
        task_id = super().add_task(description, *arguments, **values)
        if self._tasks[task_id].total == 1:
            self._write(task_id, "begun")
        return task_id

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Count steps of a task."""
        super().advance(task_id, advance)
        self._write_if_due(task_id)

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Change a task; `line` is written at once."""
        line = changes.pop("line", None)
        super().update(task_id, **changes)
        if line is None:
            self._write_if_due(task_id)
        else:
            self._write(task_id, f"{line}{self._left(task_id, self._every_s)}")

    def _write_if_due(self, task_id: TaskID) -> None:
        with self._lock:
            task = self._tasks[task_id]
            began = self.get_time() if task.start_time is None else task.start_time
            if self.get_time() - self._last_line.get(task_id, began) < self._every_s:
                return
            counted = f"{task.completed:.0f}" if task.total is None else f"{task.completed:.0f} of {task.total:.0f}"
        self._write(task_id, counted + self._left(task_id))

    def _left(self, task_id: TaskID, at_least_s: float = 0.0) -> str:
        """What is left, where that is known and no less than so many seconds."""
        with self._lock:
            seconds = self._tasks[task_id].time_remaining
        return "" if seconds is None or seconds < at_least_s else f", {timedelta(seconds=round(seconds))} left"

    def _write(self, task_id: TaskID, line: str) -> None:
        with self._lock:
            self._last_line[task_id] = self.get_time()
            description = self._tasks[task_id].description
        self.console.print(f"{description}: {line}", markup=False, highlight=False, soft_wrap=True)


def show_progress(console: Console | None = None) -> Progress:
    """Bars or lines that count steps; on standard error unless a console is given."""
    return _progress(console or Console(stderr=True), MofNCompleteColumn(), TimeRemainingColumn())


def show_download(console: Console) -> Progress:
    """Bars or lines that count bytes."""
    return _progress(console, DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())


def _progress(console: Console, *columns: ProgressColumn) -> Progress:
    if not console.is_terminal:
        return LineProgress(console)
    return Progress(TextColumn("{task.description}"), BarColumn(), *columns, console=console)
