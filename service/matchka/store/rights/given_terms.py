"""Terms as callers give them: checked, bounded, and in one form."""

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

LONGEST_TERM: Final = 256  # characters
MOST_NOTES: Final = 32
LONGEST_NAME: Final = 64
LONGEST_NOTE: Final = 256
MOST_METADATA_BYTES: Final = 4096
LARGEST_WHOLE: Final = 2**53  # beyond it, readers of JSON do not agree on a number
ZONED: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:?\d\d)", re.ASCII)


def check_term(text: str | None) -> str | None:
    """A reference or a purpose: one line without control characters.

    Raises: ValueError: it is none.
    """
    if text is not None and not text.isprintable():
        raise ValueError("must be one line of printable characters")
    if text is not None and text != text.strip():
        raise ValueError("must not begin or end with a blank")
    return text


def read_expiry(value: object) -> object:
    """A time with its zone, in UTC; an empty text stays one.

    Raises: ValueError: it is no such time.

    >>> read_expiry("2030-01-01T01:00:00+01:00")
    datetime.datetime(2030, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """
    if not isinstance(value, str) or value == "":
        return value
    if not ZONED.fullmatch(value):
        raise ValueError("must be ISO 8601 with its zone, such as 2030-01-01T00:00:00Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError("must be a time that there is") from error


def read_metadata(value: object) -> object:
    """Texts and numbers by name, of a JSON object's text.

    Raises: ValueError: it is no such object, or too large.

    >>> read_metadata('{"badge": 7}')
    {'badge': 7}
    """
    if not isinstance(value, str):
        return value
    if len(value.encode()) > MOST_METADATA_BYTES:
        raise ValueError(f"must be of at most {MOST_METADATA_BYTES} bytes")
    try:
        found = json.loads(value, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"must be a JSON object: {error}") from error
    if not isinstance(found, Mapping):
        raise ValueError("must be a JSON object")
    if len(found) > MOST_NOTES:
        raise ValueError(f"must have at most {MOST_NOTES} members")
    for name, note in found.items():
        if not (0 < len(name) <= LONGEST_NAME and name.isprintable()):
            raise ValueError(f"must have names of 1 to {LONGEST_NAME} printable characters")
        if not _is_note(note):
            raise ValueError(
                f"must hold finite numbers, and texts of at most {LONGEST_NOTE} characters; {name} is something else"
            )
    return found


def _is_note(note: object) -> bool:
    if isinstance(note, str):
        return len(note) <= LONGEST_NOTE and not any("\ud800" <= letter <= "\udfff" for letter in note)
    if isinstance(note, bool):
        return False
    if isinstance(note, int):
        return abs(note) <= LARGEST_WHOLE
    return isinstance(note, float) and math.isfinite(note)


def _without_repeats(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("a name is given twice")
    return found
