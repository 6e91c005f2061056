"""What a row costs by rows of a run, runs at the same time and threads of a run: what batch_policy.py is chosen by.

    python -m loadtests.bench.graphs.batch_sizes --workload phrase
    python -m loadtests.bench.graphs.batch_sizes --workload chip --cores 4 --passes 5

All settings take turns, in an order that is shuffled for each pass; a figure is the median of the passes of its ratio
to the first setting in the same pass, so that a machine whose speed varies spoils little. CPU time counts the threads
of ONNX Runtime too. `run` is the shortest run that was seen: what a lone request waits for.
"""

import argparse
import random
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.progress import track
from rich.table import Table

from loadtests.bench.serving.comparison.placement import on_cores, placement, usable_cores
from loadtests.bench.serving.inputs import read_workload
from loadtests.bench.serving.plain_handler import graphs_of
from loadtests.bench.serving.raw_graph import Cost, RawGraph, Setting

ROWS = (1, 2, 3, 4, 5, 6, 8, 12, 18, 24)
REFERENCE_ROWS = 6  # of the policy


@dataclass(frozen=True)
class Line:
    """One setting beside the reference.

    Attributes:
        setting: it.
        cpu_ms: of a row.
        cpu: the ratio of that.
        rate: the ratio of the rows a second.
        run_ms: the shortest run.
    """

    setting: Setting
    cpu_ms: float
    cpu: float
    rate: float
    run_ms: float


def settings_of(cores: int) -> list[Setting]:
    """The reference first: as many runs at once as cores, of one thread each."""
    shapes = dict.fromkeys([(1, cores), (1, 1), (2, 1), (cores, 1), (2, max(1, cores // 2))])
    found = [Setting(rows, threads, streams) for threads, streams in shapes for rows in ROWS]
    return sorted(found, key=lambda one: one != Setting(REFERENCE_ROWS, 1, cores))


def lines_of(passes: list[dict[Setting, Cost]]) -> list[Line]:
    """The medians of all passes, in the order of the first one's settings."""
    reference, *_ = first = list(passes[0])
    return [
        Line(
            one,
            median(costs[one].cpu_s for costs in passes) * 1e3,
            median(costs[one].cpu_s / costs[reference].cpu_s for costs in passes),
            median(costs[one].rate / costs[reference].rate for costs in passes),
            min(costs[one].run_s for costs in passes) * 1e3,
        )
        for one in first
    ]


def main() -> None:
    """Print a table for each graph of a bundle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=("phrase", "chip"), required=True)
    parser.add_argument("--cores", type=int, default=len(usable_cores()))
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.25, help="of each setting in a pass")
    parser.add_argument("--samples", type=Path, default=Path("build/samples"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    arguments = parser.parse_args()
    workload = read_workload(arguments.workload, arguments.samples, arguments.models)
    progress, console = Console(stderr=True), Console(width=100)
    settings = settings_of(arguments.cores)
    order = random.Random(0)
    for graph in graphs_of(arguments.models / workload.model):
        with on_cores(placement(arguments.cores, usable_cores()).servers):
            raw = RawGraph(arguments.models, workload, arguments.cores, graph)
            passes = []
            for _ in track(range(arguments.passes), graph, console=progress):
                costs = {one: raw.cost(one, arguments.seconds) for one in order.sample(settings, len(settings))}
                passes.append({one: costs[one] for one in settings})
        console.print(table_of(f"{workload.model}, {graph}, {arguments.cores} core(s)", lines_of(passes)))


def table_of(title: str, lines: list[Line]) -> Table:
    """For people."""
    titles = ("threads", "runs at once", "rows", "CPU of a row, ms", "beside the first", "rows/s beside", "run, ms")
    table = Table(*titles, title=title)
    for line in lines:
        one = line.setting
        shown = (f"{line.cpu_ms:.2f}", f"{line.cpu:.2f}", f"{line.rate:.2f}", f"{line.run_ms:.2f}")
        table.add_row(str(one.threads), str(one.streams), str(one.batch), *shown)
    return table


if __name__ == "__main__":
    main()
