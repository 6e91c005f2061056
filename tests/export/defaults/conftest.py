"""The default bundles of faces, radio, phonemes and settings, built once for all tests of this folder."""

from pathlib import Path

import pytest
from rich.console import Console

from matchka_export.defaults.assemble import assemble
from matchka_export.defaults.catalogue import DEFAULT_MODELS
from matchka_export.samples import FACES, write_samples
from matchka_train.backbones.face.dlib import DlibFace
from matchka_train.errors import DownloadError
from tests.factories.checkout import ROOT

DOWNLOADS = ROOT / "build" / "downloads"
QUIET = Console(quiet=True)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def equalizer(models: Path) -> Path:
    return DEFAULT_MODELS["equalizer"].build(models / "equalizer", DOWNLOADS, models, QUIET).path


@pytest.fixture(scope="session")
def radio(models: Path) -> Path:
    return DEFAULT_MODELS["radio"].build(models / "radio", DOWNLOADS, models, QUIET).path


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("samples") / "face"
    try:
        write_samples(FACES, target, DOWNLOADS, QUIET)
    except DownloadError as error:
        pytest.skip(f"the pictures are neither in the cache nor to be fetched: {error}")
    return target


@pytest.fixture(scope="session")
def face(models: Path, pictures: Path) -> Path:
    target = models / "face"
    try:
        model = DEFAULT_MODELS["face"]
        assemble(target, DlibFace(DOWNLOADS), model.fitted, model.evidence, DOWNLOADS, pictures, QUIET)
    except DownloadError as error:
        pytest.skip(f"the weights are neither in the cache nor to be fetched: {error}")
    return target


@pytest.fixture(scope="session")
def phonemes(models: Path) -> Path:
    target = models / "phonemes"
    try:
        DEFAULT_MODELS["phonemes"].build(target, DOWNLOADS, Path("no-recordings"), QUIET)
    except DownloadError as error:
        pytest.skip(f"weights or dictionary are neither in the cache nor to be fetched: {error}")
    return target
