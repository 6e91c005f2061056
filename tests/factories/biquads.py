"""Digital filters by the Audio EQ Cookbook, in float64, sampled so fast that warping does not show."""

import cmath
import math

SAMPLE_RATE_HZ = 4e7


def biquad_db(kind: str, gain_db: float, hz: float, q: float, at_hz: float) -> float:
    """The gain of a filter at a frequency."""
    root, turn = 10 ** (gain_db / 40), 2 * math.pi * hz / SAMPLE_RATE_HZ
    cosine, alpha = math.cos(turn), math.sin(turn) / (2 * q)
    if kind == "peak":
        above = (1 + alpha * root, -2 * cosine, 1 - alpha * root)
        below = (1 + alpha / root, -2 * cosine, 1 - alpha / root)
    else:
        # the cookbook writes a high shelf as a low one with the sign of every cosine turned round
        sign = 1 if kind == "low_shelf" else -1
        width = 2 * math.sqrt(root) * alpha
        plus, minus = root + 1, (root - 1) * sign * cosine
        above = (
            root * (plus - minus + width),
            2 * root * sign * ((root - 1) - plus * sign * cosine),
            root * (plus - minus - width),
        )
        below = (plus + minus + width, -2 * sign * ((root - 1) + plus * sign * cosine), plus + minus - width)
    z = cmath.exp(-2j * math.pi * at_hz / SAMPLE_RATE_HZ)
    found = sum(b * z**n for n, b in enumerate(above)) / sum(a * z**n for n, a in enumerate(below))
    return 20 * math.log10(abs(found))
