"""`matchka challenge` and `matchka pronounce` against a real server, with a person who says what is asked."""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from matchka.cli.output.errors import FAILED
from matchka.cli.output.report import NO_MATCH
from tests.factories.bundles import write_bundle
from tests.factories.checkout import ROOT
from tests.factories.command_line import run
from tests.factories.samples import encoded
from tests.factories.small_server import SmallServer, serving, small_settings
from tests.factories.spoken_tones import spoken, write_phoneme_bundle

OTHERS = ("saasaa", "saasiy", "siysaa", "siysiy", "taataa", "taatiy")
# a program for recording into whose microphone somebody says what was asked last
SPEAKER = f"""#!{sys.executable}
import sqlite3, sys
from pathlib import Path
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "service")!r}]
from tests.factories.samples import encoded
from tests.factories.spoken_tones import spoken
asked = sqlite3.connect({{database!r}}).execute("SELECT content FROM challenges ORDER BY number DESC").fetchone()[0]
Path(sys.argv[-1]).write_bytes(encoded(spoken(asked.split()), subtype="FLOAT"))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    folder = tmp_path_factory.mktemp("speech")
    write_bundle(folder / "models" / "voice")
    write_phoneme_bundle(folder / "models" / "phonemes")
    with serving(small_settings(folder, open_challenges=1000, challenges_per_hour=1000)) as running:
        with running.client() as client:
            client.enroll("ada", [clip(OTHERS)])
        yield running


def clip(words: tuple[str, ...] | list[str]) -> bytes:
    return encoded(spoken(words), subtype="FLOAT")


def write_program(folder: Path, text: str) -> str:
    """A program for recording; the path to find it in."""
    folder.mkdir()
    (folder / "arecord").write_text(text)
    (folder / "arecord").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_challenge_with_a_recorder_of_who_says_it_exits_0(server: SmallServer, tmp_path: Path):
    database = str(server.settings.data_dir / "matchka.sqlite")
    path = write_program(tmp_path / "bin", SPEAKER.format(database=database))
    done = run(server, "challenge", "ada", "--max-fmr", 0.1, "--words", 5, PATH=path)
    assert done.exit_code == 0, done.output
    assert re.search(r"say until \d\d:\d\d:\d\d UTC:  ([a-z]+ ){4}[a-z]+\n", done.output)
    assert "recording for 7 s" in done.output
    assert "person and phrase pass" in done.output


def test_challenge_with_a_file_that_says_something_else_exits_1_and_says_which_part_failed(
    server: SmallServer, tmp_path: Path
):
    (tmp_path / "a.wav").write_bytes(clip(OTHERS))
    done = run(server, "challenge", "ada", tmp_path / "a.wav", "--max-fmr", 0.1)
    assert done.exit_code == NO_MATCH, done.output
    assert re.search(r"person\s+│\s+yes", done.output)
    assert re.search(r"phrase\s+│\s+no", done.output)
    assert "failed: the phrase" in done.output


def test_challenge_with_json_prints_the_answer_alone_to_the_standard_output(server: SmallServer, tmp_path: Path):
    (tmp_path / "a.wav").write_bytes(clip(OTHERS))
    done = run(server, "challenge", "ada", tmp_path / "a.wav", "--json")
    assert json.loads(done.stdout)["phrase"]["match"] is False
    assert "say until" in done.stderr


def test_challenge_without_a_program_that_records_exits_2_and_asks_for_no_phrase(server: SmallServer, tmp_path: Path):
    done = run(server, "challenge", "ada", PATH=str(tmp_path))
    assert done.exit_code == FAILED
    assert "No program that uses a microphone" in done.stderr
    assert "say until" not in done.stderr


def test_challenge_with_a_file_that_is_not_there_exits_2(server: SmallServer, tmp_path: Path):
    done = run(server, "challenge", "ada", tmp_path / "none.wav")
    assert done.exit_code == FAILED
    assert "cannot be read" in done.output


def test_pronounce_of_the_right_text_exits_0_and_of_a_wrong_one_1(server: SmallServer, tmp_path: Path):
    (tmp_path / "a.wav").write_bytes(clip(["baabiy", "daamiy", "either"]))
    right = run(server, "pronounce", tmp_path / "a.wav", "Baabiy, daamiy either!")
    assert right.exit_code == 0, right.output
    assert re.search(r"either\s+│\s+-?0\.\d\d\s+│\s+IY D", right.output)
    wrong = run(server, "pronounce", tmp_path / "a.wav", "saasaa taataa either", "--json")
    assert wrong.exit_code == NO_MATCH
    answer = json.loads(wrong.stdout)
    assert answer["words"][2]["llr"] > answer["words"][0]["llr"]


def test_pronounce_with_record_takes_the_clip_from_the_microphone(server: SmallServer, tmp_path: Path):
    (tmp_path / "a.wav").write_bytes(clip(["baabiy", "daamiy", "either"]))
    path = write_program(tmp_path / "bin", f'#!/bin/sh\nfor last; do :; done\ncp {tmp_path}/a.wav "$last"\n')
    done = run(server, "pronounce", "--record", 2, "baabiy daamiy either", "--json", PATH=path)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["phrase"]["match"] is True


@pytest.mark.parametrize("arguments", [["a.wav"], ["a.wav", "a text", "--record", "2"]])
def test_pronounce_of_no_clip_or_two_exits_2(server: SmallServer, arguments: list[str]):
    done = run(server, "pronounce", *arguments)
    assert done.exit_code == FAILED
    assert "FILE TEXT" in done.stderr


def test_challenge_with_a_file_and_a_recording_exits_2(server: SmallServer, tmp_path: Path):
    done = run(server, "challenge", "ada", tmp_path / "a.wav", "--record", 3)
    assert done.exit_code == FAILED
    assert "--record" in done.stderr


def test_pronounce_of_an_unknown_word_names_it(server: SmallServer, tmp_path: Path):
    (tmp_path / "a.wav").write_bytes(clip(OTHERS))
    done = run(server, "pronounce", tmp_path / "a.wav", "a zebra")
    assert done.exit_code == FAILED
    assert "zebra" in done.output
