"""Waveforms: a modulation with its symbol rate and its shape. What is enrolled is a waveform, not a transmitter."""

from dataclasses import dataclass
from typing import Final

from matchka_train.datasets.generator.modulations import MODULATIONS
from matchka_train.datasets.generator.strangers import STRANGERS

ANALOGUE: Final = ("AM-DSB", "AM-SSB", "WBFM")
DIGITAL_RATES: Final = (6, 8, 10, 12)  # samples per symbol, about the 8 of RML2016.10a
DIGITAL_RATES_BETWEEN: Final = (7, 9, 11)
DIGITAL_RATES_HELD_OUT: Final = (6.5, 8.5, 10.5)
ANALOGUE_RATES: Final = (12, 18, 26, 40)  # samples for each independent value of the audio: 2 to 8 kHz at 200 kHz
ANALOGUE_RATES_BETWEEN: Final = (15, 22, 32)
ANALOGUE_RATES_HELD_OUT: Final = (13.5, 20, 29)
ROLL_OFFS: Final = (0.2, 0.5)
SHAPES: Final[dict[str, tuple[float, ...]]] = {
    **dict.fromkeys(("BPSK", "QPSK", "8PSK", "QAM16", "QAM64", "PAM4"), ROLL_OFFS),
    "GFSK": (0.35, 0.5),  # bandwidth-time products of GSM's kind and of Bluetooth's
    "CPFSK": (0.5, 0.7),  # modulation index: that of MSK, and a wider one
    "AM-DSB": (0.25, 0.4),
    "AM-SSB": (-1.0, 1.0),
    "WBFM": (0.06, 0.12),
}


@dataclass(frozen=True)
class Waveform:
    """One waveform.

    Attributes:
        modulation: a name of MODULATIONS or STRANGERS.
        samples_per_symbol: of its message.
        shape: its roll-off, or what else its modulation calls a shape.
    """

    modulation: str
    samples_per_symbol: float
    shape: float

    @property
    def name(self) -> str:
        """What a recording of it is filed under.

        >>> Waveform("QPSK", 8, 0.5).name
        'QPSK_8_0.5'
        """
        return f"{self.modulation}_{self.samples_per_symbol:g}_{self.shape:g}"


def _waveforms(digital_rates: tuple[float, ...], analogue_rates: tuple[float, ...]) -> tuple[Waveform, ...]:
    return tuple(
        Waveform(name, rate, shape)
        for name in MODULATIONS
        for rate in (analogue_rates if name in ANALOGUE else digital_rates)
        for shape in SHAPES[name]
    )


WAVEFORMS: Final = _waveforms(DIGITAL_RATES, ANALOGUE_RATES)
BETWEEN: Final = _waveforms(DIGITAL_RATES_BETWEEN, ANALOGUE_RATES_BETWEEN)  # trained nothing; they chose the whitening
HELD_OUT: Final = _waveforms(DIGITAL_RATES_HELD_OUT, ANALOGUE_RATES_HELD_OUT)  # neither trained nor chose anything
STRANGE_WAVEFORMS: Final = tuple(Waveform(name, 1, 0.0) for name in STRANGERS)
