"""Which projection is better: the one whose worst domain stands best beside the raw backbone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from matchka_train.evaluation.validation import Report


@dataclass(frozen=True)
class Standing:
    """Error rates of one projection relative to the raw backbone; smaller is better in every value.

    Attributes:
        excess: by how much the full-dim EER of the worst domain exceeds that of the raw backbone, as a share; 0 where
            none does.
        ratio: of the worst domain: geometric mean over dims of EER / raw EER at full dim.
        overall: mean of the domains' ratios, each weighted by the raw backbone's errors in it.
        one_pair: by how much one mated pair changes the ratio of the worst domain.
    """

    excess: float
    ratio: float
    overall: float
    one_pair: float


def standing(report: Report, raw: Report) -> Standing:
    """Judge a projection against the raw backbone.

    Half a mated pair is added to every EER, so that an EER of 0 neither divides nor decides.

    Args:
        report: of the projection.
        raw: of the raw backbone, same domains and dims.
    """
    excess, ratios, raw_errors = 0.0, [], []
    for domain, per_dim in report.items():
        full = max(per_dim)
        pair = 1.0 / raw[domain][full].mated_pairs
        raw_eer = raw[domain][full].eer + pair / 2
        per_ratio = {dim: (accuracy.eer + pair / 2) / raw_eer for dim, accuracy in per_dim.items()}
        excess = max(excess, per_ratio[full] - 1.0)
        ratios.append(float(np.exp(np.mean(np.log(list(per_ratio.values()))))))
        raw_errors.append(raw_eer / pair)
    worst = int(np.argmax(ratios))
    overall = float(np.average(ratios, weights=raw_errors))
    return Standing(round(excess, 9), ratios[worst], overall, 1.0 / raw_errors[worst])


def best_of(standings: Sequence[Standing]) -> int:
    """The number of the best one.

    What is worse than the frozen backbone anywhere never wins against what is not. Of the others, those whose worst
    domain is within one mated pair of the best worst domain are taken as equal there, and the best overall wins: one
    pair of clips must not decide by itself.

    Args: standings: at least one; earlier ones win ties.
    """
    least_excess = min(reached.excess for reached in standings)
    allowed = [number for number, reached in enumerate(standings) if reached.excess == least_excess]
    least = min((standings[number] for number in allowed), key=lambda reached: (reached.ratio, -reached.one_pair))
    near = [
        number
        for number in allowed
        if standings[number].ratio <= least.ratio + max(least.one_pair, standings[number].one_pair)
    ]
    return min(
        near, key=lambda number: (standings[number].overall, standings[number].ratio, -standings[number].one_pair)
    )


def can_still_win(reached: Standing, others: Sequence[Standing]) -> bool:
    """Whether none of the others beats it whatever comes: only such can be the best now or after more have come."""
    return not any(
        other != reached
        and other.excess <= reached.excess
        and other.ratio <= reached.ratio
        and other.overall <= reached.overall
        and other.one_pair >= reached.one_pair
        for other in others
    )
