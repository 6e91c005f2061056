"""What was seen of a recording beside its windows."""

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class RecordingFinding:
    """A recording as it came.

    Attributes:
        windows: that were used.
        samples: complex samples of the whole recording.
        power_dbfs: mean power of all samples; 0 dB is that of a complex tone at full scale, which is 1.0 where samples
            are floating-point numbers.
    """

    windows: int
    samples: int
    power_dbfs: float
    listed_as: ClassVar[None] = None

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {"windows": self.windows, "samples": self.samples, "power_dbfs": self.power_dbfs}

    def measured(self) -> dict[str, float]:
        """Nothing: what rates depend on, the graph estimates."""
        return {}

    def is_same(self, _other: "RecordingFinding") -> bool:
        """Always: a file is one recording."""
        return True

    def likeness(self, _other: "RecordingFinding") -> float:
        """1."""
        return 1.0
