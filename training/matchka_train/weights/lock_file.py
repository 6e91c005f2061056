"""What was pulled and accepted, in one file beside the weights: the first pull is trusted, every later use checked."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from filelock import FileLock

from matchka.runtime.atomic_file import write_atomically
from matchka_train.errors import ChecksumError

RECORD_NAME: Final = "weights.lock.json"


@dataclass(frozen=True)
class HubRecord:
    """One file as it was first pulled.

    Attributes:
        sha256: of its bytes.
        size_bytes: of it.
        url: where it came from.
        checked: what the checksum was compared with then: "published", "git", "given", or "nothing".
        licence: what was accepted.
        at: when, ISO 8601, UTC.
    """

    sha256: str
    size_bytes: int
    url: str
    checked: str
    licence: str
    at: str


class HubRecords:
    """The lock file of one cache folder.

    Args: folder: of the weights; made when something is recorded.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / RECORD_NAME

    def of(self, name: str, file: str) -> HubRecord | None:
        """What is recorded of a file, or None.

        Raises: ChecksumError: the lock file cannot be read.
        """
        entry = self._read().get(name, {}).get(file)
        return None if entry is None else HubRecord(**entry)

    def keep(self, name: str, file: str, record: HubRecord) -> None:
        """Record a file; the lock file is replaced in one step.

        Raises: ChecksumError: the lock file cannot be read.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)  # the lock needs it
        with FileLock(self.path.with_suffix(".lock")):
            entries = self._read()
            entries.setdefault(name, {})[file] = asdict(record)
            write_atomically(self.path, (json.dumps(entries, indent=1, sort_keys=True) + "\n").encode())

    def _read(self) -> dict[str, dict[str, dict[str, Any]]]:
        if not self.path.is_file():
            return {}
        try:
            entries: dict[str, dict[str, dict[str, Any]]] = json.loads(self.path.read_text(encoding="utf-8"))
            for files in entries.values():
                for entry in files.values():
                    HubRecord(**entry)
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise ChecksumError(
                f"The lock file {self.path} cannot be read.",
                value=error,
                remedy="Restore it; or delete it and pull again, which trusts what is published today.",
            ) from error
        return entries


def now() -> str:
    """The current time, ISO 8601 in UTC, of a record.

    >>> now()[10], now()[-6:]
    ('T', '+00:00')
    """
    return datetime.now(UTC).isoformat(timespec="seconds")
