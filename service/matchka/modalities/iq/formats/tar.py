"""The plain files of a tar archive, in memory. Nothing is extracted, and whatever is unusual is refused.

Source: POSIX.1-2001, pax, "ustar interchange format" and "pax extended header".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from matchka.errors import TruncatedFileError
from matchka.modalities.iq.errors import RecordingHeaderError, UnsafeArchiveError

BLOCK_BYTES: Final = 512
MAGIC_AT: Final = slice(257, 262)
MAGIC: Final = b"ustar"  # of POSIX and, with other bytes behind, of GNU
PLAIN_FILE: Final = (b"0", b"\0")
FOLDER: Final = b"5"
EXTENDED: Final = b"x"  # a pax header of the next entry
OTHER_HEADERS: Final = {b"g": "a global pax header", b"L": "GNU's long name", b"K": "GNU's long link"}
HARMLESS: Final = frozenset({"path", "atime", "ctime", "mtime", "uid", "gid", "uname", "gname", "comment"})
MOST_ENTRIES: Final = 64
LONGEST_EXTENDED: Final = 8 * BLOCK_BYTES


@dataclass(frozen=True)
class _Entry:
    name: str
    kind: bytes
    body: memoryview


def is_tar(data: bytes) -> bool:
    """Whether a file begins like an archive."""
    return data[MAGIC_AT] == MAGIC


def files_in(data: bytes) -> dict[str, memoryview]:
    """The plain files of an archive by their paths; parts of `data`, nothing is copied.

    Raises:
        TruncatedFileError: an entry announces more bytes than there are.
        RecordingHeaderError: an entry's header cannot be read, or a name is there twice.
        UnsafeArchiveError: a path that leads out of the archive, a link, or anything but plain files and folders.
    """
    found: dict[str, memoryview] = {}
    renamed: str | None = None
    for number, entry in enumerate(_entries(data)):
        if number == MOST_ENTRIES:
            raise _bad_header(f"more than {MOST_ENTRIES} entries")
        if entry.kind == EXTENDED:
            renamed = _path_of(entry)
            continue
        if entry.kind in OTHER_HEADERS:
            raise RecordingHeaderError(
                "The archive holds a header that is not read.",
                value=OTHER_HEADERS[entry.kind],
                remedy="Write it from the files themselves, with the package sigmf or `tar --format=pax`.",
            )
        name, renamed = renamed or entry.name, None
        _require_inside(name)
        if entry.kind == FOLDER:
            continue
        if entry.kind not in PLAIN_FILE:
            raise UnsafeArchiveError(
                "The archive may hold plain files and folders only: no links and no devices.",
                value=f"{name}, type {entry.kind.decode('latin-1')!r}",
                remedy="Write the archive again from the files themselves.",
            )
        if name in found:
            raise _bad_header(f"{name} twice")
        found[name] = entry.body
    return found


def _entries(data: bytes) -> Iterator[_Entry]:
    position = 0
    while position + BLOCK_BYTES <= len(data):
        block = data[position : position + BLOCK_BYTES]
        position += BLOCK_BYTES
        if not any(block):
            return  # two such blocks end an archive, and whatever follows is padding
        if not is_tar(block) or _octal(block, 148, 156) != sum(block) - sum(block[148:156]) + 8 * ord(" "):
            raise _bad_header("an entry whose header or checksum is wrong")
        size = _octal(block, 124, 136)
        if size > len(data) - position:
            raise TruncatedFileError(
                "An entry of the archive announces more bytes than there are.",
                value=f"{size} bytes, and {len(data) - position} follow",
                remedy="Send the whole archive.",
            )
        name = _text(block[:100])
        prefix = _text(block[345:500]) if block[262:263] == b"\0" else ""  # GNU's magic ends otherwise
        yield _Entry(f"{prefix}/{name}" if prefix else name, block[156:157], memoryview(data)[position:][:size])
        position += -(-size // BLOCK_BYTES) * BLOCK_BYTES
    raise TruncatedFileError("The archive ends without its closing blocks.", remedy="Send the whole archive.")


def _octal(block: bytes, start: int, end: int) -> int:
    """A number of a header: octal digits; the binary form for sizes of 8 GiB and more is not one."""
    digits = block[start:end].strip(b" \0")
    if not digits or digits.strip(b"01234567"):
        raise _bad_header(f"{digits!r} where a number belongs")
    return int(digits, 8)


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")


def _path_of(entry: _Entry) -> str | None:
    """The path that an extended header gives the next entry, if any; it may say nothing that changes the files."""
    if len(entry.body) > LONGEST_EXTENDED:
        raise _bad_header(f"an extended header of {len(entry.body)} bytes")
    rest, path = bytes(entry.body), None
    while rest:
        length, space, _ = rest.partition(b" ")
        if not space or not length.isdigit() or len(length) > 4 or not len(length) < int(length) <= len(rest):
            raise _bad_header("an extended header that cannot be read")
        key, equals, value = rest[len(length) + 1 : int(length)].removesuffix(b"\n").partition(b"=")
        rest = rest[int(length) :]
        name = key.decode("utf-8", "replace")
        if not equals or name not in HARMLESS:
            raise _bad_header(f"an extended header of {name or 'nothing'}")
        if name == "path":
            path = value.decode("utf-8", "replace")
    return path


def _require_inside(name: str) -> None:
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or ":" in parts[0] or not name or "\0" in name:
        raise UnsafeArchiveError(
            "Paths in the archive must stay inside it.", value=name, remedy="Write the archive with relative paths."
        )


def _bad_header(what: str) -> RecordingHeaderError:
    return RecordingHeaderError(
        "The archive is none that can be read.", value=what, remedy="Write it with the package sigmf, uncompressed."
    )
