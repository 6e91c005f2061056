"""Recordings of noise and of rooms: checked and hashed once, then read a piece at a time."""

import hashlib
import io
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import soundfile
import soxr
from rich.progress import Progress

from matchka.errors import MatchkaError, SilenceError
from matchka.modalities.audio.activity import SILENCE_DBFS
from matchka.modalities.audio.containers import missing_bytes
from matchka.modalities.audio.decoders.clip import finite_peak, require_sample_rate, truncated
from matchka.modalities.audio.level import root_mean_square
from matchka.vectors import FloatArray
from matchka_train.errors import DatasetError

MOST_LEFT_OUT_SHARE: Final = 0.01  # a stray file; more says that the corpus is not what the recipe takes it for
MOST_SHOWN: Final = 5
BLOCK_FRAMES: Final = 1 << 18
MOST_DRAWS: Final = 32  # a recording may pause, but not all of them all the time
LEAST_LEVEL: Final = 10.0 ** (SILENCE_DBFS / 20.0)

_log = logging.getLogger(__name__)


class Recording(NamedTuple):
    """One file.

    Attributes:
        name: its path below the corpus.
        rate_hz: of its samples.
        frames: how many there are.
    """

    name: str
    rate_hz: int
    frames: int


@dataclass(frozen=True)
class Recordings:
    """One part of a corpus, in the order of the files' hashes: what they are called changes no draw.

    Attributes:
        root: the corpus.
        files: at least one; of files with the same bytes the first.
        sha256: over the hashes of the files' bytes.
    """

    root: Path
    files: tuple[Recording, ...]
    sha256: str

    def draw_excerpt(self, length: int, sample_rate_hz: int, generator: np.random.Generator) -> FloatArray:
        """A piece of one of the recordings, channels averaged; shorter recordings are repeated.

        Args:
            length: samples wanted.
            sample_rate_hz: their rate.
            generator: draws the recording and where the piece begins.

        Returns: float32, (length,), not silent.

        Raises: DatasetError: nothing but silence was drawn, or a file is not what it was.
        """
        for _ in range(MOST_DRAWS):
            file = self.files[int(generator.integers(len(self.files)))]
            frames = min(file.frames, math.ceil(length * file.rate_hz / sample_rate_hz))
            start = int(generator.integers(0, file.frames - frames + 1))
            piece = _resampled(self._read(file, start, frames).mean(axis=1), file.rate_hz, sample_rate_hz)
            if root_mean_square(piece) >= LEAST_LEVEL:
                excerpt: FloatArray = np.resize(piece, length)
                return excerpt
        raise DatasetError(
            f"Of {MOST_DRAWS} pieces drawn from {self.root} all were silent (RMS below {SILENCE_DBFS:g} dBFS).",
            value=f"{length / sample_rate_hz:.2f} s each",
            remedy="Take recordings without long pauses.",
        )

    def draw_response(self, sample_rate_hz: int, generator: np.random.Generator) -> FloatArray:
        """One of the recordings as a room's impulse response; of several microphones the first.

        Args:
            sample_rate_hz: the rate wanted.
            generator: draws the recording.

        Returns: float32, (samples,).

        Raises: DatasetError: a file is not what it was.
        """
        file = self.files[int(generator.integers(len(self.files)))]
        return _resampled(self._read(file, 0, file.frames)[:, 0], file.rate_hz, sample_rate_hz)

    def _read(self, file: Recording, start: int, frames: int) -> FloatArray:
        path = self.root / file.name
        try:
            with soundfile.SoundFile(path) as source:
                source.seek(start)
                block: FloatArray = source.read(frames, dtype="float32", always_2d=True)
        except (OSError, soundfile.SoundFileError) as error:
            raise _changed(path, error) from error
        if len(block) < frames:
            raise _changed(path, f"{len(block)} of {frames} samples")
        return block


def read_recordings(root: Path, parts: Sequence[Sequence[Path]], progress: Progress) -> tuple[Recordings, ...]:
    """Check and hash every file; stray ones that cannot be used are left out, and logged.

    Args:
        root: the corpus.
        parts: its files below that.
        progress: shows how far it is.

    Raises: DatasetError: over 1 % of the files cannot be used, or all of a part.
    """
    reasons: list[str] = []
    found = []
    for part in parts:
        usable: dict[str, Recording] = {}
        for path in progress.track(part, description=f"checking {root.name}"):
            try:
                data = path.read_bytes()
                file = Recording(path.relative_to(root).as_posix(), *_measure(data))
            except (MatchkaError, OSError) as error:
                reasons.append(f"{path}: {error}")
                _log.warning("left out: %s", reasons[-1])
            else:
                usable.setdefault(hashlib.sha256(data).hexdigest(), file)
        found.append(usable)
    listed = sum(len(part) for part in parts)
    if len(reasons) > MOST_LEFT_OUT_SHARE * listed or not all(found):
        shown = "; ".join(reasons[:MOST_SHOWN]) + ("; ..." if len(reasons) > MOST_SHOWN else "")
        raise DatasetError(
            f"{len(reasons)} of {listed} files of {root} cannot be used: {shown}",
            value=f"{len(reasons)} files",
            remedy="Convert them or take them out: whole WAV, FLAC, OGG and MP3 files of 4 to 384 kHz are read.",
        )
    return tuple(_in_order(root, usable) for usable in found)


def _in_order(root: Path, usable: dict[str, Recording]) -> Recordings:
    hashes = sorted(usable)
    return Recordings(
        root, tuple(usable[sha256] for sha256 in hashes), hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    )


def _measure(data: bytes) -> tuple[int, int]:
    """Rate and frames of a whole file that can be used."""
    if missing := missing_bytes(data):
        raise truncated(f"{missing} bytes are missing")
    peak, frames = 0.0, 0
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate_hz = int(file.samplerate)
            require_sample_rate(rate_hz)
            for block in file.blocks(BLOCK_FRAMES, dtype="float32"):
                peak, frames = max(peak, finite_peak(block)), frames + len(block)
    except soundfile.LibsndfileError as error:
        raise DatasetError("It is no recording.", value=error.error_string, remedy="Take it out.") from error
    if peak < LEAST_LEVEL:
        raise SilenceError(f"Its peak is below {SILENCE_DBFS:g} dBFS.", value=peak, remedy="Take it out.")
    return rate_hz, frames


def _resampled(samples: FloatArray, rate_hz: int, sample_rate_hz: int) -> FloatArray:
    if rate_hz == sample_rate_hz:
        return samples
    resampled: FloatArray = soxr.resample(samples, rate_hz, sample_rate_hz, quality="HQ")
    return resampled


def _changed(path: Path, what: object) -> DatasetError:
    return DatasetError(
        f"The file {path} is not what it was when the run began.",
        value=what,
        remedy="Leave the folders as they are while clips are embedded, and run the same command again.",
    )
