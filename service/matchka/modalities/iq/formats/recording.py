"""What every format of recordings becomes."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from matchka.modalities.iq.errors import SampleLengthError

FINEST_BITS: Final = 24  # of float32: integers of more bits are told apart no further


@dataclass(frozen=True)
class Recording:
    """Complex samples, as the file has them.

    Attributes:
        samples: complex64, (n,); of integers divided by their full scale.
        top: from which magnitude of I or Q on a sample lies at full scale; of floating-point numbers, that of 16-bit
            integers, which receivers' programs divide by 32768: the largest is one step below 1.
    """

    samples: npt.NDArray[np.complex64]
    top: float = 1.0 - 2.0**-15


def recording_of(parts: npt.NDArray[np.floating] | npt.NDArray[np.signedinteger]) -> Recording:
    """A recording of I and Q: numbers of any type and byte order, (n, 2).

    Values of float64 that float32 cannot hold become infinite, and are refused as such later.

    >>> recording_of(np.array([[-128, 64]], np.int8))
    Recording(samples=array([-1.+0.5j], dtype=complex64), top=0.9921875)
    """
    with np.errstate(over="ignore", invalid="ignore"):  # signalling NaN is invalid to convert
        pairs = np.ascontiguousarray(parts, np.float32)
    if not np.issubdtype(parts.dtype, np.integer):
        return Recording(pairs.reshape(-1).view(np.complex64))
    bits = 8 * parts.dtype.itemsize
    pairs *= np.float32(2.0 ** (1 - bits))
    return Recording(pairs.reshape(-1).view(np.complex64), 1.0 - 2.0 ** (1 - min(bits, FINEST_BITS)))


def pairs_in(data: bytes | memoryview, dtype: str, what: str) -> npt.NDArray[np.floating]:
    """Numbers of I and Q in turn: (n, 2), not copied.

    Args:
        data: nothing but samples.
        dtype: of one number, as numpy writes it, with its byte order.
        what: the type's name, in words for the caller.

    Raises: SampleLengthError: they are no whole number of samples.
    """
    sample_bytes = 2 * np.dtype(dtype).itemsize
    if len(data) % sample_bytes:
        raise SampleLengthError(
            f"Samples of {what} take {sample_bytes} bytes each, and the file has no whole number of them.",
            value=f"{len(data)} bytes",
            remedy="Send the whole file, and name its own data type.",
        )
    found: npt.NDArray[np.floating] = np.frombuffer(data, dtype).reshape(-1, 2)
    return found
