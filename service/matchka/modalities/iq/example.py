"""A made signal, for machines that hold no recordings."""

from typing import Final

import numpy as np
import numpy.typing as npt

SAMPLES_PER_SYMBOL: Final = 8
CARRIER_OFFSET: Final = 0.01  # cycles per sample
NOISE: Final = 0.1  # amplitude in each of I and Q: 17 dB below the signal


def signal_like(samples: int, seed: int) -> npt.NDArray[np.complex64]:
    """Four phases in smooth pulses, a little off the carrier, in noise.

    Args:
        samples: how many, >= 1.
        seed: draws symbols and noise.

    Returns: complex64, (samples,), of a mean power of about 1.
    """
    generator = np.random.default_rng(seed)
    pulse = np.hanning(2 * SAMPLES_PER_SYMBOL)
    symbols = np.zeros(samples + 2 * SAMPLES_PER_SYMBOL, np.complex128)
    places = symbols[::SAMPLES_PER_SYMBOL]
    places[:] = np.exp(0.5j * np.pi * generator.integers(0, 4, places.size))
    shaped = np.convolve(symbols, pulse)[2 * SAMPLES_PER_SYMBOL :][:samples]
    turned = shaped * np.exp(2j * np.pi * CARRIER_OFFSET * np.arange(samples))
    noise = generator.standard_normal((2, samples))
    noisy: npt.NDArray[np.complex64] = (turned + NOISE * (noise[0] + 1j * noise[1])).astype(np.complex64)
    return noisy
