"""The keys in force while the service runs: found by digest, followed in the store, expired by the database's clock."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from matchka.api.guards.key_ring import REREAD_S, USE_NOTED_EVERY_S, KeyRing, following
from matchka.errors import UnauthorizedError
from matchka.settings import read_settings
from matchka.store.keys.keys import Keys
from matchka.store.keys.records import FIRST, KEYLESS, KeySpec
from matchka.store.store import Store, opened_store

FIRST_KEY = "0123456789abcdef0123"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened_store(f"sqlite:///{tmp_path / 'keys.sqlite'}") as opened:
        yield opened


@pytest.fixture
def keys(store: Store) -> Keys:
    return store.keys


def ring_of(keys: Keys, clock: Callable[[], float] = time.monotonic, **variables: str) -> KeyRing:
    ring = KeyRing(read_settings(variables), clock)
    ring.read(keys)
    return ring


def is_known(ring: KeyRing, secret: str) -> bool:
    with suppress(UnauthorizedError):
        return ring.grant_of(f"Bearer {secret}") is not None
    return False


def test_service_without_any_key_lets_everybody_do_all(keys: Keys):
    ring = ring_of(keys)
    assert ring.is_keyless
    assert ring.grant_of(None) == ring.grant_of("Bearer x") == KEYLESS


def test_first_key_of_the_store_puts_keys_in_force_and_revoking_all_of_them_opens_nothing(keys: Keys):
    made = keys.create(KeySpec("door", "a"))
    ring = ring_of(keys)
    assert not ring.is_keyless
    assert ring.grant_of(f"bearer {made.secret}") == made.key.grant
    assert made.key.grant.tenant == "a"
    assert not is_known(ring, made.key.key_id)
    keys.revoke(made.key.key_id)
    ring.read(keys)
    assert not ring.is_keyless
    assert not is_known(ring, made.secret)
    with pytest.raises(UnauthorizedError):
        ring.grant_of(None)


def test_first_key_of_the_settings_stays_beside_those_of_the_store(keys: Keys):
    made = keys.create(KeySpec("door", "a"))
    ring = ring_of(keys, MATCHKA_API_KEY=FIRST_KEY)
    assert ring.grant_of(f"Bearer {FIRST_KEY}") == FIRST
    assert ring.grant_of(f"Bearer {made.secret}") == made.key.grant


def test_unknown_revoked_and_expired_keys_are_refused_alike(keys: Keys):
    clock = Clock()
    expired, revoked = keys.create(KeySpec("a", lifetime=timedelta(seconds=60))), keys.create(KeySpec("b"))
    kept = keys.create(KeySpec("c"))
    keys.revoke(revoked.key.key_id)
    ring = ring_of(keys, clock)
    assert is_known(ring, expired.secret)
    clock.now += 61.0  # since they were read; nothing is read again
    said = set()
    for secret in (expired.secret, revoked.secret, kept.secret[:-1], kept.secret.upper(), "mk_", "\udcff"):
        with pytest.raises(UnauthorizedError) as refused:
            ring.grant_of(f"Bearer {secret}")
        said.add((str(refused.value), refused.value.value))
    assert len(said) == 1
    assert is_known(ring, kept.secret)


def test_use_of_a_key_is_written_at_most_once_a_minute(keys: Keys):
    clock = Clock()
    used, idle = keys.create(KeySpec("used")), keys.create(KeySpec("idle"))
    ring = ring_of(keys, clock)
    written = []
    for _ in range(4):
        is_known(ring, used.secret)
        ring.note_used(keys)
        written.append(last_used(keys, used.key.key_id))
        clock.now += 0.6 * USE_NOTED_EVERY_S
        time.sleep(0.003)
    assert written[0] is not None
    assert len(set(written)) == 2  # at 0 and 72 s of 0, 36, 72 and 108
    assert last_used(keys, idle.key.key_id) is None


def last_used(keys: Keys, key_id: str) -> object:
    return next(key.last_used_at for key in keys.list_keys() if key.key_id == key_id)


def test_changes_of_another_process_are_followed(keys: Keys, tmp_path: Path):
    ring = KeyRing(read_settings({}))
    with following(ring, keys), opened_store(f"sqlite:///{tmp_path / 'keys.sqlite'}") as other:
        assert ring.is_keyless
        made = other.keys.create(KeySpec("door"))
        until(lambda: is_known(ring, made.secret))
        other.keys.revoke(made.key.key_id)
        until(lambda: not is_known(ring, made.secret))


def test_keys_stay_in_force_while_the_database_cannot_be_read_and_the_log_says_it_once(
    store: Store, caplog: pytest.LogCaptureFixture
):
    made = store.keys.create(KeySpec("door"))
    ring = KeyRing(read_settings({}))
    with following(ring, store.keys), caplog.at_level(logging.ERROR):
        with store._engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE api_keys RENAME TO elsewhere")
        until(lambda: bool(unread_keys(caplog)))
        time.sleep(2.5 * REREAD_S)
        assert is_known(ring, made.secret)
        with store._engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO api_keys")
        store.keys.revoke(made.key.key_id)
        until(lambda: not is_known(ring, made.secret))
    assert len(unread_keys(caplog)) == 1


def unread_keys(log: pytest.LogCaptureFixture) -> list[str]:
    """Messages of the thread that reads keys; the one that notes their use may fail beside it, or not be due yet."""
    messages = [record.getMessage() for record in log.records]
    return [message for message in messages if message.startswith("the API keys cannot be read")]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_key_ends_at_once_while_the_time_of_its_use_cannot_be_written(keys: Keys):
    made = [keys.create(KeySpec("door")) for _ in range(2)]
    ring = ring_of(keys)
    other = keys._engine.connect()
    with following(ring, keys), other:
        assert all(is_known(ring, one.secret) for one in made)
        keys.revoke(made[0].key.key_id)
        other.exec_driver_sql("BEGIN IMMEDIATE")  # whoever writes now waits for up to ten seconds
        begin = time.monotonic()
        while is_known(ring, made[0].secret):
            assert time.monotonic() - begin < 9
        other.rollback()
