"""Fixtures of the service's tests: a bundle with its settings, and real servers in this process."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from matchka.settings import Settings
from tests.factories.bundles import write_bundle
from tests.factories.small_server import SmallServer, serving, small_settings


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of the shell that runs the tests must not enter them."""
    for name in [name for name in os.environ if name.upper().startswith("MATCHKA_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with one bundle, `voice`."""
    write_bundle(tmp_path / "models" / "voice")
    return small_settings(tmp_path)


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """One server for a module's tests; they use subjects of their own names."""
    folder = tmp_path_factory.mktemp("small")
    write_bundle(folder / "models" / "voice")
    with serving(small_settings(folder)) as running:
        yield running


@pytest.fixture
def start_small_server() -> Iterator[Callable[[Settings], SmallServer]]:
    """Starts servers that end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda settings: stack.enter_context(serving(settings))
