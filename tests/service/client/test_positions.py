"""What a client has seen it is shown again, whichever replica answers it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from matchka.client import AsyncClient
from matchka.client.positions import Positions, later
from matchka.settings import FeedSettings
from matchka.store.feed.snapshot import Position, Snapshot
from tests.factories.bundles import write_bundle
from tests.factories.databases import UnderTest
from tests.factories.replicas import PATIENCE_S
from tests.factories.samples import sample
from tests.factories.small_server import SmallServer, serving, small_settings

STORE, OTHER = "0f0f0f0f", "f0f0f0f0"


@pytest.fixture
def pair(tmp_path: Path, database: UnderTest) -> Iterator[tuple[SmallServer, SmallServer]]:
    """Two services on one database, which look for changes once a minute."""
    write_bundle(tmp_path / "models" / "voice")
    feed = FeedSettings(poll_ms=60_000, wait_s=PATIENCE_S)
    given = {"models_dir": tmp_path / "models", "database_url": database.url, "feed": feed}
    one, other = (small_settings(tmp_path, **given, data_dir=tmp_path / name) for name in ("one", "other"))
    with serving(one) as here, serving(other) as there:
        yield here, there


def test_client_that_is_sent_to_another_replica_finds_whom_it_has_enrolled(pair: tuple[SmallServer, SmallServer]):
    here, there = (server.client(timeout_s=2 * PATIENCE_S) for server in pair)
    there._positions = here._positions  # as behind a proxy: one client, two services
    for person in range(5):
        told = here.enroll(f"p{person}", [sample(person)]).position
        found = there.identify(sample(person, 1))
        assert found.candidates[0].subject_id == f"p{person}"
        assert later(str(told), str(found.position)) == found.position
    for person in range(5):
        here.delete_subject(f"p{person}")
        assert there.identify(sample(person, 1)).gallery_size == 4 - person
    for client in (here, there):
        client.close()


def test_asynchronous_client_sends_the_newest_position_as_well(small_server: SmallServer):
    async def enrolled() -> Positions:
        async with AsyncClient(small_server.url) as client:
            await asyncio.gather(*(client.enroll(f"q{person}", [sample(person)]) for person in range(4)))
            await client.identify(sample(1))
            return client._positions

    (header,) = asyncio.run(enrolled()).headers.values()
    assert Position.parse(header)


def test_client_whose_service_was_given_another_store_forgets_what_it_saw_there(small_server: SmallServer):
    with small_server.client() as client:
        client._positions._newest = f"{OTHER}-17"
        assert client.identify(sample(1)).position is not None
        assert not client._positions.headers["Matchka-Position"].startswith(OTHER)


def test_later_of_two_positions_is_that_which_includes_the_other():
    seen = [Snapshot(5, frozenset({3})), Snapshot(5), Snapshot(9, frozenset({6, 7})), Snapshot(9, frozenset({7}))]
    texts = [str(Position(STORE, snapshot)) for snapshot in seen]
    for one, snapshot in zip(texts, seen, strict=True):
        for other, of_other in zip(texts, seen, strict=True):
            assert later(one, other) == (one if snapshot.includes(of_other) else other)
    assert later(texts[-1], f"{OTHER}-2") == f"{OTHER}-2"
    assert later("rubbish", texts[0]) == texts[0]
