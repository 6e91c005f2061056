"""Fingerprints of what a recording sounds like: copies are found after another encoding, level, rate or cut.

Source: Haitsma and Kalker 2002, "A highly robust audio fingerprinting system" (ISMIR).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from matchka.vectors import FloatArray
from matchka_train.modalities.copies import Copy

SAMPLE_RATE_HZ: Final = 5_512  # the bands end at 2 kHz, which every encoder keeps
FRAME_SAMPLES: Final = 2_048  # .37 s: long enough that a cut between two frames changes few bits
HOP_SAMPLES: Final = 128
LOWEST_HZ: Final = 300.0
HIGHEST_HZ: Final = 2_000.0
BANDS: Final = 33  # the slopes between neighbours are the 32 bits of a word
LEAST_OVERLAP: Final = 48  # words, 1.1 s of sound; of 3,951 different recordings no two agreed for longer than .9 s
HIGHEST_ERROR_RATE: Final = 0.30  # of bits; unrelated recordings differ in half of them
BACKGROUND: Final = 1e-3  # of the loudest frame's energy
BLOCK: Final = 4_096  # frames at a time, which bounds the memory that a long clip takes
COMMONEST: Final = 256  # recordings that share a word before it says nothing about any of them

Words: TypeAlias = npt.NDArray[np.uint32]


def fingerprint(clip: FloatArray) -> Words:
    """One 32-bit word per 23 ms: whether the slope of the energy over neighbouring bands rises from frame to frame.

    Args: clip: float32, (samples,), at SAMPLE_RATE_HZ.

    Returns: uint32, (words,); 0 where there is only background. A clip of less than two frames has no words.
    """
    count = 1 + (clip.size - FRAME_SAMPLES) // HOP_SAMPLES
    if count < 2:
        return np.zeros(0, np.uint32)
    frames = np.lib.stride_tricks.sliding_window_view(clip, FRAME_SAMPLES)[::HOP_SAMPLES]
    energy = np.concatenate([_energy(frames[start : start + BLOCK]) for start in range(0, count, BLOCK)])
    bits = np.diff(np.diff(energy, axis=1), axis=0) > 0
    words = np.packbits(bits, axis=1).view(">u4").astype(np.uint32)[:, 0]
    loudness = energy.sum(axis=1)[1:]
    heard: Words = np.where(loudness > BACKGROUND * loudness.max(initial=0.0), words, np.uint32(0))
    return heard


def _energy(frames: FloatArray) -> npt.NDArray[np.float64]:
    """Of each band: (frames, BANDS)."""
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME_SAMPLES).astype(np.float32))) ** 2
    edges = np.geomspace(LOWEST_HZ, HIGHEST_HZ, BANDS + 1) * FRAME_SAMPLES / SAMPLE_RATE_HZ
    energy: npt.NDArray[np.float64] = np.add.reduceat(power, edges.astype(np.int64), axis=1)[:, :BANDS]
    return energy


@dataclass(frozen=True)
class Index:
    """The words of many recordings, sorted, with the recording and the place each is from.

    Attributes:
        keys: of the recordings.
        fingerprints: of each.
        words: uint32, (n,), rising; without background.
        owners: int64, (n,), numbers of recordings.
        positions: int64, (n,), places in the recording's fingerprint.
    """

    keys: tuple[str, ...]
    fingerprints: tuple[Words, ...]
    words: Words
    owners: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]


def index_of(fingerprints: Mapping[str, Words]) -> Index:
    """Make many recordings searchable; memory is 20 bytes a word, 900 bytes a second of sound."""
    sizes = [words.size for words in fingerprints.values()]
    words = np.concatenate([np.zeros(0, np.uint32), *fingerprints.values()])
    owners = np.repeat(np.arange(len(sizes)), sizes)
    positions = np.concatenate([np.zeros(0, np.int64), *(np.arange(size) for size in sizes)])
    order = np.argsort(words, kind="stable")
    order = order[words[order] != 0]
    return Index(
        tuple(fingerprints),
        tuple(fingerprints.values()),
        words[order],
        owners[order],
        positions[order].astype(np.int64),
    )


def copies_of(index: Index, key: str, words: Words) -> list[Copy]:
    """The recordings of an index that are copies of one, whole or in part.

    Candidates share a word exactly; they are copies where the words around it agree as well.

    Args:
        index: what is searched; an entry under the same key is left out.
        key: of the recording.
        words: its fingerprint.

    Returns: one entry for each copy, the surest first.
    """
    lows, highs = (np.searchsorted(index.words, words, side=side) for side in ("left", "right"))
    counts = np.where((words != 0) & (highs - lows <= COMMONEST), highs - lows, 0)
    places = np.repeat(lows - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    offsets = index.positions[places] - np.repeat(np.arange(words.size), counts)
    found: dict[int, Copy] = {}
    for owner, offset in np.unique(np.stack([index.owners[places], offsets], axis=1), axis=0).tolist():
        if index.keys[owner] == key:
            continue
        copy = _compare(index.keys[owner], index.fingerprints[owner], key, words, offset)
        if copy is not None and (owner not in found or copy.error_rate < found[owner].error_rate):
            found[owner] = copy
    return sorted(found.values(), key=lambda copy: copy.error_rate)


def copies_among(fingerprints: Mapping[str, Words]) -> list[Copy]:
    """All pairs of recordings that are copies of each other, whole or in part; each pair once."""
    index = index_of(fingerprints)
    found = [copy for key, words in fingerprints.items() for copy in copies_of(index, key, words)]
    return [copy for copy in found if copy.first < copy.second]


def _compare(first: str, words: Words, second: str, others: Words, offset: int) -> Copy | None:
    """The copy at one offset (place in the first minus place in the second), if it is one."""
    start, end = max(0, offset), min(words.size, others.size + offset)
    one, two = words[start:end], others[start - offset : end - offset]
    heard = (one != 0) & (two != 0)
    if int(heard.sum()) < LEAST_OVERLAP:
        return None
    error_rate = float(np.unpackbits((one[heard] ^ two[heard]).view(np.uint8)).mean())
    if error_rate > HIGHEST_ERROR_RATE:
        return None
    overlap_s = float(heard.sum()) * HOP_SAMPLES / SAMPLE_RATE_HZ
    return Copy(first, second, f"the same sound for {overlap_s:.1f} s", error_rate)
