"""Which projection is better: the one whose worst domain stands best beside the raw backbone."""

from dataclasses import dataclass, field

import numpy as np

from training.validate import Report


@dataclass(frozen=True, order=True)
class Standing:
    """Smaller is better, compared from the first value to the last.

    Attributes:
        excess: by how much the full-dim EER of the worst domain exceeds that of the raw backbone, as a share; 0 where
            none does. What is worse than the frozen backbone anywhere never wins against what is not.
        steps: the largest `ratio` of any domain, rounded to whole mated pairs of that domain; what one pair of
            clips decides by itself, decides nothing.
        overall: mean of the domains' `ratio`, each weighted by the raw backbone's errors in it.
        ratio: of the worst domain: geometric mean over dims of EER / raw EER at full dim.
    """

    excess: float
    steps: float
    overall: float
    ratio: float = field(compare=False)


def standing(report: Report, raw: Report) -> Standing:
    """Judge a projection against the raw backbone.

    Half a mated pair is added to every EER, so that an EER of 0 neither divides nor decides.

    Args:
        report: of the projection.
        raw: of the raw backbone, same domains and dims.
    """
    excess, ratios, steps, errors = 0.0, [], [], []
    for domain, per_dim in report.items():
        full = max(per_dim)
        pair = 1.0 / raw[domain][full].mated_pairs
        raw_eer = raw[domain][full].eer + pair / 2
        per_ratio = {dim: (accuracy.eer + pair / 2) / raw_eer for dim, accuracy in per_dim.items()}
        excess = max(excess, per_ratio[full] - 1.0)
        ratios.append(float(np.exp(np.mean(np.log(list(per_ratio.values()))))))
        steps.append(round(ratios[-1] * raw_eer / pair) * pair / raw_eer)
        errors.append(raw_eer / pair)
    overall = float(np.average(ratios, weights=errors))
    return Standing(round(excess, 9), round(max(steps), 9), overall, max(ratios))
