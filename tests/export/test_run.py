"""Whole exports on real speech: what is not worse ships, what is worse does not, whatever it says of itself."""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.progress import Progress

from matchka.bundles.bundle import read_bundle
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.bundles.scorers import open_scorer
from matchka.errors import MatchkaError
from matchka.inference.session import OrtSession
from matchka_export.errors import GateError
from matchka_export.run import ExportOptions, export_bundle, export_shipped
from matchka_train.backbones.speaker.ge2e import Ge2e
from matchka_train.datasets.recipe import DatasetRecipe
from matchka_train.datasets.sample import Sample
from matchka_train.errors import IdentityOverlapError
from matchka_train.features.extraction import extract_features
from matchka_train.features.features import Features
from matchka_train.judging.judge import Conditions, judge
from matchka_train.judging.models import open_model
from matchka_train.projections.affine import AffineProjection
from matchka_train.projections.storage import ProjectionInfo
from tests.factories.checkout import ROOT
from tests.factories.checkpoints import write_checkpoint

UNCHANGED = AffineProjection(np.eye(256, dtype=np.float32), np.zeros(256, np.float32))
pytestmark = pytest.mark.shared_data
QUIET = Console(quiet=True)
SPEAKERS, CLIPS = 60, 4  # fewer people or pairs decide nothing
Rows = list[tuple[str, str]]


def rows_of(speech: Path, split: str) -> Rows:
    """The first clips of the first speakers of a split: (absolute path, speaker)."""
    with (speech / "utterances.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    speakers = sorted({row["speaker"] for row in rows})[:SPEAKERS]
    per_speaker = {speaker: [row for row in rows if row["speaker"] == speaker][:CLIPS] for speaker in speakers}
    return [(str(speech / row["path"]), speaker) for speaker in speakers for row in per_speaker[speaker]]


@pytest.fixture(scope="module")
def speech(shared_data: Path) -> Path:
    return shared_data / "speech"


@pytest.fixture(scope="module")
def backbone() -> Ge2e:
    found = Ge2e(ROOT / "build" / "downloads")
    try:
        found.module()
    except MatchkaError as error:
        pytest.skip(f"the GE2E weights are neither in the cache nor to be fetched: {error}")
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, speech: Path) -> Path:
    """A folder with manifests of a few real speakers, and a feature cache all tests share."""
    folder = tmp_path_factory.mktemp("home")
    for split in ("train", "dev"):
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("path", "speaker"), *rows_of(speech, split)])
    return folder


@pytest.fixture(scope="module")
def train_features(home: Path, speech: Path, backbone: Ge2e) -> Features:
    samples = [Sample(Path(path), speaker, "read-english") for path, speaker in rows_of(speech, "train")]
    with Progress(console=QUIET) as progress:
        return extract_features(samples, backbone, home / "cache", progress, {})


def save_checkpoint(
    folder: Path,
    home: Path,
    backbone: Ge2e,
    projection: AffineProjection,
    validation: str = "dev",
    backbone_recipe: dict[str, object] | None = None,
    scorer: str = "cosine",
) -> Path:
    """A checkpoint as training leaves it; `backbone_recipe` is the recipe of another backbone than GE2E."""
    full_dim = projection.weight.shape[0]
    sha256 = str(backbone_recipe["sha256"]) if backbone_recipe else backbone.source.sha256
    info = ProjectionInfo(
        "whitening", "affine", (full_dim,), str((backbone_recipe or {"name": backbone.name})["name"]), sha256, ()
    )
    data = {"corpus": "speechocean762", "domain": "read-english", "layout": "csv"}
    recipe = {
        "name": "voice",
        "dims": [full_dim],
        "backbone": backbone_recipe or {"kind": "ge2e", "downloads_dir": str(backbone.downloads)},
        "data": {
            "train": [data | {"path": str(home / "train.csv")}],
            "validation": [data | {"path": str(home / f"{validation}.csv")}],
            "cache_dir": str(home / "cache"),
        },
        "projection": {"family": "whitening"},
        "scorer": {"kind": scorer},
        "output_dir": str(folder),
    }
    write_checkpoint(folder, recipe, projection, info)
    return folder


@pytest.fixture(scope="module")
def shuffled(train_features: Features) -> AffineProjection:
    """Trained to tell people apart by labels that were shuffled: it learns them by heart and nothing else."""
    torch.manual_seed(0)
    pooled = torch.tensor(train_features.pooled())
    labels = torch.tensor(np.unique(train_features.subjects, return_inverse=True)[1])[torch.randperm(len(pooled))]
    projection, head = torch.nn.Linear(256, 16), torch.nn.Linear(16, SPEAKERS)
    optimiser = torch.optim.Adam([*projection.parameters(), *head.parameters()], lr=0.02)
    for _ in range(300):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(head(projection(pooled)), labels)
        loss.backward()
        optimiser.step()
    assert loss.item() < 1.5, "the loss looks splendid; that is the point"
    return AffineProjection(projection.weight.detach().numpy(), projection.bias.detach().numpy())


@pytest.fixture(scope="module")
def good(home: Path, backbone: Ge2e) -> Path:
    checkpoint = save_checkpoint(home / "good", home, backbone, UNCHANGED)
    (checkpoint / "report.html").write_text("a page")
    (checkpoint / "plots").mkdir()
    (checkpoint / "plots" / "det.png").write_bytes(b"a plot")
    return checkpoint


@pytest.fixture(scope="module")
def good_bundle(good: Path, home: Path) -> Path:
    return export_bundle(good, home / "models" / "good", ExportOptions(), QUIET).path


@pytest.fixture(scope="module")
def backbone_recipe(backbone: Ge2e, good_bundle: Path) -> dict[str, object]:
    """GE2E itself as somebody's ONNX file, which a projection that changes nothing left as it was: not traced again."""
    theirs = good_bundle / "model.onnx"
    return {
        "kind": "onnx",
        "path": str(theirs),
        "sha256": hashlib.sha256(theirs.read_bytes()).hexdigest(),
        "name": "theirs",
        "input": {name: value for name, value in dict(backbone.input).items() if name != "kind"},
        "embedding_dim": 256,
        "licence": "Apache-2.0",
    }


def test_export_bundle_when_projection_changes_nothing_writes_a_bundle_with_its_plots(good_bundle: Path) -> None:
    manifest = read_bundle(good_bundle).manifest
    report = json.loads((good_bundle / "report.json").read_text())
    assert manifest.accepted_worse is None
    assert (
        manifest.output(EmbeddingOutput).per_dim["256"].metrics
        == manifest.output(EmbeddingOutput).per_dim["256"].backbone_metrics
    )
    gate = report["per_dim"]["256"]["gate"]["read-english"]
    assert gate["upper"] == pytest.approx(0.0, abs=1e-9)
    assert (gate["subjects"], gate["mated_pairs"], gate["verdict"]) == (SPEAKERS, SPEAKERS * 6, "passed")
    assert manifest.output(EmbeddingOutput).per_dim["256"].gate["read-english"].model_dump() == gate
    assert report["parity"] <= 1e-4
    assert set(manifest.files) == {"model.onnx", "speech.onnx", "report.json", "training_report.html", "plots/det.png"}


def test_export_with_two_covariances_measures_and_ships_a_scorer_of_the_training_identities(
    home: Path, backbone: Ge2e, backbone_recipe: dict[str, object], good_bundle: Path, tmp_path: Path
) -> None:
    checkpoint = save_checkpoint(
        home / "scored", home, backbone, UNCHANGED, backbone_recipe=backbone_recipe, scorer="two_covariance"
    )
    # two covariances of 256 components by 240 clips are worse than none, and the gate says so
    options = ExportOptions(accept_worse="fitted on few people")
    bundle = export_bundle(checkpoint, tmp_path / "scored", options, QUIET)
    report = bundle.manifest.output(EmbeddingOutput).per_dim["256"]
    gate = report.gate["read-english"]
    assert (gate.verdict, gate.eer) == ("refused", pytest.approx(report.metrics["read-english"].eer, abs=1e-9))
    by_cosine = read_bundle(good_bundle).manifest.output(EmbeddingOutput).per_dim["256"]
    assert report.metrics["read-english"] != by_cosine.metrics["read-english"]
    assert report.backbone_metrics == by_cosine.backbone_metrics  # the frozen backbone has no scorer
    data = [DatasetRecipe(corpus="x", domain="read-english", layout="csv", path=home / "dev.csv")]
    with Progress(console=QUIET) as progress:
        judged = judge(open_model(bundle.path), data, Conditions(home / "cache", 0), progress)
    assert judged.report["read-english"][256].eer == pytest.approx(report.metrics["read-english"].eer, abs=1e-3)
    evidence = json.loads((bundle.path / "report.json").read_text())
    assert evidence["scorer_sha256"] == {"scorer.npz": bundle.manifest.files["scorer.npz"]}
    scorer = open_scorer(bundle.path, bundle.manifest)
    with np.load(bundle.path / "scorer.npz") as stored:
        assert stored["within"].shape == (256, 256)
    assert not scorer.is_cosine


def test_export_bundle_when_labels_were_shuffled_refuses_though_it_carries_good_metrics(
    home: Path, backbone: Ge2e, backbone_recipe: dict[str, object], shuffled: AffineProjection, good_bundle: Path
) -> None:
    """The checkpoint brings another one's report, plots and all: nothing of it is read."""
    checkpoint = save_checkpoint(home / "shuffled", home, backbone, shuffled, backbone_recipe=backbone_recipe)
    (checkpoint / "report.json").write_bytes((good_bundle / "report.json").read_bytes())
    with pytest.raises(GateError, match="read-english at dim 16: EER") as caught:
        export_bundle(checkpoint, home / "models" / "bad", ExportOptions(), QUIET)
    assert "Nothing was written" in caught.value.remedy
    assert [path.name for path in (home / "models").iterdir()] == ["good"]


def test_export_shipped_when_worse_refuses_whatever_the_reason(
    home: Path, backbone: Ge2e, backbone_recipe: dict[str, object], shuffled: AffineProjection, tmp_path: Path
) -> None:
    checkpoint = save_checkpoint(home / "unshipped", home, backbone, shuffled, backbone_recipe=backbone_recipe)
    with pytest.raises(GateError):
        export_shipped(checkpoint, tmp_path / "shipped", ExportOptions(accept_worse="because"), QUIET)
    assert list(tmp_path.iterdir()) == []


def test_export_bundle_when_worse_is_accepted_writes_the_reason(
    home: Path,
    backbone: Ge2e,
    backbone_recipe: dict[str, object],
    shuffled: AffineProjection,
    good_bundle: Path,
    tmp_path: Path,
) -> None:
    checkpoint = save_checkpoint(home / "accepted", home, backbone, shuffled, backbone_recipe=backbone_recipe)
    bundle = export_bundle(checkpoint, tmp_path / "worse", ExportOptions(accept_worse="to show what it does"), QUIET)
    assert bundle.manifest.accepted_worse == "to show what it does"
    raw_eer = (
        read_bundle(good_bundle).manifest.output(EmbeddingOutput).per_dim["256"].backbone_metrics["read-english"].eer
    )
    assert bundle.manifest.output(EmbeddingOutput).per_dim["16"].metrics["read-english"].eer > 1.5 * raw_eer


def test_export_bundle_when_float16_measures_its_own_graph(good: Path, good_bundle: Path, tmp_path: Path) -> None:
    bundle = export_bundle(good, tmp_path / "half", ExportOptions(float16=True), QUIET)
    full = read_bundle(good_bundle)
    assert bundle.graph_path.stat().st_size < 0.7 * full.graph_path.stat().st_size
    assert bundle.manifest.version != full.manifest.version
    half_eer = bundle.manifest.output(EmbeddingOutput).per_dim["256"].metrics["read-english"].eer
    assert half_eer == pytest.approx(
        full.manifest.output(EmbeddingOutput).per_dim["256"].metrics["read-english"].eer, abs=0.01
    )
    windows = np.random.default_rng(0).standard_normal((2, 25_840)).astype(np.float32) * 0.03
    both = [
        OrtSession(path, "windows", (25_840,), {"embeddings": (256,)}, 1).run(windows)["embeddings"]
        for path in (bundle.graph_path, full.graph_path)
    ]
    assert 1e-7 < float(np.abs(both[0] - both[1]).max()) < 5e-3  # rounded weights do show, a little


def test_export_bundle_when_cached_features_were_altered_measures_the_backbone_anew(
    good: Path, good_bundle: Path, home: Path, speech: Path, backbone: Ge2e, tmp_path: Path
) -> None:
    """Noise as the frozen backbone's features, with hashes that fit: beside that, anything would look good."""
    samples = [Sample(Path(path), speaker, "read-english") for path, speaker in rows_of(speech, "dev")]
    with Progress(console=QUIET) as progress:
        extract_features(samples, backbone, home / "cache", progress, {})
    for stored in (home / "cache").glob("*/lists/*/windows.npy"):
        noise = np.random.default_rng(0).standard_normal(np.load(stored).shape).astype(np.float32)
        np.save(stored, noise)
        index = json.loads((stored.parent / "index.json").read_text())
        pieces = np.split(noise, np.cumsum(index["window_counts"])[:-1])
        index["rows_sha256"] = [hashlib.sha256(rows.tobytes()).hexdigest() for rows in pieces]
        (stored.parent / "index.json").write_text(json.dumps(index))
    with Progress(console=QUIET) as progress:
        altered = extract_features(samples, backbone, home / "cache", progress, {})
    assert np.abs(altered.windows).max() > 2, "the cache itself was taken in"
    honest, found = (
        read_bundle(path).manifest.output(EmbeddingOutput).per_dim["256"].backbone_metrics
        for path in (good_bundle, export_bundle(good, tmp_path / "again", ExportOptions(), QUIET).path)
    )
    assert found == honest
    shutil.rmtree(home / "cache")


def test_export_bundle_when_identities_overlap_refuses(home: Path, backbone: Ge2e) -> None:
    checkpoint = save_checkpoint(home / "overlap", home, backbone, UNCHANGED, validation="train")
    with pytest.raises(IdentityOverlapError, match="trained on and validated on"):
        export_bundle(checkpoint, home / "models" / "overlap", ExportOptions(), QUIET)
    assert not (home / "models" / "overlap").exists()


@pytest.mark.usefixtures("good_bundle")
def test_export_bundle_when_backbone_is_brought_as_a_file_measures_the_same(
    home: Path, backbone: Ge2e, backbone_recipe: dict[str, object], tmp_path: Path
) -> None:
    """With another projection behind it."""
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((256, 256)))[0].astype(np.float32)
    rotation = AffineProjection(turn, np.zeros(256, np.float32))
    checkpoint = save_checkpoint(home / "brought", home, backbone, rotation, backbone_recipe=backbone_recipe)
    manifest = export_bundle(checkpoint, tmp_path / "models" / "brought", ExportOptions(), QUIET).manifest
    assert manifest.backbone.licence == "Apache-2.0"
