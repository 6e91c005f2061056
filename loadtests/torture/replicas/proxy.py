"""HAProxy before groups of replicas, with the configuration of deploy/."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from loadtests.client.caller import Caller
from loadtests.server import HOST, ServerProcess, free_port, start_process, status_of
from loadtests.torture.replicas.group import FIRST_KEY, START_S, Group

DEPLOY = Path(__file__).parents[3] / "deploy"
BACKENDS = "backend matchka_one from replicas"  # from here on the configuration names servers
# the port that every started process is given is where it listens
COMMAND = ("sh", "-c", f'PROXY_BIND={HOST}:$1 exec haproxy -db -f "$0"')


def program() -> str | None:
    """Where HAProxy is; None where it is not installed."""
    return shutil.which("haproxy", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")


def configuration_of(groups: Sequence[Group]) -> str:
    """That of deploy/, with these servers in the place of its own."""
    common, mark, _ = (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8").partition(BACKENDS)
    assert mark, f"no line `{BACKENDS}`"
    lines = [common]
    for group in groups:
        lines.append(f"backend matchka_{group.name} from replicas")
        for replica in group.replicas:
            name = replica.name.split()[-1]
            lines.append(f"    server {name} {HOST}:{replica.port} port {replica.health_port}")
    return "\n".join(lines) + "\n"


@contextmanager
def opened_proxy(
    folder: Path, groups: Sequence[Group], environment: Mapping[str, str] | None = None
) -> Iterator[ServerProcess]:
    """A proxy through which the groups are reached, ready when the block begins.

    Args:
        folder: of its configuration and its log.
        groups: the first one is whose tenants are in no map.
        environment: further variables of deploy/haproxy.cfg.
    """
    path = folder / "haproxy.cfg"
    path.write_text(configuration_of(groups), encoding="utf-8")
    proxy = start_process((*COMMAND, str(path)), free_port(), folder / "proxy.log", environment or {})
    try:
        proxy.wait_until_ready(START_S, lambda port: status_of(port, "/readyz") == 200)
        yield proxy
    finally:
        proxy.end()


def caller_through(proxy: ServerProcess, key: str = FIRST_KEY) -> Caller:
    """One connection to the proxy."""
    return Caller(proxy.port, key)
