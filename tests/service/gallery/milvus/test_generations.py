"""Generations of galleries in Milvus: how processes agree on which is current, and what is removed."""

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from matchka.gallery.gallery import GallerySpace
from matchka.gallery.milvus.galleries import MilvusBackend, MilvusGalleries
from tests.factories.milvus import LiteGalleries, lite_server, needs_milvus

pytestmark = needs_milvus
SPACE = GallerySpace("voice", "2", (), 4)
OLDER = GallerySpace("voice", "1", ("2",), 4)


@pytest.fixture(scope="module")
def lite() -> Iterator[LiteGalleries]:
    opened = LiteGalleries()
    yield opened
    opened.close()


@pytest.fixture
def backend(lite: LiteGalleries, request: pytest.FixtureRequest) -> MilvusBackend:
    """Of a store of its own."""
    return MilvusBackend(lite.connection, f"p{zlib.crc32(request.node.name.encode())}")


def filled(backend: MilvusBackend, position: str, keys: range, space: GallerySpace = SPACE) -> MilvusGalleries:
    galleries = backend.galleries()
    galleries.begin(space)
    gallery = galleries.of("default", space.model, space.version, 4)
    gallery.put(keys, np.ones((len(keys), 4), np.float32))
    galleries.finish(space, position, lambda _position: False)
    return galleries


def held(galleries: MilvusGalleries) -> set[int]:
    found = galleries.of("default", "voice", "2", 4).search(np.ones(4, np.float32), 4, 100)
    return {hit.subject_key for hit in found}


def names(backend: MilvusBackend) -> list[str]:
    own = f"{backend._registry._prefix}_g_"
    found = backend._connection.write(lambda client, limit_s: client.list_collections(timeout=limit_s))
    return [name for name in found if name.startswith(own)]


def test_resume_takes_what_was_finished_and_its_position_and_nothing_of_what_was_not(backend: MilvusBackend):
    assert backend.galleries().resume(SPACE) is None
    begun = backend.galleries()
    begun.begin(SPACE)
    assert backend.galleries().resume(SPACE) is None
    filled(backend, "first", range(3))
    later = backend.galleries()
    assert later.resume(SPACE) == "first"
    assert later.resume(OLDER) is None
    assert held(later) == {0, 1, 2}
    assert later.sizes() == {}  # nobody has counted
    assert later.are_current()
    assert len(later.of("default", "voice", "2", 4)) == 3
    assert later.sizes() == {("default", "voice", "2"): 3}
    later.remember("second")
    assert backend.galleries().resume(SPACE) == "second"


def test_new_generation_replaces_the_one_before_and_a_process_that_still_writes_its_position_does_not_undo_it(
    backend: MilvusBackend,
):
    clock = [0.0]
    slow = MilvusGalleries(backend._connection, backend._registry, lambda: clock[0])
    first = filled(backend, "first", range(3))
    slow.resume(SPACE)
    assert slow.are_current()
    filled(backend, "second", range(5))
    assert slow.are_current()  # it has looked within this second
    clock[0] += 1.0
    assert not slow.are_current()
    slow.remember("later than second")
    first.remember("later still")
    assert slow.resume(SPACE) == "second"
    assert held(slow) == {0, 1, 2, 3, 4}
    assert len(names(backend)) == 1


def test_of_two_processes_that_fill_at_once_the_later_takes_what_the_first_has_finished(backend: MilvusBackend):
    late = backend.galleries()
    late.begin(SPACE)
    filled(backend, "first", range(3))
    assert len(names(backend)) == 2  # what is being filled is not taken away
    assert late.finish(SPACE, "second", lambda position: position == "first") == "first"
    assert held(late) == {0, 1, 2}
    assert len(names(backend)) == 1


def test_fillings_that_were_abandoned_and_collections_of_other_bundles_are_removed(
    backend: MilvusBackend, monkeypatch: pytest.MonkeyPatch
):
    filled(backend, "of an older version", range(2), OLDER)
    backend.galleries().begin(SPACE)
    filled(backend, "first", range(3))
    assert len(names(backend)) == 3
    monkeypatch.setattr("matchka.gallery.milvus.layout.ABANDONED_S", -1)  # as if that was a day ago
    galleries = filled(backend, "second", range(3))
    assert len(names(backend)) == 2
    assert galleries.remove_leftovers() == 1
    assert len(names(backend)) == 1
    assert backend.galleries().resume(OLDER) is None


def test_size_is_counted_again_after_each_change(backend: MilvusBackend):
    gallery = filled(backend, "first", range(3)).of("default", "voice", "2", 4)
    other = filled(backend, "first", range(3), OLDER).of("default", "voice", "1", 4)
    assert (len(gallery), gallery.is_counted, gallery.last_size) == (3, True, 3)
    gallery.remove(1)
    assert (gallery.is_counted, gallery.last_size, len(gallery)) == (False, 3, 2)
    gallery.put([1, 9], np.ones((2, 4), np.float32))
    assert (len(gallery), len(other)) == (4, 3)
    assert gallery.count_of([0, 1, 5, 9]) == 3


def test_generations_of_a_server_are_found_again_by_the_next_connection(tmp_path: Path):
    with lite_server(tmp_path / "lite.db") as server:
        connection = server.connect()
        filled(MilvusBackend(connection, "p"), "first", range(3))
        connection.close()
        again = server.connect()
        galleries = MilvusBackend(again, "p", "hnsw").galleries()
        assert galleries.resume(SPACE) == "first"
        assert held(galleries) == {0, 1, 2}
        galleries.begin(SPACE)
        galleries.of("default", "voice", "2", 4).put(range(4), np.eye(4, dtype=np.float32))
        assert held(galleries) == {0, 1, 2, 3}
        again.close()
