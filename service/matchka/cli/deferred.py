"""Commands that are imported when they are called: what they need takes a second to load, and a client lacks it."""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup

from matchka.cli.output.errors import reported_errors, usage_as_problem
from matchka.cli.output.report import JSON_FLAG
from matchka.errors import MissingPackageError, extra_required
from matchka.runtime.audited_request import COMMAND, AuditedRequest, working_on

LONGEST_CALL: Final = 64  # of a command's name, in the audit log
# name -> module, what it calls its commands, and what is told of them without a look into it
DEFERRED: Final[Mapping[str, tuple[str, str, str]]] = {
    "serve": ("matchka.cli.serving.serve", "serve_command", "Run the service until it is stopped."),
    "gallery": (
        "matchka.cli.gallery.all_commands",
        "gallery_commands",
        "Back up, restore, move, check and count what is enrolled.",
    ),
    "keys": ("matchka.cli.security.key_commands", "key_commands", "Make, list, revoke and rotate API keys."),
    "audit": ("matchka.cli.security.audit_commands", "audit_commands", "Verify and export the audit log."),
    "vault": (
        "matchka.cli.security.vault_commands",
        "vault_commands",
        "Encrypt templates, rotate keys, and see how they are kept.",
    ),
    "receipt": ("matchka.cli.security.receipt_commands", "receipt_commands", "Check receipts of deletions."),
}


class DeferringGroup(TyperGroup):
    """A group that lists the deferred commands by their names, and puts the real one in place of the one called."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line, as the base class does; with --json, what is wrong with it is a problem document too."""
        given = sys.argv[1:] if args is None else args
        run = partial(super().main, args, prog_name, complete_var, windows_expand_args=windows_expand_args, **extra)
        if not standalone_mode or JSON_FLAG not in given:
            return run(standalone_mode=standalone_mode)
        with usage_as_problem():
            exit_code = run(standalone_mode=False)
        sys.exit(exit_code)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command of some arguments, as the base class has it, imported."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is None or name not in DEFERRED:
            return name, command, rest
        if ctx.resilient_parsing:  # of a shell that completes a line: it must not fail
            try:
                return name, loaded(name), rest
            except MissingPackageError:
                return name, command, rest
        with reported_errors(JSON_FLAG in rest):
            command = loaded(name)
        called = " ".join([ctx.command_path, name, *rest[:1]])
        ctx.with_resource(working_on(AuditedRequest(None, called[:LONGEST_CALL], key_id=COMMAND)))
        return name, command, rest


def defer(app: typer.Typer) -> None:
    """Name the deferred commands in an application whose class is DeferringGroup."""
    for name, (_, _, help_text) in DEFERRED.items():
        app.command(name, help=help_text)(_never_called)


def loaded(name: str) -> Any:
    """A deferred command.

    Raises: MissingPackageError: the server's packages are not installed.
    """
    module, variable, _ = DEFERRED[name]
    with extra_required("cpu"):
        found = getattr(import_module(module), variable)
    return typer.main.get_command(found)


def _never_called() -> None:
    """What stands for a deferred command where only its name is asked for."""
