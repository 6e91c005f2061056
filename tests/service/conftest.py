"""Fixtures of the service's tests: a bundle with its settings, and real servers in this process."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from matchka.settings import Settings
from tests.factories.bundles import write_bundle
from tests.factories.databases import FileUnderTest, ServerUnderTest, UnderTest
from tests.factories.postgres import Cluster, fresh_database, started_cluster, what_is_missing
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


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server, one for each process that runs tests."""
    missing = what_is_missing()
    if missing is not None:
        pytest.skip(missing)
    with started_cluster() as running:
        yield running


@pytest.fixture
def postgres_url(cluster: Cluster) -> Iterator[str]:
    """An empty database of PostgreSQL."""
    with fresh_database(cluster) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], UnderTest]]:
    """Makes empty databases, by names of files, of each kind that a store can lie in; they end with the test."""
    if request.param == "sqlite":
        yield lambda name: FileUnderTest(tmp_path / f"{name}.sqlite")
        return
    cluster = request.getfixturevalue("cluster")
    with contextlib.ExitStack() as stack:
        yield lambda _name: ServerUnderTest(stack.enter_context(fresh_database(cluster)))


@pytest.fixture
def database(databases: Callable[[str], UnderTest]) -> UnderTest:
    """An empty database of each kind that a store can lie in."""
    return databases("store")
