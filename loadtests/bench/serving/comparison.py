"""Our service beside a plain handler, LitServe and ONNX Runtime by itself, on one kind of sample.

    python -m loadtests.bench.serving.comparison --workload phrase --output build/bench/serving-phrase.jsonl

All servers are started once; those that are not measured are stopped (SIGSTOP). The others' settings are searched
first, by throughput for many callers and by median latency for one, and the best of each is what ours is held against.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from loadtests.bench.rows import Row, alone, compared, disturbance, write_rows
from loadtests.bench.serving.contestants import Contestant, Entrant, litserve, matchka, plain, started
from loadtests.bench.serving.inputs import Workload, read_workload
from loadtests.bench.serving.load import Load, closed_loop, undisturbed
from loadtests.bench.serving.raw_graph import Cost, RawGraph, Setting, mean_rows
from loadtests.client.load import Call

MANY = 32
WARM_S = 0.7
SEARCH_S = 1.5
DECODING = ("decode", "prepare")


@dataclass
class Round:
    """One turn of everybody.

    Attributes:
        many: name -> its load with MANY clients.
        one: name -> its load with one client.
        raw: the graph by itself.
        decode_cpu_s: CPU seconds in which ours decoded and prepared one sample.
        run_cpu_s: CPU seconds of its share of the runs of the graph.
        plain_decode_cpu_s: the same work without checks, in a loop of its own.
    """

    raw: Cost
    decode_cpu_s: float
    run_cpu_s: float
    plain_decode_cpu_s: float
    many: dict[str, Load] = field(default_factory=dict)
    one: dict[str, Load] = field(default_factory=dict)


class Field:
    """Servers that are measured in turn on one workload."""

    def __init__(self, workload: Workload, entrants: list[Entrant]) -> None:
        self.workload = workload
        self.entrants = entrants
        self._calls = {flag: workload.calls(own_fields=flag) for flag in (True, False)}

    def calls(self, contestant: Contestant) -> list[Call]:
        """The workload in the form that a contestant takes."""
        return self._calls[contestant.takes_own_fields]

    def load(self, entrant: Entrant, clients: int, seconds: float) -> Load:
        """Load one server while the others stand still."""
        contestant = entrant.contestant
        with entrant.server.running() as server:
            calls = self.calls(contestant)
            load = undisturbed(lambda: closed_loop(server.port, calls, clients, WARM_S, seconds, server.cpu_s))
        if load.failures or not load.latencies_s:
            sys.exit(f"{contestant.name} ({contestant.settings}) failed: {load.failures}")
        return load

    def best(self, name: str, clients: int, value: Callable[[Load], float], advance: Callable[[], None]) -> Entrant:
        """Among the servers of one name the one whose value is largest, better of two tries each."""
        tried: dict[Entrant, float] = {}
        for entrant in [entrant for entrant in self.entrants if entrant.contestant.name == name] * 2:
            found = value(self.load(entrant, clients, SEARCH_S))
            tried[entrant] = max(found, tried.get(entrant, found))
            advance()
        return max(tried, key=lambda entrant: tried[entrant])


def contestants(cores: int) -> list[Contestant]:
    """Ours, and the settings of the others among which their best is searched."""
    return [
        matchka(),
        plain(threads=1, workers=1),
        plain(threads=cores, workers=1),
        plain(threads=1, workers=cores),
        litserve(batch=1, workers=cores, threads=1),
        litserve(batch=1, workers=1, threads=cores),
        litserve(batch=4, workers=cores, threads=1),
        litserve(batch=8, workers=cores, threads=1),
    ]


def main() -> None:
    """Start, search, measure in turn, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=("phrase", "voice", "chip"), required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--samples", type=Path, default=Path("build/samples"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.5)
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    workload = read_workload(arguments.workload, arguments.samples, arguments.models)
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(console=Console(stderr=True)))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        entrants = []
        entered = contestants(cores)
        for number, contestant in enumerate(progress.track(entered, description="Starting servers")):
            probe = workload.calls(own_fields=contestant.takes_own_fields)[0]
            server = stack.enter_context(started(contestant, arguments.models, folder / str(number), probe))
            entrants.append(Entrant(contestant, server))
        raw = RawGraph(arguments.models, workload, cores)
        rows = measure(Field(workload, entrants), raw, arguments.rounds, arguments.seconds, progress)
    write_rows(arguments.output, rows)


def measure(contest: Field, raw: RawGraph, rounds: int, seconds: float, progress: Progress) -> list[Row]:
    """Search the others' settings, then let everybody take turns."""
    task = progress.add_task("Searching the others' settings", total=4 * (len(contest.entrants) - 1))

    def advance() -> None:
        progress.advance(task)

    ours = contest.entrants[0]
    many = {name: contest.best(name, MANY, lambda load: load.rate, advance) for name in ("plain", "litserve")}
    one = {name: contest.best(name, 1, lambda load: -load.percentile_ms(50), advance) for name in ("plain", "litserve")}
    setting = raw.best()
    taken = [
        take_turns(contest, {"matchka": ours, **many}, {"matchka": ours, **one}, (raw, setting), seconds)
        for _ in progress.track(range(rounds), description=f"Taking turns ({contest.workload.name})")
    ]
    chosen = {(MANY, name): found for name, found in many.items()} | {(1, name): found for name, found in one.items()}
    notes = {key: f"{found.contestant.name}: {found.contestant.settings}" for key, found in chosen.items()}
    return rows_of(contest.workload, taken, notes, setting)


def take_turns(
    contest: Field,
    many: dict[str, Entrant],
    one: dict[str, Entrant],
    raw: tuple[RawGraph, Setting],
    seconds: float,
) -> Round:
    """One turn of everybody."""
    graph, setting = raw
    found = Round(graph.cost(setting, seconds / 2), 0.0, 0.0, graph.preparation_cpu_s())
    for name, entrant in many.items():
        if name != "matchka":
            found.many[name] = contest.load(entrant, MANY, seconds)
            continue
        with entrant.server.running() as server:
            before = server.metrics()
        found.many[name] = contest.load(entrant, MANY, seconds)
        with entrant.server.running() as server:
            after = server.metrics()
        found.decode_cpu_s = stage_cpu_s(before, after, contest.workload.model, DECODING)
        found.run_cpu_s = stage_cpu_s(before, after, contest.workload.model, ("run",))
    for name, entrant in one.items():
        found.one[name] = contest.load(entrant, 1, seconds / 2)
    return found


def stage_cpu_s(before: dict[str, float], after: dict[str, float], model: str, stages: tuple[str, ...]) -> float:
    """CPU seconds of some stages for each sample that was decoded between two readings of the metrics."""

    def grown(name: str, stage: str) -> float:
        labelled = f'{name}{{model="{model}",stage="{stage}"}}'
        return after[labelled] - before[labelled]

    spent = sum(grown("matchka_stage_cpu_seconds_total", stage) for stage in stages)
    return spent / grown("matchka_stage_seconds_count", "decode")


def rows_of(workload: Workload, taken: list[Round], notes: dict[tuple[int, str], str], setting: Setting) -> list[Row]:
    """What was measured, as rows."""
    name, what = workload.name, workload.what
    loads = [load for turn in taken for load in (*turn.many.values(), *turn.one.values())]
    rows = [*cpu_rows(workload, taken, setting), disturbance(f"serving/{name}", [load.other_cores for load in loads])]
    for other in ("plain", "litserve"):
        note = notes[MANY, other]
        ours, theirs = ([turn.many[who] for turn in taken] for who in ("matchka", other))
        for unit, row_id, shown, value, target in (
            ("requests/s", "rate", "throughput", lambda load: load.rate, ">= 1.25"),
            ("ms", "p50", "p50", lambda load: load.percentile_ms(50), ""),
            ("ms", "p99", "p99", lambda load: load.percentile_ms(99), ""),
        ):
            label = f"{what}, {MANY} clients: {shown} beside {other}"
            values = ([value(load) for load in ours], [value(load) for load in theirs])
            rows.append(compared(f"serving/{name}/{MANY}/{row_id}/{other}", label, *values, unit, note, target))
        values = tuple([turn.one[who].percentile_ms(50) for turn in taken] for who in ("matchka", other))
        label = f"{what}, 1 client: p50 beside {other}"
        rows.append(compared(f"serving/{name}/1/p50/{other}", label, *values, "ms", notes[1, other], "<= 1"))
    return rows


def cpu_rows(workload: Workload, taken: list[Round], setting: Setting) -> list[Row]:
    """Server CPU of an embedding beside ONNX Runtime's, with and without decoding, and what the client took."""
    name, what = workload.name, workload.what
    loads = [turn.many["matchka"] for turn in taken]
    raw_ms = [turn.raw.cpu_s * mean_rows(load.rows) * 1e3 for turn, load in zip(taken, loads, strict=True)]
    all_ms = [load.server_cpu_each_s * 1e3 for load in loads]
    decode_ms = [turn.decode_cpu_s * 1e3 for turn in taken]
    inference_ms = [whole - decode for whole, decode in zip(all_ms, decode_ms, strict=True)]
    rest_ms = [whole - turn.run_cpu_s * 1e3 for whole, turn in zip(inference_ms, taken, strict=True)]
    raw_rate = [turn.raw.rate / mean_rows(load.rows) for turn, load in zip(taken, loads, strict=True)]
    note = f"ONNX Runtime: {setting}; {mean_rows(loads[0].rows):.2f} rows a sample"
    plain_decode = [turn.plain_decode_cpu_s * 1e3 for turn in taken]
    client = [load.client_cpu_s / len(load.latencies_s) * 1e3 for load in loads]
    base = f"serving/{name}/cpu"
    return [
        compared(f"{base}/all", f"{what}: server CPU of an embedding", all_ms, raw_ms, "ms", note),
        compared(f"{base}/inference", f"{what}: without decoding", inference_ms, raw_ms, "ms", note, "<= 1.25"),
        compared(
            f"{base}/decode",
            f"{what}: decoding and preparing, CPU",
            decode_ms,
            plain_decode,
            "ms",
            "decoding: the plain handler's, without checks, in a loop of its own on one core",
        ),
        compared(f"{base}/rate", f"{what}: throughput", [x.rate for x in loads], raw_rate, "embeddings/s", note),
        alone(f"{base}/run", f"{what}: of that, runs of the graph", [turn.run_cpu_s * 1e3 for turn in taken], "ms", ""),
        alone(f"{base}/rest", f"{what}: of that, HTTP, threads, batching", rest_ms, "ms", ""),
        alone(f"{base}/client", f"{what}: the bench client's own CPU of a request", client, "ms", ""),
    ]


if __name__ == "__main__":
    main()
