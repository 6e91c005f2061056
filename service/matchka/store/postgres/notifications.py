"""LISTEN and NOTIFY: replicas tell each other of changes, so that none has to wait for its next look at the feed."""

import logging
import secrets
from collections.abc import Callable
from threading import Event, Thread
from typing import Final

import psycopg
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from matchka.store.postgres.database import APPLICATION, KEEPALIVES

CHANNEL: Final = "matchka_changes"
LISTEN_S: Final = 0.25  # of one wait, after which it is looked whether this has been closed
PAUSE_S: Final = 5.0  # before the next try to listen, where there is no connection
CONNECT_S: Final = 5
LOGGER: Final = logging.getLogger("matchka.store")


class Notifications:
    """Notifications of one database. Behind pgbouncer's transaction pooling none come, and nothing else is lost.

    They are sent after the commit, not with it: PostgreSQL lets one transaction at a time commit that notifies.

    Args: engine: of the database; it sends by that.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._name = secrets.token_hex(8)  # what is heard of oneself is no news
        self._is_closing = Event()
        self._thread: Thread | None = None

    def start(self, heard: Callable[[], None]) -> None:
        """Listen, from now on and again after every loss of the connection."""
        self._thread = Thread(target=self._run, args=(heard,), name="notifications", daemon=True)
        self._thread.start()

    def tell(self) -> None:
        """Notify the others; where that fails, they look at the feed themselves."""
        try:
            with self._engine.begin() as connection:
                connection.execute(text("SELECT pg_notify(:channel, :name)"), {"channel": CHANNEL, "name": self._name})
        except SQLAlchemyError as error:
            LOGGER.debug("replicas were not notified: %s", error)

    def close(self) -> None:
        """Stop listening."""
        self._is_closing.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, heard: Callable[[], None]) -> None:
        while not self._is_closing.is_set():
            try:
                self._listen(heard)
            except psycopg.Error as error:
                LOGGER.debug("no notifications are heard: %s", error)
                self._is_closing.wait(PAUSE_S)

    def _listen(self, heard: Callable[[], None]) -> None:
        url = self._engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        given = {**KEEPALIVES, "connect_timeout": CONNECT_S, "application_name": APPLICATION}
        with psycopg.connect(url, autocommit=True, **given) as connection:  # type: ignore[arg-type]  # libpq's names
            connection.execute(f"LISTEN {CHANNEL}")
            heard()  # of what was told before
            while not self._is_closing.is_set():
                for notice in connection.notifies(timeout=LISTEN_S, stop_after=1):
                    if notice.payload != self._name:
                        heard()
