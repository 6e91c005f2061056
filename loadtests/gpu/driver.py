"""The GPU through its driver alone, which is there whatever CUDA runtime the packages bring: name, memory, copies."""

import ctypes
import re
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LIBRARY = "libcuda.so.1"
VERSION_FILE = Path("/proc/driver/nvidia/version")
NAME_BYTES = 256
POLL_S = 0.02
WARM_COPIES = 2


class NoGpuError(Exception):
    """There is no GPU that this process can use; the message says what is missing."""


@dataclass(frozen=True)
class Copied:
    """A copy within a device's memory. Attributes: bytes_s: bytes read and written, a second."""

    bytes_s: float

    def ms_for(self, read_bytes: int) -> float:
        """Milliseconds in which as many bytes are moved."""
        return 1e3 * read_bytes / self.bytes_s


class Cpu:
    """The machine's own memory, measured as a GPU's is."""

    name = "the machine's own memory"

    def free_bytes(self) -> int:
        """Memory that may still be taken."""
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
        if found is None:
            raise OSError("/proc/meminfo does not tell MemAvailable")
        return 1024 * int(found.group(1))

    @contextmanager
    def room_for_copies(self, size: int) -> Iterator["CpuCopy"]:
        """Two pieces of memory of so many bytes."""
        yield CpuCopy(size)

    @contextmanager
    def watched(self, peak: list[float]) -> Iterator[None]:
        """Append the most bytes that this process or one of those that it started had, at the end of the block."""
        yield
        both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        peak.append(1024 * max(resource.getrusage(which).ru_maxrss for which in both))


class CpuCopy:
    """Two arrays. Args: size: bytes of each."""

    def __init__(self, size: int) -> None:
        self._from, self._to = np.ones(size, np.uint8), np.ones(size, np.uint8)

    def measure(self) -> Copied:
        """Copy the one onto the other."""
        begun = time.perf_counter()
        np.copyto(self._to, self._from)
        return Copied(2 * len(self._to) / (time.perf_counter() - begun))


class Gpu:
    """The first NVIDIA GPU.

    Raises: NoGpuError: there is no driver, or no GPU.
    """

    def __init__(self) -> None:
        try:
            self._cuda = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise NoGpuError(f"there is no NVIDIA driver here: {error}") from error
        self._do("cuInit", 0)
        device, context, version = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_int()
        self._do("cuDeviceGet", ctypes.byref(device), 0)
        self._do("cuDriverGetVersion", ctypes.byref(version))
        name = ctypes.create_string_buffer(NAME_BYTES)
        self._do("cuDeviceGetName", name, NAME_BYTES, device)
        # the context that CUDA's runtimes use, too
        self._do("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._context = context
        self.name = name.value.decode()
        self.cuda_version = f"{version.value // 1000}.{version.value % 1000 // 10}"

    @property
    def driver_version(self) -> str:
        """The driver's own number; that of CUDA where the kernel does not tell."""
        with suppress(OSError):
            found = re.search(r"Kernel Module(?: for \S+)?\s+(\S+)", VERSION_FILE.read_text(encoding="ascii"))
            if found:
                return found.group(1)
        return f"for CUDA {self.cuda_version}"

    def free_bytes(self) -> int:
        """Memory of the device that nobody has."""
        return self._memory()[0]

    @contextmanager
    def room_for_copies(self, size: int) -> Iterator["GpuCopy"]:
        """Two pieces of the device's memory of so many bytes."""
        self._do("cuCtxSetCurrent", self._context)
        pieces: list[ctypes.c_uint64] = []
        try:
            for _ in range(2):
                piece = ctypes.c_uint64()
                self._do("cuMemAlloc_v2", ctypes.byref(piece), ctypes.c_size_t(size))
                pieces.append(piece)
            yield GpuCopy(self, pieces[0], pieces[1], size)
        finally:
            for piece in pieces:
                self._do("cuMemFree_v2", piece)

    def copy(self, to: ctypes.c_uint64, source: ctypes.c_uint64, size: int) -> None:
        """Copy within the device, and wait for it."""
        self._do("cuCtxSetCurrent", self._context)
        self._do("cuMemcpyDtoD_v2", to, source, ctypes.c_size_t(size))
        self._do("cuCtxSynchronize")

    @contextmanager
    def watched(self, peak: list[float]) -> Iterator[None]:
        """Append the most bytes of the device that anybody took during the block, beyond what was taken before."""
        before, lowest, is_over = self.free_bytes(), [self.free_bytes()], threading.Event()

        def watch() -> None:
            while not is_over.wait(POLL_S):
                lowest[0] = min(lowest[0], self.free_bytes())

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
            peak.append(float(before - lowest[0]))

    def _memory(self) -> tuple[int, int]:
        self._do("cuCtxSetCurrent", self._context)  # of the calling thread
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._do("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def _do(self, name: str, *arguments: object) -> None:
        status = getattr(self._cuda, name)(*arguments)
        if status:
            text = ctypes.c_char_p()
            self._cuda.cuGetErrorString(status, ctypes.byref(text))
            raise NoGpuError(f"{name}: {(text.value or b'unknown error').decode()} ({status})")


class GpuCopy:
    """Two pieces of a GPU's memory. Args: size: bytes of each."""

    def __init__(self, gpu: Gpu, to: ctypes.c_uint64, source: ctypes.c_uint64, size: int) -> None:
        self._gpu, self._to, self._source, self._size = gpu, to, source, size
        for _ in range(WARM_COPIES):
            gpu.copy(to, source, size)

    def measure(self) -> Copied:
        """Copy the one onto the other."""
        begun = time.perf_counter()
        self._gpu.copy(self._to, self._source, self._size)
        return Copied(2 * self._size / (time.perf_counter() - begun))


Device = Gpu | Cpu


def open_device(is_cuda: bool) -> Device:
    """What is measured.

    Raises: NoGpuError: it is a GPU, and there is none.
    """
    return Gpu() if is_cuda else Cpu()
