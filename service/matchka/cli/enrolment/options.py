"""The options of `matchka enroll --from`, and those that it does not go with."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from matchka.cli.enrolment.enrol_people import Run
from matchka.errors import InvalidFieldError

People = Annotated[
    Path | None,
    typer.Option("--from", help="Enrol the people of a CSV file: subject_id,file (and model). Run again, it goes on."),
]
JOBS: Final = 4
PATIENCE_S: Final = 300.0
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", min=1, max=64, show_default=f"{JOBS}", help="With --from: so many people at once."),
]
Anew = Annotated[
    bool, typer.Option("--anew", help="With --from: enrol those again who were enrolled before and deleted since.")
]
JournalFile = Annotated[
    Path | None, typer.Option("--journal", help="With --from: where is kept what is enrolled; FILE.journal by default.")
]
OutcomeFile = Annotated[
    Path | None, typer.Option("--report", help="With --from: a CSV file to write, with a row for each sample.")
]
PatienceS = Annotated[
    float | None,
    typer.Option(
        "--patience",
        metavar="SECONDS",
        min=0,
        show_default=f"{PATIENCE_S:g}",
        help="With --from: how long to go on without an answer.",
    ),
]


@dataclass(frozen=True)
class RunOptions:
    """What was said of a run over a file of people; None where it was left out.

    Attributes: names: all options of the command, as fields are called.
    """

    jobs: int | None
    patience_s: float | None
    journal: Path | None
    report: Path | None
    anew: bool = False
    names: Collection[str] = ()

    def run_beside(self, **of_one: object) -> Run:
        """The run, beside which nothing of one subject is said.

        Args: of_one: what belongs to one subject, by its name; None or false where it was left out.

        Raises: InvalidFieldError: something of one subject is said.
        """
        for name, value in of_one.items():
            if value is not None and value is not False:
                shown = name if name.isupper() else f"--{name.replace('_', '-')}"
                raise InvalidFieldError(
                    f"{shown} does not go with --from, which enrols many people and leaves out samples that are "
                    "refused.",
                    value=value,
                    remedy=f"Leave out {shown}, or --from.",
                )
        patience_s = PATIENCE_S if self.patience_s is None else self.patience_s
        return Run(self.jobs or JOBS, patience_s, self.journal, self.report, self.names, self.anew)

    def require_none(self) -> None:
        """Refuse all of it where there is no file of people: it would have no effect.

        Raises: InvalidFieldError: something is said.
        """
        given = {"jobs": self.jobs, "patience": self.patience_s, "journal": self.journal, "report": self.report}
        for name, value in {**given, "anew": self.anew}.items():
            if value is not None and value is not False:
                raise InvalidFieldError(
                    f"--{name} belongs to --from, and does nothing for one subject.",
                    value=value,
                    remedy=f"Leave out --{name}, or name a file of people with --from.",
                )
