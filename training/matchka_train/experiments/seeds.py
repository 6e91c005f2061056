"""What is known of an arm, and of the difference between two, from a few seeds."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy.stats import t as student_t

CONFIDENCE: Final = 0.95


def paired_interval(differences: Sequence[float]) -> tuple[float, float]:
    """Where the mean of differences lies, of Student's t; nowhere known from a single one.

    >>> [round(edge, 2) for edge in paired_interval([1.0, 2.0, 3.0])]
    [-0.48, 4.48]
    """
    count = len(differences)
    if count < 2:
        return float("nan"), float("nan")
    half = student_t.ppf((1 + CONFIDENCE) / 2, count - 1) * np.std(differences, ddof=1) / np.sqrt(count)
    return float(np.mean(differences) - half), float(np.mean(differences) + half)


def verdict(low: float, high: float, claimed: float) -> str:
    """Whether an interval of differences bears out that they are more than what is claimed.

    >>> verdict(0.1, 0.3, 0.0), verdict(-0.3, -0.1, 0.0), verdict(-0.1, 0.1, 0.0)
    ('holds', 'contradicted', 'not decided')
    """
    if low > claimed:
        return "holds"
    return "contradicted" if high < claimed else "not decided"


def mean_and_range(values: Sequence[float], digits: int = 1, joined: str = " to ") -> str:
    """The mean, and the least and the largest where there are several.

    >>> mean_and_range([0.4, 0.44], 2, joined="-")
    '0.42 (0.40-0.44)'
    """
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f}{joined}{max(values):.{digits}f})"
