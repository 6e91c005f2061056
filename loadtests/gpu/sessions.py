"""Sessions of ONNX Runtime on the device that is measured, and what its errors mean."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
NO_MEMORY = ("allocate", "bad_alloc", "out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED", "smaller than requested")
SERVED = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}  # what the service gives CUDA


class NoCudaError(Exception):
    """ONNX Runtime does not run on the GPU; the message says why as far as it can be known."""


def open_session(
    graph: Path | bytes, provider: str, options: Mapping[str, str] | None = None, is_optimised: bool = True
) -> onnxruntime.InferenceSession:
    """A session on one provider; on CUDA, what CUDA cannot run is on the CPU.

    Raises: NoCudaError: CUDA did not start. ONNX Runtime alone would go on, on the CPU.
    """
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    level = onnxruntime.GraphOptimizationLevel
    settings.graph_optimization_level = level.ORT_ENABLE_ALL if is_optimised else level.ORT_DISABLE_ALL
    if provider == CPU:
        return onnxruntime.InferenceSession(graph, settings, providers=[CPU])
    if CUDA not in onnxruntime.get_available_providers():
        raise NoCudaError("this is ONNX Runtime for CPUs: install matchka[gpu] or matchka[cuda]")
    onnxruntime.preload_dlls()
    session = onnxruntime.InferenceSession(graph, settings, providers=[(CUDA, dict(options or {})), CPU])
    if CUDA not in session.get_providers():
        raise NoCudaError("CUDA did not start: the driver is too old for it, or a library is missing (see above)")
    return session


def bound_run(session: onnxruntime.InferenceSession, device: str, given: Mapping[str, Any]) -> "BoundRun":
    """A run whose inputs and outputs lie on the device. Args: given: input -> array."""
    return BoundRun(session, device, given)


class BoundRun:
    """Runs with memory of the device that is bound once; the input is sent anew for each."""

    def __init__(self, session: onnxruntime.InferenceSession, device: str, given: Mapping[str, Any]) -> None:
        self._session, self._given = session, dict(given)
        self._values = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(array.copy(), device, 0) for name, array in given.items()
        }
        self._binding = session.io_binding()
        for name, value in self._values.items():
            self._binding.bind_ortvalue_input(name, value)
        for output in session.get_outputs():
            self._binding.bind_output(output.name, device)

    def run(self) -> list[Any]:
        """Send, run, fetch."""
        for name, array in self._given.items():
            self._values[name].update_inplace(array)
        self._session.run_with_iobinding(self._binding)
        found: list[Any] = self._binding.copy_outputs_to_cpu()
        return found


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of ONNX Runtime or FAISS says that memory was lacking."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY)


def device_word(is_cuda: bool) -> str:
    """The device in ONNX Runtime's words."""
    return "cuda" if is_cuda else "cpu"
