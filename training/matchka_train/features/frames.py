"""Frames of whole clips: computed once by a frozen encoder, kept in half precision, a file for each clip."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from rich.progress import Progress

from matchka_train.backbones.frames.encoder import EncodeClip, FrameEncoder
from matchka_train.datasets.content import UNREADABLE
from matchka_train.datasets.sample import Sample
from matchka_train.errors import FeatureError
from matchka_train.features.cache import FeatureCache
from matchka_train.features.extraction import require_readable
from matchka_train.features.lock import alone
from matchka_train.features.stored import atomic_feature_file
from matchka_train.modalities.clip_limits import ClipLimits
from matchka_train.modalities.skipped import Skipped
from matchka_train.modalities.whole_clip import fixed_clip, read_whole_clip

HalfArray = npt.NDArray[np.float16]

FINGERPRINT_TOLERANCE: Final = 1e-2  # of a frame's numbers, which are kept with 11 bits
FRAMES_FOLDER: Final = "frames"
MEMBER: Final = "frames"  # of the archive


@dataclass(frozen=True)
class FrameFeatures:
    """Where the frames of clips lie; they are read one clip at a time, as all of a large network's pass any memory.

    Attributes:
        files: of each clip; None of one that could not be read.
        counts: int64, (clips,), frames of each; 0 of one that could not be read.
        layers: of each frame.
        dim: components of each layer.
        skipped: the clips that could not be read.
    """

    files: tuple[Path | None, ...]
    counts: npt.NDArray[np.int64]
    layers: int
    dim: int
    skipped: tuple[Skipped, ...]

    def read(self, number: int) -> HalfArray:
        """The frames of one clip: float16, (frames, layers, dim).

        Raises: FeatureError: the clip could not be read, or its file was changed since.
        """
        path = self.files[number]
        frames = None if path is None else _read(path)
        if frames is None:
            raise FeatureError("There are no frames of the clip.", value=path, remedy="Run the same command again.")
        return frames

    def select(self, numbers: Sequence[int]) -> "FrameFeatures":
        """Only some of the clips, in this order."""
        files = tuple(self.files[number] for number in numbers)
        return FrameFeatures(files, self.counts[list(numbers)], self.layers, self.dim, self.skipped)


def extract_frames(
    samples: Sequence[Sample],
    encoder: FrameEncoder,
    cache_dir: Path,
    limits: ClipLimits,
    hashes: Mapping[Path, str],
    progress: Progress,
) -> FrameFeatures:
    """Encode every clip, or find what an earlier run encoded.

    The folder is keyed by the encoder, its weights and how clips are read, each file by the clip's bytes; what the
    encoder makes of a fixed clip is compared as well, so that a change of its code is noticed. A clip that was added
    is the only one encoded, and an interrupted run goes on where it stopped.

    Args:
        samples: whole clips.
        encoder: the frozen encoder.
        cache_dir: the folder of all caches.
        limits: which clips are taken; others are skipped.
        hashes: of the files, by matchka_train.datasets.content.hash_files.
        progress: shows how far it is.

    Raises:
        TooManyUnreadableError: over 1 % of the clips could not be read.
        FeatureError: the encoder does not return what it declares.
        ChecksumError, DownloadError, WeightsAbsentError: it cannot be opened.
        DiskFullError: no space left.
    """
    cache = FeatureCache(cache_dir, _describe(encoder, limits))
    with alone(cache.path):
        encode = encoder.open()
        _open(cache, _checked(encoder, encode))
        folder = cache.path / FRAMES_FOLDER
        folder.mkdir(exist_ok=True)
        found = []
        task = progress.add_task(f"frames of {encoder.name}", total=len(samples))
        for sample in samples:
            found.append(_frames_of(sample, encoder, encode, limits, folder / f"{hashes[sample.path]}.npz"))
            progress.advance(task)
    skipped = tuple(entry for entry in found if isinstance(entry, Skipped))
    require_readable(skipped, len(samples))
    return FrameFeatures(
        tuple(None if isinstance(entry, Skipped) else entry[0] for entry in found),
        np.array([0 if isinstance(entry, Skipped) else entry[1] for entry in found], np.int64),
        encoder.layers,
        encoder.dim,
        skipped,
    )


def _frames_of(
    sample: Sample, encoder: FrameEncoder, encode: EncodeClip, limits: ClipLimits, path: Path
) -> tuple[Path, int] | Skipped:
    """The file of a clip, and how many frames it holds; written where it is not there, or damaged."""
    known = None if path.stem == UNREADABLE else _read(path)
    if known is not None:
        return path, len(known)
    clip = read_whole_clip(sample, encoder.input, limits, path.stem)
    if isinstance(clip, Skipped):
        return clip
    frames = encode(clip).astype(np.float16)
    if not len(frames):
        return Skipped(str(sample.path), sample.part, "too short for one frame")
    content = io.BytesIO()
    np.savez(content, frames=frames)
    with atomic_feature_file(path) as partial:
        partial.write_bytes(content.getvalue())
    return path, len(frames)


def _read(path: Path) -> HalfArray | None:
    """A clip's frames; None where there are none, or the archive's checksum says that they were changed."""
    try:
        with np.load(path) as stored:
            frames: HalfArray = stored[MEMBER]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    return frames


def _describe(encoder: FrameEncoder, limits: ClipLimits) -> dict[str, object]:
    return {
        "frames": [encoder.name, encoder.source.sha256, encoder.layers, encoder.dim, encoder.frame_period_s],
        "input": asdict(encoder.input),
        "limits": limits.model_dump(),
    }


def _open(cache: FeatureCache, fingerprint: npt.NDArray[np.float32]) -> None:
    """Open the folder, and empty it where an encoder of other code began it."""
    cache.open()
    begun_with = cache.fingerprint()
    if begun_with is None or not np.allclose(begun_with, fingerprint, FINGERPRINT_TOLERANCE, FINGERPRINT_TOLERANCE):
        cache.clear()
        cache.open()
        cache.keep_fingerprint(fingerprint)


def _checked(encoder: FrameEncoder, encode: EncodeClip) -> npt.NDArray[np.float32]:
    """What the encoder makes of a fixed clip; also the proof that it returns what it declares.

    Raises: FeatureError.
    """
    frames = encode(fixed_clip(encoder.input))
    wanted = (encoder.layers, encoder.dim)
    if frames.ndim != 3 or not len(frames) or frames.shape[1:] != wanted or not np.all(np.isfinite(frames)):
        raise FeatureError(
            f"The encoder {encoder.name} does not return finite frames of {wanted[0]} layers of {wanted[1]}.",
            value=frames.shape,
            remedy="Declare what it returns.",
        )
    return frames
