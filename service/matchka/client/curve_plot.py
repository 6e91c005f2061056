"""A response curve as a picture: SVG, written line by line, so that it needs no library."""

import math
from collections.abc import Mapping
from html import escape
from typing import Final

from matchka.client.presets import filters_of, response_db

WIDTH, HEIGHT, MARGIN = 640, 320, 48
LEAST_HZ, MOST_HZ = 20.0, 20000.0  # what people hear
POINTS: Final = 200
LEAST_SHOWN_DB: Final = 6.0  # a flat curve is drawn flat, not as the noise of its rounding
STEP_DB: Final = 6
MARKS_HZ: Final = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000)


def curve_svg(parameters: Mapping[str, float], title: str) -> str:
    """The response of a setting as a whole SVG document.

    Args:
        parameters: of an equalizer, by name; see matchka.client.presets.
        title: above the curve.

    Raises: InvalidFieldError: the numbers are of something else.
    """
    filters = filters_of(parameters)
    ratio = (MOST_HZ / LEAST_HZ) ** (1 / (POINTS - 1))
    curve = [(hz, response_db(filters, hz)) for hz in (LEAST_HZ * ratio**number for number in range(POINTS))]
    reach = max(LEAST_SHOWN_DB, *(abs(gain) for _, gain in curve))
    top = STEP_DB * math.ceil(reach / STEP_DB)
    line = " ".join(f"{_x(hz):.1f},{_y(gain, top):.1f}" for hz, gain in curve)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
            f'font-size="11" role="img" aria-label="{escape(title)}">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            f'<text x="{WIDTH / 2:g}" y="24" text-anchor="middle" font-size="14">{escape(title)}</text>',
            *(_mark_hz(hz) for hz in MARKS_HZ),
            *(_mark_db(gain, top) for gain in range(-top, top + 1, STEP_DB)),
            f'<polyline points="{line}" fill="none" stroke="#1f6feb" stroke-width="2"/>',
            "</svg>\n",
        ]
    )


def _x(hz: float) -> float:
    return MARGIN + (WIDTH - 2 * MARGIN) * math.log(hz / LEAST_HZ) / math.log(MOST_HZ / LEAST_HZ)


def _y(gain_db: float, top: float) -> float:
    return MARGIN + (HEIGHT - 2 * MARGIN) * (top - gain_db) / (2 * top)


def _mark_hz(hz: int) -> str:
    name = f"{hz // 1000}k" if hz >= 1000 else str(hz)
    return (
        f'<path d="M{_x(hz):.1f} {MARGIN}V{HEIGHT - MARGIN}" stroke="#ddd"/>'
        f'<text x="{_x(hz):.1f}" y="{HEIGHT - MARGIN + 16}" text-anchor="middle">{name}</text>'
    )


def _mark_db(gain_db: int, top: float) -> str:
    colour = "#ddd" if gain_db else "#888"
    return (
        f'<path d="M{MARGIN} {_y(gain_db, top):.1f}H{WIDTH - MARGIN}" stroke="{colour}"/>'
        f'<text x="{MARGIN - 6}" y="{_y(gain_db, top) + 4:.1f}" text-anchor="end">{gain_db:+d} dB</text>'
    )
