"""`matchka-train`: the command line of training."""

import sys
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.errors import MatchkaError
from training.backbones.backbone import Backbone
from training.backbones.ge2e import Ge2e
from training.recipe import BackboneRecipe, read_recipe
from training.run import run
from training.tables import accuracy_table

app = typer.Typer(help="Train projections on frozen backbones.", no_args_is_help=True, add_completion=False)


@app.callback()
def _commands() -> None:
    """Train projections on frozen backbones."""


@app.command("run")
def run_command(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Overrides such as seed=7 projection.centring=0.5.")
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of torch.", min=1)] = 2,
) -> None:
    """Train by a recipe, validate per domain and dim, and write a checkpoint."""
    torch.set_num_threads(threads)
    value = read_recipe(recipe, tuple(overrides or ()))
    console = Console()
    with _progress() as progress:
        outcome = run(value, open_backbone(value.backbone), progress)
    console.print(accuracy_table(outcome.projected, outcome.raw))
    console.print(f"{outcome.skipped} clips skipped. Checkpoint: {outcome.checkpoint}")


def open_backbone(recipe: BackboneRecipe) -> Backbone:
    """The backbone a recipe names."""
    del recipe  # one kind so far
    return Ge2e()


def main() -> None:
    """Entry point; an error of ours is one line and exit status 2."""
    try:
        app(standalone_mode=True)
    except MatchkaError as error:
        Console(stderr=True).print(f"[red]error:[/] {error}", highlight=False)
        sys.exit(2)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


if __name__ == "__main__":
    main()
