"""Commands that packages above this one add to `matchka-train`, by entry points."""

from importlib.metadata import entry_points
from typing import Final

import typer

COMMANDS_GROUP: Final = "matchka_train.commands"


def add_commands(app: typer.Typer) -> None:
    """Register every command of the entry-point group under its name.

    Training imports nothing of export, and a command that ends in a bundle needs both.

    Args: app: the command line of training.
    """
    for found in sorted(entry_points(group=COMMANDS_GROUP), key=lambda entry: entry.name):
        app.command(found.name)(found.load())
