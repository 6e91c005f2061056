"""How a recipe names made recordings: seeds instead of files."""

from typing import Annotated, Literal

from pydantic import Field

from matchka_train.datasets.generator.recordings import Split
from matchka_train.strict_model import StrictModel


class GeneratorRecipe(StrictModel):
    """Recordings of waveforms, the same for the same values.

    Attributes:
        seed: of all draws.
        split: what they are for; draws of two splits share nothing, whatever their seeds' numbers.
        number: of a draw within the split, where several data sets are of one.
        waveforms: those that networks are trained on, or those of other symbol rates: `between` to choose by,
            `held_out` to measure what was chosen.
        recordings_each: of each waveform.
        snrs_db: each of a waveform's recordings has the next of these.
        windows: length of a recording, in windows of 128 samples.
    """

    seed: int = Field(default=0, ge=0)
    split: Split
    number: int = Field(default=0, ge=0)
    waveforms: Literal["trained", "between", "held_out"] = "trained"
    recordings_each: int = Field(default=20, ge=2)
    snrs_db: tuple[Annotated[float, Field(ge=-40, le=60)], ...] = Field(min_length=1)
    windows: int = Field(default=8, ge=1, le=4096)
