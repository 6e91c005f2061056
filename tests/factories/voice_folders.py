"""Folders of synthetic speakers to train on, as WAV files."""

from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 8_000


def voice(identity: int, clip: int, seconds: float, tilt: float) -> np.ndarray:
    """A harmonic tone whose pitch and formants belong to the identity, in noise that belongs to the clip."""
    who, what = np.random.default_rng([1, identity]), np.random.default_rng([2, identity, clip])
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    pitch = who.uniform(90, 300) * what.uniform(0.93, 1.07)
    amplitudes = who.uniform(0.05, 1, 12) * what.uniform(0.4, 1.6, 12)
    tone = sum(a * np.sin(2 * np.pi * pitch * (k + 1) * time_s) for k, a in enumerate(amplitudes))
    noise = np.cumsum(what.standard_normal(len(time_s))) if tilt else what.standard_normal(len(time_s))
    mixed = tone / np.std(tone) + 0.5 * noise / np.std(noise)
    return (0.05 * mixed / np.std(mixed)).astype(np.float32)


def write_voices(root: Path, identities: range, clips: int, tilt: float = 0.0, seconds: float = 1.0) -> None:
    for identity in identities:
        folder = root / f"p{identity:03d}"
        folder.mkdir(parents=True)
        for clip in range(clips):
            soundfile.write(folder / f"{clip}.wav", voice(identity, clip, seconds, tilt), RATE_HZ)
