"""Proof that an exported graph computes what the torch modules compute."""

from collections.abc import Iterable
from typing import Final

import numpy as np
import torch

from service.errors import ParityError
from service.media.audio import AudioInput, split_windows
from service.session import Session
from service.vectors import FloatArray

LARGEST_DIFFERENCE: Final = 1e-4  # of a component of an embedding of about unit length
BATCH_SIZES: Final = (1, 2, 7, 32)
ODD_LENGTHS: Final = (8_001, 25_599, 25_601, 44_801, 70_003)  # samples: below, at and above where windows begin
VOICE_HZ: Final = 140.0


def speech_like_clips(lengths: Iterable[int], sample_rate_hz: int) -> list[FloatArray]:
    """Clips with the loudness, harmonics and pauses of speech, for machines that hold no recordings.

    Args:
        lengths: samples of each clip; the length is the seed too.
        sample_rate_hz: their rate.

    Returns: float32 clips, peak below 1.
    """
    return [_speech_like(length, sample_rate_hz) for length in lengths]


def cut_into_batches(clips: Iterable[FloatArray], spec: AudioInput) -> list[FloatArray]:
    """The windows of real or made clips, dealt into one batch of every size in BATCH_SIZES.

    Args:
        clips: float32 clips at spec.sample_rate_hz; used again from the start where they are too few.
        spec: the bundle's input.

    Returns: float32, (size, window_samples) for each size.
    """
    windows = np.concatenate([split_windows(clip, spec) for clip in clips])
    batches, start = [], 0
    for size in BATCH_SIZES:
        batches.append(np.take(windows, range(start, start + size), axis=0, mode="wrap"))
        start += size
    return batches


def require_parity(model: torch.nn.Module, session: Session, batches: Iterable[FloatArray]) -> float:
    """Compare the graph with the torch module on every batch.

    Args:
        model: the module that was exported.
        session: the written file, loaded again.
        batches: float32, (n, window_samples) each.

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
                f"The graph must return {expected.shape} for a batch of {len(batch)} windows.",
                value=found.shape,
                remedy=_REMEDY,
            )
        difference = float(np.abs(found.astype(np.float64) - expected).max())
        if not difference <= LARGEST_DIFFERENCE:  # written so that NaN fails too
            raise ParityError(
                f"The graph may differ from torch by {LARGEST_DIFFERENCE:g} and does so by more, "
                f"in a batch of {len(batch)} windows.",
                value=f"{difference:.3g}",
                remedy=_REMEDY,
            )
        largest = max(largest, difference)
    return largest


_REMEDY: Final = "Nothing was written; the module uses an operation the exporter translates differently."


def _embed(session: Session, batch: FloatArray) -> FloatArray:
    try:
        return session.embed(batch)
    except Exception as error:  # ONNX Runtime's own classes derive from Exception alone; nothing is swallowed
        raise ParityError(
            f"The graph cannot take a batch of {len(batch)} windows.", value=error, remedy=_REMEDY
        ) from error


def _speech_like(length: int, sample_rate_hz: int) -> FloatArray:
    generator = np.random.default_rng(length)
    time_s = np.arange(length) / sample_rate_hz
    pitch_hz = VOICE_HZ * (1.0 + 0.1 * np.sin(2 * np.pi * 0.7 * time_s))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / sample_rate_hz
    harmonics = np.sum([np.sin(k * phase) / k for k in range(1, 24)], axis=0)
    syllables = np.clip(np.sin(2 * np.pi * 3.0 * time_s), 0.0, 1.0)  # about three syllables a second, pauses between
    clip: FloatArray = (0.1 * harmonics * syllables + 0.002 * generator.standard_normal(length)).astype(np.float32)
    return clip
