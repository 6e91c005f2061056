"""`matchka gallery`: its commands on the store, on transfers, and on galleries that are rebuilt, together."""

from matchka.cli.gallery.gallery_commands import gallery_commands
from matchka.cli.gallery.gallery_rebuild import rebuild_commands
from matchka.cli.gallery.transfer_commands import transfer_commands

__all__ = ["gallery_commands"]

gallery_commands.add_typer(transfer_commands)
gallery_commands.add_typer(rebuild_commands)
