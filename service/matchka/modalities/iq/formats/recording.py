"""What every format of recordings becomes."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from matchka.modalities.iq.errors import RecordingTooLongError, RecordingTooShortError, SampleLengthError

FINEST_BITS: Final = 24  # of float32: integers of more bits are told apart no further


@dataclass(frozen=True)
class LengthLimits:
    """Complex samples that a recording may have. Attributes: least, most: both included."""

    least: int
    most: int

    def require(self, samples: int) -> None:
        """Refuse another length; readers ask before they convert what takes several times the file's memory.

        Raises: RecordingTooShortError, RecordingTooLongError: by which it is beyond.
        """
        if samples < self.least:
            raise RecordingTooShortError(
                f"The recording must have at least {self.least} complex samples.",
                value=samples,
                remedy="Record for longer.",
            )
        if samples > self.most:
            raise RecordingTooLongError(
                f"The recording may have at most {self.most} complex samples.",
                value=samples,
                remedy="Send a part of it: windows spread over the whole are all that is used.",
            )


@dataclass(frozen=True)
class Recording:
    """Complex samples, as the file has them.

    Attributes:
        samples: complex64, (n,); of integers divided by their full scale. Unsigned ones lie about the middle of their
            range, as receivers mean them: 127.5 of 8 bits, for which there is no number.
        top: from which magnitude of I or Q on a sample lies at full scale; of floating-point numbers, that of 16-bit
            integers, which receivers' programs divide by 32768: the largest is one step below 1.
    """

    samples: npt.NDArray[np.complex64]
    top: float = 1.0 - 2.0**-15


def recording_of(parts: npt.NDArray[np.floating] | npt.NDArray[np.integer], length: LengthLimits) -> Recording:
    """A recording of I and Q: numbers of any type and byte order, (n, 2).

    Values of float64 that float32 cannot hold become infinite, and are refused as such later.

    Raises: RecordingTooShortError, RecordingTooLongError: n is beyond the limits.

    >>> recording_of(np.array([[-128, 64]], np.int8), LengthLimits(1, 128))
    Recording(samples=array([-1.+0.5j], dtype=complex64), top=0.9921875)
    """
    length.require(len(parts))
    with np.errstate(over="ignore", invalid="ignore"):  # signalling NaN is invalid to convert
        pairs = np.ascontiguousarray(parts, np.float32)
    if not np.issubdtype(parts.dtype, np.integer):
        return Recording(pairs.reshape(-1).view(np.complex64))
    bits = 8 * parts.dtype.itemsize
    if np.issubdtype(parts.dtype, np.unsignedinteger):
        pairs *= np.float32(2 / (2**bits - 1))
        pairs -= 1
        return Recording(pairs.reshape(-1).view(np.complex64), 1.0 - 2.0**-bits)
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
