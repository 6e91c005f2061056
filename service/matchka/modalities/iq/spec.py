"""What a graph for radio samples takes."""

from typing import Any, Final, Literal

from pydantic import Field, model_validator

from matchka.modalities.iq.example import signal_like
from matchka.modalities.iq.windows import windows_of
from matchka.modalities.modality import GraphInput, InputSpec
from matchka.vectors import FloatArray

MOST_SAMPLES: Final = 1 << 22


class IqInputSpec(InputSpec):
    """What a bundle's graph takes: windows of one length, each scaled to unit mean power.

    A window is 2 x window_samples numbers, I and then Q. The sample rate is not stated: what is told apart are
    waveforms relative to it, so a recording has to have about as many samples per symbol as those of training.

    Attributes:
        window_samples: complex samples of one window.
        hop_samples: distance between the starts of two windows.
        max_windows: most windows of one recording; of a longer one as many, spread evenly over it. All of them together
            hold at most MOST_SAMPLES, whose rows take 32 MiB.
    """

    kind: Literal["iq"] = "iq"
    window_samples: int = Field(ge=16, le=65_536)
    hop_samples: int = Field(gt=0)
    max_windows: int = Field(gt=0, le=1024)  # as many rows as wait for a graph by default

    @model_validator(mode="after")
    def _fits_in_memory(self) -> "IqInputSpec":
        if self.window_samples * self.max_windows > MOST_SAMPLES:
            raise ValueError(f"window_samples * max_windows must be at most {MOST_SAMPLES}")
        return self

    def graph_input(self) -> GraphInput:
        """Windows: float32, (batch, 2, window_samples)."""
        return GraphInput("windows", (2, self.window_samples), "float32")

    def example(self, rows: int, seed: int) -> FloatArray:
        """Windows of one made signal, side by side."""
        samples = signal_like(rows * self.window_samples, seed)
        return windows_of(samples, self.window_samples, self.window_samples, rows)

    def content(self) -> dict[str, Any]:
        """Its fields, but for `kind`."""
        return self.model_dump(exclude={"kind"})
