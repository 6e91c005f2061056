"""The hash chain: each record's hash covers the record and the hash of the one before."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from matchka.store.audit.records import AuditRecord

START: Final = bytes(32).hex()  # before the first record


@dataclass(frozen=True)
class Link:
    """A place of the chain. Attributes: sequence: of a record, 0 before the first; hash: 64 hexadecimal digits."""

    sequence: int
    hash: str


BEGINNING: Final = Link(0, START)


def linked(before: str, record: bytes) -> str:
    """The hash of a record behind the one with a hash: SHA-256 of that hash's 32 bytes and the record's.

    >>> linked(START, b"[1]") == sha256(bytes(32) + b"[1]").hexdigest()
    True
    """
    return sha256(bytes.fromhex(before) + record).hexdigest()


@dataclass(frozen=True)
class Flaw:
    """What is wrong with a chain, and where: the sequence of a record."""

    sequence: int
    what: str


def flaws_of(start: Link, records: Iterable[tuple[AuditRecord, str]]) -> Iterator[Flaw | Link]:
    """Follow a chain; a flaw is told once, and the chain followed on from what is there.

    Args:
        start: the place behind which the records begin.
        records: in the order of their sequence, each with its stored hash.

    Yields: flaws, and after each record its place.

    >>> list(flaws_of(BEGINNING, []))
    []
    """
    here = start
    for record, stored in records:
        if record.sequence != here.sequence + 1:
            yield Flaw(record.sequence, _missing(here.sequence + 1, record.sequence - 1))
        elif not _is_linked(here.hash, record, stored):
            yield Flaw(record.sequence, "the record, or its place, is not what was written")
        here = Link(record.sequence, stored)
        yield here


def _is_linked(before: str, record: AuditRecord, stored: str) -> bool:
    try:
        return linked(before, record.as_bytes()) == stored
    except (ValueError, TypeError):  # the hash before is none, or a field is bytes, which SQLite keeps anywhere
        return False


def _missing(first: int, last: int) -> str:
    """Which records are not there.

    >>> _missing(3, 3), _missing(3, 5), _missing(4, 2)
    ('record 3 is missing before it', 'records 3 to 5 are missing before it', 'its number is out of order')
    """
    if last < first:
        return "its number is out of order"
    return (
        f"record {first} is missing before it" if first == last else f"records {first} to {last} are missing before it"
    )
