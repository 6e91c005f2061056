"""Whether a head turned as it was asked to: rules on the turns of a burst of pictures, in their order."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

# Turns are 2 p tan(angle), p the distance of the nose tip from the plane of eyes and mouth in eye distances.
# docs/decisions/106 has what was measured of prints, and of whom the thresholds ask too much.
LEAST_TURN: Final = 0.6  # to either side
MOST_FRONTAL: Final = 0.3  # of the first picture
MOST_BACK: Final = 0.25  # against the way to a side, from one picture to the next

CENTRE, LEFT, RIGHT = "centre", "left", "right"  # the person's own left and right
SIDES: Final = {LEFT: 1.0, RIGHT: -1.0}
PATHS: Final = ((CENTRE, LEFT, RIGHT), (CENTRE, RIGHT, LEFT))


def follows(turns: Sequence[float], path: Sequence[str]) -> bool:
    """Whether a burst begins at the centre, reaches both sides in their order, and in no step turns back by much.

    What several small steps back add up to is not looked at. What comes behind the second side does not matter.

    Args:
        turns: of each picture, positive towards the person's left.
        path: one of PATHS.

    >>> follows([0.1, 0.8, -0.2, -0.9], ("centre", "left", "right"))
    True
    >>> follows([0.1, 0.8, -0.2, -0.9], ("centre", "right", "left"))
    False
    """
    first = SIDES[path[1]]
    towards = [first * turn for turn in turns]  # the first side's turns are positive now
    at_first, at_second = towards.index(max(towards)), towards.index(min(towards))
    return (
        abs(turns[0]) <= MOST_FRONTAL
        and towards[at_first] >= LEAST_TURN
        and towards[at_second] <= -LEAST_TURN
        and at_first < at_second
        and _rises(towards[: at_first + 1])
        and _rises([-turn for turn in towards[at_first : at_second + 1]])
    )


def _rises(turns: Sequence[float]) -> bool:
    return all(later >= earlier - MOST_BACK for earlier, later in pairwise(turns))
