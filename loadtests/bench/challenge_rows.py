"""What a spoken challenge costs: processor time of hearing a clip and of redeeming, and the disk's part of the latter.

A redemption is on the disk before anything is computed, so what it takes by the clock is what one synchronous write of
that disk takes: such a write is measured beside it, in turns.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
from rich.console import Console

from loadtests.bench.rows import Row, alone, compared, write_rows
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


def main() -> None:
    """Measure both and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--folder", type=Path, default=Path("build"), help="on the disk that redemptions wait for")
    parser.add_argument("--repeats", type=int, default=200)
    arguments = parser.parse_args()
    if not (arguments.models / "phonemes").is_dir():
        Console(stderr=True).print(f"challenge: no bundle phonemes in {arguments.models}, so this group is left out")
        return
    found = [*hearing_rows(arguments.models / "phonemes", arguments.repeats)]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        found += redeeming_rows(Path(folder), arguments.repeats)
    write_rows(arguments.output, found)


def hearing_rows(bundle: Path, repeats: int) -> list[Row]:
    """The posteriors of a clip, and what a phrase is to them: processor time of all threads, in ms."""
    recogniser = recogniser_of(open_model(read_bundle(bundle), read_settings({})))
    rng = np.random.default_rng(0)
    samples = round(CLIP_S * recogniser.manifest.input.sample_rate_hz)
    clip = rng.normal(0, NOISE_RMS, (1, samples)).astype(np.float32)
    text = recogniser.text(draw_phrase(recogniser.words.vocabulary, WORDS, []))
    heard = recogniser.log_posteriors(clip)
    hear = _cpu_ms(lambda: recogniser.log_posteriors(clip), repeats)
    decide = _cpu_ms(lambda: decide_phrase(heard, text, recogniser.output, MAX_FAR), repeats)
    return [
        alone("challenge/hearing", f"phones of a clip of {CLIP_S:g} s, CPU", hear, "ms", "one thread", "<= 30"),
        alone("challenge/deciding", f"a phrase of {WORDS} words, CPU", decide, "ms", "beside the phones of the clip"),
    ]


def redeeming_rows(folder: Path, repeats: int) -> list[Row]:
    """Redemptions on a store in a folder, and bare synchronous writes of a page beside them, in turns."""
    cpu_ms, wall_ms, bare_ms = [], [], []
    with closing(Store(f"sqlite:///{folder / 'store.db'}")) as store, (folder / "page").open("wb") as page:
        unit = np.array([[1.0, 0.0]], np.float32)
        store.add_templates(*OWNER[:2], "voice", "1", unit)
        for repeat in range(WARM_UP + repeats):
            asked = store.challenges.issue(*OWNER, UNLIMITED, lambda _: ("now",))
            begun = time.perf_counter(), time.process_time()
            store.challenges.redeem(*OWNER[:2], asked.challenge_id, OWNER[2])
            taken = time.perf_counter() - begun[0], time.process_time() - begun[1]
            begun_at = time.perf_counter()
            page.write(PAGE)
            page.flush()
            os.fdatasync(page.fileno())
            bare = time.perf_counter() - begun_at
            if repeat >= WARM_UP:
                wall_ms.append(MS * taken[0])
                cpu_ms.append(MS * taken[1])
                bare_ms.append(MS * bare)
    note = "redeeming by the clock: the reference is one page and one fdatasync on the same disk, in turns"
    return [
        alone("challenge/redeeming", "redeeming a challenge, CPU", cpu_ms, "ms", "SQLite, full sync", "<= 2"),
        compared("challenge/redeeming/clock", "redeeming, by the clock", wall_ms, bare_ms, "ms", note),
    ]


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
