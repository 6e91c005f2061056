"""What every answer is."""

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """Base of every answer; a field that only a newer service has is left out.

    Scores are None to a key without the scope `scores`: similarities, thresholds, probabilities, log-likelihood ratios.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
