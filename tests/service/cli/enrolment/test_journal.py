"""What the journal remembers, whatever it was interrupted in."""

import json
import os
from pathlib import Path

import pytest

from matchka.cli.enrolment.errors import JournalError
from matchka.cli.enrolment.journal import Entry, Journal, opened_journal
from matchka.cli.enrolment.people_file import Row

URL = "http://127.0.0.1:1"
KEY_ID = "0123456789ab"
ENTRIES = [
    Entry("ada", "voice", "1.0.0", "ä.wav", "00", "t1", "ben eve"),
    Entry("ben", "voice", "1.0.0", "b.wav", "11", None),
]


def row(entry: Entry) -> Row:
    return Row(2, entry.subject_id, entry.model, entry.file)


def known(path: Path) -> list[bool]:
    with opened_journal(path, URL, KEY_ID) as journal:
        return [journal.enrolled(row(entry), entry.version, entry.digest) == entry for entry in ENTRIES]


def write(path: Path, entries: list[Entry] = ENTRIES) -> bytes:
    with opened_journal(path, URL, KEY_ID) as journal:
        journal.add(entries)
    return path.read_bytes()


def test_journal_that_is_opened_again_has_what_was_added_and_nothing_else(tmp_path: Path):
    write(tmp_path / "a", ENTRIES[:1])
    assert known(tmp_path / "a") == [True, False]
    write(tmp_path / "a", ENTRIES[1:])
    assert known(tmp_path / "a") == [True, True]
    with opened_journal(tmp_path / "a", URL, KEY_ID) as journal:
        assert journal.enrolled(Row(2, "eve", "voice", "ä.wav"), "1.0.0", "00") is None
        assert journal.enrolled(Row(2, "ada", "face", "ä.wav"), "1.0.0", "00") is None
        assert journal.enrolled(row(ENTRIES[0]), "2.0.0", "00") is None
        assert journal.enrolled(Row(2, "ada", "voice", "moved.wav"), "1.0.0", "00") == ENTRIES[0]
        assert journal.earlier(row(ENTRIES[0]), "00") is None
        assert journal.earlier(row(ENTRIES[0]), "22") == ENTRIES[0]


def test_journal_that_was_cut_anywhere_keeps_its_whole_lines_and_goes_on(tmp_path: Path):
    path = tmp_path / "a"
    whole = write(path)
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        # a line is whole with its last brace, whether or not its end was written
        assert known(path) == [size >= ends[1] - 1, size >= ends[2] - 1], size
        write(path, ENTRIES[1:])
        assert known(path) == [size >= ends[1] - 1, True], size


def test_journal_from_before_similar_subjects_were_kept_is_read_as_it_is(tmp_path: Path):
    old = {"subject_id": "ben", "model": "voice", "version": "1.0.0", "file": "b.wav", "digest": "11"}
    path = tmp_path / "a"
    write(path, [])
    path.write_text(path.read_text() + json.dumps({**old, "template_id": None}) + "\n")
    assert known(path) == [False, True]
    last = json.loads(write(path, ENTRIES[1:]).splitlines()[-1])
    assert last == {**old, "template_id": None}  # which a program of that time reads


def test_journal_begun_anew_has_forgotten_what_was_before_and_keeps_its_name(tmp_path: Path):
    write(tmp_path / "a", ENTRIES[:1])
    with opened_journal(tmp_path / "a", URL, KEY_ID, anew=True) as journal:
        begun = journal.begun
        assert journal.enrolled(row(ENTRIES[0]), "1.0.0", "00") is None
        journal.add(ENTRIES[1:])
    with opened_journal(tmp_path / "a", URL, KEY_ID) as journal:
        assert (len(begun), journal.begun) == (32, begun)
        assert journal.subjects("voice", "1.0.0") == {"ben"}
    assert known(tmp_path / "a") == [False, True]
    with opened_journal(tmp_path / "a", URL, KEY_ID, anew=True) as journal:
        assert journal.begun not in ("", begun)
    for anew in (True, False):
        with opened_journal(tmp_path / "a", URL, KEY_ID, anew) as journal:
            left = [journal.earlier(row(entry), "of other bytes") for entry in ENTRIES]
        assert left == ENTRIES  # the templates of files that hold other recordings now


@pytest.mark.parametrize("text", ["subject_id,file\n", "[]\n", '{"journal": "matchka enroll", "version": 9}\n', "\n"])
def test_file_that_is_no_journal_is_refused_and_left_as_it_is(tmp_path: Path, text: str):
    (tmp_path / "a").write_text(text)
    with pytest.raises(JournalError, match="no journal"):
        known(tmp_path / "a")
    assert (tmp_path / "a").read_text() == text


def test_journal_of_another_service_is_refused(tmp_path: Path):
    write(tmp_path / "a")
    with pytest.raises(JournalError) as refused, opened_journal(tmp_path / "a", "http://other", KEY_ID):
        pass
    assert (refused.value.value, "--journal" in refused.value.remedy) == (URL, True)


@pytest.mark.parametrize("other", ["ba9876543210", None])
def test_journal_of_another_key_is_refused(tmp_path: Path, other: str | None):
    write(tmp_path / "a")
    with pytest.raises(JournalError) as refused, opened_journal(tmp_path / "a", URL, other):
        pass
    assert (refused.value.value, "rotated" in refused.value.remedy) == (KEY_ID, True)


def test_journal_in_a_folder_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(JournalError, match="cannot be opened"):
        known(tmp_path / "none" / "a")


def test_journal_that_is_no_file_is_refused(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(JournalError, match="no journal"):
        known(tmp_path / "pipe")


def test_journal_that_cannot_be_written_ends_the_run(tmp_path: Path):
    write(tmp_path / "a")
    descriptor = os.open(tmp_path / "a", os.O_RDONLY)
    try:
        with pytest.raises(JournalError, match="cannot be written"):
            Journal(tmp_path / "a", descriptor, ()).add(ENTRIES)
    finally:
        os.close(descriptor)
