"""One verification at a time: its latency beside the sum of its stages.

    python -m loadtests.bench.serving.one_request --output build/bench/one-request.jsonl

The stages are what the service counts of itself (matchka_stage_seconds) and `http`: the same upload, answered with an
error by the first line of the verifier, so that it holds all of parsing, routing, threads and replying. What the sum
lacks is what nobody counts.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.progress import Progress

from loadtests.bench.rows import Row, alone, compared, disturbance, write_rows
from loadtests.bench.serving.contestants import matchka, started
from loadtests.bench.serving.inputs import Workload, read_workload
from loadtests.bench.serving.load import Load, call_once, closed_loop, undisturbed
from loadtests.client.load import Call
from loadtests.server import ServerProcess

STAGES = ("store", "decode", "prepare", "queue", "run", "decide")
SUBJECT = "bench"
WARM_S = 0.5


def main() -> None:
    """Enrol somebody, verify one after the other, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--samples", type=Path, default=Path("build/samples"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.5)
    arguments = parser.parse_args()
    # of one run each: the runs that a longer clip is divided into go on at the same time, and do not add up
    workloads = [read_workload(name, arguments.samples, arguments.models) for name in ("phrase", "face")]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, Progress(console=Console(stderr=True)) as progress:
        probe = workloads[0].calls()[0]
        with started(matchka(), arguments.models, Path(folder), probe) as server, server.running():
            for workload in progress.track(workloads, description="One request at a time"):
                rows += measure(server, workload, arguments.rounds, arguments.seconds)
    write_rows(arguments.output, rows)


def enrol(server: ServerProcess, workload: Workload) -> None:
    """Enrol somebody who is verified."""
    status = call_once(server.port, workload.calls("/v1/enroll", subject_id=SUBJECT)[0])
    if status != 201:
        sys.exit(f"the bench cannot enrol {workload.name}: {status}")


def measure(server: ServerProcess, workload: Workload, rounds: int, seconds: float) -> list[Row]:
    """The rows of one workload."""
    enrol(server, workload)
    verify = workload.calls("/v1/verify", subject_id=SUBJECT)
    refused = workload.calls("/v1/verify", subject_id=SUBJECT, dim="1")
    stages: dict[str, list[float]] = {stage: [] for stage in ("http", *STAGES)}
    whole: list[float] = []
    others: list[float] = []
    for _ in range(rounds):
        stages["http"].append(fmean(one_caller(server, refused, seconds / 2, answered=422).latencies_s) * 1e3)
        before = server.metrics()
        load = one_caller(server, verify, seconds, answered=200)
        after = server.metrics()
        whole.append(fmean(load.latencies_s) * 1e3)
        others.append(load.other_cores)
        for stage in STAGES:
            stages[stage].append(stage_ms(before, after, workload.model, stage))
    sums = [sum(values) for values in zip(*stages.values(), strict=True)]
    what, base = f"{workload.what}, verify", f"one-request/{workload.name}"
    note = "reference: the sum of the means of its stages; lengths of several samples are averaged"
    rows = [compared(f"{base}/verify", f"{what}: mean latency beside its stages", whole, sums, "ms", note)]
    rows += [alone(f"{base}/{stage}", f"{what}: {stage}", values, "ms", "") for stage, values in stages.items()]
    return [*rows, disturbance(base, others)]


def one_caller(server: ServerProcess, calls: list[Call], seconds: float, answered: int) -> Load:
    """One client that waits for its answers, all of one status."""

    def load() -> Load:
        return closed_loop(server.port, calls, 1, WARM_S, seconds, server.cpu_s, expected=answered)

    found = undisturbed(load)
    if found.failures:
        sys.exit(f"expected {answered}: {found.failures}")
    return found


def stage_ms(before: dict[str, float], after: dict[str, float], model: str, stage: str) -> float:
    """Mean milliseconds of a stage between two readings of the metrics."""
    labels = f'{{model="{model}",stage="{stage}"}}'
    seconds, count = (
        after[name] - before.get(name, 0.0)
        for name in (f"matchka_stage_seconds_sum{labels}", f"matchka_stage_seconds_count{labels}")
    )
    return seconds / count * 1e3


if __name__ == "__main__":
    main()
