"""The settings of named numbers: none, because a model's own ranges limit them."""

from pydantic import BaseModel, ConfigDict


class TabularSettings(BaseModel):
    """Nothing to choose."""

    model_config = ConfigDict(frozen=True, extra="forbid")
