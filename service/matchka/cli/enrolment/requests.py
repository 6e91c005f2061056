"""Samples -> requests: what fits into one, and the key by which the service knows it again."""

import hashlib
import json
import stat
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from matchka.cli.client.options import format_of
from matchka.cli.enrolment.people_file import Row

MOST_FILES: Final = 32  # that the service takes in one request
MOST_BYTES: Final = 16 << 20  # of several files in one request; the service takes 20 MiB unless told otherwise
LARGEST_FILE: Final = 256 << 20  # more than a sample can be, and as much as a worker may hold


class UnusableFileError(Exception):
    """A file that is not sent. Attributes: code, detail, remedy: as of a problem."""

    def __init__(self, code: str, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.code, self.detail, self.remedy = code, detail, remedy


@dataclass(frozen=True)
class Terms:
    """What is asked for with every enrolment; None leaves it to the service.

    Attributes: of_samples: the client's two options that say how samples are read, in their order.
    """

    of_samples: tuple[str | None, str | None] = (None, None)
    on_duplicate: str | None = None
    force: bool = False
    consent: str | None = None
    purpose: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Loaded:
    """A row with its sample and the sha256 of that, in hexadecimal."""

    row: Row
    sample: bytes
    digest: str


def load(row: Row, path: Path) -> Loaded:
    """Read the sample of a row.

    Raises: UnusableFileError: it is no file, too large for any service, or cannot be read.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise UnusableFileError("no_file", f"{path} is no file.", "Name a file in this row.")
        if found.st_size > LARGEST_FILE:
            most = f"{LARGEST_FILE >> 20} MiB"
            raise UnusableFileError("body_too_large", f"{path} is larger than {most}.", "Cut the sample out of it.")
        sample = path.read_bytes()
    except OSError as error:
        detail = f"{path} cannot be read ({error.strerror})."
        raise UnusableFileError("unreadable_file", detail, "Correct the row or the file, and run it again.") from error
    return Loaded(row, sample, hashlib.sha256(sample).hexdigest())


def fits(piece: Sequence[Loaded], more: Loaded) -> bool:
    """Whether a request takes one more file: the first always, none twice, whose answer would be that it is a copy.

    And none of another format of bare samples, as its name states it: a request has one, by which all are read.
    """
    size = sum(len(one.sample) for one in piece) + len(more.sample)
    is_copy = any(one.digest == more.digest for one in piece)
    has_room = len(piece) < MOST_FILES and size <= MOST_BYTES
    return not piece or (has_room and not is_copy and named_format(piece[:1]) == named_format([more]))


def named_format(piece: Sequence[Loaded]) -> str | None:
    """The format of bare samples that the names of files state, all of them the same."""
    return format_of([Path(one.row.file) for one in piece])


def halves(piece: Sequence[Loaded]) -> Iterator[Sequence[Loaded]]:
    """Two requests in place of one that is too large, or whose refusal does not say of which file it is."""
    middle = (len(piece) + 1) // 2
    yield piece[:middle]
    yield piece[middle:]


def idempotency_key(piece: Sequence[Loaded], version: str, terms: Terms, begun: str = "") -> str:
    """A key of what is asked for: that of the same request in every run, and of no other.

    Args:
        piece: samples of one subject and model.
        version: of the model: what is enrolled anew by the next one is another request.
        terms: of the enrolment.
        begun: see Journal: what was deleted since its request was answered is enrolled by another one.
    """
    first = piece[0].row
    asked = [first.subject_id, first.model, version, asdict(terms), [one.digest for one in piece]]
    content = json.dumps(["matchka enroll", *asked, *filter(None, [begun])], default=datetime.isoformat)
    return hashlib.sha256(content.encode()).hexdigest()
