"""The GE2E weights and real clips, for the tests that cannot do without."""

from pathlib import Path

import pytest
from rich.console import Console

from matchka.errors import DownloadError
from matchka_train.backbones.speaker.ge2e import Ge2eEncoder, load_encoder
from matchka_train.weights.packages import DEFAULT_CACHE_DIR, GE2E_WEIGHTS, read_member

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def ge2e_weights() -> bytes:
    try:
        return read_member(GE2E_WEIGHTS, ROOT / DEFAULT_CACHE_DIR, Console(stderr=True))
    except DownloadError as error:
        pytest.skip(f"the GE2E weights are neither in the cache nor to be fetched: {error}")


@pytest.fixture(scope="session")
def encoder(ge2e_weights: bytes) -> Ge2eEncoder:
    return load_encoder(ge2e_weights)


@pytest.fixture(scope="session")
def speech_dir(shared_data: Path) -> Path:
    return shared_data / "speech"
