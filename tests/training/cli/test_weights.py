"""`matchka-train backbones`: the list says what is there, and a pull asks before it fetches."""

import json

import pytest
from typer.testing import CliRunner

from matchka_train.cli.train import app
from matchka_train.errors import LicenceError, UnknownWeightsError
from matchka_train.weights.hub import catalogue
from matchka_train.weights.package_catalogue import RESEMBLYZER


def test_list_shows_every_name_with_licence_and_whether_it_is_there(tmp_path):
    (tmp_path / RESEMBLYZER.file_name).write_bytes(b"")
    done = CliRunner().invoke(app, ["backbones", "list", "--json", "--downloads-dir", str(tmp_path)])
    assert done.exit_code == 0, done.output
    found = {entry["name"]: entry for entry in json.loads(done.output)}
    assert set(found) == {"ge2e", "dlib", "mtcnn"} | {weights.name for weights in catalogue()}
    assert [name for name, entry in found.items() if entry["cached"]] == ["ge2e"]
    assert found["edgeface-xs_gamma_06"]["licence"] == "CC-BY-NC-SA-4.0"
    assert found["edgeface-xs_gamma_06"]["checksum"] == "git"
    assert found["wavlm-base-plus"]["checksum"] == "published"
    assert found["redimnet-b6-vox2-ft_lm"]["checksum"] == "first pull"
    assert found["dlib"]["parameters"] == 5_607_488


def test_list_as_a_table_cuts_no_name(tmp_path):
    done = CliRunner().invoke(app, ["backbones", "list", "--downloads-dir", str(tmp_path)])
    assert all(weights.name in done.output for weights in catalogue())


def test_pull_without_a_terminal_or_yes_shows_the_licence_and_fetches_nothing(tmp_path):
    done = CliRunner().invoke(app, ["backbones", "pull", "edgeface-xs_gamma_06", "--downloads-dir", str(tmp_path)])
    assert isinstance(done.exception, LicenceError)
    assert "CC-BY-NC-SA-4.0" in done.output
    assert "No commercial use" in done.output
    assert not list((tmp_path / "hub").rglob("*.pt*"))


@pytest.mark.parametrize(("arguments", "error"), [(["redimnet"], UnknownWeightsError), (["b2", "--sha256", "1"], None)])
def test_pull_when_an_argument_is_wrong_says_which(tmp_path, arguments, error):
    done = CliRunner().invoke(app, ["backbones", "pull", *arguments, "--downloads-dir", str(tmp_path)])
    assert done.exit_code != 0
    assert isinstance(done.exception, error) if error else "sha256" in done.output
