"""How a command says that it failed: one line for people, or with --json one problem document, and exit code 2."""

import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final

import typer
from rich.console import Console
from rich.markup import escape

from matchka.cli.output.own_words import in_own_words
from matchka.errors import MatchkaError, RequestFailedError

FAILED: Final = 2
CAPITAL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


class UsageError(MatchkaError):
    """The command line has what a command does not take, or lacks what it needs."""


@contextmanager
def reported_errors(as_json: bool = False, options: Collection[str] = ()) -> Iterator[None]:
    """Turn an error into one clear message on the error stream and exit code 2.

    Args:
        as_json: write a problem document, in one line, as the HTTP interface has it.
        options: of the command, as fields are called; people are told of these in place of fields.
    """
    try:
        yield
    except MatchkaError as error:
        if as_json:
            _print_problem(error)
        else:
            Console(stderr=True, emoji=False).print(
                f"[bold red]error:[/] {escape(str(_for_people(error, options)))}", highlight=False, soft_wrap=True
            )
        raise typer.Exit(FAILED) from error


@contextmanager
def usage_as_problem() -> Iterator[None]:
    """Turn what Typer refuses of a command line, where it raises it, into a problem document and Typer's exit code."""
    try:
        yield
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "matchka"
        _print_problem(UsageError(error.format_message(), remedy=f"See `{command} --help`."))
        raise SystemExit(error.exit_code) from error


def _for_people(error: MatchkaError, options: Collection[str]) -> MatchkaError:
    if not isinstance(error, RequestFailedError):
        return error
    return MatchkaError(
        in_own_words(error.detail, options), remedy=in_own_words(error.remedy, options), value=error.value
    )


def _print_problem(error: MatchkaError) -> None:
    typer.echo(json.dumps(problem_of(error)), err=True)


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
