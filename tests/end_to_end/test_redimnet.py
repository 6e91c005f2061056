"""The ReDimNet recipe from a checkpoint to answers over HTTP; weights are random, so nothing is said about accuracy."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from rich.console import Console
from rich.progress import Progress

from matchka.bundles.bundle import Bundle
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.modalities.audio.decoding import AudioLimits, read_clip
from matchka.modalities.audio.windows import split_windows
from matchka_export.errors import GateError
from matchka_export.run import ExportOptions, export_bundle
from matchka_train.projections.storage import load_projection
from matchka_train.run.recipe import Recipe, read_recipe
from matchka_train.run.run import run
from tests.factories.checkout import ROOT
from tests.factories.redimnet_files import save_checkpoint
from tests.factories.server_process import RunningServer, start, stop
from tests.factories.voice_folders import write_voices

RECIPE = ROOT / "training/matchka_train/recipes/redimnet.yaml"
QUIET = Console(quiet=True)
DIMS = (64, 128, 192, 256)


def test_recipe_when_read_as_shipped_asks_for_the_reference_head() -> None:
    recipe = read_recipe(RECIPE)
    assert recipe.dims == DIMS
    assert (recipe.loss.kind, recipe.loss.margin, recipe.loss.scale) == ("aam_softmax", 0.2, 30.0)
    assert recipe.projection.model_dump() == {"family": "linear", "batch_norm": True, "dropout": 0.1}
    assert recipe.augmentation.crop_s == 3.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("redimnet")
    save_checkpoint(folder / "tiny.pt", "tiny")
    write_voices(folder / "train", range(8), 4, seconds=3.5)
    write_voices(folder / "dev", range(20, 26), 4, seconds=3.5)
    return folder


@pytest.fixture(scope="module")
def recipe(home: Path) -> Recipe:
    """The shipped recipe on another checkpoint and other voices."""

    def data(part: str) -> str:
        return f"[{{corpus: made, domain: made, layout: folder, path: {home / part}}}]"

    return read_recipe(
        RECIPE,
        (
            f"backbone.path={home / 'tiny.pt'}",
            "backbone.licence=MIT",
            f"data.train={data('train')}",
            f"data.validation={data('dev')}",
            f"data.cache_dir={home / 'features'}",
            "optimisation.epochs=6",
            "optimisation.identities_per_batch=8",
            f"output_dir={home / 'checkpoint'}",
        ),
    )


@pytest.fixture(scope="module")
def bundle(recipe: Recipe, home: Path) -> Bundle:
    with Progress(console=QUIET) as progress:
        outcome = run(recipe, recipe.backbone.open(), progress)
    assert outcome.fitted[0].history[-1]["loss"] < outcome.fitted[0].history[1]["loss"]
    options = ExportOptions(accept_worse="random weights")
    try:
        return export_bundle(outcome.checkpoint, home / "models" / "voice", options, QUIET)
    except GateError as error:  # pragma: no cover - says what went wrong
        pytest.fail(str(error))


@pytest.fixture(scope="module")
def server(bundle: Bundle, home: Path) -> Iterator[RunningServer]:
    running = start(bundle.path.parent, home / "data")
    yield running
    stop(running.process)


def test_bundle_when_built_names_window_dims_and_checkpoint(bundle: Bundle, recipe: Recipe) -> None:
    manifest = bundle.manifest
    assert manifest.output(EmbeddingOutput).dims == DIMS
    assert (manifest.input.window_samples, manifest.input.hop_samples) == (48_000, 24_000)
    assert manifest.backbone.sha256 == recipe.backbone.open().source.sha256
    assert manifest.backbone.licence == "MIT"


def test_service_when_given_a_clip_embeds_what_torch_and_the_projection_give(
    server: RunningServer, recipe: Recipe, home: Path
) -> None:
    path = home / "dev/p020/0.wav"
    backbone = recipe.backbone.open()
    projection, _ = load_projection(home / "checkpoint/projection.safetensors")
    windows = split_windows(read_clip(path.read_bytes(), 16_000, AudioLimits(60, 0.1)), backbone.input)
    assert len(windows) == 2
    with torch.inference_mode():
        mean = projection(backbone.module()(torch.tensor(windows))).numpy().astype(np.float64).mean(axis=0)
    for dim in DIMS:
        expected = mean[:dim] / np.sqrt(sum(x * x for x in mean[:dim]))
        found = server.client().embed([path], dim=dim).embeddings[0]
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_service_when_asked_who_spoke_answers(server: RunningServer, home: Path, voice_samples: Path) -> None:
    client = server.client()
    for person in ("librivox", "cards"):  # made voices are no speech, and are not enrolled
        client.enroll(f"redim:{person}", list(sorted((voice_samples / person).glob("*.wav"))[:3]))
    first = min((voice_samples / "librivox").glob("*.wav"))
    assert client.verify("redim:librivox", first).similarity > 0.5
    short = home / "short.wav"  # shorter than a window
    samples, rate = soundfile.read(home / "dev/p020/0.wav", dtype="float32")
    soundfile.write(short, samples[:rate], rate)
    assert len(client.embed([short]).embeddings[0]) == DIMS[-1]
