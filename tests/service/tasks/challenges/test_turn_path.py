"""Which paths of a turning head do what was asked: those of heads in space, not those of prints."""

import numpy as np
import pytest

from matchka.modalities.face.turn import turn_of_landmarks
from matchka.tasks.challenges.turn_path import LEAST_TURN, MOST_BACK, MOST_FRONTAL, PATHS, follows
from tests.factories.heads import head, nose_before_plane, seen

LEFT_FIRST, RIGHT_FIRST = PATHS
BURSTS = {3: (0, 45, -45), 5: (5, 25, 45, -10, -45), 8: (0, 20, 42, 44, 20, -10, -30, -45)}


@pytest.mark.parametrize("angles", BURSTS.values(), ids=BURSTS)
@pytest.mark.parametrize("distance", [8.0, np.inf])
def test_follows_of_a_head_in_space_is_true_for_its_own_order_only(angles: tuple[float, ...], distance: float):
    points = head(0.3)
    assert 0.3 < nose_before_plane(points) < 0.5
    turns = [turn_of_landmarks(seen(points, angle, distance)) for angle in angles]
    assert follows(turns, LEFT_FIRST)
    assert not follows(turns, RIGHT_FIRST)
    assert follows([-turn for turn in turns], RIGHT_FIRST)


@pytest.mark.parametrize(
    ("turns", "is_path"),
    [
        ([0.0, 0.7, -0.7], True),
        ([0.0, 0.7, -0.7, 0.0], True),  # back to the centre
        ([0.0, 0.7, 0.1, -0.7, -0.2, -0.4], True),
        ([MOST_FRONTAL, LEAST_TURN, -LEAST_TURN], True),
        ([MOST_FRONTAL + 0.01, LEAST_TURN, -LEAST_TURN], False),
        ([0.0, LEAST_TURN - 0.01, -LEAST_TURN], False),
        ([0.0, LEAST_TURN, 0.01 - LEAST_TURN], False),
        ([0.7, 0.0, -0.7], False),  # does not begin at the centre
        ([0.0, -0.7, 0.7], False),
        ([0.0, 0.0, 0.0], False),
        ([0.0, 0.7, 0.7], False),
        ([0.0, 0.5, 0.4 - MOST_BACK, 0.7, -0.7], False),  # back on the way to the left
        ([0.0, 0.7, 0.0, 0.1 + MOST_BACK, -0.7], False),  # back on the way to the right
        ([0.0, 0.7, -0.5, -0.4, -0.7], True),  # hardly
    ],
)
def test_follows_of_turns_is_true_for_centre_and_both_sides_in_order(turns: list[float], is_path: bool):
    assert follows(turns, LEFT_FIRST) is is_path
    assert follows([-turn for turn in turns], RIGHT_FIRST) is is_path
