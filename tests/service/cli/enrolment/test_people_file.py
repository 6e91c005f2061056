"""What a CSV file of people may look like, and how its faults are told."""

import unicodedata
from pathlib import Path

import pytest

from matchka.cli.enrolment.errors import PeopleFileError
from matchka.cli.enrolment.people_file import PeopleFile, Row, read_people

ROWS = [Row(2, "ada", "voice", "a 1.wav"), Row(3, "ben", "face", "b/2.jpg"), Row(4, "ada", "voice", "c,3.wav")]


def model_of(file: Path) -> str:
    return "face" if file.suffix == ".jpg" else "voice"


def read(folder: Path, data: str | bytes) -> PeopleFile:
    path = folder / "people.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_people(path, model_of)


@pytest.mark.parametrize(
    "text",
    [
        'subject_id,file\nada,a 1.wav\nben,b/2.jpg\nada,"c,3.wav"\n',
        '\ufeffsubject_id,file\r\nada,a 1.wav\r\nben,b/2.jpg\r\nada,"c,3.wav"\r\n',
        "subject_id;file\nada;a 1.wav\nben;b/2.jpg\nada;c,3.wav\n;\n",
        "subject_id\tfile\nada\ta 1.wav\nben\tb/2.jpg\nada\tc,3.wav",
        'file, Subject_ID\na 1.wav, ada\nb/2.jpg,ben\n"c,3.wav",ada\n\n\n',
        'model,subject_id,file\n,ada,a 1.wav\nface,ben,b/2.jpg\nvoice,ada,"c,3.wav"\n',
    ],
    ids=["commas", "excel", "semicolons", "tabs", "other order", "models"],
)
def test_rows_of_a_file_of_every_kind_are_read(tmp_path: Path, text: str):
    people = read(tmp_path, text)
    assert people.rows == ROWS
    assert people.sample(people.rows[1]) == tmp_path / "b" / "2.jpg"


def test_rows_of_a_subject_and_model_come_together_in_their_order(tmp_path: Path):
    text = "subject_id,file,model\nada,1,voice\nben,2,voice\nada,3,face\nada,4,voice\nben,5,voice\n"
    found = [[row.file for row in rows] for rows in read(tmp_path, text).subjects()]
    assert found == [["1", "4"], ["2", "5"], ["3"]]


def test_subject_ids_are_normalised_and_a_cell_may_have_several_lines(tmp_path: Path):
    text = f'subject_id,file,note\n{unicodedata.normalize("NFD", "é")},a.wav,"one\ntwo"\nben,b.wav,\n'
    people = read(tmp_path, text)
    assert [(row.line, row.subject_id) for row in people.rows] == [(3, "é"), (4, "ben")]
    assert people.unused == ["note"]


@pytest.mark.parametrize(
    ("data", "line", "what"),
    [
        ("", 1, "There is no column subject_id"),
        ("subject,file\nada,a.wav\n", 1, "There is no column subject_id"),
        ("subject_id,path\nada,a.wav\n", 1, "There is no column file"),
        ("subject_id,file,file\nada,a.wav,b.wav\n", 1, "There are two columns file"),
        ("subject_id,file\n", 2, "There is nobody to enrol"),
        (b"subject_id,file\nada,a.wav\nj\xf6rg,b.wav\n", 3, "This is no UTF-8 text"),
        ("subject_id,file\nada,a.wav\n".encode("utf-16"), 1, "This is no UTF-8 text"),
        ("subject_id,file\nada,a.wav\na b,b.wav\n", 3, "subject_id must be 1 to 256 letters"),
        ("subject_id,file\n,b.wav\n", 2, "subject_id must be 1 to 256 letters"),
        (f"subject_id,file\n{'x' * 257},b.wav\n", 2, "subject_id must be 1 to 256 letters"),
        ("subject_id,file\n..,b.wav\n", 2, "subject_id cannot be a path's own"),
        ("subject_id,file\nada,\n", 2, "The row names no file"),
        ("subject_id,file\nada\n", 2, "The row names no file"),
        ("subject_id,file\nada,a,b.wav\n", 2, "There are 3 cells in 2 columns"),
        ('subject_id,file\nada,a.wav\nben,"b.wav\n', 3, "This is no row of a CSV file"),
    ],
)
def test_file_with_a_fault_is_refused_with_its_line_and_a_remedy(
    tmp_path: Path, data: str | bytes, line: int, what: str
):
    with pytest.raises(PeopleFileError) as refused:
        read(tmp_path, data)
    assert refused.value.detail.startswith(f"{tmp_path / 'people.csv'}, line {line}: {what}")
    assert refused.value.remedy


def test_faults_of_several_rows_are_told_at_once(tmp_path: Path):
    with pytest.raises(PeopleFileError, match=r"line 2: .* the faults of the lines 4, 5, .*, 13 and 2 more"):
        read(tmp_path, "subject_id,file\na b,1\nada,2\n" + "c d,3\n" * 12)


def test_file_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(PeopleFileError, match="cannot be read"):
        read_people(tmp_path / "nobody.csv", model_of)
