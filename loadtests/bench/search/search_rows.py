"""Identification among 10,000, 100,000 and 1,000,000 drawn subjects beside FAISS and embedded engines: rows `search.*`.

    python -m loadtests.bench.search.search_rows --output build/bench/search.jsonl [--hnsw] [--engines-python …]

Every contestant is a process of its own and times itself; they are asked in turn for the same probe, so that a busy
moment of the machine meets all of them. Recall is against the exact answer of FAISS. `--engines-python` names an
interpreter with pymilvus, milvus-lite and qdrant-client, which nothing else here needs; `make bench` installs one.
`--hnsw` adds HNSW at a million, which takes minutes to build.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console

from loadtests.bench.rows import Row, append_rows, compared, write_rows
from loadtests.bench.search.gallery_model import load_gallery_model

DIM = 256
SMALL_DIM = 16
TOP_K = 10
PROBES = 200
WARM = 10  # first probes, which are not counted
BLOCKS = 5  # repeats: medians over a fifth of the probes each
REFERENCE = (
    "reference: FAISS IndexFlatIP, called directly, with one thread or two (faiss-2), whichever is faster;"
    " drawn subjects and mated probes (gallery_model.py)"
)


@dataclass
class Contestant:
    """A process that searches.

    Attributes:
        process: it, asked over its standard input.
        method: what is asked of it.
        dim: components compared.
        put_s: seconds that building took.
        ms: of each probe, in turn.
        keys: found, best first.
    """

    process: "subprocess.Popen[str]"
    method: str
    dim: int
    put_s: float
    ms: list[float] = field(default_factory=list)
    keys: list[list[int]] = field(default_factory=list)

    def ask(self, number: int) -> None:
        """Search for one probe."""
        answer = told(self.process, f"{self.method} {self.dim} {TOP_K} {number}\n")
        self.ms.append(float(answer["ms"]))
        self.keys.append([int(key) for key in answer["keys"]])


def main() -> None:
    """Measure and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("build/bench/search.jsonl"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--dims", type=int, nargs="+", help=f"{DIM}; for the largest gallery {SMALL_DIM} as well")
    parser.add_argument("--probes", type=int, default=PROBES)
    parser.add_argument("--engines-python", type=Path)
    parser.add_argument("--hnsw", action="store_true")
    arguments = parser.parse_args()
    if arguments.engines_python and not arguments.engines_python.is_file():
        sys.exit(f"no interpreter at {arguments.engines_python}; `make bench` makes one")
    write_rows(arguments.output, [])
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as folder:
            files = [str(Path(folder) / name) for name in ("references.npy", "probes.npy")]
            for file, rows in zip(files, load_gallery_model().draw(size, arguments.probes), strict=True):
                np.save(file, rows)
            for dim in arguments.dims or ((DIM, SMALL_DIM) if size == max(arguments.sizes) else (DIM,)):
                engines = arguments.engines_python if size == 100_000 and dim == DIM else None
                rows_of = measured(files, (size, arguments.probes), dim, engines, arguments.hnsw)
                append_rows(arguments.output, rows_of)


def measured(files: list[str], drawn: tuple[int, int], dim: int, engines: Path | None, with_hnsw: bool) -> list[Row]:
    """Rows of one gallery at one dim; drawn are its subjects and probes."""
    size, probes = drawn
    wanted = {"flat": ("ours", "flat"), "two-stage": ("ours", "two_stage"), "faiss": ("faiss-flat", "flat")}
    wanted["faiss-2"] = ("faiss-flat --threads 2", "flat")
    if size >= 1_000_000 and dim == DIM:
        wanted |= {f"ivf-{n}": ("faiss-ivf", f"nprobe={n}") for n in (32, 64, 128, 192)}
        if with_hnsw:
            wanted |= {f"hnsw-{n}": ("faiss-hnsw", f"ef={n}") for n in (64, 128, 256, 512)}
    if engines:
        wanted |= {name: (name, "search") for name in ("milvus-lite", "qdrant-local")}
    with ExitStack() as stack:
        processes: dict[str, tuple[subprocess.Popen[str], float]] = {}
        for command in dict.fromkeys(command for command, _ in wanted.values()):
            processes[command] = begun(stack, command, files, dim, engines)
        contestants = {
            name: Contestant(processes[command][0], method, dim, processes[command][1])
            for name, (command, method) in wanted.items()
        }
        for number in range(probes):
            for contestant in contestants.values():
                contestant.ask(number)
    return list(rows_of(contestants, size, dim))


def begun(
    stack: ExitStack, name: str, files: list[str], dim: int, engines: Path | None
) -> "tuple[subprocess.Popen[str], float]":
    """Start a contestant and wait until it is built: its process and the seconds that building took."""
    kind, *options = name.split()
    if kind == "ours":
        command = [sys.executable, "-m", "matchka.gallery.search_benchmark", *files]
    else:
        python = str(engines) if engines and kind in ("milvus-lite", "qdrant-local") else sys.executable
        command = [python, "-m", "loadtests.bench.search.search_contestant", kind, *files, "--dim", str(dim), *options]
    process = stack.enter_context(
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    )
    stack.callback(process.kill)
    return process, float(told(process, "")["put_s"])


def told(process: "subprocess.Popen[str]", line: str) -> dict[str, object]:
    """Send a line, read a line."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line)
    process.stdin.flush()
    while answer := process.stdout.readline():
        if answer.startswith("{"):  # engines say other things as well
            values: dict[str, object] = json.loads(answer)
            return values
    sys.exit(f"{' '.join(map(str, process.args))} ended")


def rows_of(contestants: dict[str, Contestant], size: int, dim: int) -> Iterator[Row]:
    """What was measured as rows: everything beside FAISS' exact search in its faster setting."""
    best = min(("faiss", "faiss-2"), key=lambda name: float(np.median(contestants[name].ms[WARM:])))
    exact = contestants[best].keys
    reference = block_medians(contestants[best].ms)
    of = f"{size:,} x {dim}"
    for name, contestant in contestants.items():
        first, ten = recalls(contestant.keys, exact)
        what = f"{name}, {of}; recall@1 {first:.3f}, @10 {ten:.3f}; built in {contestant.put_s:.1f} s"
        target = "<= 0.2" if name == "two-stage" and size >= 1_000_000 and dim == DIM else ""
        ms = block_medians(contestant.ms)
        yield compared(f"search.{name}/{size}/{dim}", what, ms, reference, "ms", REFERENCE, target)
        middle = np.median(contestant.ms[WARM:])
        Console(stderr=True).print(f"{of} {name}: {middle:.2f} ms, recall {first:.3f} {ten:.3f}")


def block_medians(ms: Sequence[float]) -> list[float]:
    """Medians over parts of the probes, in which all contestants were asked in turn."""
    return [float(np.median(part)) for part in np.array_split(np.asarray(ms[WARM:]), BLOCKS)]


def recalls(found: list[list[int]], exact: list[list[int]]) -> tuple[float, float]:
    """Share of probes whose best is the exact best, and share of the exact ten that are found."""
    first = np.mean([ours[:1] == true[:1] for ours, true in zip(found, exact, strict=True)])
    ten = np.mean([len(set(ours) & set(true)) / len(true) for ours, true in zip(found, exact, strict=True)])
    return float(first), float(ten)


if __name__ == "__main__":
    main()
