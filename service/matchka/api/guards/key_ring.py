"""The keys in force, looked up by digest, and followed while the service runs."""

import hashlib
import hmac
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from matchka.errors import MatchkaError, UnauthorizedError
from matchka.settings import Settings
from matchka.store.database_errors import reason_of
from matchka.store.keys.keys import Keys, KeySnapshot
from matchka.store.keys.records import FIRST, KEYLESS, ApiKey, Grant, digest_of

SCHEME: Final = "bearer "
REREAD_S: Final = 0.25  # a change holds within a second, the reading and a busy machine included
USE_NOTED_EVERY_S: Final = 60.0
LOGGER: Final = logging.getLogger("matchka.api.guards.key_ring")


class KeyRing:
    """The keys that open the service: MATCHKA_API_KEY, and those of the store. Without any, every caller may all.

    A key is found by the SHA-256 digest of what was sent. The time of a look-up among digests tells at most something
    of digests, and nobody can choose a text by its digest; keys of the store have 256 random bits, so that theirs
    cannot be guessed either.

    Args:
        settings: with the first key, if any.
        clock: monotonic seconds.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        first = settings.api_key
        self._first = None if first is None else hashlib.sha256(first.get_secret_value().encode()).digest()
        self._clock = clock
        self._keys: Mapping[str, ApiKey] = {}
        self._revision: int | None = None
        self._read_at: datetime | None = None  # by the database's clock, which decides what has expired
        self._read_when = 0.0
        self._used: set[str] = set()
        self._noted: dict[str, float] = {}
        self._reading = threading.Lock()  # or of two that read at once the one with the older answer may be the last

    @property
    def is_keyless(self) -> bool:
        """Whether no key is in force: none is set, and none was ever made, for one that was revoked opens nothing."""
        return self._first is None and not self._revision

    def grant_of(self, authorization: str | None) -> Grant:
        """What the sender of an Authorization header may do.

        Raises: UnauthorizedError: keys are in force, and the header carries none of them; the error is the same for
            those that are unknown, expired and revoked.
        """
        if self.is_keyless:
            return KEYLESS
        if authorization is None or authorization[: len(SCHEME)].lower() != SCHEME:
            raise UnauthorizedError(
                "This service needs an API key.", remedy="Send the header `Authorization: Bearer KEY`."
            )
        digest = digest_of(authorization[len(SCHEME) :].strip())
        if self._first is not None and hmac.compare_digest(self._first, bytes.fromhex(digest)):
            return FIRST
        key = self._keys.get(digest)
        if key is None or not key.is_in_force(self._now()):
            raise UnauthorizedError("The API key is not known.", remedy="Check the key in the Authorization header.")
        self._used.add(key.key_id)
        return key.grant

    def read(self, keys: Keys) -> None:
        """Take over what has changed in the store since the last time."""
        with self._reading:
            asked_when = self._clock()
            snapshot = keys.read(self._revision)
            self._take(snapshot, asked_when)

    def note_used(self, keys: Keys) -> None:
        """Write down which keys were used, each at most once a minute."""
        now = self._clock()
        due = {one for one in self._used.copy() if now - self._noted.get(one, -math.inf) >= USE_NOTED_EVERY_S}
        if due:
            keys.note_used(due)
            self._noted |= dict.fromkeys(due, now)
            self._used -= due

    def _take(self, snapshot: KeySnapshot, when: float) -> None:
        if snapshot.keys is not None:
            self._keys = snapshot.keys
        self._read_at, self._read_when, self._revision = snapshot.read_at, when, snapshot.revision

    def _now(self) -> datetime:
        """The database's time: as it was last read, and what has passed since."""
        if self._read_at is None:
            raise LookupError("no key can be in force before they were read")
        return self._read_at + timedelta(seconds=self._clock() - self._read_when)


@contextmanager
def following(ring: KeyRing, keys: Keys) -> Iterator[None]:
    """Read the keys, and again whenever they change, until the end of the block.

    In a thread of its own: workers and the event loop may be busy for longer than a change may take to hold. When keys
    were used is written in another one, for writers wait for each other. While the database cannot be read, the keys
    last read stay in force, and expire.
    """
    ring.read(keys)
    stopped = threading.Event()

    def repeat(step: Callable[[Keys], None], problem: str) -> None:
        is_failing = False
        while not stopped.wait(REREAD_S):
            try:
                step(keys)
                is_failing = False
            except (SQLAlchemyError, MatchkaError) as error:
                if not is_failing:
                    LOGGER.error("%s: %s", problem, reason_of(error))
                is_failing = True

    steps = [
        (ring.read, "the API keys cannot be read; those last read stay in force"),
        (ring.note_used, "when API keys were used cannot be written"),
    ]
    threads = [threading.Thread(target=repeat, args=step, name="matchka-keys", daemon=True) for step in steps]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
