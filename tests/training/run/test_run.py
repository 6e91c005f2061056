"""Whole runs over a tiny world, through the command that people type."""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from matchka.modalities.audio.windows import split_windows
from matchka.vectors import mean_by_group
from matchka_train.__main__ import main
from matchka_train.datasets.layouts.folder import read_folders
from matchka_train.errors import CheckpointError, DatasetError, IdentityOverlapError, RecipeError
from matchka_train.fitting.selection import best_of
from matchka_train.metrics.error_rates import equal_error_rate
from matchka_train.projections.storage import load_projection
from matchka_train.run.checkpoint import CheckpointFolder
from matchka_train.run.recipe import read_recipe
from matchka_train.run.run import run
from tests.factories.bundles import dim_report
from tests.factories.tiny_backbone import BANDS, TINY_INPUT, TinyBackbone
from tests.factories.voice_folders import write_voices


def train(recipe_path, quiet, *overrides, fresh=False):
    recipe = read_recipe(recipe_path, overrides)
    return run(recipe, recipe.backbone.open(), quiet, fresh=fresh)


def command(monkeypatch, *arguments):
    """Run `matchka-train`; returns the exit status."""
    monkeypatch.setattr(sys, "argv", ["matchka-train", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code


def eer_by_hand(folder: Path, projection, dim: int) -> float:
    """All pairs of clips of a folder per identity, one dot product at a time."""
    clips = read_folders(folder)
    network, embeddings = TinyBackbone().module(), []
    for path, _ in clips:
        samples, _ = soundfile.read(path, dtype="float32")
        starts = range(0, len(samples) - TINY_INPUT.window_samples + TINY_INPUT.hop_samples, TINY_INPUT.hop_samples)
        windows = np.zeros((len(starts), TINY_INPUT.window_samples), np.float32)
        for row, start in zip(windows, starts, strict=True):
            piece = samples[start : start + TINY_INPUT.window_samples]
            row[: len(piece)] = piece
        with torch.inference_mode():
            embedding = projection(network(torch.from_numpy(windows))).numpy().mean(axis=0)[:dim].astype(np.float64)
        embeddings.append(embedding / np.linalg.norm(embedding))
    pairs = [(i, j) for i in range(len(clips)) for j in range(i)]
    mated = [embeddings[i] @ embeddings[j] for i, j in pairs if clips[i][1] == clips[j][1]]
    non_mated = [embeddings[i] @ embeddings[j] for i, j in pairs if clips[i][1] != clips[j][1]]
    return equal_error_rate(np.array(mated, np.float32), np.array(non_mated, np.float32))


@pytest.mark.slow
def test_run_reports_the_accuracy_of_the_projection_it_wrote(recipe_path, voices, quiet):
    outcome = train(recipe_path, quiet)
    projection, info = load_projection(outcome.checkpoint / "projection.safetensors")
    assert (info.family, info.dims, info.backbone) == ("linear", (4, 8, 24), "tiny")
    for domain in ("studio", "street"):
        for dim in (4, 24):
            expected = eer_by_hand(voices / domain / "dev", projection, dim)
            assert outcome.projected[domain][dim].eer == pytest.approx(expected, abs=1e-4)
            raw = eer_by_hand(voices / domain / "dev", torch.nn.Identity(), dim)
            assert outcome.raw[domain][dim].eer == pytest.approx(raw, abs=1e-4)


def test_run_writes_everything_a_reader_needs(recipe_path, quiet):
    folder = train(recipe_path, quiet, "as_norm={top: 5}").checkpoint
    report = json.loads((folder / "report.json").read_text())
    assert {
        "projected",
        "raw",
        "difference_from_raw",
        "decisions",
        "detection_costs",
        "as_norm",
        "candidates",
        "history",
    } <= set(report)
    assert set(report["decisions"]["studio"]["24"]) == {"1"}  # fewer than thirty people say nothing of several
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 6  # epochs, dims, and two for each of two domains
    assert "http" not in page
    kept = folder / "candidates/linear"
    assert sorted(path.name for path in kept.glob("epoch-*")) == [f"epoch-{n:04d}.safetensors" for n in (2, 4, 6)]
    events = EventAccumulator(str(kept / "tensorboard")).Reload()
    logged = [scalar.value for scalar in events.Scalars("EER studio/24")]
    assert logged == pytest.approx([entry["report"]["studio"]["24"]["eer"] for entry in report["history"]["linear"]])
    assert read_recipe(folder / "recipe.yaml").seed == 3


@pytest.mark.slow
def test_run_again_goes_on_from_its_state_and_another_recipe_is_refused(recipe_path, quiet):
    first = train(recipe_path, quiet)
    again = train(recipe_path, quiet)
    assert again.projected == first.projected
    with pytest.raises(CheckpointError, match="--fresh"):
        train(recipe_path, quiet, "seed=4")
    other = train(recipe_path, quiet, "seed=4", fresh=True)
    assert other.fitted[0].history != first.fitted[0].history


@pytest.mark.slow
def test_run_auto_lets_validation_choose_among_families(recipe_path, quiet):
    candidates = [
        {"name": "turned", "projection": {"family": "rotation", "centring": 0}},
        {"name": "white", "projection": {"family": "whitening"}},
        {"name": "deep", "projection": {"family": "mlp", "hidden": 16}, "loss": {"kind": "sup_con"}},
    ]
    outcome = train(recipe_path, quiet, f"projection={json.dumps({'family': 'auto', 'candidates': candidates})}")
    assert best_of([entry.standing for entry in outcome.fitted]) == 0
    assert {entry.candidate.name for entry in outcome.fitted} == {"turned", "white", "deep"}
    best = outcome.fitted[0].candidate
    assert load_projection(outcome.checkpoint / "projection.safetensors")[1].family == best.projection.family


def test_run_auto_when_one_candidate_diverges_notes_it_and_goes_on(recipe_path, quiet):
    candidates = [
        {"name": "turned", "projection": {"family": "rotation"}},
        {"name": "wild", "projection": {"family": "linear"}, "loss": {"kind": "aam_softmax", "scale": 1e38}},
    ]
    outcome = train(recipe_path, quiet, f"projection={json.dumps({'family': 'auto', 'candidates': candidates})}")
    assert [entry.candidate.name for entry in outcome.fitted] == ["turned"]
    assert "wild was given up" in outcome.notes[0]


def test_run_fits_once_more_on_shuffled_labels_and_reports_both(recipe_path, quiet):
    outcome = train(recipe_path, quiet, "projection={family: whitening}", "dims=[4, 24]")
    (fitted,) = outcome.fitted
    for domain, difference in fitted.shuffled.differences.items():
        rates = [
            np.mean([one.eer for one in report[domain].values()]) for report in (fitted.report, fitted.shuffled.report)
        ]
        assert (difference.eer, difference.other_eer) == pytest.approx(tuple(rates))
        assert difference.low <= difference.eer - difference.other_eer <= difference.high
    (row,) = json.loads((outcome.checkpoint / "report.json").read_text())["candidates"]
    shown = row["labels_shuffled"]["projected"]["studio"]["24"]["eer"]
    assert shown == fitted.shuffled.report["studio"][24].eer != fitted.report["studio"][24].eer
    assert "whitening, labels shuffled" in (outcome.checkpoint / "report.html").read_text()


@pytest.mark.slow
def test_run_that_learned_nothing_from_labels_says_so(recipe_path, quiet):
    """The axes of this rotation depend on no label."""
    outcome = train(recipe_path, quiet, "projection={family: rotation, centring: 0}")
    assert [note for note in outcome.notes if "rotation learned nothing from labels" in note]


@pytest.mark.slow
def test_run_that_learned_from_labels_does_not_say_otherwise(recipe_path, tmp_path, quiet):
    """Where enough people are there to show it."""
    write_voices(tmp_path / "many", range(100, 140), 5)
    alike = [("p004", "p131"), ("p008", "p124")]
    pairs = ", ".join(f"{{first: studio/{one}, second: studio/{two}, reason: made as two}}" for one, two in alike)
    changes = (f"data.validation.0.path={tmp_path / 'many'}", f"data.confirmed_lookalikes=[{pairs}]")
    outcome = train(recipe_path, quiet, "projection={family: whitening}", *changes)
    assert not outcome.fitted[0].shuffled.as_good
    assert not outcome.notes


@pytest.mark.slow
def test_run_without_shuffled_labels_leaves_the_same_projection(recipe_path, tmp_path, quiet):
    outcome = train(recipe_path, quiet)
    plain = train(recipe_path, quiet, "shuffled_labels=false", f"output_dir={tmp_path / 'plain'}")
    assert plain.fitted[0].shuffled is None
    assert not (plain.checkpoint / "candidates/linear/labels-shuffled").exists()
    name = "projection.safetensors"
    assert (plain.checkpoint / name).read_bytes() == (outcome.checkpoint / name).read_bytes()


@pytest.mark.slow
def test_command_shows_the_fit_on_shuffled_labels_in_a_row(recipe_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "160")
    assert command(monkeypatch, "run", recipe_path, "projection={family: rotation, centring: 0}") == 0
    shown = capsys.readouterr().out
    assert "rotation, labels shuffled" in shown
    assert "learned nothing from labels" in shown


@pytest.mark.slow
def test_run_with_views_trains_on_more_than_the_recordings(recipe_path, quiet):
    outcome = train(recipe_path, quiet, "augmentation={views: 2, crop_s: 0.6, channel: 0}")
    plain = train(recipe_path, quiet, "output_dir=" + str(outcome.checkpoint.with_name("plain")))
    assert outcome.fitted[0].history[0]["report"] == plain.fitted[0].history[0]["report"]
    assert outcome.fitted[0].history[-1]["loss"] != plain.fitted[0].history[-1]["loss"]


def test_run_on_identities_it_is_judged_on_refuses_and_names_them(recipe_path, voices, quiet):
    with pytest.raises(IdentityOverlapError, match="studio/p020"):
        train(recipe_path, quiet, f"data.train.0.path={voices / 'studio/dev'}")


def test_run_on_one_identity_refuses(recipe_path, tmp_path, quiet):
    write_voices(tmp_path / "one", range(1), 3)
    with pytest.raises(DatasetError, match="at least 2 identities"):
        train(recipe_path, quiet, f"data.train.0.path={tmp_path / 'one'}")


def test_run_at_more_dims_than_the_backbone_has_refuses(recipe_path, quiet):
    with pytest.raises(RecipeError, match="24 components"):
        train(recipe_path, quiet, "dims=[8, 25]")


@pytest.mark.slow
def test_run_lists_a_clip_it_could_not_read(recipe_path, tmp_path, quiet):
    write_voices(tmp_path / "train", range(12), 9)
    (tmp_path / "train/p000/bad.wav").write_bytes(b"RIFF")
    outcome = train(recipe_path, quiet, f"data.train.0.path={tmp_path / 'train'}")
    assert outcome.skipped == 1
    assert "p000/bad.wav" in (outcome.checkpoint / "report.html").read_text()


def test_checkpoint_state_that_is_damaged_refuses(tmp_path):
    folder = CheckpointFolder(tmp_path, "x")
    folder.keep_state({"epoch": 1})
    assert folder.state() == {"epoch": 1}
    (tmp_path / "latest.pt").write_bytes(b"half a file")
    with pytest.raises(CheckpointError, match="cannot be read"):
        folder.prepare()


def test_command_with_an_unknown_key_says_so_and_exits_2(recipe_path, monkeypatch, capsys):
    assert command(monkeypatch, "run", recipe_path, "projektion=1") == 2
    assert "projektion" in capsys.readouterr().err


@pytest.fixture
def bundle(tiny_onnx, tmp_path):
    """A bundle whose graph is the tiny backbone, with a manifest as the export writes it."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    shutil.copy(tiny_onnx, folder / "model.onnx")
    report = dim_report() | {"operating_points": {"1": [{"fmr": 0.1, "threshold": 0.9, "measured": True}]}}
    source = {"name": "made-up", "source": "tests", "version": "1", "sha256": "0" * 64, "licence": "Apache-2.0"}
    manifest = {
        "schema_version": 1,
        "name": "tiny",
        "version": "1",
        "task": "speaker verification",
        "input": {
            "kind": "audio",
            "sample_rate_hz": TINY_INPUT.sample_rate_hz,
            "window_samples": TINY_INPUT.window_samples,
            "hop_samples": TINY_INPUT.hop_samples,
            "context_samples": 0,
            "level_dbfs": -30.0,
        },
        "full_dim": BANDS,
        "dims": [8, BANDS],
        "output": {"kind": "embedding"},
        "per_dim": {str(dim): report for dim in (8, BANDS)},
        "backbone": source,
        "projection": source,
        "datasets": [],
        "libraries": {"onnxruntime": "any"},
        "files": {"model.onnx": hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_evaluate_bundle_prints_what_its_graph_and_thresholds_do(bundle, voices, tmp_path, monkeypatch, capsys):
    data, cache = voices / "street/dev", tmp_path / "cache"
    assert command(monkeypatch, "evaluate", bundle, "--data", data, "--cache-dir", cache, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    loud = [point for point in found["thresholds"] if point["dim"] == 8]
    assert [point["fmr"] for point in loud] == [0.1]
    embeddings = graph_embeddings(bundle, data)
    unit = embeddings[:, :8] / np.linalg.norm(embeddings[:, :8], axis=1, keepdims=True)
    names = [who for _, who in read_folders(data)]
    other = [unit[i] @ unit[j] for i in range(len(names)) for j in range(i) if names[i] != names[j]]
    assert loud[0]["measured_fmr"] == pytest.approx(np.mean(np.array(other) >= 0.9), abs=2e-3)


def graph_embeddings(bundle: Path, data: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(bundle / "model.onnx"), providers=["CPUExecutionProvider"])
    rows = []
    for path, _ in read_folders(data):
        windows = split_windows(soundfile.read(path, dtype="float32")[0], TINY_INPUT)
        rows.append(mean_by_group(session.run(None, {"windows": windows})[0], [len(windows)])[0])
    return np.stack(rows).astype(np.float64)


def test_evaluate_by_group_shows_what_one_threshold_does_to_each(bundle, voices, tmp_path, monkeypatch, capsys):
    clips = read_folders(voices / "street/dev")
    people = sorted({who for _, who in clips})
    ages = {who: 10 * number for number, who in enumerate(people)}  # eight people, so four ranges of two
    rows = [f"{path},{who},{ages[who]}" for path, who in clips]
    (tmp_path / "data.csv").write_text("\n".join(["path,speaker,age", *rows]))
    arguments = ("--data", tmp_path / "data.csv", "--group-by", "age", "--cache-dir", tmp_path / "cache")
    assert command(monkeypatch, "evaluate", bundle, *arguments, "--resamples", 0, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["eer_intervals"] == {}
    at_8 = {entry["group"]: entry for entry in found["groups"] if entry["dim"] == 8}
    assert list(at_8) == ["0-10", "20-30", "40-50", "60-70"]
    embeddings = graph_embeddings(bundle, voices / "street/dev")[:, :8]
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    for group, entry in at_8.items():
        low, high = map(int, group.split("-"))
        own = [number for number, (_, who) in enumerate(clips) if low <= ages[who] <= high]
        pairs = [(unit[i] @ unit[j], clips[i][1] == clips[j][1]) for i in own for j in own if i < j]
        assert (entry["subjects"], entry["mated_pairs"], entry["non_mated_pairs"]) == (2, 12, 16)
        assert [point["threshold"] for point in entry["rates"]] == [0.9]
        assert entry["rates"][0]["measured_fmr"] == pytest.approx(np.mean([s >= 0.9 for s, same in pairs if not same]))
        assert entry["rates"][0]["measured_fnmr"] == pytest.approx(np.mean([s < 0.9 for s, same in pairs if same]))
    assert command(monkeypatch, "evaluate", bundle, *arguments, "--resamples", 20) == 0
    shown = capsys.readouterr().out
    assert "By age, dim 24" in shown
    assert "Detection cost" in shown
    arguments = ("--data", tmp_path / "data.csv", "--group-by", "height")
    assert command(monkeypatch, "evaluate", bundle, *arguments) == 2
    assert "No data set has such a column" in capsys.readouterr().err


def test_evaluate_by_a_column_that_says_two_things_of_a_person_refuses(bundle, tmp_path, monkeypatch, capsys):
    rows = ["1.wav,ann,3", "2.wav,ann,4", "3.wav,bob,3"]
    (tmp_path / "data.csv").write_text("\n".join(["path,speaker,age", *rows]))
    assert command(monkeypatch, "evaluate", bundle, "--data", tmp_path / "data.csv", "--group-by", "age") == 2
    assert "two things of the identity ann" in capsys.readouterr().err


def test_evaluate_bundle_whose_graph_was_changed_refuses(bundle, voices, monkeypatch, capsys):
    (bundle / "model.onnx").write_bytes(b"another")
    assert command(monkeypatch, "evaluate", bundle, "--data", voices / "street/dev") == 2
    assert "not the one its manifest names" in capsys.readouterr().err


def test_evaluate_with_a_cohort_of_the_judged_people_refuses(bundle, voices, tmp_path, monkeypatch, capsys):
    data = voices / "street/dev"
    arguments = ("--data", data, "--cohort", data, "--top", 3, "--cache-dir", tmp_path / "cache")
    assert command(monkeypatch, "evaluate", bundle, *arguments) == 2
    assert "cohort holds" in capsys.readouterr().err


def test_evaluate_with_a_cohort_of_others_shows_as_norm(bundle, voices, tmp_path, monkeypatch, capsys):
    arguments = ("--data", voices / "street/dev", "--cohort", voices / "street/train", "--top", 3, "--json")
    assert command(monkeypatch, "evaluate", bundle, *arguments, "--cache-dir", tmp_path / "cache") == 0
    assert set(json.loads(capsys.readouterr().out)["as_norm"]["dev"]) == {"8", "24"}


def test_evaluate_with_trials_and_a_cohort_of_another_layout_shows_both_on_the_same_pairs(
    bundle, voices, tmp_path, monkeypatch, capsys
):
    people = sorted({who for _, who in read_folders(voices / "street/dev")})
    clips = {who: [path for path, other in read_folders(voices / "street/dev") if other == who] for who in people}
    mated = [f"1 {who}/{clips[who][0].name} {who}/{clips[who][1].name}" for who in people]
    pairs = [(a, b) for a in people for b in people if a < b][:11]
    others = [f"0 {a}/{clips[a][0].name} {b}/{clips[b][2].name}" for a, b in pairs]
    (tmp_path / "trials.txt").write_text("\n".join(mated + others))
    rows = [f"{path},{who}" for path, who in read_folders(voices / "street/train")]
    (tmp_path / "cohort.csv").write_text("\n".join(["file,name", *rows]))
    arguments = ("--data", voices / "street/dev", "--trials", tmp_path / "trials.txt")
    arguments += ("--cohort", tmp_path / "cohort.csv", "--cohort-layout", "csv", "--cohort-path-column", "file")
    arguments += ("--cohort-subject-column", "name", "--top", 3, "--json", "--cache-dir", tmp_path / "cache")
    assert command(monkeypatch, "evaluate", bundle, *arguments) == 0
    found = json.loads(capsys.readouterr().out)
    for report in (found["report"], found["as_norm"]):
        assert (report["dev"]["24"]["mated_pairs"], report["dev"]["24"]["non_mated_pairs"]) == (len(people), 11)


@pytest.mark.slow
def test_compare_checkpoint_and_bundle_on_the_checkpoints_own_data(
    bundle, recipe_path, quiet, tmp_path, monkeypatch, capsys
):
    checkpoint = train(recipe_path, quiet, "projection={family: rotation, centring: 0}").checkpoint
    assert command(monkeypatch, "compare", checkpoint, bundle, "--cache-dir", tmp_path / "cache") == 0
    shown = capsys.readouterr().out
    assert "studio" in shown
    assert "street" in shown
    assert command(monkeypatch, "compare", bundle, checkpoint) == 2
    assert "--data" in capsys.readouterr().err


def test_evaluate_of_a_folder_that_is_neither_refuses(tmp_path, voices, monkeypatch, capsys):
    assert command(monkeypatch, "evaluate", tmp_path, "--data", voices / "street/dev") == 2
    assert "neither a bundle" in capsys.readouterr().err


def test_bench_cache_gives_the_same_accuracy_both_ways(recipe_path, monkeypatch, capsys):
    arguments = ("optimisation.epochs=4", "--threads", 1, "--identities", 6, "--clips-each", 3)
    assert command(monkeypatch, "bench-cache", recipe_path, *arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    (cached,) = [line for line in lines if "cache, filled first" in line]
    (running,) = [line for line in lines if "backbone in every epoch │" in line]
    assert cached.split("│")[3].strip() == running.split("│")[3].strip()
