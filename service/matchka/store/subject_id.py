"""Validation of subject ids."""

import unicodedata
from typing import Final

from matchka.errors import InvalidSubjectIdError

LONGEST_SUBJECT_ID: Final = 256


SUBJECT_ID_PUNCTUATION: Final = frozenset("._:@-")


def check_subject_id(text: str) -> str:
    """Normalise a subject id to NFC and refuse what the interface does not allow.

    Raises: InvalidSubjectIdError: not 1 to 256 letters, digits and `._:@-`, or `.` or `..`, which no URL path can name.

    >>> check_subject_id("e\u0301va.1")
    'éva.1'
    """
    normal = unicodedata.normalize("NFC", text[: 4 * LONGEST_SUBJECT_ID]) if text else ""
    allowed = all(c in SUBJECT_ID_PUNCTUATION or unicodedata.category(c)[0] in "L" or c.isdecimal() for c in normal)
    if len(text) > 4 * LONGEST_SUBJECT_ID or not 1 <= len(normal) <= LONGEST_SUBJECT_ID or not allowed:
        raise InvalidSubjectIdError(
            f"subject_id must be 1 to {LONGEST_SUBJECT_ID} letters, digits and `._:@-`.",
            value=text,
            remedy="Use another id; a hash of your own identifier works.",
        )
    if normal in (".", ".."):
        raise InvalidSubjectIdError(
            "subject_id cannot be a path's own `.` or `..`.", value=text, remedy="Use another id."
        )
    return normal
