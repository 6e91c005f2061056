"""Every graph of the default bundles beside the release of ONNX Runtime before: an operation that got slower shows.

python -m loadtests.bench.graphs.graph_rows --output build/bench/graphs.jsonl
"""

import argparse
import json
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import track

from loadtests.bench.rows import Row, compared, write_rows

PREVIOUS = "onnxruntime==1.30.0"  # raised with the release in .ci/constraints.txt
ENVIRONMENT = Path("build/bench/onnxruntime-previous")
PROGRAM = Path(__file__).with_name("time_graphs.py")
RUNS_OF = (1, 6)
LEFT_OUT = {"speech.onnx"}  # of others' making; it takes a state beside its input


def main() -> None:
    """Time all graphs in both environments in turns, and note the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    console = Console(stderr=True)
    if not made_environment(ENVIRONMENT):
        console.print(f"graphs: {PREVIOUS} cannot be installed without a package index, so this group is left out")
        return
    graphs = [path for path in sorted(arguments.models.glob("*/*.onnx")) if path.name not in LEFT_OUT]
    turns = [(rows, turn) for rows in RUNS_OF for turn in range(arguments.rounds)]
    found: dict[tuple[int, str], tuple[list[float], list[float]]] = {}
    for rows, _ in track(turns, "Graphs beside the release before", console=console):
        of_now, of_before = (timed(python, graphs, rows) for python in (Path(sys.executable), python_of(ENVIRONMENT)))
        for file in of_now:
            now, before = found.setdefault((rows, file), ([], []))
            now.append(of_now[file])
            before.append(of_before[file])
    write_rows(arguments.output, rows_of(found))


def made_environment(folder: Path) -> bool:
    """Make an environment with the release before, unless it is there. Returns: whether it is."""
    mark = folder / ".installed"
    if mark.is_file() and mark.read_text() == PREVIOUS:
        return True
    venv.create(folder, clear=True, with_pip=True)
    command = [str(python_of(folder)), "-m", "pip", "--quiet", "--disable-pip-version-check", "install", PREVIOUS]
    if subprocess.run(command, check=False).returncode != 0:
        return False
    mark.write_text(PREVIOUS)
    return True


def python_of(folder: Path) -> Path:
    """The interpreter of an environment."""
    return folder / "bin" / "python"


def timed(python: Path, graphs: list[Path], rows: int) -> dict[str, float]:
    """File -> milliseconds of a row."""
    command = [str(python), str(PROGRAM), str(rows), *map(str, graphs)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    times: dict[str, float] = json.loads(done.stdout)
    return times


def rows_of(found: dict[tuple[int, str], tuple[list[float], list[float]]]) -> Iterator[Row]:
    """A row for each graph and number of rows in a run."""
    for (rows, file), (now, before) in found.items():
        name = f"{Path(file).parent.name}/{Path(file).name}"
        note = f"reference: {PREVIOUS}, one thread, CPU time; noise of the shape that each graph takes"
        yield compared(f"graphs/{name}/{rows}", f"{name}, {rows} row(s) a run", now, before, "ms/row", note, "<= 1.2")


if __name__ == "__main__":
    main()
