"""A clip -> the windows of waveform that a graph takes, or the one row of a whole clip."""

import numpy as np

from matchka.modalities.audio.level import level_gain
from matchka.modalities.audio.spec import AudioInputSpec
from matchka.vectors import FloatArray


def split_windows(samples: FloatArray, spec: AudioInputSpec) -> FloatArray:
    """Raise the level of a clip and cut it into the windows the graph takes.

    Frames see their true neighbours at a window's edges and zeros only beyond the clip, so the windows of a clip give
    the same spectra as one pass over the whole clip.

    Args:
        samples: float32, (samples,), at spec.sample_rate_hz, at least one sample.
        spec: the bundle's input.

    Returns: float32, (windows, spec.window_samples), windows >= 1; a copy. For a graph that takes whole clips,
        (1, samples + 2 * spec.context_samples).

    Source: the window rule is that of Wan et al. 2018, arXiv:1710.10467, as its public GE2E implementation applies it.
    """
    if spec.window_samples is None or spec.hop_samples is None:
        return np.pad(samples * level_gain(samples, spec.level_dbfs), spec.context_samples)[None]
    useful = spec.window_samples - 2 * spec.context_samples  # samples a window adds beyond its context
    # windows until the clip's end is covered; on real speech, leaving out a last window that is mostly zeros costs
    # accuracy (docs/decisions/030)
    count = 1 + max(0, -(-(samples.size - useful) // spec.hop_samples))
    length = spec.window_samples + (count - 1) * spec.hop_samples
    padded = np.zeros(length, np.float32)
    kept = samples[: length - spec.context_samples]
    np.multiply(
        kept, level_gain(samples, spec.level_dbfs), out=padded[spec.context_samples : spec.context_samples + kept.size]
    )
    views = np.lib.stride_tricks.sliding_window_view(padded, spec.window_samples)
    return np.ascontiguousarray(views[:: spec.hop_samples])
