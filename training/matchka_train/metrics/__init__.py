"""Error rates, calibration, confidence intervals: pure functions of scores."""
