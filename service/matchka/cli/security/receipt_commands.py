"""`matchka receipt verify`: whether a receipt of a deletion is what the service signed."""

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from matchka.cli.client.options import Url, connected
from matchka.cli.gallery.gallery_commands import private_settings, unlocked_vault
from matchka.cli.output.errors import problem_of
from matchka.cli.output.report import Report, reporting, said, say
from matchka.errors import BackupError, ReceiptError
from matchka.store.rights.receipt import Receipt, verify_receipt
from matchka.store.subject_hash import known_hasher

FALSE: Final = 1

receipt_commands = typer.Typer(no_args_is_help=True, help="Check receipts of deletions.", add_completion=False)


@receipt_commands.callback()
def _group() -> None:
    """Check receipts of deletions."""


@receipt_commands.command()
@reporting
def verify(
    file: Annotated[Path, typer.Argument(help="The receipt.")],
    public_key: Annotated[
        str | None, typer.Option("--public-key", help="Of the service, base64; the service is asked by default.")
    ] = None,
    subject_id: Annotated[
        str | None, typer.Option("--subject", help="Whose it should be: needs the service's data folder or key store.")
    ] = None,
    url: Url = None,
) -> Report:
    """Is this receipt what the service signed? Exit code 0: it is, 1: it is not, 2: error."""
    content = _content(file)
    key = public_key or connected(url).receipt_key().public_key
    try:
        receipt = verify_receipt(content, key)
        if subject_id is not None:
            _require_subject(receipt, subject_id)
    except ReceiptError as error:
        text = f"false: {error}"
        return Report({"valid": False, **problem_of(error)}, lambda _: say(Console(stderr=True), text, "red"), FALSE)
    counts = ", ".join(f"{count} {name}" for name, count in receipt.erased.model_dump().items() if count)
    text = (
        f"signed by {receipt.public_key}: at {receipt.erased_at} the subject {receipt.subject_hash} of tenant "
        f"{receipt.tenant} was erased ({counts})"
    )
    return Report({"valid": True, **receipt.model_dump(mode="json")}, said(text))


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BackupError("The receipt cannot be read.", value=error, remedy="Check the path.") from error


def _require_subject(receipt: Receipt, subject_id: str) -> None:
    """Refuse a receipt of somebody else.

    Raises: ReceiptError: it is, or no key that hashed the id is at hand.
    """
    with private_settings() as settings, unlocked_vault(settings) as vault:
        hasher = known_hasher(vault, settings.subject_hash_key)
    if hasher is None or hasher.name != receipt.hash_key:
        raise ReceiptError(
            "The key that hashed the id is not at hand.",
            value=receipt.hash_key,
            remedy="Set MATCHKA_DATA_DIR, or the settings of the vault, to the service's.",
        )
    if hasher.hash_of(receipt.tenant, subject_id) != receipt.subject_hash:
        raise ReceiptError("The receipt is of another subject.", value=subject_id, remedy="Ask for the right one.")
