"""Columns of text and phones beside the paths of a CSV file."""

from pathlib import Path

import pytest

from matchka_train.datasets.phones import CLASSES, phone_numbers
from matchka_train.datasets.reader import read_dataset
from matchka_train.datasets.transcripts import ReadSpeech, read_transcripts
from matchka_train.errors import DatasetError


def dataset(tmp_path: Path, phones: str, **changes: object) -> ReadSpeech:
    rows = [f"{who}{number}.wav,{who},word {number},{phones}" for who in "ab" for number in range(2)]
    (tmp_path / "clips.csv").write_text("\n".join(["path,speaker,text,phones", *rows]))
    return ReadSpeech(corpus="c", domain="d", path=tmp_path / "clips.csv", **changes)


def test_transcripts_when_columns_are_there_are_those_of_each_clip_without_stress(tmp_path):
    recipe = dataset(tmp_path, "HH AH0 L OW1")
    found = read_transcripts(recipe, list(reversed(read_dataset(recipe))))
    assert [said.text for said in found] == ["word 1", "word 0", "word 1", "word 0"]
    assert [CLASSES[number] for number in found[0].phones] == ["HH", "AH", "L", "OW"]


def test_classes_are_the_blank_and_39_phones_in_alphabetical_order():
    assert len(CLASSES) == 40
    assert list(CLASSES[1:]) == sorted(CLASSES[1:])
    assert CLASSES[0] == "<blank>"


@pytest.mark.parametrize(("phones", "named"), [("HH XX OW", "XX"), ("", "no phones")])
def test_transcripts_when_phones_are_none_refuse(tmp_path, phones, named):
    recipe = dataset(tmp_path, phones)
    with pytest.raises(DatasetError, match=named):
        read_transcripts(recipe, read_dataset(recipe))


def test_transcripts_when_a_column_is_missing_name_it(tmp_path):
    recipe = dataset(tmp_path, "AH", phones_column="ipa")
    with pytest.raises(DatasetError, match="ipa"):
        read_transcripts(recipe, read_dataset(recipe))


def test_phone_numbers_when_stressed_are_those_of_the_phone():
    assert phone_numbers("AH0 AH1 AH2 AH") == (3, 3, 3, 3)
