"""What a graph for audio takes."""

from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
from pydantic import Field, model_validator

from matchka.modalities.audio.example import speech_like
from matchka.modalities.audio.level import level_gain
from matchka.modalities.audio.speech_activity import SAMPLE_RATE_HZ as SPEECH_RATE_HZ
from matchka.modalities.modality import AuxiliaryGraphs, GraphInput, InputArray, InputSpec
from matchka.vectors import FloatArray

SPEECH_GRAPH_NAME: Final = "speech.onnx"
EXAMPLE_S: Final = 4  # a phrase of six words


class AudioInputSpec(InputSpec):
    """What a bundle's graph takes: windows of one length, cut from a clip of one rate and level, or whole clips.

    Attributes:
        sample_rate_hz: rate the clip is resampled to.
        window_samples: samples of one window, the graph's second axis; None where the graph takes whole clips.
        hop_samples: distance between the starts of two windows; None with whole clips.
        context_samples: samples before a window's first frame centre that belong to it (zeros at the clip's start); of
            whole clips, zeros before and behind each.
        level_dbfs: quieter clips are raised to this RMS level; louder ones stay.
    """

    kind: Literal["audio"] = "audio"
    sample_rate_hz: int = Field(gt=0)
    window_samples: int | None = Field(gt=0)
    hop_samples: int | None = Field(gt=0)
    context_samples: int = Field(ge=0)
    level_dbfs: float = Field(le=0)

    @model_validator(mode="after")
    def _covers_the_clip(self) -> "AudioInputSpec":
        if self.window_samples is None or self.hop_samples is None:
            if self.window_samples != self.hop_samples:
                raise ValueError("hop_samples belongs to windows: both are null where the graph takes whole clips")
        elif self.hop_samples > self.window_samples - 2 * self.context_samples:
            raise ValueError("hop_samples must not pass window_samples - 2 * context_samples: speech would be skipped")
        return self

    def graph_input(self) -> GraphInput:
        """Windows: float32, (batch, window_samples); or clips, (batch, samples)."""
        return GraphInput("clips" if self.window_samples is None else "windows", (self.window_samples,), "float32")

    def example(self, rows: int, seed: int) -> FloatArray:
        """Consecutive windows of made speech; the clip ends in the last one, and zeros follow. Whole clips: of 4 s."""
        length = self.window_samples or EXAMPLE_S * self.sample_rate_hz
        windows = np.zeros((rows, length), np.float32)
        clip = speech_like(windows.size - length // 3, self.sample_rate_hz, seed)
        windows.flat[: clip.size] = clip * level_gain(clip, self.level_dbfs)
        return windows

    def content(self) -> dict[str, Any]:
        """Its fields, but for `kind`."""
        return self.model_dump(exclude={"kind"})

    def duration_s(self, rows: InputArray) -> float:
        """Of the clip, up to one hop more where it was cut into windows."""
        samples: int = rows.shape[1] + (len(rows) - 1) * (self.hop_samples or 0) - 2 * self.context_samples
        return samples / self.sample_rate_hz

    @property
    def verification(self) -> str:
        """The field's name for it."""
        return "speaker verification"

    def auxiliary_graphs(self) -> Mapping[str, AuxiliaryGraphs]:
        """The detector of speech, which knows one sample rate."""
        if self.sample_rate_hz != SPEECH_RATE_HZ:
            return {}
        return {"speech_activity": AuxiliaryGraphs("silero", (SPEECH_GRAPH_NAME,), required=False)}
