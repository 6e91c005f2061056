"""SigMF archives: a tar of one recording's metadata and samples. No path is ever taken from the metadata.

Source: SigMF 1.2, https://sigmf.org.
"""

import hashlib
import json
from typing import Any, Final

from matchka.modalities.iq.errors import (
    RecordingHeaderError,
    Sha512MismatchError,
    UnsupportedSampleTypeError,
)
from matchka.modalities.iq.formats.recording import LengthLimits, Recording, pairs_in, recording_of
from matchka.modalities.iq.formats.tar import files_in, is_tar

META: Final = ".sigmf-meta"
DATA: Final = ".sigmf-data"
LONGEST_META: Final = 1 << 20  # bytes; years of annotations
DATATYPES: Final = {
    "cf32_le": "<f4",
    "cf32_be": ">f4",
    "cf64_le": "<f8",
    "cf64_be": ">f8",
    "ci32_le": "<i4",
    "ci32_be": ">i4",
    "ci16_le": "<i2",
    "ci16_be": ">i2",
    "ci8": "|i1",
    "cu8": "|u1",
}
ELSEWHERE: Final = ("core:dataset", "core:metadata_only")  # of the samples, that they are not in the archive
FOREIGN_BYTES: Final = ("core:header_bytes", "core:trailing_bytes")  # among the samples, but none

is_archive = is_tar


def read_sigmf(data: bytes, length: LengthLimits) -> Recording:
    """The one recording of an archive, of one channel.

    Raises:
        UnsafeArchiveError, TruncatedFileError: see files_in.
        RecordingHeaderError: not one recording, or metadata that are none or contradict it.
        UnsupportedSampleTypeError: a datatype that is no complex number of a kind that is read, or several channels.
        Sha512MismatchError, SampleLengthError: the samples are not those described.
        RecordingTooShortError, RecordingTooLongError: see LengthLimits.
    """
    meta, samples = _recording_in(files_in(data))
    document = _metadata_in(meta)
    described = document["global"]
    datatype, channels = described.get("core:datatype"), described.get("core:num_channels", 1)
    if not isinstance(datatype, str) or datatype not in DATATYPES or channels is True or channels != 1:
        raise UnsupportedSampleTypeError(
            f"core:datatype must be one of {', '.join(DATATYPES)}, and core:num_channels 1.",
            value=f"core:datatype {datatype}, core:num_channels {channels}",
            remedy="Convert the recording to one of them.",
        )
    _require_sha512(described.get("core:sha512"), samples)
    return recording_of(pairs_in(samples, DATATYPES[datatype], datatype), length)


def _recording_in(files: dict[str, memoryview]) -> tuple[memoryview, memoryview]:
    stems = {name.removesuffix(META) for name in files if name.endswith(META)}
    if len(stems) != 1 or files.keys() != {f"{stem}{end}" for stem in stems for end in (META, DATA)}:
        raise _bad(", ".join(files) or "no files", f"an archive of one recording: a {META} and its {DATA}")
    (stem,) = stems
    return files[stem + META], files[stem + DATA]


def _metadata_in(meta: memoryview) -> dict[str, Any]:
    """The metadata, checked as far as samples depend on them."""
    if len(meta) > LONGEST_META:
        raise _bad(f"{len(meta)} bytes", f"metadata of at most {LONGEST_META} bytes")
    try:
        found = json.loads(bytes(meta).decode(), parse_int=float, object_pairs_hook=_object_of)
    except (ValueError, RecursionError) as error:
        raise _bad(error, "metadata in JSON, every name once") from error
    if not isinstance(found, dict) or not isinstance(found.get("global"), dict):
        raise _bad("no such object", "an object `global` in the metadata")
    captures = found.get("captures", [])
    if not isinstance(captures, list) or not all(isinstance(one, dict) for one in captures):
        raise _bad("no such list", "a list of objects as `captures`")
    _require_one_signal(captures)
    _require_no_extension(found["global"].get("core:extensions", []))
    for part in (found["global"], *captures):
        for name in (*ELSEWHERE, *FOREIGN_BYTES):
            if part.get(name):
                raise _bad(f"{name} {part[name]}", "a recording whose samples, and nothing else, are in the archive")
    return found


def _require_one_signal(captures: list[dict[str, Any]]) -> None:
    """Refuse a receiver that was tuned anew: its windows would be pooled as one signal."""
    frequencies = {str(one["core:frequency"]) for one in captures if "core:frequency" in one}
    if len(frequencies) > 1:
        raise _bad(f"core:frequency {', '.join(sorted(frequencies)[:4])}", "captures of one frequency")


def _require_no_extension(extensions: object) -> None:
    """Refuse what says that it cannot be understood without an extension."""
    if not isinstance(extensions, list) or not all(isinstance(one, dict) for one in extensions):
        raise _bad("no such list", "a list of objects as `core:extensions`")
    needed = [one for one in extensions if one.get("optional") is not True]
    if needed:
        raise _bad(f"core:extensions {needed[0].get('name')}", "a recording without extensions that are not optional")


def _object_of(members: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("a name that is given twice")
    return found


def _require_sha512(stated: object, samples: memoryview) -> None:
    if stated is None:
        return
    found = hashlib.sha512(samples).hexdigest()
    if not isinstance(stated, str) or stated.lower() != found:
        raise Sha512MismatchError(
            f"The samples' sha512 is not the one that core:sha512 states ({found}).",
            value=stated,
            remedy="Send the archive as it was written; if the samples were changed on purpose, update core:sha512.",
        )


def _bad(found: object, needed: str) -> RecordingHeaderError:
    return RecordingHeaderError(
        f"A SigMF file must be {needed}.", value=found, remedy="Write it with sigmf's archive command."
    )
