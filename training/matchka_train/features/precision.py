"""Which parts of a network stay in 32 bits where the rest is computed in half precision."""

import functools
from collections.abc import Callable
from typing import Any, Final

import torch

from matchka_train.features.compute import Device

# how errors of torch and CUDA's libraries, and nothing else of theirs, say that memory was lacking
NO_MEMORY: Final = ("out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")

# whose numbers are learned without being parameters
LEARNED: Final = (torch.nn.modules.batchnorm._BatchNorm, torch.nn.modules.instancenorm._InstanceNorm)


def keep_front_ends_exact(module: torch.nn.Module, device_type: str = Device.CUDA.value) -> None:
    """Compute all that has fixed numbers and nothing learned in 32 bits, under autocast too.

    Those are front ends: a power spectrum of 16-bit samples reaches 1e12, and half precision ends at 65,504.

    Args:
        module: changed in place; it is not to be exported.
        device_type: of autocast.
    """
    for part in module.modules():
        has_numbers = any(buffer.is_floating_point() for buffer in part.buffers())
        if has_numbers and next(part.parameters(), None) is None and not isinstance(part, LEARNED):
            part.forward = _in_32_bits(part.forward, device_type)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that the GPU's memory was lacking; of its libraries it has no class of its own."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in NO_MEMORY)


def _in_32_bits(forward: Callable[..., Any], device_type: str) -> Callable[..., Any]:
    @functools.wraps(forward)
    def exact(*given: Any, **named: Any) -> Any:
        with torch.autocast(device_type, enabled=False):
            return forward(*map(_widened, given), **{name: _widened(one) for name, one in named.items()})

    return exact


def _widened(given: Any) -> Any:
    return given.float() if torch.is_tensor(given) and given.is_floating_point() else given
