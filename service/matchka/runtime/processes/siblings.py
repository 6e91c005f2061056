"""What one process of a service has to do with the others; nothing where it is the only one."""

from dataclasses import dataclass
from typing import Protocol

from matchka.runtime.processes.moments import Moments
from matchka.runtime.processes.snapshots import Snapshot


@dataclass(frozen=True)
class ServiceCounts:
    """What is known of all processes of a service.

    Attributes:
        ended: metrics of those that have ended, added up.
        running: by number, the metrics of those that run; of one that does not answer those of the last time.
        ready: how many serve.
        replaced: how many others were started since the service was ready.
    """

    ended: Snapshot
    running: dict[int, Snapshot]
    ready: int
    replaced: int


class Siblings(Protocol):
    """The other processes, as one of them sees them."""

    @property
    def is_alone(self) -> bool:
        """Whether there are no others, and no parent that owns the data folder."""
        ...

    @property
    def is_first(self) -> bool:
        """Whether this process does what one of them has to do for all."""
        ...

    @property
    def request_rates(self) -> Moments | None:
        """When the buckets of keys are full again, for all processes (api/guards/rates.py)."""
        ...

    @property
    def refused_networks(self) -> Moments | None:
        """When the last refusals of networks are due, for all processes (api/guards/failed_keys.py)."""
        ...

    @property
    def gallery_files(self) -> tuple[int, int] | None:
        """Files in memory for rows of galleries and their locks, of all processes; None where each has its own."""
        ...

    @property
    def all_loaded(self) -> bool:
        """Whether every process has been loaded once."""
        ...

    async def beat(self) -> None:
        """The event loop of the server goes round; the first time says that it takes connections."""

    def note_loaded(self) -> None:
        """This one is loaded, or says for good why it serves nothing."""
        ...

    async def counts(self) -> ServiceCounts | None:
        """Ask for the counts of all processes; None where this is the only one.

        Raises: OverloadedError: they did not come in time.
        """
        ...


@dataclass(frozen=True)
class NoSiblings:
    """A service of one process."""

    is_alone: bool = True
    is_first: bool = True
    all_loaded: bool = True
    request_rates: Moments | None = None
    refused_networks: Moments | None = None
    gallery_files: tuple[int, int] | None = None

    async def beat(self) -> None:
        """There is nobody who listens."""

    def note_loaded(self) -> None:
        """There is nobody to tell."""

    async def counts(self) -> ServiceCounts | None:
        """There are no others."""
        return None
