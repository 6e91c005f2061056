"""A network namespace of its own, joined to this machine's by two cables, one of which can be pulled."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


def what_is_missing() -> str | None:
    """Why no namespace can be made here; None where one can."""
    if os.name != "posix" or os.getuid():
        return "network namespaces are made by root alone"
    if shutil.which("ip") is None:
        return "iproute2 is not installed"
    tried = subprocess.run(["ip", "netns", "add", f"tried{os.getpid()}"], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"no network namespace can be made: {tried.stderr.strip()}"
    _ip("netns", "del", f"tried{os.getpid()}")
    return None


@dataclass(frozen=True)
class Cable:
    """A pair of interfaces: one of this machine's, and one of the namespace's."""

    interface: str
    here: str
    there: str

    @property
    def network(self) -> str:
        """Both of its addresses."""
        return f"{self.here.rpartition('.')[0]}.0/24"

    def pull(self) -> None:
        """Nothing passes any more, and nobody is told."""
        _ip("link", "set", self.interface, "down")

    def plug_in(self) -> None:
        _ip("link", "set", self.interface, "up")


@dataclass(frozen=True)
class Namespace:
    """Attributes: database: leads to what a replica needs. callers: leads to the replica."""

    name: str
    database: Cable
    callers: Cable

    @property
    def command(self) -> tuple[str, ...]:
        """Before a command that is to run in it."""
        return ("ip", "netns", "exec", self.name)


@contextmanager
def network_namespace() -> Iterator[Namespace]:
    """A namespace that is gone at the end of the block, and its cables with it."""
    number = os.getpid() % 250
    name = f"matchka{os.getpid()}"
    _ip("netns", "add", name)
    try:
        cables = []
        for place, kind in enumerate(("d", "c")):
            here, there = (f"{kind}{end}{os.getpid()}" for end in "ht")
            addresses = [f"10.{213 + place}.{number}.{end}" for end in (1, 2)]
            _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
            _ip("address", "add", f"{addresses[0]}/24", "dev", here)
            _ip("-n", name, "address", "add", f"{addresses[1]}/24", "dev", there)
            _ip("link", "set", here, "up")
            _ip("-n", name, "link", "set", there, "up")
            cables.append(Cable(here, *addresses))
        _ip("-n", name, "link", "set", "lo", "up")
        yield Namespace(name, *cables)
    finally:
        _ip("netns", "del", name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
