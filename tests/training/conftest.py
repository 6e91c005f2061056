"""A tiny world to train in: synthetic voices, a spectrum as the frozen backbone, and recipes over both."""

from pathlib import Path

import pytest
import yaml
from rich.console import Console
from rich.progress import Progress

from matchka_train.errors import DownloadError
from matchka_train.weights.package_catalogue import GE2E_WEIGHTS
from matchka_train.weights.packages import DEFAULT_CACHE_DIR, read_member
from tests.factories.checkout import ROOT
from tests.factories.recipes import tiny_recipe
from tests.factories.tiny_backbone import write_tiny_onnx
from tests.factories.voice_folders import write_voices


@pytest.fixture(scope="session")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """studio/{train,dev} and street/{train,dev}: a folder per identity, no identity in two of them."""
    root = tmp_path_factory.mktemp("voices")
    write_voices(root / "studio/train", range(12), 5)
    write_voices(root / "studio/dev", range(20, 28), 5)
    write_voices(root / "street/train", range(40, 52), 4, tilt=1.0)
    write_voices(root / "street/dev", range(60, 68), 4, tilt=1.0)
    return root


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny backbone as an ONNX file."""
    path = tmp_path_factory.mktemp("backbone") / "tiny.onnx"
    write_tiny_onnx(path)
    return path


@pytest.fixture
def recipe_path(voices: Path, tiny_onnx: Path, tmp_path: Path) -> Path:
    """A recipe over the tiny world; tests override what they are about."""
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(tiny_recipe(voices, tiny_onnx, tmp_path)))
    return path


@pytest.fixture
def quiet() -> Progress:
    return Progress(disable=True)


@pytest.fixture(scope="session")
def ge2e_weights() -> bytes:
    try:
        return read_member(GE2E_WEIGHTS, ROOT / DEFAULT_CACHE_DIR, Console(stderr=True))
    except DownloadError as error:
        pytest.skip(f"the GE2E weights are neither in the cache nor to be fetched: {error}")
