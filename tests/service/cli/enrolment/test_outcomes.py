"""What becomes of rows: counted, written down and shown."""

import csv
from pathlib import Path

import pytest
from rich.console import Console

from matchka.cli.enrolment.display import MOST_SHOWN, show_summary
from matchka.cli.enrolment.errors import OutcomeFileError
from matchka.cli.enrolment.outcomes import INTERRUPTED, Outcome, Status, Tally, outcome_file

STORED = Outcome(2, "ada", "ä,1.wav", "voice", Status.ENROLLED, template_id="t1")
NOTED = Outcome(3, "ben", "b.wav", "voice", Status.ENROLLED, similar_subjects="ada eve")
PRESENT = Outcome(4, "ada", "c.wav", "voice", Status.PRESENT, template_id="t0", similar_subjects="carl")
FAILED = Outcome(5, "eve", "[d].wav", "voice", Status.FAILED, code="silence", detail="Silent.", remedy="Speak.")


def shown(tally: Tally) -> str:
    console = Console(width=60, color_system=None, force_terminal=False)
    with console.capture() as captured:
        show_summary(console, tally.summary())
    return captured.get()


def tally_of(rows: int, *outcomes: Outcome) -> Tally:
    tally = Tally(rows)
    for outcome in outcomes:
        tally.add([outcome])
    return tally


@pytest.mark.parametrize(
    ("tally", "exit_code"),
    [
        (tally_of(3, STORED, NOTED, PRESENT), 0),
        (tally_of(2, STORED, FAILED), 1),
        (tally_of(3, STORED, FAILED), INTERRUPTED),
        (tally_of(1), INTERRUPTED),
    ],
)
def test_exit_code_says_whether_all_are_enrolled_some_failed_or_the_run_was_interrupted(tally: Tally, exit_code: int):
    assert tally.summary().exit_code == exit_code


def test_summary_has_counts_and_what_is_to_be_known():
    text = shown(tally_of(5, STORED, NOTED, PRESENT, FAILED))
    words = [line.strip("│ ").split("│") for line in text.splitlines() if line.startswith("│")]
    assert [[word.strip() for word in line] for line in words] == [
        ["enrolled", "2"],
        ["enrolled before", "1"],
        ["failed", "1"],
        ["not reached", "1"],
    ]
    assert "line 5, eve, [d].wav: Silent. Speak.\n" in text
    assert "line 3, ben, b.wav: may be the same person as ada eve\n" in text
    assert "Run the same command again to go on" in text
    assert "ä,1.wav" not in text
    assert "carl" not in text  # which the run that enrolled it said


def test_summary_of_many_failures_shows_the_first_and_how_many_more():
    text = shown(tally_of(MOST_SHOWN + 2, *[FAILED] * (MOST_SHOWN + 2)))
    assert text.count("Silent.") == MOST_SHOWN
    assert "and 2 more: --report lists them" in text
    assert "Correct what failed" in text


def test_outcome_file_is_a_csv_file_that_has_each_row_as_soon_as_it_is_told(tmp_path: Path):
    with outcome_file(tmp_path / "report.csv") as write:
        write([STORED, NOTED])
        write([FAILED])
        with (tmp_path / "report.csv").open(encoding="utf-8", newline="") as file:
            found = list(csv.DictReader(file))
    assert [row["line"] for row in found] == ["2", "3", "5"]
    assert found[0] == {
        "line": "2",
        "subject_id": "ada",
        "file": "ä,1.wav",
        "model": "voice",
        "status": "enrolled",
        "template_id": "t1",
        "code": "",
        "detail": "",
        "remedy": "",
        "similar_subjects": "",
    }
    assert (found[2]["status"], found[2]["code"], found[2]["remedy"]) == ("failed", "silence", "Speak.")


def test_outcome_file_that_cannot_be_written_is_refused(tmp_path: Path):
    with pytest.raises(OutcomeFileError, match="cannot be written"), outcome_file(tmp_path / "none" / "report.csv"):
        pass
