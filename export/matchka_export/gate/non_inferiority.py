"""Non-inferiority: an error rate may exceed a reference by less than a margin, and enough was measured to say so.

Nothing here knows what the rates are of. A task, reference or kind of trial that is to be judged too is a further row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from matchka_train.metrics.bootstrap import DrawnRate

Verdict = Literal["passed", "refused", "undecidable"]
ORDER_QUANTILE: Final = 0.025  # two-sided 95 %: an order is refused only where it is significantly the wrong way round


@dataclass(frozen=True)
class Rule:
    """What passes.

    Attributes:
        margin: least margin, a fraction (.003 are .3 points).
        relative_margin: share of the reference's rate that the margin grows to where that is more.
        confidence: of the one-sided upper bound.
        least_units: fewer decide nothing.
        least_trials: fewer decide nothing.
        highest: rate above which a system is as good as guessing, whatever its reference: labels are wrong, mostly.
    """

    margin: float = 0.003
    relative_margin: float = 0.15
    confidence: float = 0.95
    least_units: int = 50
    least_trials: int = 300
    highest: float = 0.4

    def margin_at(self, reference_rate: float) -> float:
        """The margin beside a reference.

        >>> Rule().margin_at(0.01), Rule().margin_at(0.1)
        (0.003, 0.015)
        """
        return max(self.margin, self.relative_margin * reference_rate)


@dataclass(frozen=True)
class Row:
    """One rate beside its reference.

    Attributes:
        unit: what is drawn anew, in a word: subject, seed, contributor.
        units: how many of them take part.
        trials: what the rate rests on, for example mated pairs.
        rate: of the system in question.
        reference: what it is compared with, in words.
        reference_rate: on the same draws.
    """

    unit: str
    units: int
    trials: int
    rate: DrawnRate
    reference: str
    reference_rate: DrawnRate


@dataclass(frozen=True)
class Judged:
    """What was found of a row.

    Attributes:
        upper: bound of rate - reference; at least the difference itself.
        margin: what it must stay below.
        verdict: passed, refused, or undecidable.
    """

    upper: float
    margin: float
    verdict: Verdict


def floor(rate: float, beside: DrawnRate) -> DrawnRate:
    """A reference that is a number and not a system: it is the same in every draw.

    Args:
        rate: a fraction.
        beside: the rate it is compared with.
    """
    return DrawnRate(rate, np.full_like(beside.draws, rate))


def judge_rows(rows: Mapping[str, Row], rule: Rule = Rule()) -> dict[str, Judged]:
    """Judge every stratum of a measurement by itself.

    Args:
        rows: stratum (a domain, a band, a length) -> its rate and reference.
        rule: what passes.

    Returns: stratum -> what was found.
    """
    return {stratum: judge_row(row, rule) for stratum, row in rows.items()}


def judge_row(row: Row, rule: Rule = Rule()) -> Judged:
    """Judge one rate beside its reference; what is not a number never passes."""
    drawn = np.quantile(row.rate.draws - row.reference_rate.draws, rule.confidence)
    # the bound of few draws may lie below the difference that was measured; NaN wins over both
    upper = float(np.maximum(drawn, row.rate.rate - row.reference_rate.rate))
    margin = rule.margin_at(row.reference_rate.rate)
    if not (row.units >= rule.least_units and row.trials >= rule.least_trials):
        return Judged(upper, margin, "undecidable")
    return Judged(upper, margin, "passed" if upper < margin and row.rate.rate < rule.highest else "refused")


def order_bound(longer: DrawnRate, shorter: DrawnRate) -> float:
    """The lower bound of how much worse the longer of two is; above 0, it is significantly worse."""
    return float(np.quantile(longer.draws - shorter.draws, ORDER_QUANTILE))
