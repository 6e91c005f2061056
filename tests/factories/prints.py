"""Photographs held before a camera: flat ones turned about an axis in their plane, and ones bent around a pole."""

import numpy as np
from PIL import Image

GREY = 128  # of what is not the photograph


def turned_print(picture: Image.Image, axis_deg: float, angle_deg: float, distance: float) -> Image.Image:
    """A flat photograph, turned.

    Args:
        picture: the photograph.
        axis_deg: direction of the axis in its plane; 90 is upright, so that it turns to the side.
        angle_deg: by how much.
        distance: of the camera from the middle of the photograph, in its widths.
    """
    width, height = picture.size
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    axis, angle = np.radians(axis_deg), np.radians(angle_deg)
    along = np.array([np.cos(axis), np.sin(axis)])
    across = np.array([-along[1], along[0]])
    centred = corners - np.array(picture.size) / 2
    far = centred @ across
    flat = np.outer(centred @ along, along) + np.outer(far * np.cos(angle), across)
    scale = distance * width / (distance * width + far * np.sin(angle))
    seen = flat * scale[:, None] + np.array(picture.size) / 2
    return picture.transform(
        picture.size,
        Image.Transform.PERSPECTIVE,
        tuple(_projective_map(seen, corners)),
        Image.Resampling.BICUBIC,
        fillcolor=(GREY,) * 3,
    )


def _projective_map(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The eight coefficients of the projective map that takes four points to four points."""
    rows, values = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.linalg.solve(np.array(rows), np.array(values))


def bent_print(picture: Image.Image, middle_px: float, radius_px: float, angle_deg: float) -> Image.Image:
    """A photograph bent around an upright pole and turned with it, before a distant camera.

    Args:
        picture: the photograph.
        middle_px: the column that looks at the camera where nothing is turned.
        radius_px: of the pole.
        angle_deg: by how much the pole is turned.
    """
    pixels = np.asarray(picture)
    width = pixels.shape[1]
    sine = (np.arange(width) + 0.5 - width / 2) / radius_px
    column = middle_px + radius_px * (np.arcsin(np.clip(sine, -1, 1)) - np.radians(angle_deg))
    is_seen = (np.abs(sine) < np.sin(np.radians(85))) & (column >= 0) & (column < width - 1)
    left = np.clip(np.floor(column).astype(int), 0, width - 2)
    share = np.clip(column - left, 0, 1)[None, :, None]
    seen = pixels[:, left] * (1 - share) + pixels[:, left + 1] * share
    return Image.fromarray(np.where(is_seen[None, :, None], seen, GREY).astype(np.uint8))
