"""Which clips training takes."""

from pydantic import Field

from matchka_train.strict_model import StrictModel


class ClipLimits(StrictModel):
    """Which clips are taken.

    Attributes:
        max_duration_s: longer clips are skipped.
        min_speech_s: clips with less audible material are skipped.
    """

    max_duration_s: float = Field(default=600.0, gt=0)
    min_speech_s: float = Field(default=0.2, ge=0)
