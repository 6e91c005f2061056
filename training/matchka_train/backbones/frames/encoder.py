"""What every frame encoder offers: a whole clip -> layers of frames at a stated period."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import numpy as np

from matchka.vectors import FloatArray
from matchka_train.strict_model import StrictModel
from matchka_train.weights.source import WeightSource

if TYPE_CHECKING:
    import torch  # takes seconds, and whoever only names an encoder needs none of it

EncodeClip: TypeAlias = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class ClipInput:
    """How a clip is read before an encoder takes it whole.

    Attributes:
        sample_rate_hz: rate the clip is resampled to.
        level_dbfs: quieter clips are raised to this RMS level; louder ones stay.
    """

    sample_rate_hz: int = 16_000
    level_dbfs: float = -30.0


CLIP_INPUT: Final = ClipInput()


class FrameEncoder(Protocol):
    """A frozen front end or network that makes frames of a whole clip.

    Attributes:
        name: short name.
        source: where its weights came from.
        input: how a clip is read.
        layers: how many of its layers are kept.
        dim: components of one frame of one layer.
        frame_period_s: from one frame to the next; encoders are fused where it is the same.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - described above
    @property
    def source(self) -> WeightSource: ...  # noqa: D102
    @property
    def input(self) -> ClipInput: ...  # noqa: D102
    @property
    def layers(self) -> int: ...  # noqa: D102
    @property
    def dim(self) -> int: ...  # noqa: D102
    @property
    def frame_period_s(self) -> float: ...  # noqa: D102

    def open(self) -> EncodeClip:
        """A function of one clip: float32, (samples,) -> float32, (frames, layers, dim), frames >= 1.

        Raises: ChecksumError, DownloadError, FeatureError: its weights, or what reads them, are not there.
        """
        ...


class GraphFrameEncoder(FrameEncoder, Protocol):
    """A frame encoder that is a network and nothing else, so that an exported graph can hold it."""

    def module(self) -> "torch.nn.Module":
        """The frozen network: waveforms, (n, samples) -> float32, (n, frames, layers, dim); no gradient, eval mode."""
        ...


class FrameEncoderRecipe(StrictModel):
    """The base of every frame encoder's recipe: one class for each kind."""

    kind: str

    @abstractmethod
    def open(self) -> FrameEncoder:
        """The encoder; its weights are read when it is opened.

        Raises: ChecksumError, FeatureError, WeightsAbsentError: weights brought along are not there, or not whole.
        """


def encode_with(module: "torch.nn.Module") -> EncodeClip:
    """A module of waveforms as a function of one clip."""
    import torch

    def encode(clip: FloatArray) -> FloatArray:
        with torch.inference_mode():
            frames: FloatArray = module(torch.from_numpy(np.ascontiguousarray(clip))[None])[0].numpy()
        return frames

    return encode
