"""Proof that an exported graph computes what the torch modules compute."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np
import torch

from matchka.inference.session import Session
from matchka.modalities.audio.spec import AudioInputSpec
from matchka.modalities.audio.windows import split_windows
from matchka.modalities.face.pyramid import PixelArray
from matchka.modalities.face.spec import ImageInputSpec
from matchka.modalities.modality import InputSpec
from matchka.vectors import FloatArray
from matchka_export.errors import ParityError
from matchka_train.datasets.sample import Sample
from matchka_train.modalities.modality import Rows, SampleReader
from matchka_train.modalities.skipped import Skipped

LARGEST_DIFFERENCE: Final = 1e-4  # of a component of an embedding of about unit length
BATCH_SIZES: Final = (1, 2, 7, 32)
ODD_LENGTHS: Final = (8_001, 25_599, 25_601, 44_801, 70_003)  # samples: below, at and above where windows begin
VOICE_HZ: Final = 140.0
MADE_ROWS: Final = 5


def made_rows(spec: InputSpec) -> Rows:
    """Rows like real ones, for machines that hold no samples; noise where nobody has said how real ones look."""
    make = LIKE_REAL.get(spec.kind)
    return spec.example(MADE_ROWS, seed=0) if make is None else make(spec)


def real_rows(reader: SampleReader, samples: Iterable[Sample]) -> list[Rows]:
    """Rows of real samples, those that cannot be read left out."""
    read = [reader.rows(sample, "0" * 64) for sample in samples]
    return [rows for rows in read if not isinstance(rows, Skipped)]


def face_like_chips(count: int, chip_px: int) -> PixelArray:
    """Chips with the brightness of faces, smooth and with edges: a bright oval, two dark spots, a dark bar.

    Args:
        count: how many; the number of each is its seed.
        chip_px: rows and columns.

    Returns: uint8, (count, chip_px, chip_px, 3).
    """
    return np.stack([_face_like(seed, chip_px) for seed in range(count)])


def speech_like_clips(lengths: Iterable[int], sample_rate_hz: int) -> list[FloatArray]:
    """Clips with the loudness, harmonics and pauses of speech, for machines that hold no recordings.

    Args:
        lengths: samples of each clip; the length is the seed too.
        sample_rate_hz: their rate.

    Returns: float32 clips, peak below 1.
    """
    return [_speech_like(length, sample_rate_hz) for length in lengths]


def deal_batches(rows: Rows) -> list[Rows]:
    """Rows dealt into one batch of every size in BATCH_SIZES, used again from the start where they are too few."""
    batches: list[Rows] = []
    start = 0
    for size in BATCH_SIZES:
        batches.append(rows[np.arange(start, start + size) % len(rows)])
        start += size
    return batches


def require_parity(model: torch.nn.Module, session: Session, batches: Iterable[Rows]) -> float:
    """Compare the graph with the torch module on every batch.

    Args:
        model: the module that was exported.
        session: the written file, loaded again.
        batches: rows of the graph's input, (n, ...) each.

    Returns: the largest absolute difference of any component, at most LARGEST_DIFFERENCE.

    Raises: ParityError: they differ by more, or the graph refuses a batch size.
    """
    largest = 0.0
    for batch in batches:
        with torch.inference_mode():
            expected = model(torch.tensor(batch)).numpy()
        found = _embed(session, batch)
        if found.shape != expected.shape:
            raise ParityError(
                f"The graph must return {expected.shape} for a batch of {len(batch)} rows.",
                value=found.shape,
                remedy=_REMEDY,
            )
        difference = float(np.abs(found.astype(np.float64) - expected).max())
        if not difference <= LARGEST_DIFFERENCE:  # written so that NaN fails too
            raise ParityError(
                f"The graph may differ from torch by {LARGEST_DIFFERENCE:g} and does so by more, "
                f"in a batch of {len(batch)} rows.",
                value=f"{difference:.3g}",
                remedy=_REMEDY,
            )
        largest = max(largest, difference)
    return largest


_REMEDY: Final = "Nothing was written; the module uses an operation the exporter translates differently."


def _embed(session: Session, batch: Rows) -> FloatArray:
    try:
        (found,) = session.run(batch).values()  # no graph under test has a second output
        return found
    except Exception as error:  # ONNX Runtime's own classes derive from Exception alone; nothing is swallowed
        raise ParityError(
            f"The graph cannot take a batch of {len(batch)} rows.", value=error, remedy=_REMEDY
        ) from error


def _windows_like_speech(spec: AudioInputSpec) -> Rows:
    clips = speech_like_clips(ODD_LENGTHS, spec.sample_rate_hz)
    return np.concatenate([split_windows(clip, spec) for clip in clips])


def _chips_like_faces(spec: ImageInputSpec) -> Rows:
    return face_like_chips(MADE_ROWS, spec.chip_px)


def _speech_like(length: int, sample_rate_hz: int) -> FloatArray:
    generator = np.random.default_rng(length)
    time_s = np.arange(length) / sample_rate_hz
    pitch_hz = VOICE_HZ * (1.0 + 0.1 * np.sin(2 * np.pi * 0.7 * time_s))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / sample_rate_hz
    harmonics = np.sum([np.sin(k * phase) / k for k in range(1, 24)], axis=0)
    syllables = np.clip(np.sin(2 * np.pi * 3.0 * time_s), 0.0, 1.0)  # about three syllables a second, pauses between
    clip: FloatArray = (0.1 * harmonics * syllables + 0.002 * generator.standard_normal(length)).astype(np.float32)
    return clip


def _face_like(seed: int, chip_px: int) -> PixelArray:
    generator = np.random.default_rng(seed)
    y, x = (np.mgrid[0:chip_px, 0:chip_px] + 0.5) / chip_px
    skin = 60.0 + 130.0 * np.exp(-4.0 * ((x - 0.5) ** 2 + 0.7 * (y - 0.55) ** 2))
    for at_x, at_y, width, height in ((0.31, 0.3, 0.08, 0.04), (0.68, 0.3, 0.08, 0.04), (0.5, 0.71, 0.16, 0.03)):
        shift = generator.normal(0.0, 0.01, 2)
        skin -= 90.0 * np.exp(-(((x - at_x - shift[0]) / width) ** 2) - ((y - at_y - shift[1]) / height) ** 2)
    tint = generator.uniform(0.7, 1.1, 3)
    noise = generator.normal(0.0, 3.0, (chip_px, chip_px, 3))
    chip: PixelArray = np.clip(skin[:, :, None] * tint + noise, 0, 255).astype(np.uint8)
    return chip


# by the kind of a manifest's `input`
LIKE_REAL: Final[Mapping[str, Callable[[Any], Rows]]] = {"audio": _windows_like_speech, "image": _chips_like_faces}
