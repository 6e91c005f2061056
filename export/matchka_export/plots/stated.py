"""What a bundle states of its error rates, as points and intervals that can be drawn."""

import math
from dataclasses import dataclass
from typing import Final

from matchka.bundles.outputs.measurements import Metrics

Z: Final = 1.959964  # two-sided 95 % of a normal distribution


@dataclass(frozen=True)
class Rate:
    """An error rate and its 95 % interval, all from 0 to 1."""

    value: float
    low: float
    high: float


def det_points(metrics: Metrics) -> list[tuple[float, float]]:
    """The points of a DET curve that are stated, (FMR, FNMR), by rising FMR: those at an FMR, and the EER.

    A rate of 0 has no normal deviate, and is drawn as half a pair.
    """
    least = 0.5 / metrics.mated_pairs
    found = {float(fmr): 1 - tar for fmr, tar in metrics.tar_at_fmr.items()}
    found[metrics.eer] = metrics.eer
    return sorted(
        (max(fmr, 0.5 / metrics.non_mated_pairs), min(max(fnmr, least), 1 - least)) for fmr, fnmr in found.items()
    )


def eer_of(metrics: Metrics) -> Rate:
    """The equal error rate."""
    return interval(metrics.eer, metrics.subjects)


def fnmr_at(metrics: Metrics, fmr: str) -> Rate:
    """The FNMR at one of the FMRs that are stated."""
    return interval(1 - metrics.tar_at_fmr[fmr], metrics.subjects)


def interval(rate: float, subjects: int) -> Rate:
    """A rate and Wilson's interval of as many trials as there are subjects.

    Pairs of one subject's samples are not independent. Where those of each subject all fail or all pass, a rate is as
    unsure as if there were one pair each; where they do not, a bootstrap by subject would be narrower.

    Source: E. B. Wilson, Journal of the American Statistical Association 22 (1927), 209-212.

    >>> interval(0.1, 100)  # doctest: +ELLIPSIS
    Rate(value=0.1, low=0.0552..., high=0.1743...)
    """
    centre = rate + Z**2 / (2 * subjects)
    half = Z * math.sqrt(rate * (1 - rate) / subjects + Z**2 / (4 * subjects**2))
    scale = 1 + Z**2 / subjects
    # at 0 and 1 rounding alone would leave the rate outside
    return Rate(rate, min(rate, max(0.0, (centre - half) / scale)), max(rate, min(1.0, (centre + half) / scale)))
