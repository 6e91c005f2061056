"""Samples without a header, I and Q in turn, as GNU Radio's file sink and rtl_sdr write them."""

from typing import Final

from matchka.modalities.iq.formats.recording import LengthLimits, Recording, pairs_in, recording_of

CF32: Final = "<f4"
CI16: Final = "<i2"
CU8: Final = "|u1"


def read_cf32(data: bytes, length: LengthLimits) -> Recording:
    """Little-endian float32.

    Raises:
        SampleLengthError: no whole number of samples.
        RecordingTooShortError, RecordingTooLongError: see LengthLimits.
    """
    return recording_of(pairs_in(data, CF32, "cf32"), length)


def read_ci16(data: bytes, length: LengthLimits) -> Recording:
    """Little-endian signed integers of 16 bits.

    Raises:
        SampleLengthError: no whole number of samples.
        RecordingTooShortError, RecordingTooLongError: see LengthLimits.
    """
    return recording_of(pairs_in(data, CI16, "ci16"), length)


def read_cu8(data: bytes, length: LengthLimits) -> Recording:
    """Unsigned integers of 8 bits, zero between 127 and 128: what rtl_sdr writes.

    Raises:
        SampleLengthError: no whole number of samples.
        RecordingTooShortError, RecordingTooLongError: see LengthLimits.
    """
    return recording_of(pairs_in(data, CU8, "cu8"), length)
