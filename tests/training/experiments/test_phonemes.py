"""The benchmark of phone heads end to end on made clips, and what its page says."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from matchka_train.cli.train import app
from matchka_train.datasets.phones import PHONES
from matchka_train.errors import DatasetError
from matchka_train.experiments.phonemes.page import arm_rows, confusion_rows, late_rows
from matchka_train.experiments.phonemes.people import by_age, read_marks
from matchka_train.experiments.phonemes.recipe import BenchmarkRecipe
from matchka_train.experiments.phonemes.results import ArmRun, Benchmark, LateRun
from tests.factories.voice_folders import write_voices


def arm_run(seed: int, per: float) -> ArmRun:
    return ArmRun("early", seed, per, per + 0.02, per - 0.02, 0.8, 1000, [[1.0]], [("AH", "IH", 9), ("", "S", 4)])


def test_rows_of_an_arm_hold_the_mean_and_the_range_of_its_seeds() -> None:
    found = Benchmark((arm_run(0, 0.4), arm_run(1, 0.44)), (), (LateRun(("early", "log-mel"), 0.5, 0.93, 0.45),))
    assert arm_rows(found)[1] == [
        *("early", "1000", "2", "0.420 (0.400-0.440)", "0.440 (0.420-0.460)", "0.400 (0.380-0.420)", "80%"),
    ]
    assert late_rows(found)[1] == ["early + log-mel", "0.5", "0.930", "0.450"]
    assert confusion_rows(found) == [
        ["to be read", "decoded by early", "times"],
        ["AH", "IH", "9"],
        ["-", "S", "4"],
    ]


def test_read_marks_of_a_file_without_them_raises(tmp_path: Path) -> None:
    (tmp_path / "marks.csv").write_text("utterance,score\n1,8\n")
    with pytest.raises(DatasetError, match="marks"):
        read_marks(tmp_path / "marks.csv")


def test_agreement_by_age_is_that_of_each_group_alone() -> None:
    scores, marks = np.array([0.1, 0.5, 0.4, 0.9, 0.2, 0.3]), np.array([7.0, 8.0, 9.0, 10.0, 8.0, 9.0])
    readers = ["a", "a", "b", "b", "c", "c"]
    found = by_age(scores, marks, readers, {"a": 9, "b": 17, "c": 18})
    assert found.keys() == {"below 18"}  # no reader of age has a low mark
    children = found["below 18"]
    assert children.pearson == pytest.approx(np.corrcoef(scores[:4], marks[:4])[0, 1])
    assert (children.auc, children.clips, children.speakers) == (1.0, 4, 2)


def test_benchmark_recipe_by_default_compares_every_encoder_that_needs_no_hub() -> None:
    recipe = BenchmarkRecipe()
    assert {encoder.kind for arm in recipe.arms for encoder in arm.encoders} == {"log_mel", "ge2e", "pocketsphinx"}
    named = {arm.name for arm in recipe.arms}
    assert named >= {*recipe.marked_arms, *(name for pair in recipe.late for name in pair)}


@pytest.mark.slow
def test_command_on_made_clips_compares_two_arms_and_keeps_what_was_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)  # also where it is installed
    write_voices(tmp_path, range(11), 3, seconds=0.6)
    generator = np.random.default_rng(0)
    with (tmp_path / "clips.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "speaker", "split", "age", "text", "phones"])
        for person in range(11):
            for clip in range(3):
                said = " ".join(generator.choice(PHONES, 4))
                split = "train" if person < 8 else "dev"
                writer.writerow([f"p{person:03d}/{clip}.wav", f"p{person:03d}", split, 10 + person, "a text", said])
    dataset = {"corpus": "made", "domain": "studio", "layout": "csv", "path": str(tmp_path / "clips.csv")}
    base = {
        "task": "phonemes",
        "name": "tiny",
        "encoders": [{"kind": "log_mel", "bands": 8}],
        "data": {
            "train": [dataset | {"where": {"split": "train"}}],
            "held_out": {"fold": 0, "folds": 4},
            "validation": [dataset | {"where": {"split": "dev"}}],
            "cache_dir": str(tmp_path / "cache"),
        },
        "optimisation": {"epochs": 2, "batch_clips": 6, "warmup_epochs": 1, "half_precision": False},
        "output_dir": str(tmp_path / "out"),
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(base))
    (tmp_path / "marks.csv").write_text("utterance,accuracy\n0,7\n1,8\n2,10\n")
    head = "{context: {kind: convolution, width: 8, layers: 1}}"
    arms = ", ".join(
        f"{{name: {name}, encoders: [{{kind: log_mel, bands: {bands}}}], head: {head}}}"
        for name, bands in (("eight", 8), ("six", 6))
    )
    arms += f", {{name: states, encoders: [{{kind: pocketsphinx}}], head: {head}}}"
    arms += f", {{name: shuffled, encoders: [{{kind: log_mel, bands: 8}}], head: {head}, shuffled: true}}"
    arms += f", {{name: only-marked, encoders: [{{kind: log_mel, bands: 6}}], head: {head}, epochs: 1, seeds: []}}"
    arguments = [
        *("experiment", "phonemes", str(tmp_path / "tiny.yaml"), "--threads", "1", "--out", str(tmp_path / "found")),
        *("--set", "seeds=[0]", "--set", f"arms=[{arms}]", "--set", "late=[[eight, six]]"),
        *("--set", "late_weights=[0.5]", "--set", f"marks={tmp_path / 'marks.csv'}"),
        *("--set", "mark_folds=2", "--set", "marked_arms=[only-marked, states]"),
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "found" / "phonemes.json").read_text())
    assert [run["arm"] for run in found["runs"]] == ["eight", "six", "shuffled"]
    assert found["absent"].keys() == {"states"}
    assert "pip install pocketsphinx" in found["absent"]["states"]
    assert "states was left out" in done.output
    assert all(run["per"] > 0 for run in found["runs"])
    assert all(run["child_per"] is None and run["adult_per"] == run["per"] for run in found["runs"])
    assert [late["arms"] for late in found["late"]] == [["eight", "six"]]
    (marked,) = found["marked"]
    assert (marked["arm"], marked["clips"], marked["speakers"]) == ("only-marked", 24, 8)
    assert marked["line"]["low"] == 7
    assert marked["line"]["high"] == 10
    (kept,) = (tmp_path / "found" / "runs").rglob("eight-seed-0.json")
    kept.write_text(kept.read_text().replace('"seed": 0', '"seed": 77'))
    assert CliRunner().invoke(app, arguments).exit_code == 0
    again = json.loads((tmp_path / "found" / "phonemes.json").read_text())
    assert again["runs"][0]["seed"] == 77  # what was finished is not computed again
    without_folds = [value for value in arguments if not value.startswith(("mark_folds=", "marked_arms="))]
    without_folds = [*without_folds[:-2], "--set", "mark_folds=null", "--set", "marked_arms=[eight]"]
    assert CliRunner().invoke(app, without_folds).exit_code == 0
    (own,) = json.loads((tmp_path / "found" / "phonemes.json").read_text())["marked"]
    assert (own["arm"], own["clips"], own["speakers"]) == ("eight", 6, 2)  # a quarter of 8 people chose the epoch
