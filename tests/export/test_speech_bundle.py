"""A small WavLM through training, the exporter and the service, on real speech: its layers' weights are learned."""

import csv
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from rich.console import Console
from rich.progress import Progress

from matchka.bundles.bundle import Bundle
from matchka.client import Client
from matchka.errors import RequestFailedError
from matchka.vectors import truncate_and_normalise
from matchka_export.run import ExportOptions, export_bundle
from matchka_train.backbones.speaker.transformer.folder import load_transformer, read_speech_facts
from matchka_train.errors import RecipeError
from matchka_train.projections.storage import load_projection
from matchka_train.run.recipe import read_recipe
from matchka_train.run.run import run
from tests.factories.server_process import start, stop
from tests.factories.tiny_speech import HIDDEN, LAYERS, save_tiny

pytest.importorskip("transformers", reason="the library of the networks is not installed (pip install '.[research]')")
pytestmark = pytest.mark.shared_data
DIMS = (8, 32)
WINDOW, HOP = 16_000, 12_000
SPEAKERS, CLIPS = 8, 3


def clips_of(speech: Path, split: str) -> list[tuple[str, str]]:
    with (speech / "utterances.csv").open(encoding="utf-8", newline="") as file:
        rows = sorted((row for row in csv.DictReader(file) if row["split"] == split), key=lambda row: row["speaker"])
    speakers = [list(group)[:CLIPS] for _, group in groupby(rows, key=lambda row: row["speaker"])]
    return [(str(speech / row["path"]), row["speaker"]) for clips in speakers[:SPEAKERS] for row in clips]


@dataclass(frozen=True)
class Trained:
    """What the module's tests share."""

    network: Path
    checkpoint: Path
    recipe: Path
    clip: Path


@pytest.fixture(scope="module")
def trained(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """`matchka-train run` on a few speakers."""
    home = tmp_path_factory.mktemp("wavlm")
    network = save_tiny(home / "network", "wavlm")
    for split in ("train", "dev"):
        with (home / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("path", "speaker"), *clips_of(shared_data / "speech", split)])
    dataset = {"corpus": "speechocean762", "domain": "read-english", "layout": "csv"}
    recipe = {
        "name": "tiny-wavlm",
        "dims": list(DIMS),
        "backbone": {
            "kind": "speech_transformer",
            "path": str(network),
            "layers": "apart",
            "window_s": WINDOW / 16_000,
            "hop_s": HOP / 16_000,
            "licence": "made up",
        },
        "data": {
            "train": [dataset | {"path": str(home / "train.csv")}],
            "validation": [dataset | {"path": str(home / "dev.csv")}],
            "cache_dir": str(home / "cache"),
        },
        "projection": {"family": "layer_sum", "layers": LAYERS},
        "loss": {"kind": "pairwise_logistic"},
        "optimisation": {"epochs": 3, "identities_per_batch": 8, "clips_per_identity": 3},
        "output_dir": str(home / "checkpoint"),
    }
    path = home / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    value = read_recipe(path)
    outcome = run(value, value.backbone.open(), Progress(disable=True), fresh=True)
    return Trained(network, outcome.checkpoint, path, Path(clips_of(shared_data / "speech", "dev")[0][0]))


@pytest.fixture(scope="module")
def bundle(trained: Trained) -> Bundle:
    target = trained.recipe.parent / "models" / "voice-wavlm"
    return export_bundle(trained.checkpoint, target, ExportOptions(accept_worse="random weights"), Console(quiet=True))


@pytest.fixture(scope="module")
def client(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    models = tmp_path_factory.mktemp("served") / "models"
    shutil.copytree(bundle.path, models / bundle.path.name)
    server = start(models, models.parent / "data")
    yield server.client()
    stop(server.process)


def embedded_by_hand(clip: np.ndarray, trained: Trained) -> np.ndarray:
    """Level, windows, and each window alone and without padding through the published code; then loops."""
    rms = np.sqrt(np.mean(clip.astype(float) ** 2))
    clip = clip.astype(float) * max(1.0, 10 ** (-30 / 20) / rms)
    model = load_transformer(trained.network, read_speech_facts(trained.network))
    state = load_projection(trained.checkpoint / "projection.safetensors")[0].state_dict()
    weights, matrix, offset = (state[name].numpy() for name in ("layer_sum.weights", "affine.weight", "affine.bias"))
    outputs = []
    for begin in range(0, max(1, clip.size - WINDOW + HOP), HOP):
        window = clip[begin : begin + WINDOW]
        window = (window - window.mean()) / np.sqrt(window.var() + 1e-7)
        with torch.inference_mode():
            output = model(torch.tensor(window[None], dtype=torch.float32), output_hidden_states=True)
        pooled = np.zeros(2 * HIDDEN)
        for weight, hidden in zip(weights, output.hidden_states, strict=True):
            frames = hidden[0].numpy().astype(float)
            row = np.concatenate([frames.mean(axis=0), frames.std(axis=0)])
            pooled += weight * row / np.sqrt(np.sum(row**2))
        outputs.append(matrix.astype(float) @ pooled + offset)
    mean = np.mean(outputs, axis=0)
    return mean / np.sqrt(np.sum(mean**2))


def test_run_when_layers_are_apart_learns_their_weights(trained: Trained) -> None:
    projection, info = load_projection(trained.checkpoint / "projection.safetensors")
    weights = projection.state_dict()["layer_sum.weights"]
    assert (info.kind, info.backbone) == ("layer_sum", "wavlm-layers")
    assert weights.shape == (LAYERS,)
    assert float(weights.sum()) == pytest.approx(1.0, abs=1e-6)


def test_embed_of_real_and_cut_clips_equals_the_published_code_at_each_dim(
    client: Client, bundle: Bundle, trained: Trained
) -> None:
    clip, rate_hz = soundfile.read(trained.clip, dtype="float32")
    assert rate_hz == 16_000
    assert clip.size > 40_000
    centre = int(np.abs(clip).argmax())  # cut about a loud place: an end may hold too little speech
    for samples in (9_001, 16_000, 16_001, 40_000):
        path = trained.recipe.parent / f"{samples}.wav"
        begin = min(max(0, centre - samples // 2), clip.size - samples)
        soundfile.write(path, clip[begin : begin + samples], rate_hz, subtype="FLOAT")
        expected = embedded_by_hand(clip[begin : begin + samples], trained).astype(np.float32)
        for dim in DIMS:
            found = client.embed([path], bundle.manifest.name, dim=dim).embeddings[0]
            np.testing.assert_allclose(found, truncate_and_normalise(expected[None], dim)[0], atol=2e-4)


def test_embed_of_a_clip_without_a_frame_is_refused(client: Client, bundle: Bundle, trained: Trained) -> None:
    path = trained.recipe.parent / "short.wav"
    soundfile.write(path, 0.1 * np.ones(80, np.float32), 16_000)
    with pytest.raises(RequestFailedError) as refused:
        client.embed([path], bundle.manifest.name)
    assert (refused.value.status, refused.value.code) == (422, "too_little_speech")


def test_read_recipe_when_layers_are_apart_and_nothing_sums_them_refuses(trained: Trained) -> None:
    with pytest.raises(RecipeError, match="belong together"):
        read_recipe(trained.recipe, ("projection={family: linear}",))
    with pytest.raises(RecipeError, match="belong together"):
        read_recipe(trained.recipe, ("backbone.layers=sum",))
