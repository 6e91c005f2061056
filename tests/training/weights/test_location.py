"""Weights are found by name or by path, and are those that a recipe names."""

import hashlib
from pathlib import Path

import pytest
from pydantic import ValidationError

from matchka_train.backbones.face.recipes import EdgeFaceRecipe
from matchka_train.backbones.onnx_file import file_sha256
from matchka_train.errors import ChecksumError, WeightsAbsentError
from matchka_train.run.recipe import read_recipe
from matchka_train.weights.location import WeightsLocation
from tests.factories.checkout import ROOT

NAME = "edgeface-xs_gamma_06"


def test_recipe_without_name_and_path_refuses() -> None:
    with pytest.raises(ValidationError, match="backbones list"):
        WeightsLocation()


def test_place_when_a_path_is_given_states_what_the_recipe_states(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(b"weights")
    location = WeightsLocation(
        weights=NAME, path=path, source="here", version="7", licence="MIT"
    )  # the path goes before
    found, source = location.place("EdgeFace xs", file_sha256)
    assert found == path
    assert (source.name, source.source, source.version, source.licence) == ("EdgeFace xs", "here", "7", "MIT")
    assert source.sha256 == hashlib.sha256(b"weights").hexdigest()


def test_open_backbone_when_named_weights_were_not_pulled_names_the_command(tmp_path: Path) -> None:
    recipe = EdgeFaceRecipe(kind="edgeface", weights=NAME, variant="xs", downloads_dir=tmp_path)
    with pytest.raises(WeightsAbsentError, match=f"backbones pull {NAME}"):
        recipe.open()


@pytest.mark.parametrize("recipe", ["redimnet", "edgeface", "wavlm"])
def test_shipped_recipe_when_its_weights_are_absent_names_the_command(recipe: str, tmp_path: Path) -> None:
    path = ROOT / "training" / "matchka_train" / "recipes" / f"{recipe}.yaml"
    backbone = read_recipe(path, (f"backbone.downloads_dir={tmp_path}",)).backbone
    with pytest.raises(WeightsAbsentError, match="matchka-train backbones pull"):
        backbone.open()


def test_place_when_the_path_is_absent_refuses(tmp_path: Path) -> None:
    with pytest.raises(ChecksumError):
        WeightsLocation(path=tmp_path / "no.pt").place("x", file_sha256)
