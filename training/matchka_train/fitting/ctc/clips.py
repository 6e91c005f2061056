"""Batches of whole clips, of about one length each: little is padded, and every epoch puts other clips together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.utils.rnn import pad_sequence

from matchka_train.datasets.transcripts import Transcript
from matchka_train.errors import FeatureError
from matchka_train.features.frames import FrameFeatures

LENGTH_JITTER: Final = 0.1  # lengths count with up to so much more or less when clips are put together
MOST_EXTRA_FRAMES: Final = 1  # by which encoders may differ at a clip's end: front ends round in their own ways


@dataclass(frozen=True)
class SpokenClips:
    """Clips with their frames of one or more encoders, and what is read in them.

    Attributes:
        encoded: of each encoder.
        counts: int64, (clips,), frames of each clip that all encoders have.
        transcripts: of each clip.
        subjects: who reads each clip.
    """

    encoded: tuple[FrameFeatures, ...]
    counts: npt.NDArray[np.int64]
    transcripts: tuple[Transcript, ...]
    subjects: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.transcripts)

    def select(self, numbers: Sequence[int]) -> "SpokenClips":
        """Only some of the clips, in this order."""
        return SpokenClips(
            tuple(features.select(numbers) for features in self.encoded),
            self.counts[list(numbers)],
            tuple(self.transcripts[number] for number in numbers),
            tuple(self.subjects[number] for number in numbers),
        )


@dataclass(frozen=True)
class SpokenBatch:
    """A few clips, padded with zeros to the length of the longest.

    Attributes:
        encoded: of each encoder, float32, (n, frames, layers, dim).
        lengths: int64, (n,), frames of each clip.
        phones: int64, (all phones,), of one clip behind the other's.
        phone_counts: int64, (n,).
    """

    encoded: tuple[torch.Tensor, ...]
    lengths: torch.Tensor
    phones: torch.Tensor
    phone_counts: torch.Tensor


def spoken_clips(
    encoded: Sequence[FrameFeatures], transcripts: Sequence[Transcript], subjects: Sequence[str]
) -> SpokenClips:
    """Put the frames of several encoders and the transcripts of the same clips together; unreadable clips are left out.

    Raises: FeatureError: the encoders do not give a clip the same number of frames, so their periods differ.
    """
    counts = np.stack([features.counts for features in encoded])
    readable = np.flatnonzero((counts > 0).all(axis=0)).tolist()
    apart = np.ptp(counts[:, readable], axis=0)
    if readable and apart.max() > MOST_EXTRA_FRAMES:
        raise FeatureError(
            "The encoders do not have the same frames.",
            value=counts[:, readable[int(apart.argmax())]].tolist(),
            remedy="Fuse encoders of one frame period (mel_frames of ge2e and log_mel).",
        )
    whole = SpokenClips(tuple(encoded), counts.min(axis=0), tuple(transcripts), tuple(subjects))
    return whole.select(readable)


def read_batch(clips: SpokenClips, numbers: Sequence[int]) -> SpokenBatch:
    """Read the frames of some of the clips."""
    lengths = clips.counts[list(numbers)]
    parts = [
        pad_sequence(
            [torch.from_numpy(features.read(number)[: clips.counts[number]]).float() for number in numbers], True
        )
        for features in clips.encoded
    ]
    phones = [clips.transcripts[number].phones for number in numbers]
    return SpokenBatch(
        tuple(parts),
        torch.from_numpy(lengths),
        torch.tensor([phone for clip in phones for phone in clip]),
        torch.tensor([len(clip) for clip in phones]),
    )


def batches_by_length(
    counts: npt.NDArray[np.int64], batch_clips: int, generator: np.random.Generator | None = None
) -> Iterator[list[int]]:
    """Deal clips into batches of about one length.

    Args:
        counts: frames of each clip.
        batch_clips: clips of a batch; the last may have fewer.
        generator: draws who comes together, and the order of the batches; None goes from short to long.

    >>> list(batches_by_length(np.array([5, 1, 4, 2]), 2))
    [[1, 3], [2, 0]]
    """
    if generator is None:
        order = np.argsort(counts, kind="stable")
    else:
        order = np.argsort(counts * generator.uniform(1 - LENGTH_JITTER, 1 + LENGTH_JITTER, len(counts)))
    starts = np.arange(0, len(order), batch_clips)
    for start in starts if generator is None else generator.permutation(starts):
        yield order[start : start + batch_clips].tolist()
