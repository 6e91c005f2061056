"""Everything about a GPU with one command, as one table: build/gpu/gpu.md and gpu.json.

python -m loadtests.gpu                                  on an NVIDIA GPU
python -m loadtests.gpu --only search --subjects 1000000 a part of it; the others keep what they have
python -m loadtests.gpu --device cpu --subjects 10000 --http-subjects 1000   the same code on a CPU
"""

import argparse
import os
import signal
import subprocess
import sys
from contextlib import suppress

from rich.console import Console

from loadtests.gpu.options import add_options, as_arguments, options_of
from loadtests.gpu.part import PARTS
from loadtests.gpu.results import Skipped, append, write_report


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    made.add_argument("--part-limit-s", type=float, default=7200.0, help="a part that takes longer is cut short")
    add_options(made)
    return made


def main() -> None:
    """Run the parts one after the other; each writes as it goes."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of `finally`: no part outlives this
    arguments = parser().parse_args()
    options, console, failed = options_of(arguments), Console(stderr=True), []
    for part in arguments.only:
        console.rule(part)
        command = [sys.executable, "-m", "loadtests.gpu.part", part, *as_arguments(options)]
        code = ended(command, arguments.part_limit_s)
        if code != 0:
            failed.append(part)
            why = f"cut short after {arguments.part_limit_s:g} s" if code is None else f"ended with {code}; see above"
            append(options.output / f"{part}.jsonl", Skipped(part, why))
        write_report(options.output)
    Console(width=160, soft_wrap=True).print(write_report(options.output), markup=False)
    if failed:
        sys.exit(f"not whole: {', '.join(failed)}")


def ended(command: list[str], limit_s: float) -> int | None:
    """The exit status of a part; None where it took too long. None of the processes that it started outlives it."""
    process = subprocess.Popen(command, process_group=0)
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with suppress(ProcessLookupError):  # as where it has ended by itself
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


if __name__ == "__main__":
    main()
