"""`matchka gallery`: its commands on the store and those on transfers, together."""

from matchka.cli.gallery_commands import gallery_commands
from matchka.cli.transfer_commands import transfer_commands

__all__ = ["gallery_commands"]

gallery_commands.add_typer(transfer_commands)
