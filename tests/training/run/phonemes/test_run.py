"""A whole run on made clips: what it leaves, whom it holds out, and that an interruption does not show."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from matchka_train.backbones.frames.ge2e import Ge2eFrames
from matchka_train.backbones.frames.log_mel import LogMel
from matchka_train.cli.train import app
from matchka_train.datasets.phones import PHONES
from matchka_train.datasets.splits import identity_fold
from matchka_train.errors import CheckpointError, RecipeError
from matchka_train.fitting.ctc.loop import judge_head
from matchka_train.heads.phones.storage import load_head
from matchka_train.run.data import read_data
from matchka_train.run.phonemes.prepared import prepare_clips, require_one_period
from matchka_train.run.phonemes.recipe import PhonemeRecipe
from matchka_train.run.phonemes.run import run_phonemes, shuffle_transcripts
from matchka_train.run.recipe import check_recipe, read_content
from tests.factories.voice_folders import write_voices

pytestmark = pytest.mark.slow  # whole trainings


def said(speaker: int, clip: int) -> tuple[str, str]:
    phones = np.random.default_rng([speaker, clip]).choice(PHONES, 4)
    return (f"text {clip}" if clip == 0 else f"text {speaker}-{clip}"), " ".join(phones)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight speakers to train on and three others, three clips each; the first text of everybody is the same."""
    root = tmp_path_factory.mktemp("spoken")
    write_voices(root, range(11), 3, seconds=0.6)
    with (root / "clips.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "speaker", "split", "text", "phones"])
        for speaker in range(11):
            for clip in range(3):
                place = f"p{speaker:03d}/{clip}.wav"
                writer.writerow([place, f"p{speaker:03d}", "train" if speaker < 8 else "dev", *said(speaker, clip)])
    return root / "clips.csv"


@pytest.fixture
def recipe_file(spoken: Path, tmp_path: Path) -> Path:
    dataset = {"corpus": "made", "domain": "studio", "layout": "csv", "path": str(spoken)}
    content = {
        "task": "phonemes",
        "name": "tiny",
        "encoders": [{"kind": "log_mel", "bands": 8}],
        "data": {
            "train": [dataset | {"where": {"split": "train"}}],
            "held_out": {"fold": 0, "folds": 4},
            "validation": [dataset | {"where": {"split": "dev"}}],
            "cache_dir": str(tmp_path / "cache"),
        },
        "head": {"context": {"kind": "convolution", "width": 8, "layers": 1}},
        "optimisation": {"epochs": 3, "batch_clips": 6, "warmup_epochs": 1, "half_precision": False},
        "shuffled_epochs": 2,
        "output_dir": str(tmp_path / "out"),
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "tiny.yaml"


def recipe_of(path: Path, *overrides: str) -> PhonemeRecipe:
    return check_recipe(path, read_content(path, overrides), PhonemeRecipe)


def run(recipe: PhonemeRecipe, quiet, **options):
    return run_phonemes(recipe, [encoder.open() for encoder in recipe.encoders], quiet, **options)


def test_run_when_it_is_done_leaves_a_head_that_reads_as_the_report_says(recipe_file, quiet):
    recipe = recipe_of(recipe_file)
    report = run(recipe, quiet)
    head, info = load_head(recipe.output_dir / "head.safetensors")
    assert (info.frame_period_s, len(info.classes)) == (pytest.approx(0.03), 40)
    assert set(info.record) == {"recipe", "train.0", "validation.0"}
    encoders = [encoder.open() for encoder in recipe.encoders]
    data = read_data(recipe.data, None, None, quiet)
    prepared = prepare_clips(recipe.data, encoders, data, quiet)
    again = judge_head(head, prepared.reported["studio"])
    written = json.loads((recipe.output_dir / "report.json").read_text())
    assert written["per"]["studio"]["rate"] == pytest.approx(again.rate)
    assert written["per"]["studio, texts not in training"]["clips"] == 9 - 3  # everybody's first text is trained on
    assert written["shuffled"]["epochs"] == 2
    assert report.parts()["studio"].rate == pytest.approx(again.rate)
    assert "Phone error rates" in (recipe.output_dir / "report.html").read_text()
    assert recipe_of(recipe.output_dir / "recipe.yaml") == recipe


def test_prepared_clips_hold_out_whole_speakers_and_keep_transcripts_beside_clips(recipe_file, quiet):
    recipe = recipe_of(recipe_file)
    encoders = [encoder.open() for encoder in recipe.encoders]
    data = read_data(recipe.data, None, None, quiet)
    prepared = prepare_clips(recipe.data, encoders, data, quiet)
    assert len(set(prepared.held_out.subjects)) == 2
    assert not set(prepared.held_out.subjects) & set(prepared.train.subjects)
    expected = {sample.subject for sample in identity_fold(data.train[0], 0, 4, 0)}
    assert set(prepared.held_out.subjects) == expected
    texts = {said(speaker, clip)[0] for speaker in range(8) for clip in range(3)}
    assert {said.text for part in (prepared.train, prepared.held_out) for said in part.transcripts} == texts
    shuffled = shuffle_transcripts(prepared.train, 0)
    assert sorted(said.text for said in shuffled.transcripts) == sorted(
        said.text for said in prepared.train.transcripts
    )
    assert shuffled.transcripts != prepared.train.transcripts
    assert shuffled.encoded == prepared.train.encoded


def test_run_when_repeated_goes_on_and_another_recipe_is_refused(recipe_file, quiet):
    recipe = recipe_of(recipe_file, "shuffled_epochs=0")
    run(recipe, quiet)
    first = (recipe.output_dir / "head.safetensors").read_bytes()
    run(recipe, quiet)  # nothing is left to do
    assert (recipe.output_dir / "head.safetensors").read_bytes() == first
    other = recipe_of(recipe_file, "shuffled_epochs=0", "seed=5")
    with pytest.raises(CheckpointError, match="another recipe"):
        run(other, quiet)
    run(other, quiet, fresh=True)
    assert (recipe.output_dir / "head.safetensors").read_bytes() != first


def test_run_command_when_the_task_is_phonemes_shows_phone_error_rates(recipe_file):
    found = CliRunner().invoke(app, ["run", str(recipe_file), "shuffled_epochs=0"], env={"COLUMNS": "160"})
    assert found.exit_code == 0, found.output
    assert "studio, texts not in training" in found.output
    assert "0 clips skipped" in found.output


def test_run_command_when_there_is_no_such_task_names_those_there_are(recipe_file):
    found = CliRunner().invoke(app, ["run", str(recipe_file), "task=poems"])
    assert isinstance(found.exception, RecipeError)
    assert "embedding, phonemes" in str(found.exception)


def test_encoders_when_their_frames_do_not_fall_together_are_refused():
    with pytest.raises(RecipeError, match="frame periods"):
        require_one_period([Ge2eFrames(), LogMel(mel_frames=2)])


def test_run_when_nobody_is_left_to_train_on_refuses(recipe_file, quiet):
    recipe = recipe_of(recipe_file, "data.held_out={fold: 9, folds: 10}")
    with pytest.raises(RecipeError, match="Nobody is left"):
        run(recipe, quiet)
