"""Checkpoints whose parts do not belong together, or whose data count twice: refused before anything is written."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from rich.progress import Progress

from matchka.errors import MatchkaError
from matchka_export.checkpoint import read_checkpoint
from matchka_export.run import ExportOptions, export_bundle
from matchka_train.errors import CheckpointError, DuplicateSampleError, IdentityOverlapError
from matchka_train.run.recipe import Recipe
from matchka_train.run.run import run
from tests.factories.recipes import tiny_recipe
from tests.factories.sound_corpora import write_musan, write_rirs_noises
from tests.factories.tiny_backbone import write_tiny_onnx
from tests.factories.voice_folders import write_voices

QUIET = Progress(disable=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small world, and a checkpoint that was trained in it."""
    home = tmp_path_factory.mktemp("world")
    for part, people in (("studio/train", range(12)), ("studio/dev", range(20, 28))):
        write_voices(home / "voices" / part, people, 5)
    for part, people in (("street/train", range(40, 52)), ("street/dev", range(60, 68))):
        write_voices(home / "voices" / part, people, 4, tilt=1.0)
    write_tiny_onnx(home / "tiny.onnx")
    recipe = tiny_recipe(home / "voices", home / "tiny.onnx", home) | {"projection": {"family": "rotation"}}
    found = Recipe.model_validate(recipe)
    run(found, found.backbone.open(), QUIET)
    return home


@pytest.fixture
def world(trained: Path, tmp_path: Path) -> Path:
    """A copy that a test may tamper with; its recipe names the copy's data."""
    home = Path(shutil.copytree(trained, tmp_path / "world"))
    path = home / "checkpoint/recipe.yaml"
    path.write_text(path.read_text().replace(str(trained), str(home)))
    return home


def refused(world: Path, error: type[MatchkaError], named: str) -> None:
    target = world / "models" / "cheat"
    with pytest.raises(error, match=named):
        export_bundle(world / "checkpoint", target, ExportOptions(), Console(quiet=True))
    assert not target.parent.exists()


def change_recipe(world: Path, **data: object) -> None:
    path = world / "checkpoint/recipe.yaml"
    content = yaml.safe_load(path.read_text())
    content["data"] |= data
    path.write_text(yaml.safe_dump(content))


def test_read_checkpoint_when_nothing_was_changed_but_its_place_takes_it(world: Path) -> None:
    checkpoint = read_checkpoint(world / "checkpoint", None, QUIET)
    assert [len(samples) for samples in checkpoint.validation] == [40, 32]
    assert checkpoint.backbone.name == "tiny"


def test_export_when_a_domain_was_struck_out_after_training_refuses(world: Path) -> None:
    content = yaml.safe_load((world / "checkpoint/recipe.yaml").read_text())
    change_recipe(world, validation=content["data"]["validation"][:1])
    refused(world, CheckpointError, "trained with: recipe, validation.1")


def test_export_when_a_training_set_was_struck_out_after_training_refuses(world: Path) -> None:
    content = yaml.safe_load((world / "checkpoint/recipe.yaml").read_text())
    change_recipe(world, train=content["data"]["train"][:1])
    refused(world, CheckpointError, "trained with: recipe, train.1")


def test_export_when_a_clip_was_taken_out_after_training_refuses(world: Path) -> None:
    (world / "voices/street/dev/p060/0.wav").unlink()
    refused(world, CheckpointError, "trained with: validation.1")


def test_export_when_the_projection_names_another_backbone_refuses(world: Path) -> None:
    path = world / "checkpoint/projection.safetensors"
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"]["backbone_sha256"] = json.dumps("1" * 64)
    changed = json.dumps(header).encode()
    path.write_bytes(len(changed).to_bytes(8, "little") + changed + content[8 + size :])
    refused(world, CheckpointError, "fitted on the backbone tiny with sha256 1111")


def test_export_when_training_clips_were_copied_into_validation_under_other_names_refuses(world: Path) -> None:
    shutil.copytree(world / "voices/studio/train/p003", world / "voices/studio/dev/new")
    refused(world, IdentityOverlapError, "5 files are both trained on and validated on")


def test_export_when_every_validation_clip_is_there_twice_refuses(world: Path) -> None:
    for clip in list((world / "voices/studio/dev").rglob("*.wav")):
        shutil.copy(clip, clip.with_name(f"again-{clip.name}"))
    refused(world, DuplicateSampleError, "40 samples")


@pytest.mark.slow
def test_export_of_a_projection_trained_in_noise_and_rooms_names_their_licences(trained: Path, tmp_path: Path) -> None:
    musan, rirs = write_musan(tmp_path / "musan"), write_rirs_noises(tmp_path / "RIRS_NOISES")
    noises = [
        {"name": "MUSAN", "source": "openslr.org/17", "licence": "CC BY 4.0", "layout": "musan", "path": str(musan)},
        {
            "name": "RIRS",
            "source": "openslr.org/28",
            "licence": "Apache-2.0",
            "layout": "rirs_noises",
            "path": str(rirs),
        },
    ]
    recipe = tiny_recipe(trained / "voices", trained / "tiny.onnx", tmp_path)
    changes = {
        "views": 1,
        "recorded_noise": {"folders": [noises[0] | {"snr_db": {"noise": [0, 15], "babble": [13, 20]}}]},
        "rooms": {"folders": [noises[1]]},
    }
    unused = {"recorded_noise": {"folders": [noises[1] | {"name": "unused", "snr_db": {"noise": [0, 15]}}]}}
    recipe |= {"augmentation": changes, "optimisation": {"epochs": 3, "identities_per_batch": 8}}
    recipe["data"]["train"].append(recipe["data"]["train"].pop() | {"augmentation": unused})
    found = Recipe.model_validate(recipe)
    outcome = run(found, found.backbone.open(), QUIET)
    shutil.rmtree(musan)  # what is measured needs none of it
    options = ExportOptions(accept_worse="few people")
    bundle = export_bundle(outcome.checkpoint, tmp_path / "models/noisy", options, Console(quiet=True))
    stated = json.loads((bundle.path / "manifest.json").read_text())["datasets"]
    assert [entry["use"] for entry in stated[:4]] == ["projection fitted"] * 2 + ["validated"] * 2
    assert stated[4:] == [
        {"name": "MUSAN", "source": "openslr.org/17", "licence": "CC BY 4.0", "use": "noise added to training clips"},
        {
            "name": "RIRS",
            "source": "openslr.org/28",
            "licence": "Apache-2.0",
            "use": "room responses of training clips",
        },
    ]
