"""The deletion log as a file: JSON lines, one deleted template each."""

from collections.abc import Iterable, Iterator
from datetime import UTC
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from matchka.errors import BackupError
from matchka.runtime.atomic_file import atomic_file
from matchka.store.deletions import Deletion
from matchka.store.schema import LONGEST_SUBJECT_ID


class DeletionLine(BaseModel):
    """One line. `subject_id` stood in those of earlier programs; it is not kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template_id: str = Field(pattern=r"^[0-9a-f]{32}$")
    tenant: str = Field(max_length=64)
    deleted_at: AwareDatetime
    subject_hash: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$", exclude_if=lambda value: value is None)
    subject_id: str | None = Field(default=None, max_length=LONGEST_SUBJECT_ID, exclude=True)


def line_of(deletion: Deletion) -> bytes:
    """A deletion as a line of JSON, with its end."""
    line = DeletionLine(
        template_id=deletion.template_id,
        tenant=deletion.tenant,
        deleted_at=deletion.deleted_at,
        subject_hash=deletion.subject_hash,
    )
    return line.model_dump_json().encode() + b"\n"


def deletions_of(lines: Iterable[bytes], source: object) -> Iterator[Deletion]:
    """Read lines.

    Args:
        lines: of JSON.
        source: where they come from, for the error.

    Raises: BackupError: a line is not one of a deletion log.
    """
    for number, line in enumerate(lines, start=1):
        try:
            read = DeletionLine.model_validate_json(line)
        except ValidationError as error:
            raise BackupError(
                f"Line {number} of {source} is not one of a deletion log.",
                value=error.errors()[0]["msg"],
                remedy="Write the deletion log again with `matchka gallery deletions`.",
            ) from error
        yield Deletion(read.template_id, read.tenant, read.deleted_at.astimezone(UTC), read.subject_hash)


def write_deletions(target: Path, deletions: Iterable[Deletion]) -> int:
    """Write a deletion log atomically.

    Returns: how many deletions there were.

    Raises: BackupError: it cannot be written.
    """
    count = 0
    try:
        with atomic_file(target) as partial, partial.open("wb") as file:
            for deletion in deletions:
                file.write(line_of(deletion))
                count += 1
    except OSError as error:
        raise BackupError(
            "The deletion log cannot be written.", value=error, remedy="Check its folder and the disk."
        ) from error
    return count


def read_deletions(path: Path) -> list[Deletion]:
    """Read a deletion log.

    Raises: BackupError: it cannot be read, or a line is not one of a deletion log.
    """
    try:
        return list(deletions_of(path.read_bytes().splitlines(), path))
    except OSError as error:
        raise BackupError("The deletion log cannot be read.", value=error, remedy="Check the path.") from error
