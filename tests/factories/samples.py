"""Made-up voices that tell people apart, as arrays and as audio files."""

import io

import numpy as np
import soundfile

RATE_HZ = 16000


def encoded(samples: np.ndarray, rate_hz: int = RATE_HZ, kind: str = "WAV", subtype: str | None = None) -> bytes:
    """An audio file's bytes."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=kind, subtype=subtype)
    return file.getvalue()


def voice(person: int, take: int = 0, seconds: float = 1.0) -> np.ndarray:
    """A made-up voice: a chord of the person's own, a little noise of the take's own, 16 kHz, float32."""
    own, noise = np.random.default_rng(person), np.random.default_rng(1000 * person + take)
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    chord = sum(np.sin(2 * np.pi * f * time_s + own.uniform(0, 6)) for f in own.uniform(100, 4000, 4))
    return (0.05 * chord + 0.01 * noise.normal(size=time_s.size)).astype(np.float32)


def sample(person: int, take: int = 0, seconds: float = 1.0) -> bytes:
    """A made-up voice as a WAV file that loses nothing."""
    return encoded(voice(person, take, seconds), subtype="FLOAT")
