"""The picture of a bundle, written as SVG, whose text says what is drawn."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from matchka.bundles.bundle import read_bundle
from matchka.bundles.manifest import Manifest
from matchka.errors import InvalidFieldError, OutputNotAvailableError
from matchka_export.__main__ import app
from matchka_export.plots.cost import bytes_of_template, search_ms
from matchka_export.plots.figure import draw_bundle
from tests.factories.bundles import write_bundle
from tests.factories.spoken_tones import write_phoneme_bundle


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return read_bundle(write_bundle(tmp_path / "voice")).manifest


def test_picture_names_dims_domains_and_what_is_counted(manifest: Manifest, tmp_path: Path):
    draw_bundle(manifest, tmp_path / "voice.svg", is_timed=False)
    text = (tmp_path / "voice.svg").read_text()
    for said in ("dim 2", "dim 4", "dim 8", "made-up", "subjects", "non-mated pairs", "EER %", "FNMR % at FMR 0.1 %"):
        assert said in text
    assert "states single points" in text
    assert "plain search" not in text
    draw_bundle(manifest, tmp_path / "again.svg", is_timed=False)
    assert (tmp_path / "again.svg").read_text() == text


def test_command_draws_into_the_file_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bundle = write_bundle(tmp_path / "voice")
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["plot", str(bundle)]).exit_code == 0
    assert "plain search of 100,000" in Path("voice.svg").read_text()
    assert CliRunner().invoke(app, ["plot", str(bundle), "voice.png", "--untimed"]).exit_code == 0
    assert Path("voice.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["voice.gif", "nowhere/voice.svg"])
def test_picture_that_cannot_be_written_is_refused(manifest: Manifest, tmp_path: Path, name: str):
    with pytest.raises(InvalidFieldError, match="icture"):
        draw_bundle(manifest, tmp_path / name, is_timed=False)


def test_bundle_without_an_embedding_is_refused(tmp_path: Path):
    heard = read_bundle(write_phoneme_bundle(tmp_path / "phonemes")).manifest
    with pytest.raises(OutputNotAvailableError):
        draw_bundle(heard, tmp_path / "phonemes.svg", is_timed=False)


def test_cost_grows_with_the_dim():
    assert [bytes_of_template(dim) for dim in (16, 256)] == [64, 1024]
    assert search_ms(2) > 0
