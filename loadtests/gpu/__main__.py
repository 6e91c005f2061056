"""Everything about a GPU with one command, as one table: build/gpu/gpu.md and gpu.json.

python -m loadtests.gpu                                  on an NVIDIA GPU
python -m loadtests.gpu --only search --subjects 1000000 a part of it; the others keep what they have
python -m loadtests.gpu --device cpu --subjects 10000 --http-subjects 1000   the same code on a CPU
"""

import argparse
import subprocess
import sys

from rich.console import Console

from loadtests.gpu.options import add_options, as_arguments, options_of
from loadtests.gpu.part import PARTS
from loadtests.gpu.results import Skipped, append, write_report


def main() -> None:
    """Run the parts one after the other; each writes as it goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--part-limit-s", type=float, default=7200.0, help="a part that takes longer is cut short")
    add_options(parser)
    arguments = parser.parse_args()
    options, console, failed = options_of(arguments), Console(stderr=True), []
    for part in arguments.only:
        console.rule(part)
        command = [sys.executable, "-m", "loadtests.gpu.part", part, *as_arguments(options)]
        try:
            code = subprocess.run(command, check=False, timeout=arguments.part_limit_s).returncode
            why = "" if code == 0 else f"the part ended with {code}; see above"
        except subprocess.TimeoutExpired:
            why = f"cut short after {arguments.part_limit_s:g} s"
        if why:
            failed.append(part)
            append(options.output / f"{part}.jsonl", Skipped(part, why))
        write_report(options.output)
    Console(width=160, soft_wrap=True).print(write_report(options.output), markup=False)
    if failed:
        sys.exit(f"not whole: {', '.join(failed)}")


if __name__ == "__main__":
    main()
