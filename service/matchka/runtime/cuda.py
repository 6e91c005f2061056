"""NVIDIA's driver, asked before libraries that end the process where it fails; and how lack of memory is told."""

import ctypes
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

LIBRARY: Final = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
LEAST_DRIVERS: Final[Mapping[int, str]] = MappingProxyType({12: "525", 13: "580"})  # by the major version of CUDA
# how the messages of ONNX Runtime, FAISS and CUDA's libraries, and nothing else of their errors, say so
NO_MEMORY: Final = (
    "Failed to allocate memory",
    "smaller than requested bytes",
    "std::bad_alloc",
    "out of memory",
    "ALLOC_FAILED",
    "ALLOCATION_FAILED",  # cuDNN 9
)


def driver_problem(cuda: int, open_library: Callable[[str], Any] = ctypes.CDLL) -> str | None:
    """Why nothing that is built for a version of CUDA can run here; None where it may.

    FAISS ends the process where the driver answers with an error (one that is half installed, a GPU that is not ready);
    ONNX Runtime prints a page and goes on, on the CPU.

    Args:
        cuda: its major version.
        open_library: opens the driver's library by its name.
    """
    try:
        driver = open_library(LIBRARY)
    except OSError as error:
        return f"there is no NVIDIA driver: {error}"
    known, gpus = ctypes.c_int(), ctypes.c_int()
    problem = _failed(driver, driver.cuDriverGetVersion(ctypes.byref(known)))
    if problem is None and known.value < 1000 * cuda:
        least = LEAST_DRIVERS.get(cuda, "a later one")
        version = f"{known.value // 1000}.{known.value % 1000 // 10}"
        return f"the NVIDIA driver knows CUDA up to {version}, and CUDA {cuda} needs driver {least} or later"
    problem = (
        problem or _failed(driver, driver.cuInit(0)) or _failed(driver, driver.cuDeviceGetCount(ctypes.byref(gpus)))
    )
    return problem if problem or gpus.value else "the NVIDIA driver sees no GPU; see CUDA_VISIBLE_DEVICES"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was lacking: the libraries have no class of their own for it.

    >>> is_out_of_memory(RuntimeError("CUDA failure 2: out of memory")), is_out_of_memory(RuntimeError("bad shape"))
    (True, False)
    """
    return isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY)


def _failed(driver: Any, status: int) -> str | None:
    """What a status of the driver's says; None of success."""
    if status == 0:
        return None
    text = ctypes.c_char_p()
    driver.cuGetErrorString(status, ctypes.byref(text))
    return f"the NVIDIA driver says: {(text.value or b'unknown error').decode()} ({status}); see nvidia-smi"
