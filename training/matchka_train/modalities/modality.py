"""How the samples of a data set become rows of a backbone's input: windows of clips, or chips of pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from matchka.modalities.audio.decoding import AudioLimits
from matchka_train.backbones.backbone import Backbone
from matchka_train.datasets.sample import Sample
from matchka_train.modalities import audio, face
from matchka_train.modalities.augmentation import View
from matchka_train.modalities.skipped import Skipped

Rows: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.uint8]


class SampleReader(Protocol):
    """Reads one file at a time."""

    def rows(self, sample: Sample, sha256: str, /) -> Rows | Skipped:
        """The rows of one sample, (rows, ...), at least one, or why there are none.

        Args:
            sample: a file or a part of one.
            sha256: of the file's bytes; fixes the random choices of a view.
        """
        ...


@dataclass(frozen=True)
class TrainingModality:
    """What training has to know of one kind of input.

    Attributes:
        open_reader: see open_reader; its first argument is the backbone's input, of the kind's own class.
        describe: see describe_reader; its first argument likewise.
    """

    open_reader: Callable[[Any, Backbone, AudioLimits, View | None], SampleReader]
    describe: Callable[[Any, Backbone, AudioLimits], dict[str, object]]


# by the kind of a manifest's `input`
TRAINING_MODALITIES: Final[Mapping[str, TrainingModality]] = {
    "audio": TrainingModality(audio.open_reader, audio.describe_reader),
    "image": TrainingModality(face.open_reader, face.describe_reader),
}


def open_reader(backbone: Backbone, limits: AudioLimits, view: View | None) -> SampleReader:
    """The reader for a backbone's kind of input.

    Args:
        backbone: says what it takes.
        limits: of clips.
        view: how each sample is changed first; None takes it as it is.

    Raises:
        FeatureError: the kind has no views, or the backbone lacks a part that reading needs.
        DownloadError, ChecksumError: the detector cannot be opened.
    """
    return TRAINING_MODALITIES[backbone.input.kind].open_reader(backbone.input, backbone, limits, view)


def describe_reader(backbone: Backbone, limits: AudioLimits) -> dict[str, object]:
    """All that a sample's rows depend on beside its bytes and its view, for the key of the feature cache."""
    return TRAINING_MODALITIES[backbone.input.kind].describe(backbone.input, backbone, limits)


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Rows of several samples of one kind, one behind the other."""
    untyped: list[npt.NDArray[Any]] = list(parts)
    joined: Rows = np.concatenate(untyped)
    return joined
