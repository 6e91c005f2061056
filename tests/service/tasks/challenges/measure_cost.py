"""What a spoken challenge costs: processor time of hearing a clip and of redeeming, and the disk's part of the latter.

A redemption is on the disk before anything is computed, so what it takes by the clock is what one synchronous write of
that disk takes: such a write is measured beside it, in turns.

    python -m tests.service.tasks.challenges.measure_cost
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from matchka.bundles.bundle import read_bundle
from matchka.inference.model import open_model
from matchka.settings import read_settings
from matchka.store.challenges import ChallengeLimits
from matchka.store.store import Store
from matchka.tasks.speech.phrase import decide_phrase, draw_phrase
from matchka.tasks.speech.recogniser import recogniser_of

CLIP_S = 4.0
NOISE_RMS = 0.03  # what a graph computes does not depend on what is said
WORDS = 6
MAX_FAR = 1e-2
WARM_UP = 5
OWNER = ("default", "ada", "phrase")
UNLIMITED = ChallengeLimits(lifetime_s=3600.0, most_open=10**6, most_in_an_hour=10**6)
PAGE = bytes(4096)
MS = 1e3


@dataclass(frozen=True)
class Redemptions:
    """What each took, in ms. Attributes: cpu, clock: of a redemption. bare: one page and one fdatasync beside it."""

    cpu: list[float]
    clock: list[float]
    bare: list[float]

    @property
    def ratio(self) -> float:
        """Median of how many bare writes a redemption takes by the clock."""
        return median(one / other for one, other in zip(self.clock, self.bare, strict=True))


def main() -> None:
    """Measure both and print medians, with the least and the most."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=Path("models/phonemes"))
    parser.add_argument("--folder", type=Path, default=Path("build"), help="on the disk that redemptions wait for")
    parser.add_argument("--repeats", type=int, default=200)
    arguments = parser.parse_args()
    hear, decide = measure_hearing(arguments.bundle, arguments.repeats)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        redeem = measure_redeeming(Path(folder), arguments.repeats)
    for what, values in (
        (f"phones of a clip of {CLIP_S:g} s, CPU, one thread", hear),
        (f"deciding about {WORDS} words, CPU", decide),
        ("redeeming, CPU", redeem.cpu),
        ("redeeming, by the clock", redeem.clock),
        ("one page and one fdatasync", redeem.bare),
    ):
        sys.stdout.write(f"{what:44s} median {median(values):6.2f} ms ({min(values):.2f} to {max(values):.2f})\n")
    sys.stdout.write(f"redeeming beside the bare write, by the clock: {redeem.ratio:.1f} times\n")


def measure_hearing(bundle: Path, repeats: int) -> tuple[list[float], list[float]]:
    """The posteriors of a clip, and what a phrase is to them: processor time of all threads, in ms."""
    recogniser = recogniser_of(open_model(read_bundle(bundle), read_settings({})))
    rng = np.random.default_rng(0)
    samples = round(CLIP_S * recogniser.manifest.input.sample_rate_hz)
    clip = rng.normal(0, NOISE_RMS, (1, samples)).astype(np.float32)
    text = recogniser.text(draw_phrase(recogniser.words.vocabulary, WORDS, []))
    heard = recogniser.log_posteriors(clip)
    hear = _cpu_ms(lambda: recogniser.log_posteriors(clip), repeats)
    return hear, _cpu_ms(lambda: decide_phrase(heard, text, recogniser.output, MAX_FAR), repeats)


def measure_redeeming(folder: Path, repeats: int) -> Redemptions:
    """Redemptions on a store in a folder, and bare synchronous writes of a page beside them, in turns."""
    found = Redemptions([], [], [])
    with closing(Store(f"sqlite:///{folder / 'store.db'}")) as store, (folder / "page").open("wb") as page:
        store.add_templates(*OWNER[:2], "voice", "1", np.array([[1.0, 0.0]], np.float32))
        for repeat in range(WARM_UP + repeats):
            asked = store.challenges.issue(*OWNER, UNLIMITED, lambda _: ("now",))
            begun, begun_cpu = time.perf_counter(), time.process_time()
            store.challenges.redeem(*OWNER[:2], asked.challenge_id, OWNER[2])
            clock, cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
            begun = time.perf_counter()
            page.write(PAGE)
            page.flush()
            os.fdatasync(page.fileno())
            bare = time.perf_counter() - begun
            if repeat >= WARM_UP:
                found.cpu.append(MS * cpu)
                found.clock.append(MS * clock)
                found.bare.append(MS * bare)
    return found


def _cpu_ms(work: Callable[[], object], repeats: int) -> list[float]:
    """Processor time of each call, ms, behind a few that warm caches."""
    found = []
    for repeat in range(WARM_UP + repeats):
        begun = time.process_time()
        work()
        if repeat >= WARM_UP:
            found.append(MS * (time.process_time() - begun))
    return found


if __name__ == "__main__":
    main()
