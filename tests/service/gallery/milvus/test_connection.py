"""The connection to Milvus: what becomes of calls where it is away, or does not answer, or was never installed."""

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from matchka.errors import GalleryUnavailableError, MissingPackageError
from matchka.gallery.milvus.connection import MilvusAddress, MilvusConnection
from matchka.runtime.deadline import Deadline, working_for
from tests.factories.milvus import LiteServer, lite_server, needs_milvus

pytestmark = needs_milvus


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiteServer]:
    with lite_server(tmp_path / "lite.db") as running:
        yield running


def collections(connection: MilvusConnection) -> list[str]:
    return connection.read(lambda client, limit_s: client.list_collections(timeout=limit_s))


def test_call_of_a_server_that_went_away_or_hangs_fails_and_one_of_a_server_that_is_back_succeeds(server: LiteServer):
    with closing(server.connect(timeout_s=1.0)) as connection:
        assert collections(connection) == []
        for disturb in (server.stop, server.hang):
            disturb()
            with pytest.raises(GalleryUnavailableError) as refused:
                collections(connection)
            assert "MATCHKA_MILVUS__URI" in refused.value.remedy
            with pytest.raises(GalleryUnavailableError):
                connection.watch(lambda client, limit_s: client.list_collections(timeout=limit_s))
        server.start()
        with pytest.raises(GalleryUnavailableError):  # nobody has looked since
            collections(connection)
        found = None
        while found is None:
            try:
                found = connection.watch(lambda client, limit_s: client.list_collections(timeout=limit_s))
            except GalleryUnavailableError:
                continue
        assert collections(connection) == found == []


@pytest.mark.parametrize("disturb", ["stop", "hang"])
def test_connecting_to_a_server_that_does_not_answer_fails(server: LiteServer, disturb: str):
    getattr(server, disturb)()
    with pytest.raises(GalleryUnavailableError):
        server.connect(timeout_s=0.3)


def test_call_for_a_request_ends_with_its_deadline(server: LiteServer):
    with closing(server.connect()) as connection:
        server.hang()
        with working_for(Deadline(0.3)), pytest.raises(GalleryUnavailableError):
            collections(connection)


@pytest.mark.parametrize(
    ("package", "uri", "remedy"),
    [("pymilvus", "http://127.0.0.1:1", r"matchka\[milvus\]"), ("milvus_lite", "lite.db", r"matchka\[lite\]")],
)
def test_connection_without_its_package_names_what_to_install(
    package: str, uri: str, remedy: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=remedy):
        MilvusConnection(MilvusAddress(uri))
