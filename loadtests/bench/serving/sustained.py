"""Latency against load: the highest load that is sustained, and the latency at 50 and 80 % of it.

    python -m loadtests.bench.serving.sustained --output build/bench/sustained.jsonl --figure docs/figures/latency.svg

Callers arrive at random (Poisson) and do not wait for each other. A load is sustained where no call fails and 99 of
100 are answered within BOUND_MS; the highest such rate is found by halving, to a sixteenth of the throughput that 32
callers who wait for their answers reach.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

import matplotlib as mpl
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress

from loadtests.bench.rows import Row, alone, compared, disturbance, write_rows
from loadtests.bench.serving.contestants import matchka, started
from loadtests.bench.serving.inputs import read_workload
from loadtests.bench.serving.load import Load, call_once, closed_loop, open_loop, undisturbed
from loadtests.client.load import Call
from loadtests.server import ServerProcess

BOUND_MS = 500.0
SUBJECT = "bench"
WARM_S = 1.0
HALVINGS = 4
SHARES = (0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0)
REPORTED = (0.5, 0.8)
PERCENTILES = (50, 95, 99)


def main() -> None:
    """Find the highest sustained load, then go through shares of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--figure", type=Path, default=Path("docs/figures/latency.svg"))
    parser.add_argument("--samples", type=Path, default=Path("build/samples"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    arguments = parser.parse_args()
    workload = read_workload("phrase", arguments.samples, arguments.models)
    with tempfile.TemporaryDirectory() as folder, Progress(console=Console(stderr=True)) as progress:
        calls = workload.calls("/v1/verify", subject_id=SUBJECT)
        enrolment = workload.calls("/v1/enroll", subject_id=SUBJECT)[0]
        with started(matchka(), arguments.models, Path(folder), workload.calls()[0]) as server, server.running():
            status = call_once(server.port, enrolment)
            if status != 201:
                sys.exit(f"the bench cannot enrol: {status}")
            highest = highest_rate(server, calls, arguments.seconds, progress)
            found = sweep(server, calls, highest, arguments, progress)
    draw(arguments.figure, highest, found)
    write_rows(arguments.output, rows_of(workload.what, highest, found))


def load_at(server: ServerProcess, calls: list[Call], rate: float, seconds: float) -> Load:
    """Random arrivals at a rate."""
    return undisturbed(lambda: open_loop(server.port, calls, rate, WARM_S, seconds, server.cpu_s))


def is_sustained(load: Load) -> bool:
    """Whether nothing failed and the slowest hundredth is within the bound."""
    return not load.failures and load.percentile_ms(99) <= BOUND_MS


def highest_rate(server: ServerProcess, calls: list[Call], seconds: float, progress: Progress) -> float:
    """The highest sustained rate, in calls a second."""
    most = undisturbed(lambda: closed_loop(server.port, calls, 32, WARM_S, seconds / 2, server.cpu_s)).rate
    low, high = 0.0, most
    for _ in progress.track(range(HALVINGS), description="The highest sustained load"):
        middle = (low + high) / 2
        if is_sustained(load_at(server, calls, middle, seconds)):
            low = middle
        else:
            high = middle
    if low == 0.0:
        sys.exit(f"not even {high:.1f} calls a second are answered within {BOUND_MS:g} ms")
    return low


def sweep(
    server: ServerProcess, calls: list[Call], highest: float, arguments: argparse.Namespace, progress: Progress
) -> dict[float, list[Load]]:
    """Loads at shares of the highest rate: several at those reported, one elsewhere."""
    plan = [share for share in SHARES for _ in range(arguments.rounds if share in REPORTED else 1)]
    found: dict[float, list[Load]] = {share: [] for share in SHARES}
    for share in progress.track(plan, description="Latency against load"):
        found[share].append(load_at(server, calls, share * highest, arguments.seconds))
    return found


def rows_of(what: str, highest: float, found: dict[float, list[Load]]) -> list[Row]:
    """The highest load, and percentiles at shares of it."""
    note = f"verify, random arrivals; sustained: nothing fails and p99 <= {BOUND_MS:g} ms"
    rows = [alone("sustained/highest", f"{what}: highest sustained load", [highest], "calls/s", note)]
    for share in REPORTED:
        loads = found[share]
        percentiles = {p: [load.percentile_ms(p) for load in loads] for p in PERCENTILES}
        label = f"{what}, at {share:.0%} of it"
        rows += [
            alone(f"sustained/{share:.0%}/p{p}", f"{label}: p{p}", values, "ms", note)
            for p, values in percentiles.items()
        ]
        pair = (percentiles[99], percentiles[50])
        rows.append(
            compared(f"sustained/{share:.0%}/p99-over-p50", f"{label}: p99 over p50", *pair, "ms", note, "<= 3")
        )
    others = [load.other_cores for loads in found.values() for load in loads]
    return [*rows, disturbance("sustained", others)]


def draw(path: Path, highest: float, found: dict[float, list[Load]]) -> None:
    """Percentiles against the rate of arrivals."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mpl.rcParams["svg.hashsalt"] = "matchka"  # the same drawing for the same numbers
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for percent in reversed(PERCENTILES):
        values = [median(load.percentile_ms(percent) for load in found[share]) for share in SHARES]
        axes.plot([share * highest for share in SHARES], values, marker="o", label=f"p{percent}")
    axes.axhline(BOUND_MS, color="grey", linewidth=0.8, linestyle="--")
    axes.set(xlabel="random arrivals a second", ylabel="latency, ms", yscale="log")
    axes.grid(visible=True, which="both", linewidth=0.3)
    axes.legend()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
