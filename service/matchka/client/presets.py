"""Settings of an equalizer outside the service: its filters, its response curve, and files that other programs read.

Filters are found by the names of a setting's numbers: `<filter>_gain_db`, `<filter>_hz` and, where it can be set,
`<filter>_q`. A filter whose name ends in `low_shelf` or `high_shelf` is that; every other one is a peak.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from matchka.errors import InvalidFieldError

SHELF_Q: Final = 0.71  # of shelves without a number of their own, as in the plug-in that the default model is made for
GAIN, FREQUENCY, WIDTH = "_gain_db", "_hz", "_q"
Kind = Literal["low_shelf", "peak", "high_shelf"]


@dataclass(frozen=True)
class Filter:
    """One filter of an equalizer. Attributes: gain_db: of it; hz: centre, or the middle of a slope; q: its width."""

    kind: Kind
    gain_db: float
    hz: float
    q: float

    def response_db(self, hz: float) -> float:
        """The gain at a frequency, by the analogue filter that digital ones are made from.

        Source: R. Bristow-Johnson, Cookbook formulae for audio equalizer biquad filter coefficients.

        >>> round(Filter("peak", 6.0, 1000.0, 0.71).response_db(1000.0), 9)
        6.0
        """
        root = 10 ** (self.gain_db / 40)
        at = complex(0.0, hz / self.hz if self.kind != "high_shelf" else self.hz / hz)
        if self.kind == "peak":
            found = (at * at + at * root / self.q + 1) / (at * at + at / (root * self.q) + 1)
        else:  # a high shelf is a low one on a frequency axis turned round
            slope = at * math.sqrt(root) / self.q
            found = root * (at * at + slope + root) / (root * at * at + slope + 1)
        return 20 * math.log10(abs(found))


def filters_of(parameters: Mapping[str, float]) -> list[Filter]:
    """The filters that a setting sets, in the order of its numbers.

    Raises: InvalidFieldError: the numbers are of something else.
    """
    stems = [name.removesuffix(GAIN) for name in parameters if name.endswith(GAIN)]
    known = {stem + end for stem in stems for end in (GAIN, FREQUENCY, WIDTH)}
    missing = [stem + FREQUENCY for stem in stems if stem + FREQUENCY not in parameters]
    if not stems or missing or not parameters.keys() <= known:
        raise InvalidFieldError(
            f"A setting of an equalizer has names that end in {GAIN}, {FREQUENCY} and {WIDTH}.",
            value=", ".join(missing or sorted(parameters.keys() - known) or ["nothing"]),
            remedy="Take the numbers as JSON, or rename them.",
        )
    return [
        Filter(
            _kind_of(stem), parameters[stem + GAIN], parameters[stem + FREQUENCY], parameters.get(stem + WIDTH, SHELF_Q)
        )
        for stem in stems
    ]


def response_db(filters: list[Filter], hz: float) -> float:
    """The gain of several filters at a frequency."""
    return sum(each.response_db(hz) for each in filters)


def as_equalizer_apo(filters: list[Filter]) -> str:
    """A configuration of Equalizer APO: one line for each filter.

    PK is a peak with its Q; LSC and HSC are shelves with the Q of the same formulae, at their middle frequency.

    >>> print(as_equalizer_apo([Filter("peak", -3, 1250, 0.71), Filter("high_shelf", 2, 8200, 0.71)]))
    Filter 1: ON PK Fc 1250 Hz Gain -3 dB Q 0.71
    Filter 2: ON HSC Fc 8200 Hz Gain 2 dB Q 0.71
    """
    kinds = {"low_shelf": "LSC", "peak": "PK", "high_shelf": "HSC"}
    return "\n".join(
        f"Filter {number}: ON {kinds[each.kind]} Fc {each.hz:g} Hz Gain {each.gain_db:g} dB Q {each.q:g}"
        for number, each in enumerate(filters, start=1)
    )


def as_sox(filters: list[Filter]) -> str:
    """The effects of a SoX command line.

    `equalizer` takes centre, width as Q (`q` behind it) and gain; `bass` and `treble` are shelves that take gain,
    frequency and width.

    >>> as_sox([Filter("low_shelf", 1.5, 150, 0.71), Filter("peak", -3, 1250, 2)])
    'bass 1.5 150 0.71q equalizer 1250 2q -3'
    """
    ways: Mapping[Kind, Callable[[Filter], str]] = {
        "low_shelf": lambda each: f"bass {each.gain_db:g} {each.hz:g} {each.q:g}q",
        "peak": lambda each: f"equalizer {each.hz:g} {each.q:g}q {each.gain_db:g}",
        "high_shelf": lambda each: f"treble {each.gain_db:g} {each.hz:g} {each.q:g}q",
    }
    return " ".join(ways[each.kind](each) for each in filters)


def _kind_of(stem: str) -> Kind:
    if stem.endswith("low_shelf"):
        return "low_shelf"
    return "high_shelf" if stem.endswith("high_shelf") else "peak"
