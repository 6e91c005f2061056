"""What the report of this benchmark concluded, held against the arms, seed by seed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from matchka_train.experiments.phonemes.results import Benchmark, LateRun
from matchka_train.experiments.seeds import CONFIDENCE, paired_interval, verdict

FAILED_PER: Final = 0.8  # above it the report calls an encoder failed

PerBySeed: TypeAlias = Callable[[Benchmark], Mapping[int, float]]


@dataclass(frozen=True)
class Claim:
    """That one phone error rate is higher than another.

    Attributes:
        text: the claim.
        higher: what should have more errors, by seed.
        lower: what should have fewer.
    """

    text: str
    higher: PerBySeed
    lower: PerBySeed


def _arm(name: str) -> PerBySeed:
    return lambda found: {run.seed: run.per for run in found.runs if run.arm == name}


def _constant(rate: float) -> PerBySeed:
    return lambda found: {run.seed: rate for run in found.runs}


def _least(rates: Callable[[Benchmark], list[Mapping[int, float]]]) -> PerBySeed:
    def least(found: Benchmark) -> Mapping[int, float]:
        several = rates(found)
        seeds = set(several[0]).intersection(*several[1:]) if several else set()
        return {seed: min(one[seed] for one in several) for seed in seeds}

    return least


def _better_of(first: str, second: str) -> PerBySeed:
    return _least(lambda found: [_arm(first)(found), _arm(second)(found)])


def _late(first: str, second: str, rate: Callable[[LateRun], float], weight: float | None = None) -> PerBySeed:
    """A late fusion at one weight; without one, at that which is best on the very people who report."""

    def at(found: Benchmark, wanted: float) -> Mapping[int, float]:
        return {run.seed: rate(run) for run in found.late if (run.arms, run.weight) == ((first, second), wanted)}

    if weight is not None:
        return lambda found: at(found, weight)
    return _least(lambda found: [at(found, run.weight) for run in found.late if run.arms == (first, second)])


def _by_frame(run: LateRun) -> float:
    return run.frame_per


def _by_sequence(run: LateRun) -> float:
    return run.sequence_per


CLAIMS: Final = (
    Claim("encoders of mel spectra fail (PER above .8)", _arm("log-mel"), _constant(FAILED_PER)),
    Claim("the last layer transcribes best: better than the middle one", _arm("ge2e-layer-2"), _arm("ge2e-layer-3")),
    Claim("weighted layers transcribe worse than the last one", _arm("ge2e-normalised"), _arm("ge2e-layer-3")),
    Claim("a linear head is enough: convolutions gain nothing", _arm("ge2e-normalised"), _arm("ge2e-linear")),
    Claim(
        "early fusion gains nothing over the better part alone",
        _arm("early"),
        _better_of("ge2e-normalised", "log-mel"),
    ),
    Claim("gated fusion fails: worse than early", _arm("gated"), _arm("early")),
    Claim(
        "late fusion by frame gains a little over the better part (best weight)",
        _better_of("ge2e-normalised", "log-mel"),
        _late("ge2e-normalised", "log-mel", _by_frame),
    ),
    Claim(
        "by frame, .7 for the better part beats .5",
        _late("gated", "log-mel", _by_frame, 0.5),
        _late("gated", "log-mel", _by_frame, 0.7),
    ),
    Claim(
        "ours: late fusion by sequence gains over the better part (best weight)",
        _better_of("ge2e-normalised", "log-mel"),
        _late("ge2e-normalised", "log-mel", _by_sequence),
    ),
)


def claim_rows(found: Benchmark) -> list[list[str]]:
    """Each claim with the mean difference in points of PER, paired by seed, and its interval; the header first."""
    rows = [["claim", "seeds", "difference, points of PER", f"{CONFIDENCE:.0%} interval", "verdict"]]
    for claim in CLAIMS:
        higher, lower = claim.higher(found), claim.lower(found)
        differences = [100 * (higher[seed] - lower[seed]) for seed in sorted(higher.keys() & lower.keys())]
        if not differences:
            continue  # one of the two was left out
        low, high = paired_interval(differences)
        shown = "-" if np.isnan(low) else f"{low:+.1f} to {high:+.1f}"
        found_mean = f"{np.mean(differences):+.1f}"
        rows.append([claim.text, str(len(differences)), found_mean, shown, verdict(low, high, 0.0)])
    return rows
