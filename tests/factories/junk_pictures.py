"""Pictures that show nobody, made from a seed: what a gate for faces has to refuse."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Pixels = npt.NDArray[np.uint8]
Maker = Callable[[np.random.Generator, int], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Junk:
    """A picture that shows nobody. Attributes: kind: what it is made of, a key of KINDS."""

    kind: str
    picture: Image.Image


def _flat(rng: np.random.Generator, side: int) -> npt.NDArray[np.float64]:
    return np.broadcast_to(rng.uniform(0, 255, 3), (side, side, 3)).copy()


def _white_noise(rng: np.random.Generator, side: int) -> npt.NDArray[np.float64]:
    channels = int(rng.choice([1, 3]))
    return np.broadcast_to(
        rng.uniform(20, 235) + rng.uniform(5, 80) * rng.normal(size=(side, side, channels)), (side, side, 3)
    )


def _salt_and_pepper(rng: np.random.Generator, side: int) -> npt.NDArray[np.float64]:
    grey = np.where(rng.random((side, side)) < rng.uniform(0.02, 0.5), rng.choice([0.0, 255.0], (side, side)), 128.0)
    return _grey(grey)


def _coarse_noise(rng: np.random.Generator, side: int) -> npt.NDArray[np.float64]:
    cells = int(rng.integers(2, 40))
    small = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
    smooth = Image.Resampling.BICUBIC if rng.random() < 0.5 else Image.Resampling.NEAREST
    return np.asarray(small.resize((side, side), smooth), np.float64)


def _gradient(rng: np.random.Generator, side: int) -> npt.NDArray[np.float64]:
    x, y = _axes(side)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.hypot(x - rng.random(), y - rng.random()) if rng.random() < 0.3 else x * np.cos(angle) + y * np.sin(angle)
    ramp = (ramp - ramp.min()) / np.ptp(ramp)
    first, second = rng.uniform(0, 255, (2, 3))
    return first + (second - first) * ramp[..., None]


def _stripes(rng: np.random.Generator, side: int) -> npt.NDArray[np.float64]:
    x, y = _axes(side)
    angle = rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)])
    wave = np.sin(2 * np.pi * rng.uniform(1, 40) * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 6))
    wave = np.sign(wave) if rng.random() < 0.5 else wave
    return _grey(rng.uniform(60, 190) + rng.uniform(20, 120) * wave)


def _checkerboard(rng: np.random.Generator, side: int) -> npt.NDArray[np.float64]:
    x, y = _axes(side)
    cells = rng.integers(2, 40)
    odd = (np.floor(x * cells + rng.random()) + np.floor(y * cells + rng.random())) % 2
    dark, light = rng.uniform(0, 255, (2, 3))
    return dark + (light - dark) * odd[..., None]


def _text(rng: np.random.Generator, side: int) -> npt.NDArray[np.float64]:
    paper, ink = (255, 0) if rng.random() < 0.7 else (0, 255)
    page = Image.new("L", (side, side), paper)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=int(rng.integers(6, 48)))
    y = 0
    while y < side:
        line = "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz    ABC0123.,OQ"), 60))
        box = draw.textbbox((0, y), line, font=font)
        draw.text((int(rng.integers(-10, 4)), y), line, fill=ink, font=font)
        y = int(box[3]) + int(rng.integers(0, 8))
    return _grey(np.asarray(page, np.float64))


def _texture(rng: np.random.Generator, side: int) -> npt.NDArray[np.float64]:
    """Noise whose amplitude falls with frequency as 1 / f ** a: clouds, stone, foliage."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = np.inf
    slope, planes = rng.uniform(0.6, 2.2), []
    for _ in range(3):
        spectrum = rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)
        plane = np.fft.irfft2(spectrum / frequency**slope, (side, side))
        planes.append(plane / plane.std())
    colours = np.stack(planes, axis=2)
    mixed = colours * rng.uniform(0, 1) + colours[..., :1]
    return rng.uniform(80, 170) + rng.uniform(20, 60) * mixed


def _landscape(rng: np.random.Generator, side: int) -> npt.NDArray[np.float64]:
    """A sky that grows paler towards a ragged horizon, ground of a texture of its own, a sun or none."""
    x, y = _axes(side)
    ridge = rng.uniform(0.3, 0.7) + 0.05 * np.sin(x * rng.uniform(4, 20) + rng.uniform(0, 6)) * rng.random()
    sky = rng.uniform([60, 110, 170], [140, 190, 255]) + 60 * (y[..., None] - 0.5)
    ground = rng.uniform([30, 60, 10], [140, 150, 90]) + 0.4 * (_texture(rng, side) - 128)
    sun = np.hypot(x - rng.random(), y - rng.uniform(0, 0.4)) < rng.uniform(0, 0.12)
    scene = np.where((y > ridge)[..., None], ground, sky)
    return np.where((sun & (y < ridge))[..., None], 250.0, scene)


def _shapes(rng: np.random.Generator, side: int) -> npt.NDArray[np.float64]:
    page = Image.new("RGB", (side, side), tuple(rng.integers(0, 256, 3).tolist()))
    draw = ImageDraw.Draw(page)
    for _ in range(int(rng.integers(1, 12))):
        left, top = rng.integers(-side // 4, side, 2).tolist()
        box = (left, top, left + int(rng.integers(3, side // 2)), top + int(rng.integers(3, side // 2)))
        colour = tuple(rng.integers(0, 256, 3).tolist())
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)(box, fill=colour)
    return np.asarray(page, np.float64)


def _upscaled(rng: np.random.Generator, side: int) -> npt.NDArray[np.float64]:
    width, height = (int(v) for v in rng.integers(1, 8, 2))
    tiny = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    smooth = Image.Resampling.BILINEAR if rng.random() < 0.5 else Image.Resampling.NEAREST
    return np.asarray(tiny.resize((side, side), smooth), np.float64)


def _grey(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.repeat(values[..., None], 3, axis=2)


def _axes(side: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """x and y of every pixel, 0..1."""
    steps = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(steps, steps)
    return x, y


KINDS: Final[dict[str, Maker]] = {
    "flat": _flat,
    "white noise": _white_noise,
    "salt and pepper": _salt_and_pepper,
    "coarse noise": _coarse_noise,
    "gradient": _gradient,
    "stripes": _stripes,
    "checkerboard": _checkerboard,
    "text": _text,
    "texture": _texture,
    "landscape": _landscape,
    "shapes": _shapes,
    "upscaled": _upscaled,
}


def junk_pictures(seed: int, of_each: int, side_px: int) -> Iterator[Junk]:
    """`of_each` pictures of every kind, square; the same for the same seed."""
    for number, (kind, make) in enumerate(KINDS.items()):
        rng = np.random.default_rng([seed, number])
        for _ in range(of_each):
            pixels = np.clip(make(rng, side_px), 0, 255).astype(np.uint8)
            yield Junk(kind, Image.fromarray(pixels))


def scrambled(pixels: Pixels, blocks: int, rng: np.random.Generator) -> Pixels:
    """A picture cut into `blocks` x `blocks` tiles and put together in another order; its side is cut to a multiple."""
    side = len(pixels) // blocks
    tiles = [pixels[y * side : (y + 1) * side, x * side : (x + 1) * side] for y in range(blocks) for x in range(blocks)]
    order = rng.permutation(len(tiles))
    rows = [np.concatenate([tiles[i] for i in order[y * blocks : (y + 1) * blocks]], axis=1) for y in range(blocks)]
    return np.concatenate(rows)
