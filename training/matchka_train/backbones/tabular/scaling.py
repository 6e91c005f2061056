"""Named numbers between their own units and their places in their ranges, inside a graph."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from matchka.modalities.tabular.spec import TabularField


class FieldScaling(nn.Module):
    """Places of numbers in their ranges: 0 at the least, 1 at the most, even by differences or, on a log scale, ratios.

    Args: fields: the numbers, in the order of the columns.
    """

    start: Tensor
    width: Tensor
    is_log: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, fields: Sequence[TabularField]) -> None:
        super().__init__()
        low, high = (np.array([getattr(field, end) for field in fields]) for end in ("low", "high"))
        is_log = np.array([field.scale == "log" for field in fields])
        start, end = (np.where(is_log, np.log(np.where(is_log, edge, 1.0)), edge) for edge in (low, high))
        self.register_buffer("start", torch.tensor(start, dtype=torch.float32))
        self.register_buffer("width", torch.tensor(end - start, dtype=torch.float32))
        self.register_buffer("is_log", torch.tensor(is_log))
        self.register_buffer("low", torch.tensor(low, dtype=torch.float32))
        self.register_buffer("high", torch.tensor(high, dtype=torch.float32))

    def forward(self, values: Tensor) -> Tensor:
        """Float32, (n, fields), in the fields' units -> places, (n, fields)."""
        scaled = torch.where(self.is_log, torch.log(values), values)  # NaN only where it is not taken
        return (scaled - self.start) / self.width

    def values(self, places: Tensor) -> Tensor:
        """Places, (n, fields) -> values in the fields' units; places outside 0 to 1 count as the nearer end."""
        scaled = self.start + places.clamp(0.0, 1.0) * self.width
        values = torch.where(self.is_log, torch.exp(torch.where(self.is_log, scaled, 0.0)), scaled)
        return torch.minimum(torch.maximum(values, self.low), self.high)  # the exponential rounds
