"""The checkpoint: how far the log had come, signed, in a file beside the database.

It finds what a chain alone cannot: records that were cut off at its end, and a chain that was made anew.
"""

import hmac
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from matchka.runtime.atomic_file import write_atomically
from matchka.store.audit.chain import Link
from matchka.store.subject_hash import SubjectHasher

PURPOSE: Final = "audit-checkpoint-1"
LOGGER: Final = logging.getLogger("matchka.store.audit")


@dataclass(frozen=True)
class Checkpoint:
    """Where the log stood when it was last looked at; `is_genuine`: whether it has the signature of the key at hand."""

    place: Link
    is_genuine: bool


class CheckpointFile:
    """The file of the checkpoint.

    Args:
        path: in the data folder.
        hasher: whose key signs it.
    """

    def __init__(self, path: Path, hasher: SubjectHasher) -> None:
        self.path = path
        self._key = hasher.derive(PURPOSE)

    def write(self, place: Link) -> None:
        """Replace the checkpoint.

        Raises: OSError: it cannot be written.
        """
        content = {"sequence": place.sequence, "hash": place.hash, "signature": self._signature(place)}
        write_atomically(self.path, json.dumps(content).encode() + b"\n")

    def read(self) -> Checkpoint | None:
        """The checkpoint; None where there is none. One that cannot be read is not genuine.

        Raises: OSError: the file is there and cannot be opened.
        """
        try:
            found = json.loads(self.path.read_bytes())
            place = Link(int(found["sequence"]), str(found["hash"]))
            return Checkpoint(place, hmac.compare_digest(str(found["signature"]), self._signature(place)))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):  # no UTF-8, no JSON, no number, nothing of that name
            return Checkpoint(Link(0, ""), is_genuine=False)

    def _signature(self, place: Link) -> str:
        return hmac.digest(self._key, f"{place.sequence} {place.hash}".encode(), "sha256").hex()
