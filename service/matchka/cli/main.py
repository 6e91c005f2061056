"""`matchka`: run the service, or speak to one. What only the server needs is imported when its command is called."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from matchka.cli.client.classify import classify
from matchka.cli.client.client_commands import commands
from matchka.cli.client.options import Url, connected
from matchka.cli.client.preset_commands import preset_commands
from matchka.cli.client.rights_commands import rights_commands
from matchka.cli.client.speech_commands import commands as speech_commands
from matchka.cli.client.subjects_commands import subjects_commands
from matchka.cli.deferred import DeferringGroup, defer
from matchka.cli.demo.demonstration import run_demonstration
from matchka.cli.output.errors import reported_errors

app = typer.Typer(cls=DeferringGroup, no_args_is_help=True, pretty_exceptions_enable=False)
subjects_commands.add_typer(rights_commands)
app.add_typer(commands)
app.add_typer(subjects_commands, name="subjects")
app.add_typer(speech_commands)
app.command()(classify)
app.add_typer(preset_commands)
defer(app)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"matchka {version('matchka')}")
        raise typer.Exit


@app.callback()
def with_options(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Voice and face verification."""


@app.command()
def demo(
    samples: Annotated[Path, typer.Option(help="Folder of samples.")] = Path("build/samples"),
    url: Url = None,
) -> None:
    """Enrol real people, probe with other samples and impostors'. Exit code 1: a probe was nearest to another."""
    with reported_errors():
        all_nearest = run_demonstration(connected(url), samples, Console())
    if not all_nearest:
        raise typer.Exit(1)


def main() -> None:
    """Entry point of `matchka`."""
    app()


if __name__ == "__main__":
    main()
