"""A head as five points in space, turned before a camera."""

import numpy as np

# in eye distances, y downwards, z towards the camera: on an ellipsoid, and the nose tip before it
SEMI_AXES = np.array([1.2, 1.6, 1.3])
PLACES = np.array([[-0.5, -0.45], [0.5, -0.45], [0.0, 0.15], [-0.4, 0.65], [0.4, 0.65]])
NOSE = 2


def head(nose_beyond: float) -> np.ndarray:
    """Eyes, nose tip and mouth corners, (5, 3), in the order of the detector's landmarks.

    Args: nose_beyond: how far the nose tip stands out of the ellipsoid.
    """
    depth = SEMI_AXES[2] * np.sqrt(1 - ((PLACES / SEMI_AXES[:2]) ** 2).sum(axis=1))
    depth[NOSE] += nose_beyond
    return np.column_stack([PLACES, depth])


def nose_before_plane(points: np.ndarray) -> float:
    """How far the nose tip lies before the plane of eyes and mouth at its own height, in eye distances."""
    eyes, mouth, nose = points[:2].mean(axis=0), points[3:].mean(axis=0), points[NOSE]
    share = (nose[1] - eyes[1]) / (mouth[1] - eyes[1])
    return float(nose[2] - (eyes[2] + share * (mouth[2] - eyes[2])))


def seen(points: np.ndarray, left_deg: float, distance: float = np.inf) -> np.ndarray:
    """Landmarks of a head that is turned to its own left, float32, (5, 2).

    Args: distance: of the camera from the head's middle, in eye distances.
    """
    angle = np.radians(left_deg)
    x = points[:, 0] * np.cos(angle) + points[:, 2] * np.sin(angle)
    z = points[:, 2] * np.cos(angle) - points[:, 0] * np.sin(angle)
    scale = 1 / (1 - z / distance)
    return (100 * np.column_stack([x, points[:, 1]]) * scale[:, None] + 250).astype(np.float32)
