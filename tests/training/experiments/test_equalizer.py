"""The experiment on scales of settings, on a made-up table: every arm beside its twin on words at random."""

import json
from pathlib import Path

import yaml
from typer.testing import CliRunner

from matchka_train.cli.train import app
from matchka_train.experiments.equalizer import ARMS
from tests.factories.settings_table import PEOPLE, graphic_equalizer_recipe


def test_equalizer_when_run_on_a_made_up_table_compares_the_arms_on_people_it_did_not_see(tmp_path: Path):
    recipe = graphic_equalizer_recipe(tmp_path, bands=6, dims=[2, 6])
    content = recipe.model_dump(mode="json")
    for field in content["fields"][:2]:
        field["unit"] = "Hz"  # what is called a frequency is weighted as one
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content))
    out = tmp_path / "out"
    small = ("seeds=[0]", "steps=45", "batch=16", "hidden=8", "code=2")
    arguments = ["experiment", "equalizer", str(tmp_path / "recipe.yaml"), "--out", str(out), "--threads", "1"]
    done = CliRunner().invoke(app, arguments + [part for value in small for part in ("--set", value)])
    assert done.exit_code == 0, done.output
    found = json.loads((out / "equalizer.json").read_text())
    assert found["contributors"] == PEOPLE // 2
    assert [(run["arm"], run["shuffled"]) for run in found["runs"]] == [
        (arm, shuffled) for arm in ARMS for shuffled in (False, True)
    ]
    by_arm = {run["arm"]: run for run in found["runs"] if not run["shuffled"]}
    assert by_arm["clamped outputs"]["outside"] == 0
    assert all(len(run["contrastive"]) == 3 and set(run["curves"]) == {"warm", "bright"} for run in found["runs"])
    assert 0 < (out / "equalizer.png").stat().st_size < 200_000
