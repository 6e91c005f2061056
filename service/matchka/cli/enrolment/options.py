"""The options of `matchka enroll --from`, and those that it does not go with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from matchka.errors import InvalidFieldError

People = Annotated[
    Path | None,
    typer.Option("--from", help="Enrol the people of a CSV file: subject_id,file (and model). Run again, it goes on."),
]
Jobs = Annotated[int, typer.Option("--jobs", min=1, max=64, help="With --from: so many people at once.")]
JournalFile = Annotated[
    Path | None, typer.Option("--journal", help="With --from: where is kept what is enrolled; FILE.journal by default.")
]
OutcomeFile = Annotated[
    Path | None, typer.Option("--report", help="With --from: a CSV file to write, with a row for each sample.")
]
PatienceS = Annotated[
    float,
    typer.Option("--patience", metavar="SECONDS", min=0, help="With --from: how long to go on without an answer."),
]


def require_no_subject(given: Mapping[str, object]) -> None:
    """Refuse, beside a file of people, what belongs to one subject.

    Args: given: by their names; None where they are left out.

    Raises: InvalidFieldError: one is there.
    """
    for name, value in given.items():
        if value is not None:
            raise InvalidFieldError(
                f"{name} does not go with --from, which enrols many people and leaves out samples that are refused.",
                value=value,
                remedy=f"Leave out {name}, or --from.",
            )
