"""Our service beside a plain handler, LitServe and ONNX Runtime by itself, on one kind of sample.

    python -m loadtests.bench.serving.comparison.run --workload phrase --cores 1,2,4 --output build/bench/x.jsonl

Everybody's settings are searched first, ours too, for each number of cores and each graph: by throughput for many
callers and by median latency for one. Then the best of each take turns; those that are not measured stand still
(SIGSTOP). Servers are pinned to so many cores, the client to one of its own where there is one to spare.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from loadtests.bench.rows import append_rows, write_rows
from loadtests.bench.serving.comparison.placement import on_cores, placement, read_cores, usable_cores
from loadtests.bench.serving.comparison.rows import Measured, rows_of, scaling_rows
from loadtests.bench.serving.comparison.turns import OURS, TRIES, Best, Track, Turn, Who
from loadtests.bench.serving.contestants import Contestant, litserve, matchka, plain, process_counts
from loadtests.bench.serving.inputs import read_workload
from loadtests.bench.serving.plain_handler import FLOAT, graphs_of
from loadtests.bench.serving.raw_graph import RawGraph


def contestants(cores: int, graph: str) -> dict[str, Sequence[Contestant]]:
    """Name -> the settings among which its best is searched."""
    return {
        OURS: [matchka(("MATCHKA_GRAPH", graph), ("MATCHKA_PROCESSES", str(n))) for n in process_counts(cores)],
        "plain": [
            plain(threads=1, workers=1, graph=graph),
            plain(threads=cores, workers=1, graph=graph),
            plain(threads=1, workers=cores, graph=graph),
            plain(threads=min(2, cores), workers=1, graph=graph, spins=True),
            plain(threads=cores, workers=1, graph=graph, spins=True),
        ],
        "litserve": [
            litserve(batch=1, workers=cores, threads=1, graph=graph),
            litserve(batch=1, workers=1, threads=cores, graph=graph),
            litserve(batch=1, workers=1, threads=min(2, cores), graph=graph, spins=True),
            litserve(batch=4, workers=cores, threads=1, graph=graph),
            litserve(batch=8, workers=cores, threads=1, graph=graph),
        ],
    }


def main() -> None:
    """Measure on each number of cores, and write the rows of each when it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=("phrase", "voice", "chip"), required=True)
    parser.add_argument("--cores", default="", help="numbers of cores for the servers, such as 1,2,4; all by default")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--samples", type=Path, default=Path("build/samples"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.5)
    arguments = parser.parse_args()
    usable = usable_cores()
    try:
        chosen = read_cores(arguments.cores, len(usable))
    except ValueError as error:
        sys.exit(str(error))
    workload = read_workload(arguments.workload, arguments.samples, arguments.models)
    found: dict[int, Measured] = {}
    write_rows(arguments.output, [])
    with Progress(console=Console(stderr=True)) as progress:
        for cores in chosen:
            with tempfile.TemporaryDirectory() as folder:
                track = Track(workload, arguments.models, Path(folder), placement(cores, usable))
                found[cores] = measure(track, arguments.models, arguments.rounds, arguments.seconds, progress)
            append_rows(arguments.output, rows_of(workload, found[cores]))
    append_rows(arguments.output, scaling_rows(workload, found))


def measure(track: Track, models: Path, rounds: int, seconds: float, progress: Progress) -> Measured:
    """Search everybody's settings, then let them take turns."""
    workload, cores = track.workload, len(track.placement.servers)
    graphs = graphs_of(models / workload.model)
    tried = {(name, graph): each for graph in graphs for name, each in contestants(cores, graph).items()}
    best = searched(track, tried, progress)
    with on_cores(track.placement.servers):
        raw = {graph: RawGraph(models, workload, cores, graph) for graph in graphs}
        settings = {graph: each.best() for graph, each in raw.items()}
    turns = []
    with track.started([one for each in best.values() for one in (each.many, each.one)]) as servers:
        for _ in progress.track(range(rounds), description=f"Taking turns ({workload.name}, {cores} core(s))"):
            with on_cores(track.placement.servers):
                turn = Turn(raw[FLOAT].preparation_cpu_s())
                turn.raw = {graph: each.cost(settings[graph], seconds / 2) for graph, each in raw.items()}
            track.take_turn(best, servers, seconds, turn)
            turns.append(turn)
    return Measured(track.placement, best, settings, turns)


def searched(track: Track, tried: dict[Who, Sequence[Contestant]], progress: Progress) -> dict[Who, Best]:
    """The best settings of everybody."""
    what = f"Searching settings ({track.workload.name}, {len(track.placement.servers)} core(s))"
    task = progress.add_task(what, total=sum(TRIES * len(set(each)) for each in tried.values()))
    return {who: track.best(each, lambda: progress.advance(task)) for who, each in tried.items()}


if __name__ == "__main__":
    main()
