"""The CSV file of people: `subject_id,file`, and perhaps `model`; read and judged whole before anything is sent."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from matchka.cli.enrolment.errors import PeopleFileError
from matchka.errors import InvalidSubjectIdError
from matchka.store.subject_id import check_subject_id

SUBJECT: Final = "subject_id"
FILE: Final = "file"
MODEL: Final = "model"
COLUMNS: Final = (SUBJECT, FILE, MODEL)
DELIMITERS: Final = (",", ";", "\t")  # Excel writes semicolons where the comma is in numbers
MOST_LINES_NAMED: Final = 10


@dataclass(frozen=True, slots=True)
class Row:
    """A sample to enrol.

    Attributes:
        line: of the file, from 1, where the row ends.
        subject_id: in NFC.
        model: that enrols it.
        file: as written.
    """

    line: int
    subject_id: str
    model: str
    file: str


@dataclass(frozen=True)
class PeopleFile:
    """What is to be enrolled.

    Attributes:
        path: of the CSV file; the samples are relative to its folder.
        rows: in their order.
        unused: columns that nothing is made of.
    """

    path: Path
    rows: Sequence[Row]
    unused: Sequence[str] = ()

    def sample(self, row: Row) -> Path:
        """Where the sample of a row is."""
        return self.path.parent / row.file

    def subjects(self) -> list[Sequence[Row]]:
        """The rows of one subject and model together, in the order in which each begins."""
        found: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows:
            found.setdefault((row.subject_id, row.model), []).append(row)
        return list(found.values())


def read_people(path: Path, model_of: Callable[[Path], str]) -> PeopleFile:
    """Read a CSV file of people.

    Args:
        path: UTF-8, with or without a byte order mark; its first row names the columns; commas, semicolons or tabs.
        model_of: the model of a sample whose row names none.

    Raises: PeopleFileError: it is no such file, or rows of it have faults; the first one's line is in the message.
    """
    lines = _lines(path, _text_of(path))
    _, header = next(lines, (1, []))
    columns = _columns(path, header)
    unused = [name for name in columns if name not in COLUMNS and name]
    rows, faults = [], []
    for line, cells in lines:
        try:
            rows.append(_row(path, line, cells, columns, model_of))
        except PeopleFileError as error:
            faults.append((line, error))
    if faults:
        raise _with_others(faults)
    if not rows:
        raise _fault(path, 2, "There is nobody to enrol", None, "Write one row for each sample below the header.")
    return PeopleFile(path, rows, unused)


def _text_of(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PeopleFileError(
            "The file of people cannot be read.", value=path, remedy=f"Check the path ({error.strerror})."
        ) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        remedy = "Save it as UTF-8; in Excel as `CSV UTF-8 (comma delimited)`."
        raise _fault(path, line, "This is no UTF-8 text", data[error.start : error.start + 1].hex(), remedy) from error


def _lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that have something in a cell, and the lines where they end."""
    header = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield reader.line_num, stripped
    except csv.Error as error:
        remedy = "Write a quotation mark inside a quoted cell twice, and close what is quoted."
        raise _fault(path, reader.line_num, "This is no row of a CSV file", error, remedy) from error


def _columns(path: Path, header: Sequence[str]) -> list[str]:
    names = [name.lower() for name in header]
    for needed in (SUBJECT, FILE):
        if needed not in names:
            remedy = "Name the columns in the first line: `subject_id,file`, and `model` where they differ in it."
            raise _fault(path, 1, f"There is no column {needed}", ", ".join(header), remedy)
    for name in COLUMNS:
        if names.count(name) > 1:
            raise _fault(path, 1, f"There are two columns {name}", ", ".join(header), "Remove or rename one.")
    return names


def _row(path: Path, line: int, cells: Sequence[str], columns: Sequence[str], model_of: Callable[[Path], str]) -> Row:
    if len(cells) > len(columns) and any(cells[len(columns) :]):
        remedy = "Put cells that contain the delimiter in quotation marks."
        raise _fault(path, line, f"There are {len(cells)} cells in {len(columns)} columns", cells[-1], remedy)
    given = dict(zip(columns, cells, strict=False))
    try:
        subject_id = check_subject_id(given.get(SUBJECT, ""))
    except InvalidSubjectIdError as error:
        raise _fault(path, line, error.detail.removesuffix("."), given.get(SUBJECT, ""), error.remedy) from error
    file = given.get(FILE, "")
    if not file or "\0" in file:
        raise _fault(path, line, "The row names no file", file, "Write where its sample is, or remove the row.")
    return Row(line, subject_id, given.get(MODEL) or model_of(Path(file)), file)


def _with_others(faults: Sequence[tuple[int, PeopleFileError]]) -> PeopleFileError:
    """The first fault, which names the lines of the others."""
    (_, first), *others = faults
    if not others:
        return first
    named = ", ".join(str(line) for line, _ in others[:MOST_LINES_NAMED])
    more = f" and {len(others) - MOST_LINES_NAMED} more" if len(others) > MOST_LINES_NAMED else ""
    remedy = f"{first.remedy} Then look at the faults of the lines {named}{more}."
    return PeopleFileError(first.detail, value=first.value, remedy=remedy)


def _fault(path: Path, line: int, what: str, value: object, remedy: str) -> PeopleFileError:
    return PeopleFileError(f"{path}, line {line}: {what}.", value=value, remedy=remedy)
