"""How far a head is turned to the side, by five landmarks, in a measure that a turned print hardly changes."""

import numpy as np

from matchka.modalities.face.finding import FaceFinding
from matchka.vectors import FloatArray


def turn_of(finding: FaceFinding) -> float:
    """The turn of a face; 0 of a picture that came aligned, which shows none."""
    return 0.0 if finding.face is None else turn_of_landmarks(finding.face.landmarks)


def turn_of_landmarks(landmarks: FloatArray) -> float:
    """Where the nose tip lies between the eyes, in the oblique frame of the eyes and of the middles of eyes and mouth.

    Every affine map leaves that as it is, and a flat picture before a distant camera is mapped by one, about whatever
    axis it is turned: only perspective and the detector's errors remain. Of a head whose nose tip stands p eye
    distances before the plane of eyes and mouth it is 2 p tan(angle).

    Args: landmarks: (5, 2); see matchka.modalities.face.detection.Face.

    Returns: 0 from the front, positive towards the right of the picture, which is the person's own left; without a
        bound, about 2 p at 45 degrees. 0 where the landmarks span no plane.
    """
    left, right, nose, mouth_left, mouth_right = landmarks.astype(np.float64)
    middle = (left + right) / 2
    axes = np.stack([right - left, (mouth_left + mouth_right) / 2 - middle], axis=1)
    area = np.linalg.det(axes)
    if abs(area) < np.finfo(np.float32).eps * np.abs(axes).max(initial=1.0) ** 2:
        return 0.0
    return float(2 * np.linalg.solve(axes, nose - middle)[0])
