"""The settings of audio: MATCHKA_AUDIO__ + the name in capitals."""

from pydantic import BaseModel, ConfigDict, Field

from matchka.modalities.audio.decoding import AudioLimits


class AudioSettings(BaseModel):
    """How long clips may and must be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_s: float = Field(60.0, gt=0, allow_inf_nan=False, description="Longest clip.")
    min_speech_s: float = Field(0.5, ge=0.02, allow_inf_nan=False, description="Least audible material of a clip.")

    @property
    def clip_limits(self) -> AudioLimits:
        """As decoding takes them."""
        return AudioLimits(max_duration_s=self.max_s, min_speech_s=self.min_speech_s)
