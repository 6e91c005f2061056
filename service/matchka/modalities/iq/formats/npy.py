"""NumPy's file of one array, read without NumPy's own reader: it may unpickle, and allocates what a header says."""

import ast
import re
from typing import Final

import numpy as np

from matchka.errors import TruncatedFileError
from matchka.modalities.iq.errors import RecordingHeaderError, SampleLengthError, UnsupportedSampleTypeError
from matchka.modalities.iq.formats.recording import LengthLimits, Recording, recording_of

MAGIC: Final = b"\x93NUMPY"
LENGTH_BYTES: Final = {(1, 0): 2, (2, 0): 4, (3, 0): 4}  # of the header's length, by version
LONGEST_HEADER: Final = 512  # NumPy's own are below 128 for such arrays; no number of it is too long to be printed
NEVER_WRITTEN: Final = re.compile(r"\\|[0-9][A-Za-z_]")  # literals that Python's parser may warn about on stderr
KEYS: Final = {"descr", "fortran_order", "shape"}
COMPLEX: Final = {f"{order}{kind}" for order in "<>" for kind in ("c8", "c16")}
REAL: Final = {f"{order}{kind}" for order in "<>" for kind in ("f4", "f8", "i2", "i4")} | {"|i1"}


def read_npy(data: bytes, length: LengthLimits) -> Recording:
    """complex64 or complex128, (n,), or float32, float64, int8, int16 or int32, (n, 2); of any byte order.

    Raises:
        RecordingHeaderError: the header is none that NumPy writes.
        UnsupportedSampleTypeError: an array of another type or shape.
        TruncatedFileError, SampleLengthError: fewer or more bytes than the header says.
        RecordingTooShortError, RecordingTooLongError: see LengthLimits.
    """
    descr, is_fortran, shape, start = _header(data)
    if not (descr in COMPLEX and len(shape) == 1) and not (descr in REAL and len(shape) == 2 and shape[1] == 2):
        raise UnsupportedSampleTypeError(
            "The array must be complex64 or complex128 of the shape (n,), or float32, float64, int8, int16 or int32 of "
            "the shape (n, 2).",
            value=f"dtype {descr}, shape {shape}",
            remedy="Save one recording as numpy.save(file, samples.astype(numpy.complex64)).",
        )
    dtype = np.dtype(descr)
    _require_bytes(len(data) - start, dtype.itemsize * shape[0] * (shape[1] if len(shape) == 2 else 1))
    numbers = np.frombuffer(data, dtype, offset=start)  # nothing is allocated for what a header says
    if descr in COMPLEX:
        half = dtype.str.replace(f"c{dtype.itemsize}", f"f{dtype.itemsize // 2}")
        return recording_of(numbers.view(half).reshape(-1, 2), length)
    return recording_of(numbers.reshape(shape, order="F" if is_fortran else "C"), length)


def _header(data: bytes) -> tuple[str, bool, tuple[int, ...], int]:
    """Type, order and shape as stated, and where the numbers begin."""
    version = (data[6], data[7]) if len(data) > 7 else (0, 0)
    if version not in LENGTH_BYTES:
        raise _bad_header(f"version {version[0]}.{version[1]}")
    start = 8 + LENGTH_BYTES[version]
    length = int.from_bytes(data[8:start], "little")
    if length > LONGEST_HEADER:
        raise _bad_header(f"a header of {length} bytes")
    if len(data) < start + length:
        raise TruncatedFileError("The file ends within its header.", value=len(data), remedy="Send the whole file.")
    text = data[start : start + length].decode("latin-1").strip()
    if NEVER_WRITTEN.search(text):
        raise _bad_header("a backslash, or a number with a letter behind it")
    try:
        found = ast.literal_eval(text)  # names, brackets and numbers only: nothing is called
    except (ValueError, SyntaxError, TypeError, OverflowError, MemoryError, RecursionError) as error:
        raise _bad_header("no literal of Python") from error  # its own words hold addresses of the process
    if not isinstance(found, dict) or found.keys() != KEYS:
        raise _bad_header("no dictionary of descr, fortran_order and shape")
    descr, is_fortran, shape = found["descr"], found["fortran_order"], found["shape"]
    if not isinstance(is_fortran, bool) or not isinstance(shape, tuple):
        raise _bad_header(f"fortran_order {is_fortran!r}, shape {shape!r}")
    if not all(isinstance(axis, int) and not isinstance(axis, bool) and axis >= 0 for axis in shape):
        raise _bad_header(f"shape {shape}")
    return str(descr), is_fortran, shape, start + length


def _require_bytes(found: int, stated: int) -> None:
    if found < stated:
        raise TruncatedFileError(
            "The file ends before its own header says.",
            value=f"{found} of {stated} bytes of samples",
            remedy="Send the whole file; check the upload.",
        )
    if found > stated:
        raise SampleLengthError(
            f"The header announces {stated} bytes of samples, and more follow.",
            value=found,
            remedy="Save the array again with numpy.save.",
        )


def _bad_header(what: object) -> RecordingHeaderError:
    return RecordingHeaderError(
        "The header is none of NumPy's files.", value=what, remedy="Save the samples again with numpy.save."
    )
