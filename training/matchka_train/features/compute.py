"""What features are computed with: how many processes, and which device."""

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import torch

from matchka_train.errors import DeviceError


class Device(StrEnum):
    """Where the frozen network runs; `auto` is the GPU where there is one."""

    CPU = "cpu"
    CUDA = "cuda"
    AUTO = "auto"


@dataclass(frozen=True)
class Compute:
    """What features are computed with.

    Attributes:
        workers: most processes that decode and embed, each with one thread; 1 is the calling process itself.
        device: cpu or cuda. On cuda products are in half precision, so those features are kept apart.
    """

    workers: int = 1
    device: Device = Device.CPU

    def describe(self) -> dict[str, object]:
        """All that features depend on, for the key of the cache; nothing on a CPU, however many processes there are."""
        return {} if self.device == Device.CPU else {"precision": "cuda float16, front ends in 32 bits"}


ONE_PROCESS: Final = Compute()


def compute_of(workers: int | None, device: Device) -> Compute:
    """What a command asks for.

    Args:
        workers: processes; None is one for each core that this process may use.
        device: cpu, cuda or auto.

    Raises: DeviceError: torch sees no GPU, and one is asked for.
    """
    has_gpu = torch.cuda.is_available()
    if device == Device.CUDA and not has_gpu:
        raise DeviceError(
            "torch finds no GPU that it can use.",
            value=f"torch {torch.__version__}, built for CUDA {torch.version.cuda or 'no version'}",
            remedy="Install torch for CUDA and a driver that is new enough for it, or give --device cpu.",
        )
    chosen = Device.CUDA if device != Device.CPU and has_gpu else Device.CPU
    return Compute(workers or available_cores(), chosen)


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
