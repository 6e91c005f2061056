"""Both experiments end to end through the command line, on a few real people; the figures are what they write down."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from matchka_train.cli.train import app
from matchka_train.errors import CheckpointError, DatasetError, RecipeError

LARGEST_FIGURE = 200_000  # bytes; both are kept in docs/experiments


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["experiment", *arguments, "--threads", "1"])


@pytest.fixture
def speakers(shared_data: Path, downloads: Path, tmp_path: Path) -> list[str]:
    """The voice recipe over a few people, its cache and its data where they are here."""
    speech = shared_data / "speech"
    return [
        "two-stage",
        "training/matchka_train/recipes/speaker.yaml",
        f"data.train.0.path={speech / 'utterances.csv'}",
        f"data.validation.0.path={speech / 'utterances.csv'}",
        f"data.validation.1.path={speech / 'cohort.csv'}",
        f"data.cache_dir={tmp_path / 'features'}",
        f"backbone.downloads_dir={downloads}",
        *("--set", "speakers=4", "--set", "unseen=4", "--set", "clips_each=3", "--set", "held_out_each=1"),
        *("--set", "validation_clips_each=2", "--set", "epochs=3", "--set", "validate_every=1"),
        *("--set", "dims=[16, 256]", "--set", "seeds=[5]", "--out", str(tmp_path / "out")),
    ]


@pytest.mark.shared_data
def test_two_stage_when_run_on_a_few_people_compares_the_arms_from_one_start(speakers, tmp_path):
    done = invoke(*speakers, "--set", "arms=[{}, {freeze_backbone_epochs: 1}]")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out" / "two-stage.json").read_text())
    frozen, unfrozen = (run["epochs"] for run in found["runs"])
    assert [epoch["frozen"] for epoch in frozen] == [True] * 4
    assert [epoch["frozen"] for epoch in unfrozen] == [True, True, False, False]
    assert frozen[:2] == unfrozen[:2]  # nothing differs before the backbone is unfrozen
    assert frozen[2]["held_out_loss"] != unfrozen[2]["held_out_loss"]
    assert frozen[1]["train_loss"] > 0
    assert frozen[0]["train_loss"] is None
    assert {tuple(sorted(rates)) for rates in found["raw"].values()} == {("16", "256")}
    assert found["counts"]["train"] == [4, 12]
    assert found["counts"]["held out"] == [4, 4]
    assert 0 < (tmp_path / "out" / "two-stage.png").stat().st_size < LARGEST_FIGURE


@pytest.mark.shared_data
@pytest.mark.parametrize("windows", ["every", "mean"])
def test_two_stage_when_arms_take_all_windows_treats_spectra_as_cached_embeddings(windows, speakers, tmp_path):
    alike = f"dropout: 0, windows: {windows}"
    arms = f"arms=[{{{alike}}}, {{{alike}, freeze_backbone_epochs: 1}}, {{dropout: 0}}]"
    done = invoke(*speakers, "--set", arms, "--set", "learning_rate=1e-9", "--set", "backbone_learning_rate=1e-9")
    assert done.exit_code == 0, done.output
    runs = json.loads((tmp_path / "out" / "two-stage.json").read_text())["runs"]
    frozen, moving, one = (run["epochs"][-1]["held_out_loss"] for run in runs)
    assert moving == pytest.approx(frozen, rel=1e-3)
    assert one != pytest.approx(frozen, rel=1e-3)


@pytest.mark.shared_data
def test_two_stage_when_run_again_takes_what_was_finished(speakers, tmp_path):
    arguments = [*speakers, "--set", "arms=[{}]"]
    assert invoke(*arguments).exit_code == 0
    (kept,) = (tmp_path / "out" / "runs").rglob("*.json")
    content = json.loads(kept.read_text())
    content["epochs"][-1]["train_loss"] = 123.0
    kept.write_text(json.dumps(content))
    assert invoke(*arguments).exit_code == 0
    assert json.loads((tmp_path / "out" / "two-stage.json").read_text())["runs"][0]["epochs"][-1]["train_loss"] == 123.0
    kept.write_text("{")
    assert isinstance(invoke(*arguments).exception, CheckpointError)
    kept.unlink()
    assert invoke(*arguments).exit_code == 0
    again = json.loads(kept.read_text())
    assert again["epochs"][:-1] == content["epochs"][:-1]  # the same seed gives the same numbers


@pytest.mark.shared_data
def test_two_stage_when_speakers_have_too_few_clips_says_so(speakers):
    done = invoke(*speakers, "--set", "clips_each=20")
    assert isinstance(done.exception, DatasetError)
    assert "21 clips" in str(done.exception)


@pytest.mark.shared_data
def test_face_heads_when_run_on_a_few_people_watches_every_arm_in_both_ways(shared_data, downloads, tmp_path):
    images = shared_data / "face" / "images.csv"
    arguments = [
        "face-heads",
        "training/matchka_train/recipes/face.yaml",
        f"data.train.0.path={images}",
        f"data.validation.0.path={images}",
        f"data.cache_dir={tmp_path / 'features'}",
        f"backbone.downloads_dir={downloads}",
        *("--set", "people=12", "--set", "pictures_each=3", "--set", "epochs=2", "--set", "seeds=[1]"),
        *("--out", str(tmp_path / "out")),
    ]
    done = invoke(*arguments)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out" / "face-heads.json").read_text())
    arms = {(run["place"], run["loss"]): run["epochs"] for run in found["runs"]}
    assert set(arms) == {(place, loss) for place in ("projection", "last block") for loss in ("arcface", "info_nce")}
    untouched = found["untouched"]
    for (place, _), epochs in arms.items():
        assert [epoch["epoch"] for epoch in epochs] == [0, 1, 2]
        assert {epoch["unseen"]["threshold"] for epoch in epochs} == {untouched["unseen"]["threshold"]}
        if place == "last block":  # it starts as the untouched backbone
            assert epochs[0]["paired"] == pytest.approx(untouched["paired"], abs=1e-5)
            assert epochs[0]["unseen"] == pytest.approx(untouched["unseen"], abs=1e-5)
            assert epochs[2]["paired"] != epochs[0]["paired"]
    assert 0 < (tmp_path / "out" / "face-heads.png").stat().st_size < LARGEST_FIGURE


@pytest.mark.parametrize(("name", "recipe"), [("two-stage", "face"), ("face-heads", "speaker")])
def test_experiment_when_the_backbone_is_another_one_refuses_the_recipe(name, recipe, tmp_path):
    done = invoke(name, f"training/matchka_train/recipes/{recipe}.yaml", "--out", str(tmp_path))
    assert isinstance(done.exception, RecipeError)


@pytest.mark.parametrize("value", ["epoch=3", "epochs=0", "seeds=[]", "epochs"])
def test_experiment_when_a_value_is_wrong_names_it(value, tmp_path):
    for name in ("two-stage", "face-heads"):
        done = invoke(name, "--set", value, "--out", str(tmp_path))
        assert isinstance(done.exception, RecipeError)
        assert value.partition("=")[0] in str(done.exception)


@pytest.mark.slow
def test_progressive_when_run_on_a_tiny_world_compares_every_arm_from_one_start(recipe_path, tmp_path):
    out = tmp_path / "out"
    arguments = ["progressive", str(recipe_path), "optimisation.epochs=4", "optimisation.warmup_epochs=1"]
    arguments += ["--set", "seeds=[0, 1]", "--set", "stage_epochs=1", "--out", str(out)]
    done = invoke(*arguments)
    assert done.exit_code == 0, done.output
    found = json.loads((out / "progressive.json").read_text())
    runs = {(run["arm"], run["seed"]): run["eer"] for run in found["runs"]}
    assert set(runs) == {(arm, seed) for arm in ("all at once", "full dim first", "full dim only") for seed in (0, 1)}
    assert runs["all at once", 0] != runs["full dim only", 0]
    assert {tuple(rates) for eer in runs.values() for rates in eer.values()} == {("4", "8", "24")}
    assert "full dim first" in done.output
    # with stages longer than the run, the full dim is all that is ever trained
    longer = [argument.replace("stage_epochs=1", "stage_epochs=4") for argument in arguments]
    assert invoke(*longer).exit_code == 0
    again = json.loads((out / "progressive.json").read_text())["runs"]
    rates = {(run["arm"], run["seed"]): run["eer"] for run in again}
    assert rates["full dim first", 1] == rates["full dim only", 1] == runs["full dim only", 1]


def test_progressive_of_a_family_without_epochs_refuses(recipe_path, tmp_path):
    done = invoke("progressive", str(recipe_path), "projection={family: rotation}", "--out", str(tmp_path / "out"))
    assert isinstance(done.exception, RecipeError)
