"""Every command of the three programs, from their Typer applications."""

from typing import Any, Final

import typer
from typer.cli import get_docs_for_click
from typer.main import get_command

import matchka.cli.main
import matchka_export.__main__
from matchka.cli.deferred import DEFERRED, loaded
from matchka_train.cli.further_commands import add_commands
from matchka_train.cli.train import app as train_app

PAGE: Final = "---\ntocdepth: 3\n---\n\n{}"


def command_pages() -> dict[str, str]:
    """A page for each program, by its name."""
    add_commands(train_app)
    programs = {
        "matchka": _with_deferred(matchka.cli.main.app),
        "matchka-train": get_command(train_app),
        "matchka-export": get_command(matchka_export.__main__.app),
    }
    return {name: PAGE.format(_described(name, program)) for name, program in programs.items()}


def _described(name: str, program: Any) -> str:
    text = get_docs_for_click(obj=program, ctx=typer.Context(program), name=name, title=f"Command line: `{name}`")
    return text.replace("```console\n$ ", "```text\n")


def _with_deferred(app: typer.Typer) -> Any:
    """The program with the commands that it imports only when they are called."""
    program: Any = get_command(app)
    for name in DEFERRED:
        command = loaded(name)
        command.name = name
        command.help = command.help or program.commands[name].help
        program.commands[name] = command
    return program
