"""Measure what a service answers on one core, on two and on four, and write docs/capacity.md.

    python -m loadtests.capacity                 # everything: about eight minutes on a machine with nothing else to do
    python -m loadtests.capacity --cores 1       # the others keep their figures
    python -m loadtests.capacity --only-page     # write the tables again

CPU time is that of the service's processes. Rates are left out where anything else took more than a tenth of a core.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from loadtests.bench.search.gallery_model import load_gallery_model
from loadtests.bench.search.search_store import write_store
from loadtests.bench.serving.inputs import read_workload
from loadtests.bench.serving.load import closed_loop, undisturbed
from loadtests.bench.table import machine
from loadtests.capacity.figures import UNDISTURBED_CORES, Figure, merged, read_figures, write_figures
from loadtests.capacity.page import PHRASES, filled, read_bench
from loadtests.client.load import Call
from loadtests.server import ServerProcess, free_port, start_server

SUBJECTS = 100_000
CALLERS = 32
WARM_S = 2.0
START_BOUND_S = 300.0
GRAPHS = ("float", "auto")
CORES_OF_A_PROCESS = 2  # docs/processes.md


@dataclass(frozen=True)
class Traffic:
    """Calls, and what they are for people."""

    what: str
    calls: tuple[Call, ...]


def main() -> None:
    """Measure, keep the figures, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--graphs", nargs="+", default=list(GRAPHS), choices=GRAPHS)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--subjects", type=int, default=SUBJECTS, help="of the gallery that is searched")
    parser.add_argument("--only-page", action="store_true")
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--samples", type=Path, default=Path("build/samples"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    kept_in, page = arguments.docs / "capacity.json", arguments.docs / "capacity.md"
    figures = read_figures(kept_in)
    if not arguments.only_page:
        with tempfile.TemporaryDirectory() as folder:
            store = Path(folder) / "store"
            write_store(arguments.models, store, load_gallery_model().draw(arguments.subjects, 1)[0])
            record_bytes = (store / "matchka.sqlite").stat().st_size / arguments.subjects
            figures = merged(figures, _measured(arguments, store), record_bytes)
        write_figures(kept_in, figures)
    page.write_text(filled(page.read_text("utf-8"), figures, read_bench(arguments.docs / "bench.json")), "utf-8")


def _measured(arguments: argparse.Namespace, store: Path) -> Iterator[Figure]:
    """Every kind of traffic on every number of cores that this machine has."""
    here = machine()
    for cores in sorted(number for number in arguments.cores if number <= here["cores"]):
        processes = max(1, cores // CORES_OF_A_PROCESS)
        for graph in arguments.graphs:
            with _served(store, arguments.models, cores, processes=processes, graph=graph) as server:
                for traffic in _traffics(arguments):
                    load = undisturbed(
                        lambda calls=traffic.calls, server=server: closed_loop(
                            server.port, calls, CALLERS, WARM_S, arguments.seconds, server.cpu_s
                        )
                    )
                    if load.failures:
                        raise RuntimeError(f"{traffic.what} on {cores} cores: refused with {load.failures}")
                    is_quiet = load.other_cores <= UNDISTURBED_CORES
                    figure = Figure(
                        what=traffic.what,
                        cores=cores,
                        processes=processes,
                        graph=graph,
                        cpu_ms=1e3 * load.server_cpu_s / len(load.latencies_s),
                        rate=load.rate if is_quiet else None,
                        p50_ms=load.percentile_ms(50) if is_quiet else None,
                        callers=CALLERS,
                        machine=f"{here['cpu']}, {here['cores']} cores, {here['memory_gib']} GiB",
                        date=f"{datetime.now(UTC):%Y-%m-%d}",
                    )
                    Console(stderr=True).print(figure)
                    yield figure


def _traffics(arguments: argparse.Namespace) -> list[Traffic]:
    phrases, chips = (read_workload(name, arguments.samples, arguments.models) for name in ("phrase", "chip"))
    return [
        Traffic(PHRASES, tuple(phrases.calls())),
        Traffic(f"embed, {chips.what}", tuple(chips.calls())),
        Traffic(f"identify phrases among {arguments.subjects:,}", tuple(phrases.calls("/v1/identify"))),
    ]


@contextmanager
def _served(store: Path, models: Path, cores: int, **settings: object) -> Iterator[ServerProcess]:
    """A service that may use so many cores; those who call it use all."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(mine)[:cores])  # inherited by what is started
    try:
        server = start_server(free_port(), store, models, store.with_suffix(".log"), **settings)
    finally:
        os.sched_setaffinity(0, mine)
    try:
        server.wait_until_ready(START_BOUND_S)
        yield server
    finally:
        server.end()


if __name__ == "__main__":
    main()
