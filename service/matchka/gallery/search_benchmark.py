"""Search benchmark: one gallery without models and HTTP, queried over standard input.

    python -m matchka.gallery.search_benchmark references.npy probes.npy

Each line of the input is a method (`policy`, `flat` or `two_stage`), a dim, top_k and the number of a probe; each line
of the output is a JSON object with `ms` and `keys`, the rows of the references found, best first. The first line of
the output tells `put_s`, the seconds that filling took.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Final

import numpy as np

from matchka.gallery.faiss_cpu.gallery import CpuGallery
from matchka.gallery.faiss_cpu.policy import Method, choose_method
from matchka.vectors import FloatArray

FIXED: Final[dict[str, Method]] = {"flat": "flat", "two_stage": "two_stage"}  # any other name leaves it to the policy


class Chooser:
    """The policy, or one method whatever the policy says."""

    def __init__(self) -> None:
        self.fixed: Method | None = None

    def __call__(self, subjects: int, dim: int, prefix_dim: int) -> Method:
        """The method for the next search."""
        return self.fixed or choose_method(subjects, dim, prefix_dim)


def main() -> None:
    """Fill a gallery and answer until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("references", type=Path, help="NumPy file, float32, (subjects, full_dim).")
    parser.add_argument("probes", type=Path, help="NumPy file, float32, (probes, full_dim).")
    arguments = parser.parse_args()
    references: FloatArray = np.load(arguments.references, mmap_mode="r")
    probes: FloatArray = np.load(arguments.probes)
    chooser = Chooser()
    gallery = CpuGallery(references.shape[1], choose=chooser)
    begun = time.perf_counter()
    gallery.put(range(len(references)), references)
    _answer({"put_s": time.perf_counter() - begun})
    for line in sys.stdin:
        method, dim, top_k, number = line.split()
        chooser.fixed = FIXED.get(method)
        begun = time.perf_counter()
        found = gallery.search(probes[int(number)], int(dim), int(top_k))
        ms = 1e3 * (time.perf_counter() - begun)
        _answer({"ms": ms, "keys": [candidate.subject_key for candidate in found]})


def _answer(values: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
