"""A sample's file -> the waveform windows a backbone takes, on the way the service takes too."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from matchka.errors import MatchkaError
from matchka.modalities.audio.decoding import AudioLimits, read_clip
from matchka.modalities.audio.spec import AudioInputSpec
from matchka.modalities.audio.windows import split_windows
from matchka.vectors import FloatArray
from matchka_train.backbones.auxiliary import ExportablePart
from matchka_train.backbones.backbone import Backbone
from matchka_train.backbones.speaker.recipes import Ge2eRecipe, RedimnetRecipe, SpeechTransformerRecipe
from matchka_train.backbones.speaker.silero import Silero
from matchka_train.datasets.sample import Sample
from matchka_train.modalities.audio_fingerprint import SAMPLE_RATE_HZ, Words, copies_among, fingerprint
from matchka_train.modalities.augmentation import View
from matchka_train.modalities.clip_limits import ClipLimits
from matchka_train.modalities.copies import CopyFinder
from matchka_train.modalities.modality import TrainingModality
from matchka_train.modalities.skipped import Skipped

ARRAY_SUFFIXES: Final = (".npy", ".npz", ".pt", ".ark")
ANY_CLIP: Final = AudioLimits(max_duration_s=86_400.0, min_speech_s=0.0)  # where only its fingerprint is taken
NOISE_LEVEL: Final = 0.03  # standard deviation of noise about as loud as speech after levelling


@dataclass(frozen=True)
class ClipReader:
    """How clips are read.

    Attributes:
        input: rate, windows and level of the backbone.
        limits: which of them are taken.
        view: how each clip is changed first; None takes it as it is.
    """

    input: AudioInputSpec
    limits: ClipLimits
    view: View | None

    def rows(self, data: bytes, sample: Sample, clip_sha256: str) -> FloatArray | Skipped:
        """Decode one sample.

        Args:
            data: the clip's bytes.
            sample: a clip or a part of one.
            clip_sha256: of these bytes; fixes the random choices of the view.

        Returns: float32, (windows, window_samples), or why there are none.
        """
        limits = AudioLimits(self.limits.max_duration_s, self.limits.min_speech_s)
        try:
            clip = read_clip(data, self.input.sample_rate_hz, limits)
        except MatchkaError as error:
            return Skipped(str(sample.path), sample.part, str(error))
        piece = clip[sample.within(clip.size)]
        if self.view is not None:
            piece = self.view.apply(piece, self.input.sample_rate_hz, clip_sha256, sample.part)
        return split_windows(piece, self.input)


def _open_reader(spec: AudioInputSpec, _backbone: Backbone, limits: ClipLimits, view: View | None) -> ClipReader:
    return ClipReader(spec, limits, view)


def _describe(spec: AudioInputSpec, _backbone: Backbone, limits: ClipLimits) -> dict[str, object]:
    return {"input": spec.content(), "limits": limits.model_dump()}


def _extras(spec: AudioInputSpec, downloads: Path) -> tuple[ExportablePart, ...]:
    """The detector of speech, where the input has its sample rate; others refuse silence, but no other sound."""
    return (Silero(downloads),) if Silero.name in spec.auxiliary_graphs() else ()


def _noise(spec: AudioInputSpec) -> FloatArray:
    noise = np.random.default_rng(0).standard_normal((2, *spec.graph_input().fixed_shape))
    return noise.astype(np.float32) * np.float32(NOISE_LEVEL)


def _fingerprint(data: bytes) -> Words:
    return fingerprint(read_clip(data, SAMPLE_RATE_HZ, ANY_CLIP))


AUDIO: Final = TrainingModality(
    spec=AudioInputSpec,
    limits=ClipLimits,
    backbones=(Ge2eRecipe, RedimnetRecipe, SpeechTransformerRecipe),
    open_reader=_open_reader,
    describe=_describe,
    extras=_extras,
    fixed_rows=_noise,
    array_suffixes=ARRAY_SUFFIXES,
    copies=CopyFinder("sound-1", _fingerprint, copies_among),
)
