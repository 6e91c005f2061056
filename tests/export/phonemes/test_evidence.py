"""Measurements of a phone head belong to one head on its encoders."""

from pathlib import Path

import pytest

from matchka_export.errors import EvidenceError
from matchka_export.phonemes.evidence import read_phoneme_evidence, require_of_head, write_phoneme_evidence
from tests.factories.phoneme_evidence import phoneme_evidence


def test_evidence_written_and_read_is_the_same(tmp_path: Path) -> None:
    write_phoneme_evidence(tmp_path / "phonemes.json", phoneme_evidence())
    assert read_phoneme_evidence(tmp_path / "phonemes.json") == phoneme_evidence()


def test_read_phoneme_evidence_of_another_kind_of_measurements_raises(tmp_path: Path) -> None:
    (tmp_path / "voice.json").write_text('{"format": "matchka-evidence-1"}')
    with pytest.raises(EvidenceError, match="cannot be read"):
        read_phoneme_evidence(tmp_path / "voice.json")


@pytest.mark.parametrize(
    ("head", "encoders", "part"),
    [("c" * 64, ("b" * 64,), "head"), ("a" * 64, ("c" * 64,), "encoders"), ("a" * 64, ("b" * 64,) * 2, "encoders")],
)
def test_require_of_head_with_other_files_names_the_part(head: str, encoders: tuple[str, ...], part: str) -> None:
    with pytest.raises(EvidenceError, match=f"are of the {part}"):
        require_of_head(phoneme_evidence(), head, encoders)


def test_require_of_head_with_the_measured_files_passes() -> None:
    require_of_head(phoneme_evidence(), "a" * 64, ("b" * 64,))
