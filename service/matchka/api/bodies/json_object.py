"""JSON bodies: an object with a form's names, numbers as numbers, and files as base64, `data:` URIs or objects."""

import base64
import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

from matchka.api.bodies.fields import LONGEST_TEXT, FieldKind, Fields, StatedFile, require_few_files
from matchka.errors import InvalidFieldError, MalformedFormError, shorten

JSON: Final = "application/json"
# A value takes some 60 bytes of memory and two of the body, so that a body of brackets alone would grow thirtyfold.
MOST_OUTSIDE_STRINGS: Final = 64 << 10  # bytes; an object of this interface has some 200
DEEPEST_FILE: Final = 32  # arrays and objects within each other, of a file that is an object
# Possessive, and an end for a string that has none: no input is looked at twice.
STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
DATA_URI: Final = re.compile(r"data:([^,;]{0,127})[^,]{0,200};base64,", re.IGNORECASE)  # RFC 2397, type/subtype in 1

MEDIA_TYPE: Final = re.compile(r"[a-z0-9][-a-z0-9!#$&^_.+]*/[a-z0-9][-a-z0-9!#$&^_.+]*")  # RFC 6838, section 4.2


class _Number(str):
    """A number as it is written, NaN and the like included: forms have one rule for all of them."""

    __slots__ = ()


class _Object(list[tuple[str, object]]):
    """The members of an object in their order, repeated ones included."""


class JsonReader:
    """Reads one body of JSON. A member that is null is one that is left out.

    Args:
        takes: what the call takes, by name.
        max_files: most files.
    """

    def __init__(self, takes: Mapping[str, FieldKind], max_files: int) -> None:
        self._takes = takes
        self._max_files = max_files
        self._body = bytearray()

    def write(self, chunk: bytes) -> None:
        """Take the next piece of the body."""
        self._body += chunk

    def fields(self) -> Fields:
        """The values of each name; none for a name that the call does not take.

        Raises:
            MalformedFormError: the body is not JSON in UTF-8, not an object, or of too many parts.
            InvalidFieldError: a value is of another type, not base64, or given twice.
            TooManyFilesError: see require_few_files.
        """
        members = _parse(self._body)
        self._body.clear()
        name, count = Counter(name for name, _ in members).most_common(1)[0] if members else ("", 0)
        if count > 1:
            raise InvalidFieldError(
                f"The field {shorten(name)} is given {count} times.", value=name, remedy="Give it once."
            )
        kinds = {name: self._takes.get(name) for name, _ in members}
        given = {name: _values(kinds[name], value) for name, value in members}
        files = sum(len(values) for name, values in given.items() if (kind := kinds[name]) and kind.is_file)
        require_few_files(files, self._max_files)
        return {name: [_read(name, kinds[name], value) for value in values] for name, values in given.items()}


def _parse(body: bytearray) -> _Object:
    if _bytes_outside_strings(body) > MOST_OUTSIDE_STRINGS:
        raise _malformed(f"more than {MOST_OUTSIDE_STRINGS >> 10} KiB outside its strings")
    try:
        found = json.loads(
            body.decode(),
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_Number,
            object_pairs_hook=_Object,
        )
    except (ValueError, RecursionError) as error:
        raise _malformed(str(error)) from error
    if not isinstance(found, _Object):
        raise _malformed("no object")
    return found


def _bytes_outside_strings(body: bytearray) -> int:
    """Bytes of a body that are not within its strings; at least as many as are allowed, where it has more."""
    outside = end = 0
    while (start := body.find(b'"', end)) >= 0 and outside <= MOST_OUTSIDE_STRINGS:
        outside += start - end + len(b'""')
        end = body.find(b'"', start + 1) + 1
        if (
            not end or body.find(b"\\", start, end) >= 0
        ):  # most strings are base64; the expression takes ten times as long
            found = STRING.match(body, start)
            end = found.end() if found else len(body)
    return outside + len(body) - end


def _values(kind: FieldKind | None, value: object) -> list[object]:
    if kind is None or value is None:
        return []
    if kind.is_list and isinstance(value, list) and not isinstance(value, _Object):
        return value
    return [value]


def _read(name: str, kind: FieldKind | None, value: object) -> str | bytes:
    kind = kind or FieldKind()
    if kind.is_file and isinstance(value, _Object):
        return _encoded(name, _written(value))
    if kind.is_object and isinstance(value, _Object):
        value = _written(value)
    if kind.is_flag and isinstance(value, bool):
        return json.dumps(value)
    if not isinstance(value, str) or isinstance(value, _Number) != kind.is_number or kind.is_flag:
        raise InvalidFieldError(
            f"The field {name} must be {_expected(kind)}.", value=_shown(value), remedy="Correct the value."
        )
    if kind.is_file:
        return _stated_file(name, value) if kind.is_stated else _file(name, value)
    _encoded(name, value)
    return str(value)


def _expected(kind: FieldKind) -> str:
    if kind.is_file:
        return "a file as base64 or an object"
    if kind.is_flag:
        return "true or false"
    if kind.is_object:
        return "an object"
    return "a number" if kind.is_number else "text"


def _encoded(name: str, text: str) -> bytes:
    """A text's bytes, no more than a text may have."""
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise InvalidFieldError(
            f"The field {name} is not Unicode text.", value=text, remedy="Send no half of a surrogate pair."
        ) from error
    if len(data) > LONGEST_TEXT:
        raise _malformed(f"a text or an object of more than {LONGEST_TEXT >> 10} KiB")
    return data


def _written(value: object, depth: int = 1) -> str:
    """JSON of what was parsed, with numbers as they were written and repeated members: its reader judges them.

    Raises: MalformedFormError: arrays or objects more than DEEPEST_FILE within each other.
    """
    if not isinstance(value, list):
        return value if isinstance(value, _Number) else json.dumps(value, ensure_ascii=False)
    if depth > DEEPEST_FILE:
        raise _malformed(f"a file of more than {DEEPEST_FILE} arrays or objects within each other")
    if isinstance(value, _Object):
        return "{" + ",".join(f"{_written(name)}:{_written(member, depth + 1)}" for name, member in value) + "}"
    return "[" + ",".join(_written(member, depth + 1) for member in value) + "]"


def _file(name: str, text: str) -> bytes:
    uri = DATA_URI.match(text)
    try:
        return base64.b64decode(text[uri.end() :] if uri else text, validate=True)
    except ValueError as error:
        raise InvalidFieldError(
            f"The field {name} is not base64.",
            value=text[:40],
            remedy="Send the file's bytes as base64 (RFC 4648, section 4) in one line, or as a data: URI of it.",
        ) from error


def _stated_file(name: str, text: str) -> StatedFile:
    """The file of a `data:` URI that says what it is, which nothing else can be taken for: no words, no address."""
    uri = DATA_URI.match(text)
    media_type = uri[1].strip().lower() if uri else ""
    if not MEDIA_TYPE.fullmatch(media_type):
        raise InvalidFieldError(
            f"The field {name} is no data: URI of base64 that states its media type.",
            value=text[:40],
            remedy="Send the sample itself as data:TYPE/SUBTYPE;base64,DATA; words are not embedded, and no address is "
            "fetched.",
        )
    return StatedFile.of(_file(name, text), media_type)


def _shown(value: object) -> str:
    if isinstance(value, _Object):
        return "an object"
    return "an array" if isinstance(value, list) else str(value)


def _malformed(problem: str) -> MalformedFormError:
    return MalformedFormError(
        "The body is not a JSON object that can be read.",
        value=problem,
        remedy="Send one object of the call's fields; many or long files in it as base64.",
    )
