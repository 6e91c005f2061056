"""What a command found: one document for machines, or tables for people. Every command that finds anything has both.

A command returns a Report; `@reporting` gives it the option --json, prints what was asked for, and ends with the
report's exit code. With --json the standard output holds that one document and nothing else.
"""

import inspect
import json as json_format
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, Final, ParamSpec

import typer
from pydantic import BaseModel
from rich.console import Console
from typer.models import OptionInfo

from matchka.cli.output.errors import reported_errors

NO_MATCH: Final = 1
JSON_FLAG: Final = "--json"
JSON_OPTION: Final = inspect.Parameter(
    "json",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[
        bool, typer.Option(JSON_FLAG, help="Print the result as one JSON document, and an error as another.")
    ],
)

P = ParamSpec("P")


@dataclass(frozen=True)
class Report:
    """What a command found.

    Attributes:
        document: for machines: an answer of the HTTP interface where there is one, else fields of the same names.
        show: prints it for people, given a console of the standard output.
        exit_code: of the command.
        beside: what a person who asked for the document wants to see as well, on the error stream.
    """

    document: BaseModel | Mapping[str, Any] | Sequence[Mapping[str, Any]]
    show: Callable[[Console], None]
    exit_code: int = 0
    beside: str | None = None


def reporting(command: Callable[P, Report]) -> Callable[..., None]:
    """A command of Typer that reports what another one found; errors are reported likewise."""
    signature = inspect.signature(command, eval_str=True)
    options = options_of(signature)

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        as_json = bool(kwargs.pop(JSON_OPTION.name))
        with reported_errors(as_json, options):
            report = command(*args, **kwargs)
            if as_json:
                typer.echo(text_of(report.document))
                if report.beside:
                    typer.echo(report.beside, err=True)
            else:
                report.show(Console(emoji=False))
        if report.exit_code:
            raise typer.Exit(report.exit_code)

    parameters = [*signature.parameters.values(), JSON_OPTION]
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]  # Typer reads it, no type names it
        parameters=parameters, return_annotation=None
    )
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def options_of(signature: inspect.Signature) -> frozenset[str]:
    """The options of a command as fields are called: max_fmr of --max-fmr."""
    found = set()
    for one in signature.parameters.values():
        for option in getattr(one.annotation, "__metadata__", ()):
            if isinstance(option, OptionInfo):
                # Typer takes the first of the names that are given for a default until it makes the command
                names = [name for name in (option.default, *(option.param_decls or ())) if isinstance(name, str)]
                found.update(names or [f"--{one.name}"])
    return frozenset(name.removeprefix("--").replace("-", "_") for name in found if name.startswith("--"))


def text_of(document: BaseModel | Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> str:
    """A document as JSON, an answer as the service gave it."""
    return document.model_dump_json() if isinstance(document, BaseModel) else json_format.dumps(document)


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print a line as it stands: names of files and subjects are no markup, and a pipe breaks no line."""
    console.print(text, style=style, highlight=False, markup=False, emoji=False, soft_wrap=True)


def unsaid(_console: Console) -> None:
    """Nothing for people, whom the exit code tells that it is done."""


def said(text: str) -> Callable[[Console], None]:
    """What prints one line."""
    return lambda console: say(console, text)
