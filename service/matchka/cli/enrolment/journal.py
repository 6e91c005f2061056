"""The journal beside a file of people: which samples are enrolled, so that the next run need not send them again.

It only spares the sending. Without it, or without its last lines, the service answers as it did before, or finds the
templates and stores nothing.
"""

import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import Any, Final

from matchka.cli.enrolment.errors import JournalError
from matchka.cli.enrolment.people_file import Row

SUFFIX: Final = ".journal"
NAME: Final = "matchka enroll"
VERSION: Final = 1
ANEW: Final = "anew"  # begins the line from which on all is enrolled anew; programs from before it read over it
RUN_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Entry:
    """A sample that is enrolled.

    Attributes:
        subject_id: whose.
        model: of its template.
        version: of that model; by another one it is to be enrolled again.
        file: as the row names it.
        digest: sha256 of its bytes, in hexadecimal.
        template_id: None where the service had it before, and did not tell which.
        similar_subjects: who may be the same person, as it was told then; journals of older versions have none.
    """

    subject_id: str
    model: str
    version: str
    file: str
    digest: str
    template_id: str | None
    similar_subjects: str = ""


class Journal:
    """The samples that are known to be enrolled. Threads may share it. Made by opened_journal().

    Attributes: begun: a name of when all was enrolled anew, of which requests have other keys than before; or empty.
    """

    def __init__(
        self, path: Path, descriptor: int, entries: Iterable[Entry], before: Iterable[Entry] = (), begun: str = ""
    ) -> None:
        self.begun = begun
        self._path = path
        self._descriptor = descriptor
        self._lock = Lock()
        self._enrolled: dict[tuple[str, str, str, str], Entry] = {}
        self._newest: dict[tuple[str, str, str], Entry] = {}
        for entry in before:  # does not count, and says all the same which template a file has left behind
            self._newest[entry.subject_id, entry.model, entry.file] = entry
        for entry in entries:
            self._note(entry)

    def enrolled(self, row: Row, version: str, digest: str) -> Entry | None:
        """The sample of these bytes that is enrolled of the subject of a row, by a version of its model."""
        return self._enrolled.get((row.subject_id, row.model, version, digest))

    def subjects(self, model: str, version: str) -> set[str]:
        """Those of whom a version of a model has samples."""
        return {subject for subject, *by, _ in self._enrolled if by == [model, version]}

    def earlier(self, row: Row, digest: str) -> Entry | None:
        """What was enrolled of the file of a row when it held other bytes."""
        found = self._newest.get((row.subject_id, row.model, row.file))
        return found if found is not None and found.digest != digest else None

    def add(self, entries: Iterable[Entry]) -> None:
        """Write what was enrolled, at once: after a SIGKILL at most its last line is in part there.

        Raises: JournalError: it cannot be written.
        """
        added = list(entries)
        text = "".join(_line(_fields(entry)) for entry in added)
        with self._lock:
            _write(self._path, self._descriptor, text)
            for entry in added:
                self._note(entry)

    def _note(self, entry: Entry) -> None:
        self._enrolled[entry.subject_id, entry.model, entry.version, entry.digest] = entry
        self._newest[entry.subject_id, entry.model, entry.file] = entry


@contextmanager
def opened_journal(path: Path, url: str, key_id: str | None, anew: bool = False) -> Iterator[Journal]:
    """The journal of a service and a key, made where there is none.

    Args:
        path: of the file.
        url: the service's.
        key_id: of the key, which may be of a tenant that has enrolled nobody; None: that of the service's own tenant.
        anew: what was enrolled until now does not count.

    Raises: JournalError: it is none, that of another service or key, or cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise JournalError(
            "The journal cannot be opened.",
            value=path,
            remedy=f"Name a file that can be written with --journal ({error.strerror}).",
        ) from error
    try:
        before, entries, begun = _read(path, descriptor, url, key_id)
        if anew:
            before, entries, begun = before + entries, [], token_hex(RUN_BYTES)
            _write(path, descriptor, _line({ANEW: begun}))
        yield Journal(path, descriptor, entries, before, begun)
    finally:
        os.close(descriptor)


def _read(path: Path, descriptor: int, url: str, key_id: str | None) -> tuple[list[Entry], list[Entry], str]:
    """What was enrolled before all was last enrolled anew, what was since, and the name of that."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise _no_journal(path)
    with open(descriptor, "rb", closefd=False) as file:
        first, *lines = file.read().split(b"\n")
    header = _line({"journal": NAME, "version": VERSION, "url": url, "key_id": key_id})
    if not lines and header.encode().startswith(first):  # new, or interrupted in its first line
        os.ftruncate(descriptor, 0)
        _write(path, descriptor, header)
        return [], [], ""
    _require_of(path, first, url, key_id)
    if lines and lines[-1]:  # interrupted in its last line, whose sample is sent again
        _write(path, descriptor, "\n")
    before: list[Entry] = []
    entries: list[Entry] = []
    begun = ""
    for fields in filter(None, map(_fields_of, lines)):
        if isinstance(named := fields.get(ANEW), str):
            before, entries, begun = before + entries, [], named
        elif (entry := _entry(fields)) is not None:
            entries.append(entry)
    return before, entries, begun


def _require_of(path: Path, first: bytes, url: str, key_id: str | None) -> None:
    try:
        header = json.loads(first)
        is_journal = isinstance(header, dict) and (header.get("journal"), header.get("version")) == (NAME, VERSION)
    except ValueError:
        is_journal = False
    if not is_journal:
        raise _no_journal(path)
    if header.get("url") != url:
        raise JournalError(
            f"The journal {path} is of another service than {url}.",
            value=header.get("url"),
            remedy="Name another one with --journal; or, where it is the same service, delete this one: all is sent "
            "again, and nothing enrolled twice.",
        )
    if header.get("key_id") != key_id:
        raise JournalError(
            f"The journal {path} is of another key than {_named(key_id)}, perhaps of another tenant.",
            value=_named(header.get("key_id")),
            remedy="Name another one with --journal; or, where the key was rotated, or is another of the same tenant, "
            "delete this one: all is sent again, which needs the scope append, and nothing enrolled twice.",
        )


def _named(key_id: object) -> str:
    """A key as `matchka keys list` has it."""
    return "that of the service itself" if key_id is None else f"{key_id}"


def _no_journal(path: Path) -> JournalError:
    return JournalError(
        "This is no journal of enrolments.", value=path, remedy="Name another file with --journal, or none."
    )


def _fields_of(line: bytes) -> dict[str, Any] | None:
    """What a line says; None where it is not whole."""
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def _entry(fields: dict[str, Any]) -> Entry | None:
    """The sample of a line; None where it is of none."""
    try:
        entry = Entry(**fields)
    except TypeError:
        return None
    texts = (entry.subject_id, entry.model, entry.version, entry.file, entry.digest, entry.similar_subjects)
    return entry if all(isinstance(text, str) for text in texts) else None


def _fields(entry: Entry) -> dict[str, object]:
    """What is written of a sample; a program of before similar_subjects reads every line without them."""
    found = asdict(entry)
    return found if entry.similar_subjects else {name: found[name] for name in found if name != "similar_subjects"}


def _line(fields: dict[str, object]) -> str:
    return json.dumps(fields, ensure_ascii=False) + "\n"


def _write(path: Path, descriptor: int, text: str) -> None:
    data = text.encode("utf-8", "replace")
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError as error:
        raise JournalError(
            "The journal cannot be written.",
            value=path,
            remedy=f"Make room, or name another file with --journal, and run the command again ({error.strerror}).",
        ) from error
