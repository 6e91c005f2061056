"""Prunings: what the log says of its own beginning, signed, so that whoever writes the database cannot say it."""

import hmac
import re
from typing import Final

from matchka.store.audit.chain import Link
from matchka.store.subject_hash import SubjectHasher

PURPOSE: Final = "audit-pruning-1"
DETAIL: Final = re.compile(r"([0-9]{1,18}) ([0-9a-f]{64}) ([0-9a-f]{64})")  # sequence, hash, signature


class Prunings:
    """Writes the place of the last record that was pruned into the record of the pruning, and reads it back.

    Args: hasher: whose key signs it.
    """

    def __init__(self, hasher: SubjectHasher) -> None:
        self._key = hasher.derive(PURPOSE)

    def write(self, place: Link) -> str:
        """What a record of a pruning says."""
        return f"{place.sequence} {place.hash} {self._signature(place)}"

    def read(self, detail: str | None) -> Link | None:
        """The place that a record names; None where the key at hand did not sign it.

        >>> prunings, place = Prunings(SubjectHasher(bytes(32))), Link(7, "0" * 64)
        >>> prunings.read(prunings.write(place)) == place, prunings.read("7")
        (True, None)
        """
        found = DETAIL.fullmatch(detail or "")
        if found is None:
            return None
        place = Link(int(found[1]), found[2])
        return place if hmac.compare_digest(found[3], self._signature(place)) else None

    def _signature(self, place: Link) -> str:
        return hmac.digest(self._key, f"{place.sequence} {place.hash}".encode(), "sha256").hex()
