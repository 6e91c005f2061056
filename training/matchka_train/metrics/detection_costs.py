"""What the decisions of a calibrated system cost, beside the least they could cost, at the priors that are reported."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from matchka_train.metrics.calibration import fit_logistic
from matchka_train.metrics.error_rates import act_dcf, det_curve, min_dcf_of
from matchka_train.metrics.pairs import PairSimilarities

PRIORS: Final = (0.05, 0.01, 0.001)  # that a pair is mated; 0.01 and 0.05 are those of NIST and VoxSRC

Line = tuple[float, float]  # scale and offset: log-likelihood ratio = scale * similarity + offset


@dataclass(frozen=True)
class DetectionCost:
    """Normalised detection costs at one prior; 1 is what accepting nobody (or everybody) costs.

    Attributes:
        prior: probability that a pair is mated.
        min_dcf: at the best threshold for these pairs.
        act_dcf: at the threshold that calibration and prior give; None where there is too little to calibrate on.
    """

    prior: float
    min_dcf: float
    act_dcf: float | None


def detection_costs(pairs: PairSimilarities, line: Line | None, seed: int) -> tuple[DetectionCost, ...]:
    """Costs at every prior.

    Args:
        pairs: similarities at one dim.
        line: of the model's calibration; None fits one on half of the subjects for the other half, both ways round.
        seed: of the deal into halves.

    Raises: NoTrialsError: no pair of one kind, or a similarity that is not finite.
    """
    curve = det_curve(pairs.mated, pairs.non_mated)
    judged = _dealt(pairs, seed) if line is None else [(line, pairs)]
    return tuple(
        DetectionCost(prior, min_dcf_of(curve, prior), _mean([_cost(fitted, part, prior) for fitted, part in judged]))
        for prior in PRIORS
    )


def _cost(line: Line, pairs: PairSimilarities, prior: float) -> float:
    scale, offset = line
    threshold = (np.log((1.0 - prior) / prior) - offset) / scale  # Bayes: both errors cost 1
    return act_dcf(pairs.mated, pairs.non_mated, float(threshold), prior)


def _dealt(pairs: PairSimilarities, seed: int) -> list[tuple[Line, PairSimilarities]]:
    """The line of each half of the subjects, with the pairs of the other half; none where a half lacks pairs."""
    half = np.random.default_rng(seed).permutation(pairs.subject_count) % 2
    parts = [pairs.within(half == number) for number in (0, 1)]
    if any(kind.size == 0 for part in parts for kind in (part.mated, part.non_mated)):
        return []
    lines = [fit_logistic(part.mated, part.non_mated) for part in parts]
    return list(zip(lines, reversed(parts), strict=True))


def _mean(costs: list[float]) -> float | None:
    return float(np.mean(costs)) if costs else None
