"""Send the service everything that is no honest request, and compare each answer with what is documented.

    python -m loadtests.torture.hostile --seconds 120

Exit status 1: a promise was broken; the table and the report say which.
"""

import argparse
import asyncio
import contextlib
import json
import random
import re
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from loadtests.server import ServerProcess, free_port, start_server
from loadtests.torture.hostile.attacks import ATTACKS, Attack
from loadtests.torture.hostile.exchange import Case, exchange
from loadtests.torture.hostile.honest import HonestCallers, enrol_honest, honest_requests, read_material
from loadtests.torture.hostile.report import Row, Storm, as_json, as_table, thin_time_broken
from loadtests.torture.hostile.wire import Material, any_source, get

KEY = "hostile-" + "k" * 32
SHORT_LIMITS = {"max_upload_s": 5, "max_idle_s": 5}  # settings: slow clients are let go within this run
# Decoders that are off by default are attacked where the extra is installed.
FORMATS = {
    setting: names
    for library, setting, names in (("av", "audio__formats", "webm,mp4"), ("pillow_heif", "face__formats", "heic"))
    if find_spec(library) is not None
}
MEMORY_LIMIT_MIB = 4096  # of the attacked processes' data, so that a broken promise does not take the machine
WARM_REQUESTS = 40
TABLE_WIDTH = 160  # where the output is a file
STORM = "storm of wrong keys"
STORM_PROBES = 4
TOO_MANY = 429
STORM_LOG = re.compile(r"(401|key|unauthori[sz]ed).*\b127\.0\.0\.1\b|\b127\.0\.0\.1\b.*(401|key|unauthori[sz]ed)", re.I)


@dataclass
class Target:
    """A server that is attacked, and started again where an attack brought it down."""

    folder: Path
    models_dir: Path
    settings: dict[str, object]
    server: ServerProcess

    @property
    def log_size(self) -> int:
        """Bytes of its log."""
        return self.server.log.stat().st_size

    def log_since(self, size: int) -> str:
        """What it logged behind a number of bytes."""
        return self.server.log.read_bytes()[size:].decode("utf-8", "replace")

    def revive(self) -> str | None:
        """Start it again if it is dead, and say what it died of."""
        if self.server.process.poll() is None:
            return None
        end = f"the server died with {self.server.process.returncode}: {self.server.log_tail()[-300:]}"
        self.server = _start(self.server.port, self.folder, self.models_dir, self.settings)
        self.server.wait_until_ready()
        return end


def main() -> None:
    """Attack, report, and exit with 1 where a promise was broken."""
    arguments = _arguments()
    console = Console(stderr=True, width=None if sys.stderr.isatty() else TABLE_WIDTH)
    folder = arguments.out / "hostile"
    shutil.rmtree(folder, ignore_errors=True)
    material = read_material(arguments.samples, KEY)
    with (
        _started(folder / "key", arguments.models_dir, api_key=KEY, **SHORT_LIMITS, **FORMATS) as keyed,
        _started(folder / "no-key", arguments.models_dir, **SHORT_LIMITS) as keyless,
    ):
        enrol_honest(keyed.server.port, material)
        rows, storm = asyncio.run(_attack(keyed, keyless, material, arguments, console))
        broken = [text for row in rows for text in row.broken()] + thin_time_broken(rows)
        broken += [] if storm is None else storm.broken()
        for name, target in (("with a key", keyed), ("without", keyless)):
            status = target.server.stop()
            broken += [f"the server {name} ended with {status} after SIGTERM"] if status else []
    report = {
        "seed": arguments.seed,
        "seconds": arguments.seconds,
        "rows": [as_json(row) for row in rows],
        "storm": None if storm is None else asdict(storm),
        "broken": broken,
    }
    (arguments.out / "hostile.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    console.print(as_table(rows))
    for text in broken:
        console.print(f"broken: {text}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(1 if broken else 0)


async def _attack(
    keyed: Target, keyless: Target, material: Material, arguments: argparse.Namespace, console: Console
) -> tuple[list[Row], Storm | None]:
    """Make one attack after the other; what one takes too long, those behind it have less, down to half a share."""
    rows: list[Row] = []
    storm: Storm | None = None
    honest = HonestCallers(keyed.server.port, honest_requests(arguments.samples, material))
    asking = asyncio.create_task(honest.run())
    while honest.outcome.statuses.total() < WARM_REQUESTS:  # what the first requests take is no attack's doing
        await asyncio.sleep(0.1)
    attacks = [attack for attack in ATTACKS if not arguments.only or attack.name in arguments.only]
    end = time.perf_counter() + arguments.seconds
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("Attacking", total=len(attacks))
        for number, attack in enumerate(attacks):
            progress.update(task, description=attack.name, completed=number)
            target = keyed if attack.keyed else keyless
            rng = random.Random(f"{arguments.seed} {attack.name}")
            served, began = honest.new_outcome(), time.perf_counter()
            share_s = max((end - began) / (len(attacks) - number), 0.5 * arguments.seconds / len(attacks))
            rows.append(await _row_of(attack, target, attack.cases(material, rng), share_s, arguments.least))
            if attack.name == STORM:
                rate = rows[-1].tried.total() / (time.perf_counter() - began)
                storm = await _look_at_storm(target, rng, rate)
            rows[-1].note_honest(served)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    return rows, storm


async def _row_of(attack: Attack, target: Target, cases: Iterator[Case], seconds: float, least: int) -> Row:
    """Make an attack, and look at what it left of the server."""
    row, logged = Row(attack.name), target.log_size
    await _make(attack, target, cases, time.perf_counter() + seconds, attack.least(least), row)
    if "Traceback" in target.log_since(logged):
        row.failures.append("the server logged a traceback")
    death = await asyncio.to_thread(target.revive)
    if death is not None:
        row.failures.append(death)
    return row


async def _make(attack: Attack, target: Target, cases: Iterator[Case], end: float, least: int, row: Row) -> None:
    """Make an attack until `end`, and at least so often."""
    server, begun, making = target.server, 0, asyncio.Lock()
    server.forget_peak()
    before_mib = server.memory_mib()

    async def attacker() -> None:
        nonlocal begun, before_mib
        while server.process.poll() is None and (begun < least or time.perf_counter() < end):
            begun += 1
            async with making:  # a large picture is made for seconds, in which the honest ones have to go on
                case = await asyncio.to_thread(next, cases)
            if attack.at_once == 1:  # what grows is this one's doing
                server.forget_peak()
                before_mib = server.memory_mib()
            row.note(case, await exchange(server.port, case))
            row.note_memory(before_mib, server.memory_mib("VmHWM"), case)

    await asyncio.gather(*(attacker() for _ in range(attack.at_once)))


async def _look_at_storm(target: Target, rng: random.Random, per_second: float) -> Storm:
    """Whether the address that stormed waits for its refusals, and whether the log tells of it."""
    request = get("/v1/subjects", {"Authorization": "Bearer nobody"})
    port = target.server.port
    again = [await exchange(port, Case("again", (request,))) for _ in range(STORM_PROBES)]
    fresh = [await exchange(port, Case("fresh", (request,), source=any_source(rng))) for _ in range(STORM_PROBES)]
    return Storm(
        per_second=round(per_second, 1),
        fresh_s=min(one.seconds for one in fresh),
        stormed_s=max(one.seconds for one in again),
        refused_outright=again[-1].outcomes[0][0] == TOO_MANY,
        # of the whole run: one line may stand for all refusals of a minute
        logged_lines=sum(bool(STORM_LOG.search(line)) for line in target.log_since(0).splitlines()),
    )


@contextlib.contextmanager
def _started(folder: Path, models_dir: Path, **settings: object) -> Iterator[Target]:
    target = Target(folder, models_dir, settings, _start(free_port(), folder, models_dir, settings))
    try:
        target.server.wait_until_ready()
        yield target
    finally:
        target.server.end()


def _start(port: int, folder: Path, models_dir: Path, settings: dict[str, object]) -> ServerProcess:
    server = start_server(port, folder / "data", models_dir.resolve(), folder / "server.log", **settings)
    limit = MEMORY_LIMIT_MIB << 20
    resource.prlimit(server.process.pid, resource.RLIMIT_DATA, (limit, limit))
    return server


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="of all attacks together")
    parser.add_argument("--least", type=int, default=18, help="requests of an attack, however short the run")
    parser.add_argument("--seed", type=int, default=1)
    names = [attack.name for attack in ATTACKS]
    parser.add_argument(
        "--only", action="append", default=[], choices=names, metavar="ATTACK", help="may be given again"
    )
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--samples", type=Path, default=Path("build/samples"))
    parser.add_argument("--out", type=Path, default=Path("build/torture"))
    arguments = parser.parse_args()
    arguments.out = arguments.out.resolve()
    return arguments


if __name__ == "__main__":
    main()
