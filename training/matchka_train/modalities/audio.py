"""A sample's file -> the waveform windows a backbone takes, on the way the service takes too."""

from dataclasses import asdict, dataclass

import numpy as np

from matchka.errors import MatchkaError
from matchka.modalities.audio.decoding import AudioLimits, read_clip
from matchka.modalities.audio.spec import AudioInputSpec
from matchka.modalities.audio.windows import split_windows
from matchka.vectors import FloatArray
from matchka_train.backbones.backbone import Backbone
from matchka_train.datasets.sample import Sample
from matchka_train.modalities.augmentation import View
from matchka_train.modalities.skipped import Skipped


@dataclass(frozen=True)
class ClipReader:
    """How clips are read.

    Attributes:
        input: rate, windows and level of the backbone.
        limits: longest clip and least audible material.
        view: how each clip is changed first; None takes it as it is.
    """

    input: AudioInputSpec
    limits: AudioLimits
    view: View | None

    def rows(self, sample: Sample, clip_sha256: str) -> FloatArray | Skipped:
        """Read one sample.

        Args:
            sample: a clip or a part of one.
            clip_sha256: of the clip's bytes; fixes the random choices of the view.

        Returns: float32, (windows, window_samples), or why there are none.
        """
        try:
            clip = read_clip(sample.path.read_bytes(), self.input.sample_rate_hz, self.limits)
        except (MatchkaError, OSError) as error:
            return Skipped(str(sample.path), sample.part, str(error))
        edges = np.linspace(0, clip.size, sample.parts + 1).astype(np.int64)
        piece = clip[edges[sample.part] : edges[sample.part + 1]]
        if self.view is not None:
            piece = self.view.apply(piece, self.input.sample_rate_hz, clip_sha256, sample.part)
        return split_windows(piece, self.input)


def open_reader(spec: AudioInputSpec, _backbone: Backbone, limits: AudioLimits, view: View | None) -> ClipReader:
    """See matchka_train.modalities.modality.open_reader."""
    return ClipReader(spec, limits, view)


def describe_reader(spec: AudioInputSpec, _backbone: Backbone, limits: AudioLimits) -> dict[str, object]:
    """See matchka_train.modalities.modality.describe_reader."""
    return {"input": spec.content(), "limits": asdict(limits)}
