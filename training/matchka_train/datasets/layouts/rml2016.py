"""RML2016.10a's file: a pickled dictionary of arrays, read without running anything that it may hold."""

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from matchka.vectors import FloatArray
from matchka_train.errors import WeightsFileError

ARRAY_PARTS: Final = {  # all that a pickled array of numbers is made of, in every version of numpy and of Python
    *((module, "_reconstruct") for module in ("numpy.core.multiarray", "numpy._core.multiarray")),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}
WINDOW_AXES: Final = (2, 128)


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ARRAY_PARTS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def read_rml2016(path: Path) -> dict[tuple[str, int], FloatArray]:
    """Read the file of those who have it.

    Its stated SNR is not comparable with that of made recordings: there it is of a whole transmission.

    Args: path: RML2016.10a_dict.pkl, unpacked.

    Returns: (modulation, SNR in dB) -> float32, (windows, 2, 128), I and then Q, as they are in the file.

    Raises: WeightsFileError: the file holds anything but arrays of that shape, or cannot be read.
    """
    try:
        # the file was written by Python 2, whose strings of bytes are those of this encoding
        content = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except (OSError, EOFError, ValueError, TypeError, AttributeError, IndexError, pickle.UnpicklingError) as error:
        raise _refused(path, error) from error
    if not isinstance(content, Mapping) or not content:
        raise _refused(path, "no dictionary")
    return {_key(path, key): _windows(path, value) for key, value in content.items()}


def _key(path: Path, key: object) -> tuple[str, int]:
    match key:
        case (str(modulation), int(snr_db)):
            return modulation, snr_db
    raise _refused(path, f"the key {key!r}")


def _windows(path: Path, value: object) -> FloatArray:
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.shape[1:] != WINDOW_AXES:
        raise _refused(path, f"an entry that is no array of windows of {WINDOW_AXES}")
    windows: npt.NDArray[np.float32] = value.astype(np.float32)
    if not np.isfinite(windows).all():
        raise _refused(path, "numbers that are not finite")
    return windows


def _refused(path: Path, problem: object) -> WeightsFileError:
    return WeightsFileError(
        f"{path} is not a dictionary of arrays of windows by modulation and SNR.",
        value=problem,
        remedy="Unpack RML2016.10a, and take the file RML2016.10a_dict.pkl as it was published.",
    )
