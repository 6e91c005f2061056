"""A temporary PostgreSQL: Debian's server on a socket of its own, and databases in it that last for one measurement."""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from sqlalchemy import create_engine

START_S: Final = 120
USER: Final = "matchka"
# Survives the death of its processes, not that of the machine: for tests, which make many databases
QUICK: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "shared_buffers": "16MB",
    "recovery_init_sync_method": "syncfs",
    "autovacuum": "off",
}
# What an operator would run, but for the room
DURABLE: Final = {"max_connections": "300", "shared_buffers": "128MB", "recovery_init_sync_method": "syncfs"}
NUMBERS: Final = itertools.count()


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, which Debian keeps out of the path; None where there are none."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").is_file()), None)


def what_is_missing() -> str | None:
    """Why no cluster can be started here; None where one can."""
    if programs() is None:
        return "PostgreSQL's server is not installed"
    return "psycopg is not installed" if find_spec("psycopg") is None else None


def unprivileged() -> dict[str, Any]:
    """As whom PostgreSQL is started, as arguments of Popen: it refuses to run as root."""
    if os.getuid():
        return {}
    names = {user.pw_name for user in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@dataclass(frozen=True)
class Cluster:
    """A server in a folder with a short path, for a socket's may have some hundred characters only.

    Attributes:
        folder: of its socket, its log and its data.
        settings: of the server.
        address: an IPv4 address of this machine that it listens on besides the socket; port 5432.
        callers: the network that is let in there without a password, 10.0.0.0/24 say.
    """

    folder: Path
    settings: Mapping[str, str]
    address: str = ""
    callers: str = ""

    def url(self, database: str = "postgres") -> str:
        """Of a database, through the socket."""
        return f"postgresql+psycopg://{USER}@/{database}?host={self.folder}"

    def url_over_tcp(self, database: str = "postgres") -> str:
        """Of a database, at its address."""
        return f"postgresql+psycopg://{USER}@{self.address}/{database}"

    def make(self) -> None:
        """Make its data folder."""
        self._run("initdb", "-D", "data", "-U", USER, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale", "C")
        if self.callers:
            with (self.folder / "data" / "pg_hba.conf").open("a", encoding="ascii") as file:
                file.write(f"host all all {self.callers} trust\n")

    def start(self) -> None:
        """Start it; it answers when this returns."""
        settings = {
            **self.settings,
            "listen_addresses": self.address,
            "unix_socket_directories": str(self.folder),
        }
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        self._run("pg_ctl", "-D", "data", "-w", "-t", str(START_S), "-l", "log", "-o", options, "start")

    def stop(self) -> None:
        """Stop it without a checkpoint."""
        self._run("pg_ctl", "-D", "data", "-w", "-t", str(START_S), "-m", "immediate", "stop")

    @property
    def processes(self) -> list[int]:
        """The server and its children, by their ids."""
        server = int((self.folder / "data" / "postmaster.pid").read_text(encoding="ascii").split()[0])
        children = Path(f"/proc/{server}/task/{server}/children").read_text(encoding="ascii").split()
        return [server, *map(int, children)]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes."""
        for process in self.processes:
            os.kill(process, number)

    def kill(self) -> None:
        """SIGKILL to all of its processes; returns when none of them is left."""
        processes = self.processes
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        while any(Path(f"/proc/{process}").exists() for process in processes):
            time.sleep(0.01)

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Carry out a statement outside any transaction."""
        engine = create_engine(self.url(database), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()

    def _run(self, program: str, *arguments: str) -> None:
        folder = programs()
        assert folder is not None
        command = [folder / program, *arguments]
        done = subprocess.run(
            command,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=2 * START_S,
            **unprivileged(),
        )
        assert not done.returncode, done.stderr.decode()


@contextmanager
def started_cluster(settings: Mapping[str, str] = QUICK, address: str = "", callers: str = "") -> Iterator[Cluster]:
    """A cluster that is stopped and removed at the end of the block.

    Args:
        settings: QUICK, DURABLE or any others.
        address: see Cluster.
        callers: see Cluster.
    """
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    cluster = Cluster(folder, settings, address, callers)
    identity = unprivileged()
    if identity:
        os.chown(folder, identity["user"], identity["group"])
    try:
        cluster.make()
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(folder)


@contextmanager
def fresh_database(cluster: Cluster) -> Iterator[str]:
    """The URL of an empty database, dropped at the end of the block."""
    name = f"of_test_{next(NUMBERS)}"
    cluster.execute(f"CREATE DATABASE {name}")
    try:
        yield cluster.url(name)
    finally:
        cluster.execute(f"DROP DATABASE {name} WITH (FORCE)")
