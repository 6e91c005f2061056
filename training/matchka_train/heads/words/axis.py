"""The axis between two words: logistic regression in which no person counts for more than a few rows."""

from typing import Final

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from matchka_train.heads.words.table import Values

LEAST_SLOPE: Final = 0.25  # of the number kept aside, in log-odds over half its range: the axis is divided by it


def fit_axis(
    features: Values, is_second: Values, weights: Values, penalty: float, aside: int | None
) -> tuple[Values, float]:
    """Log-odds of the second word as a linear function of features.

    Args:
        features: (rows, width).
        is_second: (rows,), 1 where a row has the second word, else 0.
        weights: (rows,), how much each counts.
        penalty: of squared weights, in standard deviations of the features.
        aside: the feature whose slope is kept at LEAST_SLOPE or more, either way; None for none.

    Returns: weight (width,) and offset.
    """
    share = weights / weights.sum()
    mean = share @ features
    spread = np.sqrt(share @ (features - mean) ** 2) + 1e-9
    standard = np.hstack([(features - mean) / spread, np.ones((len(features), 1))])

    def cost(slopes: Values) -> tuple[float, Values]:
        odds = standard @ slopes
        penalised = np.append(slopes[:-1], 0.0)
        loss = share @ (np.logaddexp(0, odds) - is_second * odds) + penalty * penalised @ penalised
        return float(loss), standard.T @ (share * (expit(odds) - is_second)) + 2 * penalty * penalised

    slopes = minimize(cost, np.zeros(standard.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 1000}).x
    weight = slopes[:-1] / spread
    offset = float(slopes[-1] - mean @ weight)
    if aside is not None and abs(weight[aside]) < LEAST_SLOPE:
        held = np.copysign(LEAST_SLOPE, weight[aside])
        offset -= float((held - weight[aside]) * mean[aside])
        weight[aside] = held
    return weight, offset
