"""Samples of nobody: noise, hums and clicks as voices, featureless chips as aligned faces; and the same one twice."""

import io
import random
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import soundfile
from PIL import Image

from loadtests.torture.hostile.exchange import Case
from loadtests.torture.hostile.generators.order import endless
from loadtests.torture.hostile.wire import FACE_SUBJECT, VOICE_SUBJECT, Material, form

RATE_HZ: Final = 16_000
SIDE_PX: Final = 112

Signal = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]


def _noise(rng: np.random.Generator, seconds: Signal, exponent: float) -> Signal:
    """Noise whose power falls with frequency to the power `exponent`: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(rng.normal(size=seconds.size))
    spectrum[1:] /= np.arange(1, spectrum.size) ** (exponent / 2)
    spectrum[0] = 0
    return np.fft.irfft(spectrum, seconds.size)


def _tones(seconds: Signal, frequencies_hz: list[float]) -> Signal:
    return sum((np.sin(2 * np.pi * frequency * seconds) for frequency in frequencies_hz), np.zeros(seconds.size))


def _flat(rng: np.random.Generator, side_px: int) -> Pixels:
    return np.broadcast_to(rng.integers(0, 256, 3, np.uint8), (side_px, side_px, 3))


def _ramp(rng: np.random.Generator) -> Pixels:
    angle = rng.uniform(0, np.pi)
    y, x = np.indices((SIDE_PX, SIDE_PX)) / SIDE_PX
    return np.repeat((127 + 90 * (x * np.cos(angle) + y * np.sin(angle)))[..., None].clip(0, 255), 3, 2).astype(
        np.uint8
    )


def _checks(rng: np.random.Generator) -> Pixels:
    squares = np.kron(np.indices((14, 14)).sum(0) % 2, np.ones((8, 8)))
    return (squares * rng.integers(50, 256))[..., None].repeat(3, 2).astype(np.uint8)


SOUNDS: Final[dict[str, Callable[[np.random.Generator, Signal], Signal]]] = {
    "white noise": lambda rng, t: _noise(rng, t, 0),
    "pink noise": lambda rng, t: _noise(rng, t, 1),
    "brown noise": lambda rng, t: _noise(rng, t, 2),
    "hum": lambda rng, t: _tones(t, list(rng.choice((50.0, 60.0)) * np.arange(1, 6))),
    "hum of two mains": lambda rng, t: _tones(t, [rng.choice((50.0, 60.0)) * n for n in range(1, 6)]),
    "tone": lambda rng, t: _tones(t, [rng.uniform(80, 4000)]),
    "chord": lambda rng, t: _tones(t, list(rng.uniform(80, 2000, 4))),
    "square": lambda rng, t: np.sign(_tones(t, [rng.uniform(80, 400)])),
    "sweep": lambda rng, t: np.sin(2 * np.pi * (100 + rng.uniform(50, 500) * t) * t),
    "beats": lambda rng, t: _tones(t, [rng.uniform(100, 900)]) * (np.sin(2 * np.pi * rng.uniform(2, 8) * t) > 0),
    "clicks": lambda rng, t: (rng.random(t.size) < rng.uniform(5, 50) / RATE_HZ).astype(float),
    "click train": lambda rng, t: (np.arange(t.size) % int(rng.uniform(100, 4000)) == 0).astype(float),
    "noise bursts": lambda rng, t: _noise(rng, t, 0) * (np.sin(2 * np.pi * rng.uniform(2, 6) * t) > 0),
    "DC": lambda rng, t: np.full(t.size, rng.uniform(0.1, 1)),
    "DC steps": lambda rng, t: np.sign(np.sin(2 * np.pi * rng.uniform(0.3, 2) * t)) * 0.7 + 0.1,
    "silence": lambda _rng, t: np.zeros(t.size),
    "dither": lambda rng, t: rng.integers(-1, 2, t.size) / 32768,
    "clipped noise": lambda rng, t: np.clip(20 * rng.normal(size=t.size), -1, 1),
}
CHIPS: Final[dict[str, Callable[[np.random.Generator], Pixels]]] = {
    "1 x 1": lambda rng: _flat(rng, 1),
    "2 x 2": lambda rng: rng.integers(0, 256, (2, 2, 3), np.uint8),
    "grey": lambda rng: np.full((SIDE_PX, SIDE_PX, 3), rng.integers(0, 256), np.uint8),
    "one colour": lambda rng: _flat(rng, SIDE_PX),
    "black": lambda _rng: np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8),
    "white": lambda _rng: np.full((SIDE_PX, SIDE_PX, 3), 255, np.uint8),
    "ramp": _ramp,
    "checks": _checks,
    "noise": lambda rng: rng.integers(0, 256, (SIDE_PX, SIDE_PX, 3), np.uint8),
    "faint noise": lambda rng: rng.integers(126, 130, (SIDE_PX, SIDE_PX, 3), np.uint8),
    "stripes": lambda rng: np.tile(rng.integers(0, 256, (1, SIDE_PX, 3), np.uint8), (SIDE_PX, 1, 1)),
}


def sound_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """Enrolments of sounds that nobody makes."""
    for number, name in enumerate(endless(tuple(SOUNDS), rng)):
        generator = np.random.default_rng(rng.getrandbits(32))
        seconds = np.arange(int(RATE_HZ * rng.uniform(1.5, 5))) / RATE_HZ
        sound = SOUNDS[name](generator, seconds)
        peak = np.abs(sound).max()
        level = 1.0 if name in ("dither", "silence") else rng.uniform(0.05, 0.9) / max(peak, 1e-9)
        fields = {"model": "voice", "subject_id": f"junk-{number}", "file": wav(level * sound)}
        yield Case(name, (form("/v1/enroll", fields, material.authorization),))


def chip_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """Enrolments of chips that show nobody, said to be aligned."""
    for number, name in enumerate(endless(tuple(CHIPS), rng)):
        pixels = CHIPS[name](np.random.default_rng(rng.getrandbits(32)))
        fields = {"model": "face", "subject_id": f"chip-{number}", "face": "aligned", "file": png(pixels)}
        yield Case(name, (form("/v1/enroll", fields, material.authorization),))


def duplicate_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """Samples that the subject has already, and one sample twice in a call."""
    samples = {"voice": (VOICE_SUBJECT, material.voice), "face": (FACE_SUBJECT, material.picture)}
    shapes = [(model, shape) for model in samples for shape in ("again", "twice at once", "again after others")]
    for number, (model, shape) in enumerate(endless(shapes, rng)):
        subject_id, sample = samples[model]
        fields: dict[str, str | bytes] = {"model": model, "subject_id": subject_id, "file": sample}
        if shape == "twice at once":
            fields |= {"subject_id": f"twice-{number}", "file#2": sample}
        elif shape == "again after others":
            fields |= {"file#2": sample, "file#3": sample}
        yield Case(f"{model} {shape}", (form("/v1/enroll", fields, material.authorization),))


def wav(sound: Signal) -> bytes:
    """A signal as a 16-bit WAV file of 16 kHz."""
    file = io.BytesIO()
    soundfile.write(file, sound, RATE_HZ, format="WAV", subtype="PCM_16")
    return file.getvalue()


def png(pixels: Pixels) -> bytes:
    """Pixels, (height, width, 3), as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
