"""One part in a process of its own, so that its memory on the GPU is given back and a crash ends nothing else.

python -m loadtests.gpu.part search --subjects 1000000
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from rich.console import Console

from loadtests.bench.rows import Row, alone
from loadtests.gpu.driver import NoGpuError, open_device
from loadtests.gpu.options import Options, add_options, options_of
from loadtests.gpu.parts import batches, behaviour, identify, parity, runtimes, search
from loadtests.gpu.results import Result, Skipped, append, begin, forget, write_report

PARTS: Final[Mapping[str, Callable[[Options], Iterator[Result]]]] = MappingProxyType(
    {
        "behaviour": behaviour.measure,
        "runtimes": runtimes.measure,
        "parity": parity.measure,
        "batches": batches.measure,
        "search": search.measure,
        "identify": identify.measure,
    }
)


def main() -> None:
    """Measure, and append each line as it comes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    add_options(parser)
    arguments = parser.parse_args()
    run_part(arguments.part, options_of(arguments))


def run_part(part: str, options: Options) -> None:
    """Measure a part and write its lines; the last one is the memory that it took.

    Where there is no GPU, the lines of an earlier run stay.
    """
    path, console = options.output / f"{part}.jsonl", Console(stderr=True)
    try:
        device = open_device(options.is_cuda)
    except NoGpuError as error:
        console.print(f"{part} is left out: {error}")
        if not path.exists():
            append(path, Skipped(part, str(error)))
        return
    if options.keep:
        forget(path, part)  # what an earlier run was cut short for
    else:
        begin(path)
    peak: list[float] = []
    with device.watched(peak):
        for result in PARTS[part](options):
            append(path, result)
            write_report(options.output)  # a run that is killed leaves a table
            told = result.what if isinstance(result, Row) else f"{result.id} is left out: {result.why}"
            console.print(f"{told} {f'{result.ours:.4g} {result.unit}' if isinstance(result, Row) else ''}")
    what = "most memory of the device beyond what was taken before" if options.is_cuda else "most memory of one process"
    append(path, alone(f"memory/{part}", f"{part}: {what}", [peak[0] / 2**30], "GiB", ""))


if __name__ == "__main__":
    main()
