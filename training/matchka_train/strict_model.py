"""The base of everything that a recipe or measurements hold."""

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """A validated value that cannot change and refuses keys it does not have."""

    model_config = ConfigDict(frozen=True, extra="forbid")
