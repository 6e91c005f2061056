"""Where a server under torture keeps its record, and how that is killed: a file, or a PostgreSQL of its own."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from loadtests.clusters import DURABLE, Cluster, started_cluster


class Record(Protocol):
    """A database.

    Attributes:
        settings: of the server, by their names in small letters.
        is_scanned: whether nothing that was deleted may lie in any file of the data folder.
        share_killed: of the server's lives, in which the database is killed under it.
    """

    @property
    def settings(self) -> Mapping[str, str]:
        """See above."""
        ...

    @property
    def is_scanned(self) -> bool:
        """See above."""
        ...

    @property
    def share_killed(self) -> float:
        """See above."""
        ...

    def kill(self) -> None:
        """SIGKILL to all of its processes."""
        ...

    def start(self) -> None:
        """Start it again; it answers when this returns."""
        ...


@dataclass(frozen=True)
class FileRecord:
    """SQLite in the data folder, which dies with the server."""

    settings: Mapping[str, str]
    is_scanned: bool = True
    share_killed: float = 0.0

    def kill(self) -> None:
        """There is nothing to kill."""

    def start(self) -> None:
        """There is nothing to start."""


@dataclass(frozen=True)
class ServerRecord:
    """PostgreSQL, which keeps deleted rows until VACUUM."""

    cluster: Cluster
    is_scanned: bool = False
    share_killed: float = 0.4

    @property
    def settings(self) -> Mapping[str, str]:
        """Where it is."""
        return {"database_url": self.cluster.url()}

    def kill(self) -> None:
        """The postmaster and all of its children at once."""
        self.cluster.kill()

    def start(self) -> None:
        """Its recovery is over when this returns."""
        self.cluster.start()


@contextmanager
def _file() -> Iterator[Record]:
    yield FileRecord({})


@contextmanager
def _server() -> Iterator[Record]:
    with started_cluster(DURABLE) as cluster:
        yield ServerRecord(cluster)


RECORDS: Mapping[str, Callable[[], AbstractContextManager[Record]]] = {"sqlite": _file, "postgresql": _server}
