"""Sounds without speech, made of a seed: what the detector of speech must refuse, and what it is only reported on.

Every sound is loud enough to pass the rules of level, so that only a detector of speech can refuse it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

RATE_HZ: Final = 16_000
SECONDS: Final = (2.0, 5.0, 20.0, 60.0)
LEVELS_DBFS: Final = (-60.0, -45.0, -30.0, -15.0)
SEMITONE: Final = 2 ** (1 / 12)
DTMF_HZ: Final = ((697.0, 770.0, 852.0, 941.0), (1209.0, 1336.0, 1477.0, 1633.0))  # ITU-T Q.23: rows and columns


@dataclass(frozen=True)
class Sound:
    """Attributes: name: its kind. samples: float32, (samples,), 16 kHz, full scale 1."""

    name: str
    samples: np.ndarray


Maker = Callable[[np.random.Generator, np.ndarray], np.ndarray]  # draws, times in seconds -> samples of any level


def coloured_noise(slope: float) -> Maker:
    """Noise whose amplitude spectrum follows frequency to the power of `slope`: 0 is white, -0.5 pink, -1 brown."""

    def make(rng: np.random.Generator, time_s: np.ndarray) -> np.ndarray:
        spectrum = np.fft.rfft(rng.normal(size=time_s.size))
        frequency = np.maximum(np.fft.rfftfreq(time_s.size, 1 / RATE_HZ), 20.0)
        return np.fft.irfft(spectrum * frequency**slope, time_s.size)

    return make


def band_noise(rng: np.random.Generator, time_s: np.ndarray) -> np.ndarray:
    """Noise of one band between 100 Hz and 7 kHz."""
    low = rng.uniform(100, 4000)
    high = min(low * rng.uniform(1.3, 4.0), 7000.0)
    spectrum = np.fft.rfft(rng.normal(size=time_s.size))
    frequency = np.fft.rfftfreq(time_s.size, 1 / RATE_HZ)
    return np.fft.irfft(spectrum * ((frequency > low) & (frequency < high)), time_s.size)


def modulated(inner: Maker) -> Maker:
    """A sound that swells and fades three to six times a second, the rate of syllables."""

    def make(rng: np.random.Generator, time_s: np.ndarray) -> np.ndarray:
        swell = 0.5 - 0.5 * np.cos(2 * np.pi * rng.uniform(3, 6) * time_s)
        return inner(rng, time_s) * swell ** rng.uniform(0.5, 2.0)

    return make


def hum(mains_hz: float) -> Maker:
    """Mains hum with its harmonics."""

    def make(rng: np.random.Generator, time_s: np.ndarray) -> np.ndarray:
        harmonics = np.arange(1, 13)
        strengths, phases = rng.uniform(0, 1, 12) / harmonics, rng.uniform(0, 2 * np.pi, 12)
        waves = np.sin(2 * np.pi * mains_hz * harmonics[:, None] * time_s + phases[:, None])
        return strengths @ waves + 0.003 * rng.normal(size=time_s.size)

    return make


def tone(rng: np.random.Generator, time_s: np.ndarray) -> np.ndarray:
    return np.sin(2 * np.pi * np.exp(rng.uniform(np.log(80), np.log(6000))) * time_s)


def sweep(rng: np.random.Generator, time_s: np.ndarray) -> np.ndarray:
    """A tone that glides from one frequency to another, up or down."""
    first, last = np.exp(rng.uniform(np.log(80), np.log(6000), 2))
    return np.sin(2 * np.pi * (first * time_s + (last - first) * time_s**2 / (2 * time_s[-1])))


def chord(rng: np.random.Generator, time_s: np.ndarray) -> np.ndarray:
    """Three to five steady notes."""
    root = rng.uniform(110, 440)
    steps = rng.choice(25, size=rng.integers(3, 6), replace=False)
    return np.sum([np.sin(2 * np.pi * root * SEMITONE**n * time_s + rng.uniform(0, 6)) for n in steps], axis=0)


def with_faint_noise(inner: Maker) -> Maker:
    """A sound with noise up to 1 % of a tone of full scale."""

    def make(rng: np.random.Generator, time_s: np.ndarray) -> np.ndarray:
        return inner(rng, time_s) + rng.uniform(0, 0.01) * rng.normal(size=time_s.size)

    return make


def fading(inner: Maker) -> Maker:
    """A sound that swells and fades two to eight times a second, in part or wholly."""

    def make(rng: np.random.Generator, time_s: np.ndarray) -> np.ndarray:
        depth = rng.uniform(0.3, 1)
        swell = 1 - depth * (0.5 + 0.5 * np.cos(2 * np.pi * rng.uniform(2, 8) * time_s))
        return inner(rng, time_s) * swell ** rng.uniform(0.5, 2.0)

    return make


def low_tones(rng: np.random.Generator, time_s: np.ndarray) -> np.ndarray:
    """Two to six steady tones below 1 kHz."""
    frequencies = np.exp(rng.uniform(np.log(50), np.log(1000), rng.integers(2, 7)))
    return np.sum(
        [rng.uniform(0.2, 1) * np.sin(2 * np.pi * f * time_s + rng.uniform(0, 6)) for f in frequencies], axis=0
    )


def hum_of_two_mains(rng: np.random.Generator, time_s: np.ndarray) -> np.ndarray:
    """Harmonics of 50 and 60 Hz: each of one of the two, or of both of them."""
    harmonics = range(1, rng.integers(4, 9))
    if rng.random() < 0.5:
        return np.sum([np.sin(2 * np.pi * rng.choice((50, 60)) * n * time_s) for n in harmonics], axis=0)
    pairs = [(mains_hz * n, rng.uniform(0, 1), rng.uniform(0, 6)) for mains_hz in (50, 60) for n in harmonics]
    return np.sum([strength * np.sin(2 * np.pi * hz * time_s + phase) for hz, strength, phase in pairs], axis=0)


def beating_tones(rng: np.random.Generator, time_s: np.ndarray) -> np.ndarray:
    """One to three pairs of tones below 1 kHz that are 0.5 to 8 Hz apart."""
    firsts = rng.uniform(50, 1000, rng.integers(1, 4))
    tones = [(first + apart, rng.uniform(0.3, 1)) for first in firsts for apart in (0, rng.uniform(0.5, 8))]
    return np.sum([strength * np.sin(2 * np.pi * hz * time_s + rng.uniform(0, 6)) for hz, strength in tones], axis=0)


def dial_tones(rng: np.random.Generator, time_s: np.ndarray) -> np.ndarray:
    """Keys of a telephone, pressed one after the other."""
    length = int(rng.uniform(0.08, 0.25) * RATE_HZ)
    samples = np.zeros(time_s.size)
    for start in range(0, time_s.size - length, int(length * rng.uniform(1.3, 2.2))):
        row, column = (rng.choice(group) for group in DTMF_HZ)
        part = slice(start, start + length)
        samples[part] = np.sin(2 * np.pi * row * time_s[part]) + np.sin(2 * np.pi * column * time_s[part])
    return samples


def clicks(rng: np.random.Generator, time_s: np.ndarray) -> np.ndarray:
    """Clicks at random times over a faint hiss."""
    samples = 0.01 * rng.normal(size=time_s.size)
    for at in rng.integers(0, time_s.size - 64, int(rng.uniform(3, 30) * time_s[-1])):
        samples[at : at + 64] += rng.choice((-1, 1)) * np.exp(-np.arange(64) / rng.uniform(2, 15))
    return samples


def impulse_train(rng: np.random.Generator, time_s: np.ndarray) -> np.ndarray:
    """A buzz: impulses at the rate of vocal cords, which no mouth has shaped."""
    return np.diff(np.floor(rng.uniform(100, 200) * time_s), prepend=0.0)


def square_wave(rng: np.random.Generator, time_s: np.ndarray) -> np.ndarray:
    return np.sign(np.sin(2 * np.pi * np.exp(rng.uniform(np.log(50), np.log(2000))) * time_s))


def arpeggio(rng: np.random.Generator, time_s: np.ndarray) -> np.ndarray:
    """Plucked notes of a scale, two to eight a second, each with harmonics that fade."""
    length = int(RATE_HZ / rng.uniform(2, 8))
    root, harmonics = rng.uniform(110, 330), np.arange(1, 7)
    samples = np.zeros(time_s.size)
    for start in range(0, time_s.size, length):
        since = time_s[start : start + length] - time_s[start]
        note = root * SEMITONE ** rng.choice((0, 2, 4, 5, 7, 9, 11, 12))
        waves = np.sin(2 * np.pi * note * harmonics[:, None] * since) / harmonics[:, None]
        samples[start : start + length] = waves.sum(axis=0) * np.exp(-since * rng.uniform(2, 8))
    return samples


def offset(rng: np.random.Generator, time_s: np.ndarray) -> np.ndarray:
    """DC of either sign, with a trace of dither."""
    return rng.choice((-1.0, 1.0)) + 1e-4 * rng.normal(size=time_s.size)


MAKERS: Final[dict[str, Maker]] = {
    "white noise": coloured_noise(0.0),
    "pink noise": coloured_noise(-0.5),
    "brown noise": coloured_noise(-1.0),
    "blue noise": coloured_noise(0.5),
    "band of noise": band_noise,
    "modulated white noise": modulated(coloured_noise(0.0)),
    "modulated pink noise": modulated(coloured_noise(-0.5)),
    "hum of 50 Hz": hum(50.0),
    "hum of 60 Hz": hum(60.0),
    "tone": tone,
    "modulated tone": modulated(tone),
    "sweep": sweep,
    "modulated sweep": modulated(sweep),
    "chord": chord,
    "modulated chord": modulated(chord),
    "dial tones": dial_tones,
    "clicks": clicks,
    "impulse train": impulse_train,
    "modulated impulse train": modulated(impulse_train),
    "square wave": square_wave,
    "arpeggio": arpeggio,
    "offset": offset,
    "low tones": with_faint_noise(low_tones),
    "fading low tones": with_faint_noise(fading(low_tones)),
    "hum of two mains": with_faint_noise(hum_of_two_mains),
    "fading hum of two mains": with_faint_noise(fading(hum_of_two_mains)),
    "beating tones": with_faint_noise(beating_tones),
    "fading beating tones": with_faint_noise(fading(beating_tones)),
}
# Noise of one band that swells like syllables is a whisper of one vowel: how much of it is refused is only reported.
HARD_MAKERS: Final[dict[str, Maker]] = {"modulated band of noise": modulated(band_noise)}


def sounds(seed: int, each: int, makers: Mapping[str, Maker] = MAKERS) -> Iterator[Sound]:
    """Sounds of every kind, of several lengths and levels.

    Args:
        seed: the same seed gives the same sounds.
        each: how many of each kind.
        makers: the kinds.
    """
    for kind, (name, make) in enumerate(makers.items()):
        for number in range(each):
            rng = np.random.default_rng((seed, kind, number))
            time_s = np.arange(int(SECONDS[number % len(SECONDS)] * RATE_HZ)) / RATE_HZ
            yield Sound(name, at_level(make(rng, time_s), rng.choice(LEVELS_DBFS)))


def at_level(samples: np.ndarray, level_dbfs: float) -> np.ndarray:
    """Samples at an RMS level, but never over full scale."""
    gain = 10 ** (level_dbfs / 20) / np.sqrt(np.mean(samples**2))
    return (samples * min(gain, 0.99 / np.max(np.abs(samples)))).astype(np.float32)
