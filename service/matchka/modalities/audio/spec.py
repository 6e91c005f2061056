"""What a graph for audio takes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AudioInput:
    """What a bundle's graph takes: windows of one length, cut from a clip of one rate and level.

    Attributes:
        sample_rate_hz: rate the clip is resampled to.
        window_samples: samples of one window, the graph's second axis.
        hop_samples: distance between the starts of two windows.
        context_samples: samples before a window's first frame centre that belong to it (zeros at the clip's start).
        level_dbfs: quieter clips are raised to this RMS level; louder ones stay.
    """

    sample_rate_hz: int
    window_samples: int
    hop_samples: int
    context_samples: int
    level_dbfs: float
