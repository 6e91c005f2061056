"""A service for the tests of the page, and what drives its browsers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Playwright, sync_playwright

from tests.factories.server_process import RunningServer, start, stop


@pytest.fixture(scope="module")
def service(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A service on which nobody is enrolled before."""
    running = start(models_dir, tmp_path_factory.mktemp("page") / "data")
    yield running
    assert stop(running.process) == 0
    assert "Traceback" not in running.log.read_text()


@pytest.fixture(scope="module")
def program() -> Iterator[Playwright]:
    """What drives browsers."""
    with sync_playwright() as running:
        yield running
