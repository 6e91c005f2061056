"""What a bundle states of the enhancer that it ships, and what is not shipped."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from matchka.errors import MatchkaError
from matchka_export.__main__ import app
from matchka_export.defaults.catalogue import FACE_ENHANCER
from matchka_export.enhancer.ship import datasets_of_enhancer
from matchka_train.backbones.face.dlib import DlibFace
from matchka_train.backbones.face.enhanced import EnhancedFace
from matchka_train.run.recipe import read_content
from tests.factories.checkout import ROOT
from tests.factories.face_bundles import write_enhancer
from tests.factories.news_photographs import listed

RECIPE = ROOT / "training" / "matchka_train" / "recipes" / "face-lowres.yaml"
DOWNLOADS = ROOT / "build" / "downloads"
DEFAULTS = ROOT / "export" / "matchka_export" / "defaults"
PEOPLE, PICTURES = 12, 3  # too few to prove anything by


def test_datasets_of_the_shipped_enhancer_are_those_that_its_file_names_and_none_without_one() -> None:
    plain = DlibFace(Path("no-downloads"))
    trained, *rest = datasets_of_enhancer(EnhancedFace.of(plain, FACE_ENHANCER, ()))
    assert (trained.name, trained.use) == ("lfw", "enhancer trained")
    assert trained.source.endswith(": 862 people")
    assert trained.licence == "none for the photographs: research use only"
    assert [one.use for one in rest] == ["reported"]
    assert datasets_of_enhancer(plain) == ()


@pytest.mark.shared_data
def test_graph_of_ones_own_that_is_not_proven_to_help_is_measured_and_not_shipped(
    shared_data: Path, tmp_path: Path
) -> None:
    try:
        for part in DlibFace(DOWNLOADS).auxiliary:
            part.open()
    except MatchkaError as error:
        pytest.skip(f"the detector's weights are neither in the cache nor to be fetched: {error}")
    pictures = listed(shared_data / "face", "dev", tmp_path / "dev.csv", PEOPLE, PICTURES)
    named = {"corpus": "lfw", "domain": "photographs", "layout": "csv", "subject_column": "identity"}
    changes = {
        "data.validation": [named | {"path": str(pictures)}],
        "data.cache_dir": str(tmp_path / "cache"),
        "backbone.downloads_dir": str(DOWNLOADS),
    }
    content = read_content(RECIPE, tuple(f"{key}={json.dumps(value)}" for key, value in changes.items()))
    (tmp_path / "recipe.yaml").write_text(json.dumps(content), encoding="utf-8")
    model = tmp_path / "model"
    model.mkdir()
    for name in ("face.safetensors", "face.json"):
        shutil.copyfile(DEFAULTS / name, model / name)
    before = (model / "face.json").read_bytes()
    own = write_enhancer(tmp_path / "own.onnx")  # makes chips brighter
    options = ("--recipe", tmp_path / "recipe.yaml", "--out", model, "--downloads-dir", DOWNLOADS)
    done = CliRunner().invoke(app, ["enhancer", str(own), *map(str, options)])
    assert done.exit_code != 0
    assert "helps at no size" in f"{done.output}{done.exception}"
    assert done.output.count("undecidable") == 6, done.output  # three sizes, two ways that decide
    assert (model / "face.json").read_bytes() == before
    assert sorted(path.name for path in model.iterdir()) == ["face.json", "face.safetensors"]
