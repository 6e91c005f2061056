"""`matchka`: run the service, or speak to one. What only the server needs is imported when its command is called."""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from matchka.cli.client.classify import classify
from matchka.cli.client.client_commands import Url, commands, connected, reported_errors, subjects_commands
from matchka.cli.client.preset_commands import preset_commands
from matchka.cli.client.rights_commands import rights_commands
from matchka.cli.client.speech_commands import commands as speech_commands
from matchka.cli.demo.demonstration import run_demonstration
from matchka.errors import extra_required
from matchka.runtime.audited_request import COMMAND, AuditedRequest, working_on

# every argument goes on to the command of another module, --help as well
PASSED_ON: Final[dict[str, Any]] = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}

LONGEST_CALL: Final = 64  # of a command's name, in the audit log

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Voice and face verification.", pretty_exceptions_enable=False
)
subjects_commands.add_typer(rights_commands)
app.add_typer(commands)
app.add_typer(speech_commands)
app.command()(classify)
app.add_typer(preset_commands)


@app.command(context_settings=PASSED_ON)
def serve(context: typer.Context) -> None:
    """Run the service until it is stopped."""
    _pass_on(context, "matchka.cli.serving.serve", "serve_command")


@app.command(context_settings=PASSED_ON)
def gallery(context: typer.Context) -> None:
    """Back up, restore, move, check and count what is enrolled."""
    _pass_on(context, "matchka.cli.gallery.all_commands", "gallery_commands")


@app.command(context_settings=PASSED_ON)
def keys(context: typer.Context) -> None:
    """Make, list, revoke and rotate API keys."""
    _pass_on(context, "matchka.cli.security.key_commands", "key_commands")


@app.command(context_settings=PASSED_ON)
def audit(context: typer.Context) -> None:
    """Verify and export the audit log."""
    _pass_on(context, "matchka.cli.security.audit_commands", "audit_commands")


@app.command(context_settings=PASSED_ON)
def vault(context: typer.Context) -> None:
    """Encrypt templates, rotate keys, and see how they are kept."""
    _pass_on(context, "matchka.cli.security.vault_commands", "vault_commands")


@app.command(context_settings=PASSED_ON)
def receipt(context: typer.Context) -> None:
    """Check receipts of deletions."""
    _pass_on(context, "matchka.cli.security.receipt_commands", "receipt_commands")


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


def _pass_on(context: typer.Context, module: str, name: str) -> None:
    with reported_errors(), extra_required("cpu"):
        command: typer.Typer = getattr(import_module(module), name)
    called = " ".join([context.command_path, *context.args[:1]])
    with working_on(AuditedRequest(None, called[:LONGEST_CALL], key_id=COMMAND)):
        typer.main.get_command(command).main(args=context.args, prog_name=context.command_path)


if __name__ == "__main__":
    main()
