"""A group of replicas: processes of `matchka serve` on one database, with a vault whose keys are in another."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtests.client.caller import Caller
from loadtests.clusters import Cluster, fresh_database
from loadtests.server import ServerProcess, free_port, start_server
from loadtests.torture.replicas.people import MODEL
from tests.factories.direct_embedder import write_direct_bundle

FIRST_KEY = "first-" + "k" * 32
START_S = 180.0
COMMAND_S = 600.0
DRAIN_S = 3  # longer than the proxy takes to notice: fall x fastinter, and an interval
DISAGREES = 1  # exit status of `matchka gallery verify`


@dataclass(eq=False)
class Replica:
    """One place in a group, in which a server runs, or does not.

    Attributes:
        name: in messages.
        folder: of its data and its log.
        models_dir: its bundles; what is changed here holds from its next start.
        settings: MATCHKA_ variables by their names in small letters.
        port: of its interface, always the same.
        health_port: where a proxy asks for its state.
    """

    name: str
    folder: Path
    models_dir: Path
    settings: dict[str, object]
    port: int
    health_port: int
    _server: ServerProcess | None = None

    @property
    def server(self) -> ServerProcess:
        """Its latest life."""
        assert self._server is not None, f"{self.name} was never started"
        return self._server

    @property
    def data_dir(self) -> Path:
        """Its own data folder."""
        return self.folder / "data"

    def start(self) -> None:
        """Start it, and do not wait."""
        log = self.folder / "server.log"
        self._server = start_server(
            self.port, self.data_dir, self.models_dir, log, health_port=self.health_port, **self.settings
        )

    def wait_until_ready(self) -> None:
        """Wait until it says so itself."""
        self.server.wait_until_ready(START_S)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its process alone."""
        self.server.process.send_signal(number)

    def wait_until_ended(self) -> int:
        """Its exit status."""
        return self.server.process.wait(START_S)

    def end(self) -> None:
        """Leave nothing of it."""
        if self._server is not None:
            self._server.end()

    def caller(self) -> Caller:
        """One connection to it, past the proxy."""
        return Caller(self.port, FIRST_KEY)

    def command(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """A command of `matchka` with its settings."""
        given = {**self.settings, "data_dir": self.data_dir, "models_dir": self.models_dir, "url": self.server.url}
        variables = {f"MATCHKA_{name.upper()}": str(value) for name, value in given.items()}
        return subprocess.run(
            [sys.executable, "-m", "matchka", *words],
            env={**os.environ, **variables},
            capture_output=True,
            timeout=COMMAND_S,
        )

    def disagreements(self) -> list[str]:
        """What `matchka gallery verify` finds in the database, and between it and this replica's galleries.

        Raises: RuntimeError: the command could not look.
        """
        done = self.command("gallery", "verify", "--json")
        if done.returncode not in (0, DISAGREES):
            raise RuntimeError(f"gallery verify ended with {done.returncode}: {done.stderr.decode()}")
        report = json.loads(done.stdout)
        assert report["service_compared"], "the replica's galleries were not compared"
        return [f"{self.name}: {finding}" for finding in report["findings"]]


@dataclass(frozen=True)
class Group:
    """Replicas that share a database. Attributes: name: by which the proxy knows it."""

    name: str
    replicas: Sequence[Replica]

    def disagreements(self) -> list[str]:
        """Of all replicas; see Replica."""
        return [finding for replica in self.replicas for finding in replica.disagreements()]


@contextmanager
def opened_group(folder: Path, cluster: Cluster, count: int, name: str = "one", **settings: object) -> Iterator[Group]:
    """Replicas that are ready when the block begins, on a database of their own that is dropped at its end.

    Args:
        folder: made anew.
        cluster: has the database, and that of the vault's keys.
        count: of replicas.
        name: of the group.
        settings: of all of them, beside those of every trial.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    master = folder / "master.key"
    master.touch(0o600)
    master.write_text(secrets.token_hex(32), encoding="ascii")
    write_direct_bundle(folder / "models" / MODEL, MODEL)
    with fresh_database(cluster) as url, fresh_database(cluster) as key_url:
        shared = {
            "api_key": FIRST_KEY,
            "trusted_proxies": "127.0.0.1",
            "database_url": url,
            "key_database_url": key_url,
            "master_key_file": master,
            "failed_tries_per_hour": 1_000_000,  # who was deleted is looked for again and again
            "cores": 1,
            "request_timeout_s": 60,  # nobody is refused because the machine is busy with other work
            "drain_s": DRAIN_S,
            **settings,
        }
        replicas = [
            Replica(f"replica {letter}", folder / letter, folder / "models", dict(shared), free_port(), free_port())
            for letter in "abcdefgh"[:count]
        ]
        try:
            for replica in replicas:  # at once, on an empty database
                replica.start()
            for replica in replicas:
                replica.wait_until_ready()
            yield Group(name, replicas)
        finally:
            for replica in replicas:
                replica.end()
