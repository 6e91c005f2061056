"""Evidence that counts twice: each way is refused with its own error before anything is written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from matchka_train.errors import (
    CheckpointError,
    DatasetError,
    DuplicateSampleError,
    IdentityOverlapError,
    LookalikeError,
)
from matchka_train.projections.storage import load_projection
from matchka_train.run.data import read_data
from matchka_train.run.recipe import read_recipe
from matchka_train.run.record import record_of, require_same_record
from matchka_train.run.run import run
from tests.factories.voice_folders import RATE_HZ, voice, write_voices

pytestmark = pytest.mark.slow  # whole trainings

CLOSED = "projection={family: rotation}"


@pytest.fixture
def dev(voices: Path, tmp_path: Path) -> Path:
    """The studio's validation people, to be tampered with."""
    return Path(shutil.copytree(voices / "studio/dev", tmp_path / "tampered"))


def copied_under_other_names(train: Path, dev: Path) -> None:
    for number in range(3):
        shutil.copytree(train / f"p{number:03d}", dev / f"new{number}")


def encoded_anew(_train: Path, dev: Path) -> None:
    """Somebody's clip of changing noise, once as it is and once as an mp3 of somebody else's."""
    steps = np.random.default_rng(0).standard_normal(3 * RATE_HZ)
    clip = (0.1 * np.interp(np.arange(steps.size), np.arange(0, steps.size, 800), steps[:30]) * steps).astype(
        np.float32
    )
    soundfile.write(dev / "p020/noise.wav", clip, RATE_HZ)
    soundfile.write(dev / "p021/other.mp3", clip, RATE_HZ)


def same_people_other_clips(_train: Path, dev: Path) -> None:
    for person in range(12):
        (dev / f"new{person}").mkdir()
        for clip in range(100, 110):
            soundfile.write(dev / f"new{person}/{clip}.wav", voice(person, clip, 1.0, 0.0), RATE_HZ)


def every_clip_twice(_train: Path, dev: Path) -> None:
    for clip in list(dev.rglob("*.wav")):
        shutil.copy(clip, clip.with_name(f"again-{clip.name}"))


@pytest.mark.parametrize(
    ("cheat", "error", "named"),
    [
        (copied_under_other_names, IdentityOverlapError, r"15 files .*p00(\d).*new\1"),
        (encoded_anew, DuplicateSampleError, r"1 recordings .*(noise\.wav|other\.mp3).*(noise\.wav|other\.mp3)"),
        (same_people_other_clips, LookalikeError, r"pairs .*studio/p00(\d) and studio/new\1"),
        (every_clip_twice, DuplicateSampleError, "40 samples .*listed twice"),
    ],
)
def test_run_when_validation_is_not_what_it_claims_refuses_and_writes_nothing(
    recipe_path, voices, dev, quiet, cheat: Callable[[Path, Path], None], error, named
):
    cheat(voices / "studio/train", dev)
    recipe = read_recipe(recipe_path, (f"data.validation.0.path={dev}", CLOSED))
    with pytest.raises(error, match=named):
        run(recipe, recipe.backbone.open(), quiet)
    assert not recipe.output_dir.exists()


def test_run_when_rows_have_no_identity_refuses_and_writes_nothing(recipe_path, dev, quiet):
    rows = [(path.relative_to(dev), path.parent.name) for path in sorted(dev.rglob("*.wav"))]
    lines = ["path,speaker", *(f"{path},{'' if who in {'p020', 'p021'} else who}" for path, who in rows)]
    (dev / "clips.csv").write_text("\n".join(lines))
    overrides = (f"data.validation.0.path={dev / 'clips.csv'}", "data.validation.0.layout=csv", CLOSED)
    recipe = read_recipe(recipe_path, overrides)
    with pytest.raises(DatasetError, match="no identity"):
        run(recipe, recipe.backbone.open(), quiet)
    assert not recipe.output_dir.exists()


@pytest.mark.slow
def test_run_when_a_lookalike_is_confirmed_goes_on(recipe_path, voices, dev, quiet):
    same_people_other_clips(voices, dev)
    pairs = [{"first": f"studio/new{n}", "second": f"studio/p{n:03d}", "reason": "twins"} for n in range(12)]
    confirmed = f"data.confirmed_lookalikes={json.dumps(pairs)}"
    recipe = read_recipe(recipe_path, (f"data.validation.0.path={dev}", CLOSED, confirmed))
    assert run(recipe, recipe.backbone.open(), quiet).checkpoint.is_dir()


def record(recipe_path, quiet, *overrides):
    recipe = read_recipe(recipe_path, overrides)
    return record_of(recipe, read_data(recipe.data, None, None, quiet))


@pytest.mark.slow
def test_record_of_a_run_is_that_of_its_recipe_wherever_the_files_are(recipe_path, dev, tmp_path, quiet):
    recipe = read_recipe(recipe_path, (CLOSED,))
    checkpoint = run(recipe, recipe.backbone.open(), quiet).checkpoint
    trained = load_projection(checkpoint / "projection.safetensors")[1].record
    assert set(trained) == {"recipe", "train.0", "train.1", "validation.0", "validation.1"}
    moved = (f"data.validation.0.path={dev}", f"data.cache_dir={tmp_path}", f"output_dir={tmp_path}")
    require_same_record(trained, record(checkpoint / "recipe.yaml", quiet, *moved))


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (("seed=4",), "recipe"),
        (("data.limits={min_speech_s: 0.3}",), "recipe"),
        (("data.validation=[{corpus: studio, domain: studio, layout: folder, path: STUDIO}]",), "recipe, validation.1"),
        (("data.validation.0.clip_parts=2",), "recipe, validation.0"),
    ],
)
def test_record_when_the_recipe_is_another_names_what_differs(recipe_path, voices, quiet, overrides, parts):
    trained = record(recipe_path, quiet)
    changed = [override.replace("STUDIO", str(voices / "studio/dev")) for override in overrides]
    with pytest.raises(CheckpointError, match=rf"trained with: {parts}\. "):
        require_same_record(trained, record(recipe_path, quiet, *changed))


def test_record_when_a_file_or_an_identity_is_another_names_the_data_set(recipe_path, dev, quiet):
    override = f"data.validation.0.path={dev}"
    trained = record(recipe_path, quiet, override)
    (dev / "p020").rename(dev / "p099")
    with pytest.raises(CheckpointError, match=r"trained with: validation\.0\. "):
        require_same_record(trained, record(recipe_path, quiet, override))
    (dev / "p099").rename(dev / "p020")
    require_same_record(trained, record(recipe_path, quiet, override))
    write_voices(dev, range(98, 99), 2)
    with pytest.raises(CheckpointError, match=r"trained with: validation\.0\. "):
        require_same_record(trained, record(recipe_path, quiet, override))


def test_record_when_a_projection_has_none_refuses():
    with pytest.raises(CheckpointError, match="does not say"):
        require_same_record({}, {"recipe": "0" * 64})


def test_confirmed_copies_are_ends_of_paths_in_any_order(recipe_path):
    text = "data.confirmed_copies=[{first: ann/1.wav, second: bob/2.wav, reason: a duet}]"
    data = read_recipe(recipe_path, (text,)).data
    assert data.is_confirmed_copy(Path("/d/bob/2.wav"), Path("/d/ann/1.wav"))
    assert not data.is_confirmed_copy(Path("/d/bob/2.wav"), Path("/d/joann/1.wav"))
    assert not data.is_confirmed_copy(Path("/d/ann/1.wav"), Path("/d/ann/1.wav"))
