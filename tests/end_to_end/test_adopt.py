"""From a name or a file to a bundle that a server serves, with one command."""

import json
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from matchka.bundles.bundle import read_bundle
from matchka_export.adopt.command import adopt_command
from matchka_export.errors import TooLittleDataError
from matchka_train.errors import LicenceError
from matchka_train.run.recipe import read_recipe
from tests.factories.feature_graphs import write_frames_onnx
from tests.factories.hub_server import Hub, serve
from tests.factories.small_server import serving, small_settings
from tests.factories.tiny_backbone import write_tiny_onnx
from tests.factories.voice_folders import RATE_HZ, write_voices

NEARLY_ALIKE = {58, 63, 73}  # made-up people that the tiny backbone takes for others
PEOPLE, CLIPS = [number for number in range(107) if number not in NEARLY_ALIKE], 4
WINDOW = RATE_HZ // 2
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Just enough people: 52 are held out, with 312 mated pairs."""
    folder = tmp_path_factory.mktemp("voices") / "studio"
    for person in PEOPLE:
        write_voices(folder, range(person, person + 1), CLIPS)
    return folder


def adopt(folder: Path, what: str, voices: Path, *more: str) -> Result:
    """Run the command; everything it writes goes below the folder."""
    app = typer.Typer()
    app.command()(adopt_command)
    dirs = {"models": folder / "models", "output": folder / "training", "cache": folder / "cache"}
    places = [text for name, path in dirs.items() for text in (f"--{name}-dir", str(path))]
    return CliRunner().invoke(app, [what, "--data", str(voices), "--threads", "1", *places, *more])


def require_served(folder: Path, name: str, voices: Path) -> None:
    """The bundle answers over HTTP: a recording matches itself, and those of other people do not."""

    def clip(person: int) -> bytes:
        return (voices / f"p{person:03d}" / "0.wav").read_bytes()

    with serving(small_settings(folder)) as server, server.client() as client:
        client.enroll("ada", [clip(0)], name)
        own, *others = [client.verify("ada", clip(person), model=name) for person in range(5)]
    assert own.match
    assert own.similarity == pytest.approx(1.0, abs=1e-5)
    assert not any(other.match for other in others)


def test_adopt_a_file_ends_in_a_bundle_that_is_served(tmp_path: Path, voices: Path) -> None:
    write_tiny_onnx(tmp_path / "tiny.onnx")
    more = (
        "--sample-rate",
        str(RATE_HZ),
        "--licence",
        "MIT",
        "--set",
        "optimisation.epochs=3",
        "--set",
        "dims=[8, 24]",
    )
    done = adopt(tmp_path, str(tmp_path / "tiny.onnx"), voices, *more)
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert all(cell in said for cell in ("50 people, 300 mated pairs", "208", "312", "bytes per template"))
    assert said.index("312") < said.index("epoch 0")  # before it starts
    bundle = read_bundle(tmp_path / "models" / "tiny")
    assert bundle.manifest.backbone.licence == "MIT"
    require_served(tmp_path, "tiny", voices)
    # what it wrote is a recipe that training reads, and the same command goes on from all that is there
    recipe = tmp_path / "training" / "adopt.yaml"
    assert read_recipe(recipe) == read_recipe(tmp_path / "training" / "recipe.yaml")
    cached = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    again = adopt(tmp_path, str(tmp_path / "tiny.onnx"), voices, *more)
    assert again.exit_code == 0, again.output
    assert cached
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")} == cached
    assert read_bundle(tmp_path / "models" / "tiny").manifest.version == bundle.manifest.version


def with_catalogue(downloads: Path, hub: Hub) -> None:
    """A catalogue of one's own: a network that takes mel frames, on a server of this machine."""
    window = {"sample_rate_hz": RATE_HZ, "window_samples": WINDOW, "hop_samples": WINDOW // 2}
    spec = {"kind": "audio", **window, "context_samples": 0, "level_dbfs": -30.0}
    entry = {
        "name": "mel-net",
        "kind": "onnx",
        "title": "Mel net",
        "source": "this machine",
        "version": "1",
        "licence": "CC-BY-4.0",
        "terms": "Name its makers.",
        "backbone": {"name": "mel-net", "input": spec, "front_end": {"kind": "kaldi_fbank"}, "embedding_dim": 32},
        "files": [{"name": "mel.onnx", "url": hub.url}],
    }
    downloads.mkdir()
    (downloads / "catalogue.yaml").write_text(yaml.safe_dump([entry]), encoding="utf-8")


def test_adopt_a_name_asks_for_the_licence_fetches_and_ends_in_a_bundle_that_is_served(
    tmp_path: Path, voices: Path
) -> None:
    write_frames_onnx(tmp_path / "theirs.onnx", dim=32)
    downloads = tmp_path / "downloads"
    more = (
        "--downloads-dir",
        str(downloads),
        "--set",
        "projection.family=whitening",
        "--set",
        "dims=[4, 32]",
        "--seed",
        "1",
    )
    hub = Hub(content=(tmp_path / "theirs.onnx").read_bytes(), behaviours=["truncate", "500", "range"])
    with serve(hub):
        with_catalogue(downloads, hub)
        refused = adopt(tmp_path, "mel-net", voices, *more)
        assert isinstance(refused.exception, LicenceError)
        assert "--accept-licence" in refused.exception.remedy
        assert "Name its makers." in refused.output
        assert hub.requests == []
        done = adopt(tmp_path, "mel-net", voices, *more, "--accept-licence")
        assert done.exit_code == 0, (done.output, done.exception)
        assert len(hub.requests) == 3
    manifest = read_bundle(tmp_path / "models" / "mel-net").manifest
    assert (manifest.backbone.name, manifest.backbone.licence) == ("Mel net", "CC-BY-4.0")
    record = json.loads((downloads / "hub" / "weights.lock.json").read_text())["mel-net"]["mel.onnx"]
    assert record["sha256"] == manifest.backbone.sha256
    require_served(tmp_path, "mel-net", voices)


def test_adopt_when_people_are_too_few_says_so_before_anything_is_fetched(tmp_path: Path) -> None:
    write_voices(tmp_path / "few", range(6), 2, seconds=0.1)
    with serve(Hub()) as hub:
        with_catalogue(tmp_path / "downloads", hub)
        downloads = str(tmp_path / "downloads")
        done = adopt(tmp_path, "mel-net", tmp_path / "few", "--downloads-dir", downloads, "--accept-licence")
    assert isinstance(done.exception, TooLittleDataError)
    assert hub.requests == []
    assert not (tmp_path / "training").exists()
