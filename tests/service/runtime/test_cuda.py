"""The driver's answers as ctypes hands them over, and the messages that mean a lack of memory."""

from typing import Any

import pytest

from matchka.runtime.cuda import driver_problem, is_out_of_memory


class Driver:
    """A driver that knows CUDA up to a version, and whose start gives a status."""

    def __init__(self, version: int, started: int = 0, gpus: int = 1) -> None:
        self._version, self._started, self._gpus = version, started, gpus

    def cuDriverGetVersion(self, found: Any) -> int:  # noqa: N802 - the driver's names
        found._obj.value = self._version
        return 0

    def cuInit(self, flags: int) -> int:  # noqa: N802
        assert flags == 0
        return self._started

    def cuDeviceGetCount(self, found: Any) -> int:  # noqa: N802
        found._obj.value = self._gpus
        return 0

    def cuGetErrorString(self, status: int, text: Any) -> int:  # noqa: N802
        text._obj.value = {802: b"system not yet initialized"}.get(status)
        return 0


@pytest.mark.parametrize(
    ("driver", "cuda", "said"),
    [
        (Driver(13000), 13, None),
        (Driver(13010), 12, None),
        (Driver(12000), 12, None),
        (Driver(12080), 13, "knows CUDA up to 12.8, and CUDA 13 needs driver 580 or later"),
        (Driver(11040), 12, "knows CUDA up to 11.4, and CUDA 12 needs driver 525 or later"),
        (Driver(13000, started=802), 13, "system not yet initialized (802); see nvidia-smi"),
        (Driver(13000, started=999), 13, "unknown error (999); see nvidia-smi"),
        (Driver(13000, gpus=0), 13, "sees no GPU"),
    ],
)
def test_problem_of_a_driver_is_that_it_is_too_old_or_does_not_start(driver: Driver, cuda: int, said: str | None):
    found = driver_problem(cuda, lambda _: driver)
    assert found is None if said is None else said in str(found)


def test_problem_of_a_machine_without_a_driver_is_that_there_is_none():
    def absent(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    assert "there is no NVIDIA driver" in str(driver_problem(13, absent))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Failed to allocate memory for requested buffer of size 8", True),
        ("Available memory of 5 is smaller than requested bytes of 8", True),
        ("StandardGpuResources: alloc fail type FlatData (cudaMalloc error out of memory [2])", True),
        ("CUDNN failure 4005: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", True),
        ("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED", True),
        ("CUDA failure 700: an illegal memory access was encountered", False),
        ("Got invalid dimensions for input: windows", False),
    ],
)
def test_errors_that_say_memory_is_lacking_are_told_from_others(said: str, expected: bool):
    assert is_out_of_memory(RuntimeError(said)) is expected
