"""Every group of measurements, one after the other, and the table of all.

python loadtests/bench/run.py                  # what `make bench` runs
python loadtests/bench/run.py --only serving   # the groups whose names begin so; the others keep their rows
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

BENCH = Path(__file__).parent
ENGINES = Path("build/bench/engines/bin/python")  # where `make bench` puts Milvus Lite and Qdrant
MILLION = Path("build/bench/store")  # a store of a million subjects, made once
# Name of the group -> its scripts, and what each is told besides --output; the second and later ones append.
GROUPS: dict[str, tuple[tuple[str, ...], ...]] = {
    "serving-phrase": (("serving.py", "--workload", "phrase"),),
    "serving-voice": (("serving.py", "--workload", "voice"),),
    "serving-chip": (("serving.py", "--workload", "chip"),),
    "one-request": (("one_request.py",),),
    "sustained": (("sustained.py",),),
    "search": (
        ("search_rows.py", "--engines-python", str(ENGINES), "--hnsw"),
        ("identify_rows.py",),
        ("start_rows.py", "--store", str(MILLION)),
        ("identify_rows.py", "--store", str(MILLION)),
    ),
    "training": (("training_rows.py",),),
}


def main() -> None:
    """Measure what was asked for; a group that fails is named at the end and spoils no other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="groups whose names begin so; all by default")
    parser.add_argument("--rows", type=Path, default=Path("build/bench"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    console = Console(stderr=True)
    chosen = {name: scripts for name, scripts in GROUPS.items() if name.startswith(arguments.only)}
    if not chosen:
        sys.exit(f"no such group: {arguments.only}; there are {', '.join(GROUPS)}")
    failed = []
    for number, (name, scripts) in enumerate(chosen.items(), start=1):
        console.rule(f"{number} of {len(chosen)}: {name}")
        begun = time.monotonic()
        for script, *words in scripts:
            command = [sys.executable, str(BENCH / script), *words, "--output", str(arguments.rows / f"{name}.jsonl")]
            if subprocess.run(command, check=False).returncode != 0:
                failed.append(f"{name} ({script})")
        console.print(f"{name}: {time.monotonic() - begun:.0f} s")
    table = [sys.executable, str(BENCH / "table.py"), "--rows", str(arguments.rows), "--docs", str(arguments.docs)]
    subprocess.run(table, check=True)
    if failed:
        sys.exit(f"not measured, see above: {', '.join(failed)}")


if __name__ == "__main__":
    main()
