"""`matchka-train`: the command line of training."""

import sys
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.errors import MatchkaError
from training.backbones.choice import open_backbone
from training.recipe import read_recipe
from training.run import run
from training.tables import accuracy_table, candidate_table

app = typer.Typer(help="Train projections on frozen backbones.", no_args_is_help=True, add_completion=False)

Threads = Annotated[int, typer.Option(help="Threads of torch.", min=1)]


@app.callback()
def _commands() -> None:
    """Train projections on frozen backbones."""


@app.command("run")
def run_command(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Overrides such as seed=7 projection.family=auto.")
    ] = None,
    threads: Threads = 2,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what an interrupted run left.")] = False,
) -> None:
    """Train by a recipe, validate per domain and dim, and write a checkpoint with its report."""
    torch.set_num_threads(threads)
    value = read_recipe(recipe, tuple(overrides or ()))
    console = Console()
    with show_progress() as progress:
        outcome = run(value, open_backbone(value.backbone), progress, fresh=fresh)
    if len(outcome.fitted) > 1:
        console.print(candidate_table(outcome.fitted))
    console.print(accuracy_table(outcome.projected, outcome.raw))
    for note in outcome.notes:
        console.print(f"[yellow]note:[/] {note}", highlight=False)
    console.print(f"{outcome.skipped} clips skipped. Checkpoint and report: {outcome.checkpoint}")


def show_progress() -> Progress:
    """Bars on standard error."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def main() -> None:
    """Entry point; an error of ours is one line and exit status 2."""
    try:
        app(standalone_mode=True)
    except MatchkaError as error:
        Console(stderr=True).print(f"[red]error:[/] {error}", highlight=False, markup=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
