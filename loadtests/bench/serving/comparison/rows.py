"""What a comparison found, as rows of the table: pure functions of the loads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from loadtests.bench.rows import Row, alone, compared, disturbance
from loadtests.bench.serving.comparison.placement import Placement
from loadtests.bench.serving.comparison.turns import MANY, OTHERS, OURS, Best, Turn, Who
from loadtests.bench.serving.inputs import Workload
from loadtests.bench.serving.load import Load
from loadtests.bench.serving.plain_handler import CHEAPEST, FLOAT
from loadtests.bench.serving.raw_graph import Setting, mean_rows

NAMES = {FLOAT: "float", CHEAPEST: "8-bit"}  # of graphs, for people and in the ids of rows
SAME_GRAPH = ">= 1.1"  # how often the others' throughput, from two cores on
FLOAT_BESIDE_8_BIT = {"phrase": ">= 1.5", "chip": ">= 1.8"}  # by workload: ours in 8 bits beside theirs in 32
CPU_OF_FLOAT = {"phrase": "<= 0.7", "chip": "<= 0.58"}
LONE_CALLER = "<= 1.05"
SCALING = 0.875  # of the cores that were added


@dataclass(frozen=True)
class Measured:
    """Everything that was found on so many cores.

    Attributes:
        placement: of servers and client.
        best: everybody's settings.
        settings: graph -> at which a row costs ONNX Runtime least.
        turns: of everybody.
    """

    placement: Placement
    best: Mapping[Who, Best]
    settings: Mapping[str, Setting]
    turns: list[Turn]

    @property
    def cores(self) -> int:
        """Of the servers."""
        return len(self.placement.servers)

    @property
    def graphs(self) -> list[str]:
        """That were run, the bundle's own first."""
        return list(self.settings)

    def many(self, name: str, graph: str) -> list[Load]:
        """Of each turn, with MANY clients."""
        return [turn.many[name, graph] for turn in self.turns]

    def one(self, name: str, graph: str) -> list[Load]:
        """Of each turn, with one client."""
        return [turn.one[name, graph] for turn in self.turns]


def rows_of(workload: Workload, found: Measured) -> list[Row]:
    """The rows of one number of cores."""
    base = f"serving/{workload.name}/{found.cores}"
    loads = [load for turn in found.turns for load in (*turn.many.values(), *turn.one.values())]
    rows: list[Row] = []
    for graph in found.graphs:
        rows += cpu_rows(workload, found, graph)
    for ours in found.graphs:
        for theirs in found.graphs[: found.graphs.index(ours) + 1]:
            rows += beside_others(workload, found, ours, theirs)
    if CHEAPEST in found.graphs:
        cheap, whole = ([_cpu_ms(load) for load in found.many(OURS, graph)] for graph in (CHEAPEST, FLOAT))
        what = f"{_what(workload, found)}: server CPU of an embedding, 8-bit graph beside float"
        target = CPU_OF_FLOAT.get(workload.name, "")
        rows.append(compared(f"{base}/cpu/8-bit-beside-float", what, cheap, whole, "ms", "both ours", target))
    return [*rows, disturbance(base, [load.other_cores for load in loads])]


def beside_others(workload: Workload, found: Measured, ours: str, theirs: str) -> list[Row]:
    """Ours on one graph beside the best of the others on the same or another one."""
    pair = NAMES[ours] if ours == theirs else f"{NAMES[ours]}-beside-{NAMES[theirs]}"
    base, what = (
        f"serving/{workload.name}/{found.cores}",
        f"{_what(workload, found)}, {pair.replace('-beside-', ' beside ')}",
    )
    target = SAME_GRAPH if ours == theirs else FLOAT_BESIDE_8_BIT.get(workload.name, "")
    fastest = max(OTHERS, key=lambda name: median(load.rate for load in found.many(name, theirs)))
    soonest = min(OTHERS, key=lambda name: median(_p50_ms(load) for load in found.one(name, theirs)))
    values: tuple[tuple[str, str, Callable[[Load], float], str], ...] = (
        ("rate", "requests/s", lambda load: load.rate, target if found.cores > 1 else ""),
        ("p50", "ms", _p50_ms, ""),
        ("p99", "ms", lambda load: load.percentile_ms(99), ""),
    )
    note = f"{MANY} clients, {_settings(found, ours, theirs, fastest, lambda best: best.many.settings)}"
    rows = []
    for row_id, unit, value, wanted in values:
        mine, others = ([value(x) for x in found.many(*who)] for who in ((OURS, ours), (fastest, theirs)))
        label = f"{what}, {MANY} clients: {'throughput' if row_id == 'rate' else row_id}"
        rows.append(compared(f"{base}/{MANY}/{row_id}/{pair}", label, mine, others, unit, note, wanted))
    mine, others = ([_p50_ms(x) for x in found.one(*who)] for who in ((OURS, ours), (soonest, theirs)))
    note = f"1 client, {_settings(found, ours, theirs, soonest, lambda best: best.one.settings)}"
    rows.append(compared(f"{base}/1/p50/{pair}", f"{what}, 1 client: p50", mine, others, "ms", note, LONE_CALLER))
    return rows


def cpu_rows(workload: Workload, found: Measured, graph: str) -> list[Row]:
    """Server CPU of an embedding beside ONNX Runtime's, with and without decoding, and what the client took."""
    what, base = (
        f"{_what(workload, found)}, {NAMES[graph]}",
        f"serving/{workload.name}/{found.cores}/cpu/{NAMES[graph]}",
    )
    loads, turns = found.many(OURS, graph), found.turns
    pairs = list(zip(turns, loads, strict=True))
    raw_ms = [turn.raw[graph].cpu_s * mean_rows(load.rows) * 1e3 for turn, load in pairs]
    raw_rate = [turn.raw[graph].rate / mean_rows(load.rows) for turn, load in pairs]
    decode_ms = [turn.stages[graph].decode * 1e3 for turn in turns]
    run_ms = [turn.stages[graph].run * 1e3 for turn in turns]
    all_ms = [_cpu_ms(load) for load in loads]
    inference_ms = [whole - decode for whole, decode in zip(all_ms, decode_ms, strict=True)]
    rest_ms = [whole - run for whole, run in zip(inference_ms, run_ms, strict=True)]
    note = f"ONNX Runtime: {found.settings[graph]}; {mean_rows(loads[0].rows):.2f} rows a sample"
    plain_ms = [turn.plain_decode_cpu_s * 1e3 for turn in turns]
    client_ms = [load.client_cpu_s / len(load.latencies_s) * 1e3 for load in loads]
    decoding = "decoding: the plain handler's, without checks, in a loop of its own on one core"
    bound = "<= 1.25" if graph == FLOAT else ""  # what is around a graph is the same, and more of a cheaper one's cost
    return [
        compared(f"{base}/all", f"{what}: server CPU of an embedding", all_ms, raw_ms, "ms", note),
        compared(f"{base}/inference", f"{what}: without decoding", inference_ms, raw_ms, "ms", note, bound),
        compared(f"{base}/decode", f"{what}: decoding and preparing, CPU", decode_ms, plain_ms, "ms", decoding),
        compared(f"{base}/rate", f"{what}: throughput", [x.rate for x in loads], raw_rate, "embeddings/s", note),
        alone(f"{base}/run", f"{what}: of that, runs of the graph", run_ms, "ms", ""),
        alone(f"{base}/rest", f"{what}: of that, HTTP, threads, batching", rest_ms, "ms", ""),
        alone(f"{base}/client", f"{what}: the bench client's own CPU of a request", client_ms, "ms", ""),
    ]


def scaling_rows(workload: Workload, found: Mapping[int, Measured]) -> list[Row]:
    """Our throughput on the most cores beside that on the least, by graph; none where one number was measured."""
    least, most = min(found), max(found)
    if least == most:
        return []
    rows = []
    for graph in found[least].graphs:
        few, many = ([load.rate for load in found[cores].many(OURS, graph)] for cores in (least, most))
        what = f"{workload.what}, {NAMES[graph]}, {MANY} clients: throughput on {most} cores beside {least}"
        note = "measured one after the other, not in turns"
        target = f">= {SCALING * most / least:g}"
        row_id = f"serving/{workload.name}/scaling/{NAMES[graph]}"
        rows.append(compared(row_id, what, many, few, "requests/s", note, target))
    return rows


def _settings(found: Measured, ours: str, theirs: str, other: str, of: Callable[[Best], str]) -> str:
    shown = [f"ours: {of(found.best[OURS, ours])}", f"reference: {other}, {of(found.best[other, theirs])}"]
    return "; ".join([*shown, found.placement.note])


def _what(workload: Workload, found: Measured) -> str:
    return f"{workload.what}, {found.cores} core(s)"


def _cpu_ms(load: Load) -> float:
    return load.server_cpu_each_s * 1e3


def _p50_ms(load: Load) -> float:
    return load.percentile_ms(50)
