"""The demonstration of radio: signals made on the spot, classified over HTTP, some of them of no class there is."""

import cmath
import math
import random
from array import array
from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.table import Table

from matchka.cli.output.scores import shown
from matchka.client import Client

MODEL: Final = "radio"
SEED: Final = 1
SAMPLES: Final = 4096
SAMPLES_PER_SYMBOL: Final = 8
ROLL_OFF: Final = 0.35
SPAN: Final = 6  # symbols on either side of a pulse
PEAK: Final = 0.5  # of full scale, so that nothing clips
SNRS_DB: Final = (15.0, 0.0)

Signal = list[complex]


def demonstrate_radio(client: Client, console: Console) -> None:
    """Classify made signals, noise alone among them, and print what was answered beside what was sent."""
    titles = [f"at {snr_db:.0f} dB" for snr_db in SNRS_DB]
    table = Table("sent", *titles, title=f"{MODEL}: which modulation? (label, its probability, estimated SNR)")
    for name, make in SIGNALS.items():
        rng = random.Random(f"{SEED} {name}")
        table.add_row(name, *(_answer(client, noisy(make(rng), snr_db, rng)) for snr_db in SNRS_DB))
    rng = random.Random(SEED)
    table.add_row("noise alone", *(_answer(client, noisy([], 0.0, rng)) for _ in SNRS_DB))
    console.print(table)


def _answer(client: Client, signal: Signal) -> str:
    answer = client.classify(as_cf32(signal), MODEL, "cf32")
    best = answer.classes[0]
    snr = answer.values.get("snr_db")
    level = "" if snr is None else f", {snr:.0f} dB"
    return f"{answer.label or 'unknown'} ({best.label} {shown(best.probability, 2)}{level})"


def as_cf32(signal: Signal) -> bytes:
    """Bare samples, little-endian float32, I and Q in turn, scaled to half of full scale.

    >>> as_cf32([1 + 0j, 2j]).hex(" ", 4)
    '0000803e 00000000 00000000 0000003f'
    """
    scale = PEAK / max(max(abs(one.real), abs(one.imag)) for one in signal)
    numbers = array("f", (scale * part for one in signal for part in (one.real, one.imag)))
    if array("H", [1]).tobytes() != b"\x01\x00":
        numbers.byteswap()
    return numbers.tobytes()


def noisy(signal: Signal, snr_db: float, rng: random.Random) -> Signal:
    """A signal in white noise; noise alone where there is none."""
    power = sum(abs(one) ** 2 for one in signal) / len(signal) if signal else 1.0
    sigma = math.sqrt(power * 10 ** (-snr_db / 10) / 2)
    sent = signal or [0j] * SAMPLES
    return [one + complex(rng.gauss(0, sigma), rng.gauss(0, sigma)) for one in sent]


def _phases(count: int) -> Callable[[random.Random], Signal]:
    """Symbols of so many phases in root-raised-cosine pulses."""

    def make(rng: random.Random) -> Signal:
        turn = cmath.exp(2j * math.pi * rng.random())
        needed = SAMPLES // SAMPLES_PER_SYMBOL + 2 * SPAN + 1
        symbols = [turn * cmath.exp(2j * math.pi * rng.randrange(count) / count) for _ in range(needed)]
        return [_at(symbols, SPAN + sample / SAMPLES_PER_SYMBOL) for sample in range(SAMPLES)]

    return make


def _at(symbols: Signal, time: float) -> complex:
    first, last = math.ceil(time - SPAN), math.floor(time + SPAN)
    return sum((symbols[place] * pulse(time - place) for place in range(first, last + 1)), 0j)


def pulse(time: float) -> float:
    """Root raised cosine, at a time in symbols.

    >>> round(pulse(0.0), 4), round(pulse(1.0), 4)
    (1.0956, -0.0847)
    """
    if abs(time) < 1e-9:
        return 1 + ROLL_OFF * (4 / math.pi - 1)
    if abs(abs(4 * ROLL_OFF * time) - 1) < 1e-9:
        inner, outer = math.sin(math.pi / 4 / ROLL_OFF), math.cos(math.pi / 4 / ROLL_OFF)
        return ROLL_OFF / math.sqrt(2) * ((1 + 2 / math.pi) * inner + (1 - 2 / math.pi) * outer)
    above = math.sin(math.pi * time * (1 - ROLL_OFF))
    above += 4 * ROLL_OFF * time * math.cos(math.pi * time * (1 + ROLL_OFF))
    return above / (math.pi * time * (1 - (4 * ROLL_OFF * time) ** 2))


def _two_tones(rng: random.Random) -> Signal:
    """Two frequencies in turn without a step of the phase, half a turn apart in a symbol."""
    phase, signal = 0.0, []
    for sample in range(SAMPLES):
        if sample % SAMPLES_PER_SYMBOL == 0:
            direction = rng.choice((-1, 1))
        phase += direction * math.pi / 2 / SAMPLES_PER_SYMBOL
        signal.append(cmath.exp(1j * phase))
    return signal


SIGNALS: Final[dict[str, Callable[[random.Random], Signal]]] = {
    "BPSK": _phases(2),
    "QPSK": _phases(4),
    "8PSK": _phases(8),
    "CPFSK": _two_tones,
}
