"""A graph at work: the protocol every caller uses, and ONNX Runtime behind it."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import numpy as np
import onnxruntime

from matchka.errors import BundleError, NonFiniteEmbeddingError, OutOfMemoryError
from matchka.modalities.modality import InputArray, InputDtype
from matchka.runtime.cuda import driver_problem, is_out_of_memory
from matchka.vectors import FloatArray

LOGGER: Final = logging.getLogger("matchka.inference.session")
CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
FLOAT32: Final = "tensor(float)"
# TF32 multiplies with 10 bits, and thresholds are stated for 32-bit numbers; an exhaustive choice of algorithms would
# be made anew for each size of a batch, while its requests wait
CUDA_OPTIONS: Final = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
TENSOR_TYPES: Final[dict[InputDtype, str]] = {"float32": FLOAT32, "uint8": "tensor(uint8)"}


NamedArrays: TypeAlias = dict[str, FloatArray]
Shape: TypeAlias = tuple[int | None, ...]  # of an array, behind its batch axis; None for an axis of any length


class Session(Protocol):
    """Runs rows of a graph's input (windows, chips); what its outputs mean is for tasks to know."""

    @property
    def outputs(self) -> Mapping[str, Shape]:
        """What the graph returns of a row, by name."""
        ...

    def run(self, rows: InputArray) -> NamedArrays:
        """Run a batch: (n, ...) -> by the name of the output, float32, (n, *shape), finite. Safe to call from threads.

        What a row gives does not depend on the others. Rows of one batch are of one length.

        Raises:
            NonFiniteEmbeddingError: the graph returned NaN or infinity.
            MemoryError: there is none for so many rows, or for one by itself.
        """
        ...


def choose_providers(use_gpu: bool, available: Sequence[str]) -> list[str]:
    """What runs a graph, by preference: CUDA only where it is wanted and there.

    >>> choose_providers(True, ["CPUExecutionProvider"])
    ['CPUExecutionProvider']
    """
    return [CUDA, CPU] if use_gpu and CUDA in available else [CPU]


def open_ort_session(
    graph_path: Path, threads: int, use_gpu: bool = False, any_length: bool = False, spins: bool = False
) -> onnxruntime.InferenceSession:
    """Open a graph in ONNX Runtime, on CPU or, where it is wanted and there, on the GPU.

    Without a GPU that ONNX Runtime can use, a line in the log says so and the CPU is used.

    Args:
        graph_path: the file.
        threads: threads of one run; 0 lets ONNX Runtime take one per core.
        use_gpu: run on the GPU if possible.
        any_length: rows of many lengths come. ONNX Runtime would keep a plan of its memory for each, for ever.
        spins: the threads of a run wait for each other awake: sooner done, for runs that nothing else goes on beside.

    Raises:
        BundleError: the file is no graph.
        OutOfMemoryError: there is no memory for it.
    """
    options = onnxruntime.SessionOptions()
    options.enable_mem_pattern = not any_length
    options.intra_op_num_threads = threads
    # Spinning threads would take the cores from decoding, and from each other where several small graphs take turns;
    # where they are wanted they stop with the run.
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spins)))
    options.add_session_config_entry("session.force_spinning_stop", str(int(spins)))
    options.log_severity_level = 3
    missing = _missing_for_gpu() if use_gpu else None
    providers = choose_providers(use_gpu and missing is None, onnxruntime.get_available_providers())
    if CUDA in providers:
        onnxruntime.preload_dlls()  # the CUDA libraries that pip installed, which no loader path names
    given = [(name, CUDA_OPTIONS if name == CUDA else {}) for name in providers]
    try:
        session = onnxruntime.InferenceSession(str(graph_path), options, providers=given)
    except Exception as error:  # ONNX Runtime's own classes derive from Exception alone; nothing is swallowed
        if is_out_of_memory(error):
            raise OutOfMemoryError(
                f"There is no memory for {graph_path}.",
                value=error,
                remedy="End what else uses the memory of the machine or its GPU, or set MATCHKA_DEVICE=cpu.",
            ) from error
        raise BundleError(
            f"{graph_path} is not a graph ONNX Runtime can load.",
            value=error,
            remedy="Build the bundle again with `matchka-export defaults`.",
        ) from error
    # ONNX Runtime falls back by itself, and silently, where a library is missing
    if use_gpu and CUDA not in session.get_providers():
        reason = missing or "CUDA did not start; what ONNX Runtime wrote says why"
        LOGGER.warning("ONNX Runtime has no GPU for %s (%s); it runs on the CPU.", graph_path, reason)
    return session


def _missing_for_gpu() -> str | None:
    """What ONNX Runtime lacks for a GPU; None where nothing is known to."""
    if CUDA not in onnxruntime.get_available_providers():
        return "install matchka[gpu] or matchka[cuda]"
    return driver_problem(int(onnxruntime.cuda_version.partition(".")[0]))


class OrtSession:
    """ONNX Runtime on CPU or GPU.

    Args:
        graph_path: the bundle's graph.
        input_name: the name the graph must give its input.
        input_shape: its axes behind the batch axis.
        outputs: what the graph must return of a row, by name; nothing else.
        threads: threads of one run; 0 lets ONNX Runtime take one per core.
        input_dtype: type of its input's numbers.
        use_gpu: run on the GPU if possible; the log says if not.
        spins: see open_ort_session.

    Raises: BundleError: the file is no graph, or its inputs or outputs are others.
    """

    def __init__(
        self,
        graph_path: Path,
        input_name: str,
        input_shape: Shape,
        outputs: Mapping[str, Shape],
        threads: int = 0,
        input_dtype: InputDtype = "float32",
        use_gpu: bool = False,
        spins: bool = False,
    ) -> None:
        self._session = open_ort_session(graph_path, threads, use_gpu, any_length=None in input_shape, spins=spins)
        self._input_name = input_name
        self._input_dtype = np.dtype(input_dtype)
        self._outputs = dict(outputs)
        self._names = list(outputs)
        self._require_signature(graph_path, input_name, input_shape, TENSOR_TYPES[input_dtype])

    @property
    def outputs(self) -> Mapping[str, Shape]:
        """What the graph returns of a row, by name."""
        return self._outputs

    def run(self, rows: InputArray) -> NamedArrays:
        """Run a batch, in halves where there is no memory for all of it; see Session.run."""
        try:
            return self._run_at_once(rows)
        except MemoryError:
            if len(rows) == 1:
                raise
            LOGGER.warning("no memory for a run of %d rows; it is run in halves", len(rows))
        half = len(rows) // 2
        parts = [self.run(rows[:half]), self.run(rows[half:])]
        return {name: np.concatenate([part[name] for part in parts]) for name in self._names}

    def _run_at_once(self, rows: InputArray) -> NamedArrays:
        given = {self._input_name: np.ascontiguousarray(rows, self._input_dtype)}
        try:
            found = self._session.run(self._names, given)
        except Exception as error:  # ONNX Runtime's own classes derive from Exception alone; nothing is swallowed
            if is_out_of_memory(error):
                raise MemoryError(f"ONNX Runtime has no memory for {len(rows)} row(s).") from error
            raise
        if not all(np.isfinite(array).all() for array in found):
            raise NonFiniteEmbeddingError(
                "The model returned NaN or infinity for this sample.", remedy="Send another sample."
            )
        return dict(zip(self._names, found, strict=True))

    def _require_signature(self, graph_path: Path, input_name: str, input_shape: Shape, tensor_type: str) -> None:
        inputs = [(i.name, i.type, _axes(i.shape), isinstance(i.shape[0], str)) for i in self._session.get_inputs()]
        outputs = {o.name: (o.type, _axes(o.shape)) for o in self._session.get_outputs()}
        wanted = {name: (FLOAT32, shape) for name, shape in self._outputs.items()}
        if inputs != [(input_name, tensor_type, input_shape, True)] or outputs != wanted:
            returned = " and ".join(f"{name} of {_batch_of(shape)}" for name, shape in self._outputs.items())
            raise BundleError(
                f"{graph_path} must take {self._input_dtype} {input_name} of {_batch_of(input_shape)} "
                f"and return float32 {returned}.",
                value={"inputs": inputs, "outputs": outputs},
                remedy="Build the bundle again with `matchka-export defaults`.",
            )


def _axes(shape: Sequence[int | str | None]) -> Shape:
    """Behind the batch axis; ONNX Runtime names an axis of any length, or leaves it out."""
    return tuple(axis if isinstance(axis, int) else None for axis in shape[1:])


def _batch_of(shape: Shape) -> str:
    return f"({', '.join(['batch', *('any' if axis is None else str(axis) for axis in shape)])})"
