"""Every group of measurements, one after the other, and the table of all.

python -m loadtests.bench.run                  # what `make bench` runs
python -m loadtests.bench.run --only serving   # the groups whose names begin so; the others keep their rows
python -m loadtests.bench.run --only serving --cores 1,2,4   # beside others on so many cores
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

BENCH = "loadtests.bench"
ENGINES = Path("build/bench/engines/bin/python")  # where `make bench` puts Milvus Lite and Qdrant
MILLION = Path("build/bench/store")  # a store of a million subjects, made once
COMPARISON = ("serving.comparison.run", "--cores", "{cores}", "--workload")
# Name of the group -> its modules, and what each is told besides --output; the second and later ones append.
GROUPS: dict[str, tuple[tuple[str, ...], ...]] = {
    "serving-phrase": ((*COMPARISON, "phrase"),),
    "serving-voice": ((*COMPARISON, "voice"),),
    "serving-chip": ((*COMPARISON, "chip"),),
    "graphs": (("graphs.graph_rows",),),
    "one-request": (("serving.one_request",),),
    "protected": (("serving.protected",),),
    "sustained": (("serving.sustained",),),
    "search": (
        ("search.search_rows", "--engines-python", str(ENGINES), "--hnsw"),
        ("search.identify_rows",),
        ("search.start_rows", "--store", str(MILLION)),
        ("search.identify_rows", "--store", str(MILLION)),
    ),
    "training": (("training_rows",),),
}


def main() -> None:
    """Measure what was asked for; a group that fails is named at the end and spoils no other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="groups whose names begin so; all by default")
    parser.add_argument("--cores", default="", help="of the servers that are compared, such as 1,2,4; all by default")
    parser.add_argument("--rows", type=Path, default=Path("build/bench"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    console = Console(stderr=True)
    chosen = {name: modules for name, modules in GROUPS.items() if name.startswith(arguments.only)}
    if not chosen:
        sys.exit(f"no such group: {arguments.only}; there are {', '.join(GROUPS)}")
    failed = []
    for number, (name, modules) in enumerate(chosen.items(), start=1):
        console.rule(f"{number} of {len(chosen)}: {name}")
        begun = time.monotonic()
        for module, *words in modules:
            filled = [word.format(cores=arguments.cores) for word in words]
            output = str(arguments.rows / f"{name}.jsonl")
            command = [sys.executable, "-m", f"{BENCH}.{module}", *filled, "--output", output]
            if subprocess.run(command, check=False).returncode != 0:
                failed.append(f"{name} ({module})")
        console.print(f"{name}: {time.monotonic() - begun:.0f} s")
    folders = ["--rows", str(arguments.rows), "--docs", str(arguments.docs)]
    subprocess.run([sys.executable, "-m", f"{BENCH}.table", *folders], check=True)
    if failed:
        sys.exit(f"not measured, see above: {', '.join(failed)}")


if __name__ == "__main__":
    main()
