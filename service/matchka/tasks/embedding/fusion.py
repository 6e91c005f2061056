"""Two modalities, one decision: calibrated log-likelihood ratios added with learned weights (late fusion)."""

import math
from collections.abc import Mapping
from typing import Literal, TypeAlias

from matchka.bundles.fusion_file import Fusion
from matchka.bundles.outputs.measurements import DimReport
from matchka.tasks.embedding.thresholds import Decision, Threshold, log_likelihood_ratio_of, threshold_among

Require: TypeAlias = Literal["both", "sum"]  # what has to pass: each part beside the fused ratio, or the ratio alone


def decide_jointly(
    fusion: Fusion, reports: Mapping[str, DimReport], similarities: dict[str, float], counts: dict[str, int], fmr: float
) -> Decision:
    """The fused ratio of one similarity of each model against its threshold.

    The sum alone is not two factors: a ratio far above its threshold makes up for one far below.

    Args:
        fusion: the learned weights.
        reports: name -> what that model's bundle states at full dim; never of a band of it.
        similarities: name -> similarity of probe and reference, by that model's scorer.
        counts: name -> templates in that reference.
        fmr: the false match rate to keep, in (0, 1).

    Returns: similarity and threshold are 2 p - 1 of the posterior p at prior 0.5: in [-1, 1], but no cosine.

    Raises: InvalidFieldError: fmr out of range.
    """
    fused = fusion.offset
    for name, weight in fusion.weights.items():
        fused += weight * log_likelihood_ratio_of(reports[name], similarities[name], counts[name])
    threshold = threshold_among(fusion.operating_points, fmr)
    scaled = math.tanh(0.5 * fused)
    return Decision(
        match=fused >= threshold.value,
        similarity=scaled,
        threshold=Threshold(math.tanh(0.5 * threshold.value), threshold.measured),
        probability=0.5 * (1.0 + scaled),
    )
