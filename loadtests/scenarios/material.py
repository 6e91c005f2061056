"""What is sent: recordings and pictures of people, and a made radio signal."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadtests.payloads import read_samples

RADIO_SAMPLES = 2048  # 16 windows of the default bundle
RADIO_SEEDS = 8
SAMPLES_OF_SYMBOL = 8
SNR_DB = 15
KINDS = ("voice", "face")  # folders of samples, named as the models that read them


@dataclass(frozen=True)
class Enrolment:
    """Somebody whom the set-up enrols."""

    subject_id: str
    model: str
    samples: tuple[bytes, ...]


@dataclass(frozen=True)
class Material:
    """Samples, and names that no other run uses.

    Attributes:
        people: model -> person -> samples.
        signals: .npy files of complex samples.
        run: of this process; fresh subjects are named by it.
    """

    people: Mapping[str, Mapping[str, tuple[bytes, ...]]]
    signals: tuple[bytes, ...]
    run: str

    def samples(self, model: str) -> list[tuple[str, bytes]]:
        """Each sample with its person."""
        return [(person, sample) for person, samples in self.people[model].items() for sample in samples]

    def enrolments(self, model: str) -> tuple[Enrolment, ...]:
        """Every person, with every sample: each of them verifies afterwards, so that no attempt of a key fails."""
        return tuple(Enrolment(subject_of(person), model, samples) for person, samples in self.people[model].items())

    def pairs(self) -> list[tuple[str, str]]:
        """A voice's person and the face that goes with it."""
        faces = list(self.people["face"])
        return [(person, faces[place % len(faces)]) for place, person in enumerate(self.people["voice"])]


def read_material(samples: Path, run: str) -> Material:
    """Read what `matchka-export samples` fetched.

    Raises: FileNotFoundError: there are none.
    """
    people = {kind: {name: tuple(found) for name, found in read_samples(samples / kind).items()} for kind in KINDS}
    return Material(people, tuple(_signal(seed) for seed in range(RADIO_SEEDS)), run)


def subject_of(person: str) -> str:
    """The id under which somebody is enrolled."""
    return f"load:{person}"


def _signal(seed: int) -> bytes:
    """QPSK of eight samples a symbol at 15 dB, as .npy of complex64."""
    rng = np.random.default_rng(seed)
    symbols = np.exp(1j * np.pi / 4 * rng.choice([1, 3, 5, 7], RADIO_SAMPLES // SAMPLES_OF_SYMBOL))
    noise = rng.normal(size=(2, RADIO_SAMPLES)) * np.sqrt(10 ** (-SNR_DB / 10) / 2)
    file = io.BytesIO()
    np.save(file, (symbols.repeat(SAMPLES_OF_SYMBOL) + noise[0] + 1j * noise[1]).astype(np.complex64))
    return file.getvalue()
