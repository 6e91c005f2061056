"""A clip as a whole: decoded and levelled on the way the service takes, and not cut into windows."""

from typing import Final

import numpy as np

from matchka.errors import MatchkaError
from matchka.modalities.audio.decoding import AudioLimits, read_clip
from matchka.modalities.audio.level import level_gain
from matchka.vectors import FloatArray
from matchka_train.backbones.frames.encoder import ClipInput
from matchka_train.datasets.content import read_hashed
from matchka_train.datasets.file_bytes import read_file
from matchka_train.datasets.sample import Sample
from matchka_train.modalities.audio import AUDIO, NOISE_LEVEL
from matchka_train.modalities.clip_limits import ClipLimits
from matchka_train.modalities.skipped import Skipped

COPIES: Final = AUDIO.copies  # how two clips that hold the same are found


def read_whole_clip(
    sample: Sample, spec: ClipInput, limits: ClipLimits, sha256: str | None = None
) -> FloatArray | Skipped:
    """Read one sample.

    Args:
        sample: a clip or a part of one.
        spec: rate and level.
        limits: which clips are taken.
        sha256: that its bytes must have; None takes any.

    Returns: float32, (samples,), at the rate and level of `spec`, or why there is none.
    """
    try:
        data = read_file(sample.path) if sha256 is None else read_hashed(sample.path, sha256)
        clip = read_clip(data, spec.sample_rate_hz, AudioLimits(limits.max_duration_s, limits.min_speech_s))
    except (MatchkaError, OSError) as error:
        return Skipped(str(sample.path), sample.part, str(error))
    piece = clip[sample.within(clip.size)]
    levelled: FloatArray = piece * level_gain(piece, spec.level_dbfs)
    return levelled


def fixed_clip(spec: ClipInput) -> FloatArray:
    """A clip that never changes; caches know an encoder by what it makes of it.

    Returns: float32, (samples,), a second of noise about as loud as speech.
    """
    noise = np.random.default_rng(0).standard_normal(spec.sample_rate_hz)
    return noise.astype(np.float32) * np.float32(NOISE_LEVEL)
