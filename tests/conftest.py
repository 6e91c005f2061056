"""Fixtures shared by all tests: real data, the real default bundle, and real server processes."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.factories.checkout import ROOT, run_export
from tests.factories.server_process import RunningServer, StartServer, start, stop

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


REAL_PARTS = {
    "shared_data",
    "models_dir",
    "equalizer",
    "voice_samples",
    "face_samples",
}  # fixtures; `make test-unit` leaves them out


def pytest_configure() -> None:
    """End at SIGTERM as at Ctrl-C: fixtures stop what they started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what runs whole programs, and what needs real data or the default bundles."""
    for item in items:
        is_whole = ROOT / "tests" / "end_to_end" in item.path.parents
        is_real = not REAL_PARTS.isdisjoint(getattr(item, "fixturenames", ()))
        if is_whole or is_real or item.get_closest_marker("shared_data"):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Matrices of tests are small: on a busy machine a second thread of torch is only waited for."""
    if "torch" in sys.modules:  # a test that was collected imports it
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings and photographs; its tests are skipped where it is absent."""
    path = Path(os.environ.get("TEST_DATA_DIR", ROOT.parent / "shared" / "data")).resolve()
    if not (path / "speech" / "utterances.csv").is_file():
        pytest.skip(f"real data set not found at {path}; set TEST_DATA_DIR to its folder")
    return path


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """The default bundles, built by the project's own command where they are not there yet."""
    run_export("defaults", "--models-dir", str(ROOT / "models"))
    return ROOT / "models"


@pytest.fixture(scope="session")
def voice_samples() -> Path:
    """The demonstration's recordings: one folder for each person."""
    run_export("samples", "--samples-dir", str(ROOT / "build" / "samples"))
    return ROOT / "build" / "samples" / "voice"


@pytest.fixture(scope="session")
def face_samples(voice_samples: Path) -> Path:
    """The demonstration's pictures: one folder for each person."""
    return voice_samples.parent / "face"


@pytest.fixture
def start_server(models_dir: Path) -> Iterator[StartServer]:
    """Starts servers: start_server(data_dir, **MATCHKA variables); all are stopped at the end of the test."""
    running: list[RunningServer] = []

    def start_one(data_dir: Path, port: int | None = None, wait: bool = True, **variables: str) -> RunningServer:
        running.append(start(models_dir, data_dir, port, wait, variables))
        return running[-1]

    yield start_one
    for server in running:
        stop(server.process)


@pytest.fixture(scope="session")
def server(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all tests that leave no subjects of fixed names behind."""
    running = start(models_dir, tmp_path_factory.mktemp("server") / "data")
    yield running
    stop(running.process)
