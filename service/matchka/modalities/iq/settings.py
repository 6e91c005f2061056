"""The settings of radio recordings: MATCHKA_IQ__ + the name in capitals."""

from pydantic import BaseModel, ConfigDict, Field


class IqSettings(BaseModel):
    """Which recordings are taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_samples: int = Field(4_000_000, ge=1, description="Longest recording, complex samples.")
    max_clipped: float = Field(0.01, ge=0, le=1, description="Largest share of samples at full scale.")
