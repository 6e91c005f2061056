"""How a command says that it failed: one line for people, or with --json one problem document, and exit code 2."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import typer
from rich.console import Console
from rich.markup import escape

from matchka.errors import MatchkaError, RequestFailedError

FAILED: Final = 2
CAPITAL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


@contextmanager
def reported_errors(as_json: bool = False) -> Iterator[None]:
    """Turn an error into one clear message on the error stream and exit code 2.

    Args: as_json: write a problem document, in one line, as the HTTP interface has it.
    """
    try:
        yield
    except MatchkaError as error:
        if as_json:
            typer.echo(json.dumps(problem_of(error)), err=True)
        else:
            Console(stderr=True, emoji=False).print(
                f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True
            )
        raise typer.Exit(FAILED) from error


def problem_of(error: MatchkaError) -> dict[str, Any]:
    """An error as a problem document: the service's own, or, where it is of this machine, one without a status.

    >>> problem_of(MatchkaError("Too long.", value=9, remedy="Shorten it."))
    {'code': 'matchka', 'detail': 'Too long.', 'value': '9', 'remedy': 'Shorten it.'}
    """
    said = {"detail": error.detail, "value": error.value, "remedy": error.remedy}
    if isinstance(error, RequestFailedError):
        return {"status": error.status, "code": error.code, **said}
    name = type(error).__name__.removesuffix("Error")
    return {"code": CAPITAL.sub("_", name).lower(), **said}
