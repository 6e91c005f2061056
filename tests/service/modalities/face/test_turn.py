"""The measure of a turning head: that of a head in space follows its angle, that of a print hardly changes."""

import numpy as np
import pytest

from matchka.modalities.face.detection import Face
from matchka.modalities.face.finding import FaceFinding
from matchka.modalities.face.turn import turn_of, turn_of_landmarks
from tests.factories.heads import head, nose_before_plane, seen

ANGLES_DEG = range(-50, 51, 10)


@pytest.mark.parametrize("nose_beyond", [0.1, 0.3, 0.5])
def test_turn_of_a_head_in_space_is_twice_its_nose_times_the_tangent(nose_beyond: float):
    points = head(nose_beyond)
    for angle in ANGLES_DEG:
        expected = 2 * nose_before_plane(points) * np.tan(np.radians(angle))
        assert turn_of_landmarks(seen(points, angle)) == pytest.approx(expected, abs=1e-3)


def test_turn_of_a_head_in_space_near_the_camera_grows_with_its_angle():
    turns = [turn_of_landmarks(seen(head(0.3), angle, distance=8.0)) for angle in ANGLES_DEG]
    assert turns == sorted(turns)
    assert turns[0] == pytest.approx(-turns[-1], abs=1e-3)


def test_turn_of_a_flat_picture_is_the_same_however_it_is_turned_before_a_distant_camera():
    generator = np.random.default_rng(3)
    landmarks = seen(head(0.3), 25.0).astype(np.float64)
    before = turn_of_landmarks(landmarks.astype(np.float32))
    assert before > 0.3
    for _ in range(100):
        axis, angle, roll = generator.uniform(-1, 1, 3) * np.radians([180, 60, 45])
        along = np.array([[np.cos(axis), -np.sin(axis)], [np.sin(axis), np.cos(axis)]])
        rolled = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
        map_of_print = rolled @ along @ np.diag([1.0, np.cos(angle)]) @ along.T
        turned = (landmarks @ map_of_print.T).astype(np.float32)
        assert turn_of_landmarks(turned) == pytest.approx(before, abs=1e-3)


def test_turn_of_landmarks_on_a_line_and_of_an_aligned_picture_is_none():
    assert turn_of_landmarks(np.repeat(np.arange(5, dtype=np.float32)[:, None], 2, axis=1)) == 0.0
    assert turn_of_landmarks(np.zeros((5, 2), np.float32)) == 0.0
    assert turn_of(FaceFinding(None, None)) == 0.0


def test_turn_of_a_mirrored_picture_is_the_opposite():
    landmarks = seen(head(0.3), 30.0)
    mirrored = (landmarks * np.array([-1, 1], np.float32))[[1, 0, 2, 4, 3]]
    found = Face(np.zeros(4, np.float32), mirrored, 1.0)
    assert turn_of(FaceFinding(found, None)) == pytest.approx(-turn_of_landmarks(landmarks), abs=1e-4)
