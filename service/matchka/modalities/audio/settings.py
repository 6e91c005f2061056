"""The settings of audio: MATCHKA_AUDIO__ + the name in capitals."""

from pydantic import BaseModel, ConfigDict, Field, field_validator

from matchka.modalities.audio.decoders.table import EXTRA_FORMATS
from matchka.modalities.audio.decoding import AudioLimits
from matchka.modalities.extra_formats import check_names


class AudioSettings(BaseModel):
    """How long clips may and must be, and of which formats."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_s: float = Field(60.0, gt=0, allow_inf_nan=False, description="Longest clip.")
    min_speech_s: float = Field(0.5, ge=0.02, allow_inf_nan=False, description="Least audible material of a clip.")

    formats: tuple[str, ...] = Field(
        (), description="Further formats that are read, of webm and mp4; they need the extra matchka[formats]."
    )

    @field_validator("formats", mode="before")
    @classmethod
    def _check_formats(cls, value: object) -> tuple[str, ...]:
        return check_names(value, EXTRA_FORMATS)

    @property
    def clip_limits(self) -> AudioLimits:
        """As decoding takes them."""
        return AudioLimits(self.max_s, self.min_speech_s, self.formats)
