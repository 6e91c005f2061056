"""The GE2E weights and real clips, for the tests that cannot do without."""

from pathlib import Path

import pytest

from matchka_train.backbones.speaker.ge2e import Ge2eEncoder, load_encoder


@pytest.fixture(scope="session")
def encoder(ge2e_weights: bytes) -> Ge2eEncoder:
    return load_encoder(ge2e_weights)


@pytest.fixture(scope="session")
def speech_dir(shared_data: Path) -> Path:
    return shared_data / "speech"
