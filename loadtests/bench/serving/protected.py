"""What a verification costs with its protections on, beside the same service without them.

    python -m loadtests.bench.serving.protected --output build/bench/protected.jsonl

The services are asked in turns, one request each, so that what else happens on the machine happens to all of them. A
key of the store counts failed tries, so every request sends a sample that matches.
"""

import argparse
import asyncio
import secrets
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.progress import Progress

from loadtests.bench.rows import Row, compared, write_rows
from loadtests.bench.serving.contestants import Contestant, matchka, started
from loadtests.bench.serving.inputs import Workload, read_workload
from loadtests.bench.serving.load import call_once
from loadtests.client.caller import Caller
from loadtests.client.load import Call, Connections
from loadtests.server import ServerProcess

SUBJECT = "bench"
FIRST_KEY = "first-" + "k" * 32
PLAIN = "nothing"
TARGET = "<= 1.1"
WARM_TURNS = 20


def main() -> None:
    """Start all services, enrol somebody in each, verify in turns, write the rows."""
    arguments = _arguments()
    workloads = [read_workload(name, arguments.samples, arguments.models) for name in ("phrase", "face")]
    rows: list[Row] = []
    with (
        tempfile.TemporaryDirectory() as name,
        ExitStack() as stack,
        Progress(console=Console(stderr=True)) as progress,
    ):
        servers: dict[str, ServerProcess] = {}
        keys: dict[str, str | None] = {}
        for protection, (contestant, first) in services(Path(name)).items():
            probe = workloads[0].calls(key=first)[0]
            server = stack.enter_context(started(contestant, arguments.models, Path(name) / protection, probe))
            stack.enter_context(server.running())
            servers[protection], keys[protection] = server, None if first is None else store_key(server.port)
        for workload in progress.track(workloads, description="Protected beside not"):
            calls = {protection: _enrolled(servers[protection], workload, key) for protection, key in keys.items()}
            rows += asyncio.run(measure(servers, calls, workload, arguments.rounds, arguments.turns))
    write_rows(arguments.output, rows)


def services(folder: Path) -> dict[str, tuple[Contestant, str | None]]:
    """What is protected -> the service, and its first key where it has one. The master key is made in a folder."""
    master = folder / "master.key"
    master.touch(0o600)
    master.write_text(secrets.token_hex(32))
    vault, first = ("MATCHKA_MASTER_KEY_FILE", str(master)), ("MATCHKA_API_KEY", FIRST_KEY)
    # a key that was made is known everywhere within a second, and at once where there is one process
    alone, unaudited = ("MATCHKA_PROCESSES", "1"), ("MATCHKA_AUDIT__ENABLED", "false")
    return {
        PLAIN: (matchka(alone, unaudited), None),
        "vault": (matchka(alone, unaudited, vault), None),
        "vault and keys": (matchka(alone, unaudited, vault, first), FIRST_KEY),
        "vault, keys and audit log": (matchka(alone, vault, first), FIRST_KEY),
    }


def store_key(port: int) -> str:
    """A key of the default scopes, once it is in force."""
    caller = Caller(port, FIRST_KEY)
    made = caller.post("keys", [], name="bench")
    caller.close()
    if made.status != 201:
        sys.exit(f"the bench cannot make a key: {made}")
    secret: str = made.body["key"]
    owner = Caller(port, secret)
    while owner.get("models").status == 401:
        pass  # a change holds within a second
    owner.close()
    return secret


async def measure(
    servers: Mapping[str, ServerProcess], calls: Mapping[str, Call], workload: Workload, rounds: int, turns: int
) -> list[Row]:
    """Rows of one workload.

    Args:
        servers: by what is protected.
        calls: what each is asked.
        workload: of the calls.
        rounds: pairs of medians.
        turns: requests to each server in a round.
    """
    p50_ms: dict[str, list[float]] = {protection: [] for protection in servers}
    cpu_ms: dict[str, list[float]] = {protection: [] for protection in servers}
    connections = {protection: Connections(server.port) for protection, server in servers.items()}
    await _turns(connections, calls, WARM_TURNS)
    for _ in range(rounds):
        before = {protection: server.cpu_s() for protection, server in servers.items()}
        for protection, latencies_s in (await _turns(connections, calls, turns)).items():
            p50_ms[protection].append(median(latencies_s) * 1e3)
            cpu_ms[protection].append((servers[protection].cpu_s() - before[protection]) / turns * 1e3)
    for each in connections.values():
        each.close()
    rows = []
    for protection in [one for one in servers if one != PLAIN]:
        base = f"protected/{workload.name}/{protection.replace(',', '').replace(' ', '-')}"
        for what, values, target in (("p50", p50_ms, TARGET), ("CPU time", cpu_ms, "")):
            row_id = f"{base}/{what.split()[0].lower()}"
            text = f"{workload.model}, verify: {what} with {protection} beside without"
            note = "reference: the same service without, asked in turns, one request each"
            rows.append(compared(row_id, text, values[protection], values[PLAIN], "ms", note, target))
    return rows


async def _turns(
    connections: Mapping[str, Connections], calls: Mapping[str, Call], turns: int
) -> dict[str, list[float]]:
    latencies_s: dict[str, list[float]] = {protection: [] for protection in connections}
    for _ in range(turns):
        for protection, call in calls.items():
            attempt = await connections[protection].attempt(call)
            if attempt.status != 200:
                sys.exit(f"expected 200 with {protection}: {attempt.status}")
            latencies_s[protection].append(attempt.latency_s)
    return latencies_s


def _enrolled(server: ServerProcess, workload: Workload, key: str | None) -> Call:
    """Enrol somebody, and verify her by the same sample."""
    status = call_once(server.port, workload.calls("/v1/enroll", key=key, subject_id=SUBJECT)[0])
    if status != 201:
        sys.exit(f"the bench cannot enrol {workload.name}: {status}")
    return workload.calls("/v1/verify", key=key, subject_id=SUBJECT)[0]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--samples", type=Path, default=Path("build/samples"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--turns", type=int, default=25)
    return parser.parse_args()


if __name__ == "__main__":
    main()
