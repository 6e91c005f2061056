"""A tiny backbone that takes its time, in a module that other processes can import."""

import time
from dataclasses import dataclass, field

import torch

from tests.factories.tiny_backbone import TinyBackbone


@dataclass(frozen=True)
class SlowBackbone(TinyBackbone):
    """Sleeps before each batch, and remembers how many rows each had, in the process that opened it."""

    delay_s: float = 0.1
    seen: list[int] = field(default_factory=list)

    def module(self) -> torch.nn.Module:
        network = super().module()
        self.seen.clear()
        network.register_forward_hook(lambda _module, inputs, _output: self._took(len(inputs[0])))
        return network

    def _took(self, rows: int) -> None:
        self.seen.append(rows)
        time.sleep(self.delay_s)
