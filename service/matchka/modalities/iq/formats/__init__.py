"""Formats of recordings: the table, and how a file's own is found where the caller names none."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from matchka.modalities.iq.errors import NotRecordingError
from matchka.modalities.iq.formats.npy import MAGIC as NPY_MAGIC
from matchka.modalities.iq.formats.npy import read_npy
from matchka.modalities.iq.formats.raw import read_cf32, read_ci16, read_cu8
from matchka.modalities.iq.formats.recording import LengthLimits, Recording
from matchka.modalities.iq.formats.sigmf import is_archive, read_sigmf
from matchka.modalities.iq.formats.wav import is_wav, read_wav

SampleFormat: TypeAlias = Literal["npy", "cf32", "ci16", "cu8", "wav", "sigmf"]


@dataclass(frozen=True)
class _Format:
    """How one is read. Attributes: is_one: whether bytes begin like it; None of bare samples, which show nothing."""

    read: Callable[[bytes, LengthLimits], Recording]
    is_one: Callable[[bytes], bool] | None = None


FORMATS: Final[Mapping[SampleFormat, _Format]] = MappingProxyType(
    {
        "npy": _Format(read_npy, lambda data: data.startswith(NPY_MAGIC)),
        "cf32": _Format(read_cf32),
        "ci16": _Format(read_ci16),
        "cu8": _Format(read_cu8),
        "wav": _Format(read_wav, is_wav),
        "sigmf": _Format(read_sigmf, is_archive),
    }
)
BARE: Final = tuple(name for name, known in FORMATS.items() if known.is_one is None)


def read_recording(data: bytes, sample_format: SampleFormat | None, length: LengthLimits) -> Recording:
    """Read a recording by the format that the caller named, or by the one that the file shows itself.

    Args:
        data: the whole file, at least one byte.
        sample_format: bare samples (BARE) are read where they are named only.
        length: of a recording that is read.

    Raises:
        NotRecordingError: the file shows no format, or another than the one named.
        MatchkaError: see the reader of each.
    """
    shown = next((name for name, known in FORMATS.items() if known.is_one and known.is_one(data)), None)
    chosen = sample_format or shown
    if chosen is None:
        raise NotRecordingError(
            "The file shows none of the formats npy, wav and sigmf.",
            value=data[:8].hex(" "),
            remedy="If it holds bare samples, say which in the field sample_format: "
            f"{', '.join(BARE[:-1])} or {BARE[-1]}.",
        )
    if shown != chosen and not (chosen in BARE and shown is None):
        raise NotRecordingError(
            f"sample_format says {chosen}, and the file begins like {shown or 'no such file'}.",
            value=data[:8].hex(" "),
            remedy="Leave sample_format out for npy, wav and sigmf, or name what the file holds.",
        )
    return FORMATS[chosen].read(data, length)
