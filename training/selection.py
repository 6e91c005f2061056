"""Which projection is better: the one whose worst domain stands best beside the raw backbone."""

from dataclasses import dataclass

import numpy as np

from training.validate import Report


@dataclass(frozen=True, order=True)
class Standing:
    """Smaller is better, compared from the first value to the last.

    Attributes:
        excess: by how much the full-dim EER of the worst domain exceeds that of the raw backbone, as a share; 0 where
            none does. What is worse than the frozen backbone anywhere never wins against what is not.
        ratio: of the worst domain: geometric mean over dims of EER / raw EER at full dim.
    """

    excess: float
    ratio: float


def standing(report: Report, raw: Report) -> Standing:
    """Judge a projection against the raw backbone.

    Half a mated pair is added to every EER, so that an EER of 0 neither divides nor decides.

    Args:
        report: of the projection.
        raw: of the raw backbone, same domains and dims.
    """
    excess, ratios = 0.0, []
    for domain, per_dim in report.items():
        full = max(per_dim)
        half_pair = 0.5 / raw[domain][full].mated_pairs
        per_ratio = {
            dim: (accuracy.eer + half_pair) / (raw[domain][full].eer + half_pair) for dim, accuracy in per_dim.items()
        }
        excess = max(excess, per_ratio[full] - 1.0)
        ratios.append(float(np.exp(np.mean(np.log(list(per_ratio.values()))))))
    return Standing(round(excess, 9), max(ratios))
