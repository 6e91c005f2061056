"""The benchmark of phone heads end to end on made clips, and what its page says."""

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats
from typer.testing import CliRunner

from matchka_train.cli.train import app
from matchka_train.datasets.phones import PHONES
from matchka_train.errors import DatasetError
from matchka_train.evaluation.pronunciation import Agreement, MarkLine
from matchka_train.experiments.phonemes.claims import CLAIMS, claim_rows
from matchka_train.experiments.phonemes.figures import draw_arms, draw_marks
from matchka_train.experiments.phonemes.page import (
    arm_rows,
    confusion_rows,
    late_rows,
    marked_group_rows,
    phonemes_page,
)
from matchka_train.experiments.phonemes.people import by_age, read_marks
from matchka_train.experiments.phonemes.recipe import BenchmarkRecipe
from matchka_train.experiments.phonemes.results import ArmRun, Benchmark, LateRun, MarkedRun
from matchka_train.heads.phones.recipe import HeadRecipe
from tests.factories.voice_folders import write_voices


def arm_run(seed: int, per: float) -> ArmRun:
    return ArmRun("early", seed, per, per + 0.02, per - 0.02, 0.8, 1000, [[1.0]], [("AH", "IH", 9), ("", "S", 4)])


def test_rows_of_an_arm_hold_the_mean_and_the_range_of_its_seeds() -> None:
    late = [LateRun(("early", "log-mel"), seed, 0.5, 0.93, per) for seed, per in ((0, 0.45), (1, 0.47))]
    found = Benchmark((arm_run(0, 0.4), arm_run(1, 0.44)), (), tuple(late))
    assert arm_rows(found)[1] == [
        *("early", "1000", "2", "0.420 (0.400-0.440)", "0.440 (0.420-0.460)", "0.400 (0.380-0.420)", "80%"),
    ]
    assert late_rows(found)[1] == ["early + log-mel", "0.5", "2", "0.930 (0.930-0.930)", "0.460 (0.450-0.470)"]
    assert confusion_rows(found) == [
        ["to be read", "decoded by early", "times"],
        ["AH", "IH", "9"],
        ["-", "S", "4"],
    ]


def marked_run(**others: Any) -> MarkedRun:
    line = MarkLine(slope=0.4, offset=9.5, low=7.0, high=10.0, error=0.7, constant_error=0.9)
    return MarkedRun("early", HeadRecipe(), (), 0.4, 0.5, 0.8, 0.4, 0.7, 4, 2, line=line, **others)


def test_rows_of_groups_hold_ages_and_parts_of_the_speakers() -> None:
    marked = marked_run(ages={"below 18": Agreement(0.25, 0.75, 40, 2)}, parts={"part 1": Agreement(0.5, 0.875, 60, 3)})
    assert marked_group_rows(Benchmark((), (marked,), ()))[1:] == [
        ["early", "below 18", "0.250", "0.750", "40", "2"],
        ["early", "part 1", "0.500", "0.875", "60", "3"],
    ]


def test_page_of_a_run_without_arms_writes_marks_and_leaves_everything_else() -> None:
    page = "A\n<!-- rows: arms -->\nolder\n<!-- end -->\nB\n<!-- rows: marks -->\nolder\n<!-- end -->\nC\n"
    written = phonemes_page(page, Benchmark((), (marked_run(pearson_interval=(0.4, 0.6)),), ()))
    before, after = written.split("<!-- rows: marks -->\n")
    assert before == "A\n<!-- rows: arms -->\nolder\n<!-- end -->\nB\n"
    header, line, row, rest = after.split("\n", 3)
    assert header.startswith("| arm | PER, mark 8 and above | Pearson |")
    assert line == "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    assert row == "| early | 0.400 | 0.500 (0.400-0.600) | 0.800 | 0.400 | 0.700 | 0.700 | 0.900 | 4 | 2 |"
    assert rest == "<!-- end -->\nC\n"


def test_page_that_lacks_a_table_gets_it_at_its_end() -> None:
    written = phonemes_page("# A page\n", Benchmark((arm_run(0, 0.4),), (), ()))
    assert written.startswith("# A page\n\n<!-- rows: arms -->\n| arm | parameters |")
    assert "| early | 1000 | 1 | 0.400 | 0.420 | 0.380 | 80% |\n<!-- end -->\n" in written
    assert "<!-- rows: confusions -->" in written
    assert "marks" not in written
    assert phonemes_page(written, Benchmark((arm_run(0, 0.4),), (), ())) == written


def test_claims_are_tried_on_the_seeds_that_both_sides_have() -> None:
    rates = {"log-mel": (0.6, 0.62, 0.61), "gated": (0.4, 0.42, 0.43), "early": (0.5, 0.53), "ge2e-normalised": (0.7,)}
    runs = [replace(arm_run(seed, per), arm=arm) for arm, pers in rates.items() for seed, per in enumerate(pers)]
    late = [
        LateRun(("ge2e-normalised", "log-mel"), 0, weight, frame, sequence)
        for weight, frame, sequence in ((0.1, 0.9, 0.58), (0.5, 0.8, 0.6))
    ]
    rows = {row[0]: row[1:] for row in claim_rows(Benchmark(tuple(runs), (), tuple(late)))[1:]}
    mel = rows["encoders of mel spectra fail (PER above .8)"]
    interval = stats.ttest_1samp([-20.0, -18.0, -19.0], 0).confidence_interval(0.95)
    assert mel == ["3", "-19.0", f"{interval.low:+.1f} to {interval.high:+.1f}", "contradicted"]
    gated = rows["gated fusion fails: worse than early"]
    assert gated[:2] == ["2", "-10.5"]
    by_frame = rows["late fusion by frame gains a little over the better part (best weight)"]
    assert by_frame == ["1", "-20.0", "-", "not decided"]  # .6 alone, .8 at its best weight
    by_sequence = rows["ours: late fusion by sequence gains over the better part (best weight)"]
    assert by_sequence[1] == "+2.0"
    assert "the last layer transcribes best: better than the middle one" not in rows  # neither arm was run


def test_every_arm_of_a_claim_is_one_of_the_benchmark() -> None:
    recipe = BenchmarkRecipe()
    runs = [ArmRun(arm.name, seed, 0.5, None, None, 0.8, 1, [], []) for arm in recipe.arms for seed in recipe.seeds]
    late = [LateRun(pair, seed, at, 0.5, 0.5) for pair in recipe.late for seed in (0, 1, 2) for at in (0.5, 0.7)]
    rows = claim_rows(Benchmark(tuple(runs), (), tuple(late)))[1:]
    assert [row[0] for row in rows] == [claim.text for claim in CLAIMS]


def test_figures_of_arms_late_fusion_and_marks_are_drawn(tmp_path: Path) -> None:
    marked = marked_run(scores=[-1.0, -2.0, -0.5, -0.6], marks=[7.0, 7.0, 8.0, 10.0])
    late = [LateRun(("early", "log-mel"), 0, weight, 0.93, 0.45) for weight in (0.1, 0.5)]
    draw_arms(Benchmark((arm_run(0, 0.4), arm_run(1, 0.44)), (), tuple(late)), tmp_path / "arms.png")
    draw_marks(Benchmark((), (marked,), ()), tmp_path / "marks.png")
    for name in ("arms.png", "marks.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


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
    assert marked["pearson_interval"][0] <= marked["pearson"] <= marked["pearson_interval"][1]
    assert (len(marked["scores"]), len(marked["marks"])) == (24, 24)
    assert {name: (part["clips"], part["speakers"]) for name, part in marked["parts"].items()} == {
        "part 1": (12, 4),
        "part 2": (12, 4),
    }
    for figure in ("phonemes.png", "phonemes-marks.png"):
        assert (tmp_path / "found" / figure).stat().st_size > 1000
    assert "| eight | " in (tmp_path / "found" / "phonemes.md").read_text()
    folds = sorted((tmp_path / "found" / "runs").rglob("only-marked-fold-*.safetensors"))
    assert [path.stem for path in folds] == ["only-marked-fold-0", "only-marked-fold-1"]
    folds[1].unlink()  # as an interruption leaves them: one part is done
    next((tmp_path / "found" / "runs").rglob("marks-only-marked.json")).unlink()
    done_at = folds[0].stat().st_mtime_ns
    (kept,) = (tmp_path / "found" / "runs").rglob("eight-seed-0.json")
    kept.write_text(kept.read_text().replace('"seed": 0', '"seed": 77'))
    assert CliRunner().invoke(app, arguments).exit_code == 0
    again = json.loads((tmp_path / "found" / "phonemes.json").read_text())
    assert again["runs"][0]["seed"] == 77  # what was finished is not computed again
    assert again["marked"][0]["scores"] == marked["scores"]
    assert (folds[0].stat().st_mtime_ns, folds[1].is_file()) == (done_at, True)
    without_folds = [value for value in arguments if not value.startswith(("mark_folds=", "marked_arms="))]
    without_folds = [*without_folds[:-2], "--set", "mark_folds=null", "--set", "marked_arms=[eight]"]
    assert CliRunner().invoke(app, without_folds).exit_code == 0
    (own,) = json.loads((tmp_path / "found" / "phonemes.json").read_text())["marked"]
    assert (own["arm"], own["clips"], own["speakers"]) == ("eight", 6, 2)  # a quarter of 8 people chose the epoch
    alone = arms.rpartition(", {name")
    changed = {f"arms=[{arms}]": f"arms=[{{name{alone[2]}]", "late=[[eight, six]]": "late=[]"}
    changed |= {"marked_arms=[only-marked, states]": "marked_arms=[only-marked]"}
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "phonemes.md").write_text("# Phones\n")
    marks_alone = [*(changed.get(value, value) for value in arguments), "--page", str(tmp_path / "docs")]
    done = CliRunner().invoke(app, marks_alone)
    assert done.exit_code == 0, done.output
    page = (tmp_path / "docs" / "phonemes.md").read_text()
    assert page.startswith("# Phones\n\n<!-- rows: marks -->\n")
    assert "<!-- rows: arms -->" not in page
    assert {file.name for file in (tmp_path / "docs").iterdir()} == {"phonemes.md", "phonemes-marks.png"}
