"""How the samples of a data set become rows of a backbone's input: windows of clips, or chips of pictures."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from matchka.modalities.audio.decoding import AudioLimits
from matchka.modalities.audio.spec import AudioInputSpec
from matchka.modalities.face.spec import ImageInputSpec
from matchka_train.backbones.backbone import Backbone
from matchka_train.datasets.sample import Sample
from matchka_train.errors import FeatureError
from matchka_train.modalities.audio import ClipReader
from matchka_train.modalities.augmentation import View
from matchka_train.modalities.face import ChipReader
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


def open_reader(backbone: Backbone, limits: AudioLimits, view: View | None) -> SampleReader:
    """The reader for a backbone's kind of input.

    Args:
        backbone: says what it takes.
        limits: of clips.
        view: how each clip is changed first; None takes it as it is.

    Raises:
        FeatureError: pictures have no views, or nothing finds their faces.
        DownloadError, ChecksumError: the detector cannot be opened.
    """
    if isinstance(backbone.input, AudioInputSpec):
        return ClipReader(backbone.input, limits, view)
    if view is not None:
        raise FeatureError("Pictures have no changed copies.", remedy="Set augmentation.views to 0.")
    if backbone.detector is None or not isinstance(backbone.input, ImageInputSpec):
        raise FeatureError(
            f"The backbone {backbone.name} takes faces and names no detector.", remedy="Give it one, such as Mtcnn."
        )
    return ChipReader(backbone.input, backbone.detector)


def describe_reader(backbone: Backbone, limits: AudioLimits) -> dict[str, object]:
    """All that a sample's rows depend on beside its bytes and its view, for the key of the feature cache."""
    if isinstance(backbone.input, AudioInputSpec) or backbone.detector is None:
        return {"input": backbone.input.content(), "limits": asdict(limits)}
    return {"input": backbone.input.content(), "detector": backbone.detector.sha256}


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Rows of several samples of one kind, one behind the other."""
    untyped: list[npt.NDArray[Any]] = list(parts)
    joined: Rows = np.concatenate(untyped)
    return joined
