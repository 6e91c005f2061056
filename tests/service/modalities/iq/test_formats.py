"""One recording in every format and type is the same samples; what lies, is odd or unsafe is refused by name."""

import hashlib
import io
import json
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matchka.errors import MatchkaError, TruncatedFileError
from matchka.modalities.iq.errors import (
    NotRecordingError,
    RecordingHeaderError,
    SampleLengthError,
    Sha512MismatchError,
    UnsafeArchiveError,
    UnsupportedSampleTypeError,
)
from matchka.modalities.iq.formats import read_recording
from matchka.modalities.iq.formats.recording import LengthLimits
from matchka.modalities.iq.modality import IQ, SAMPLE_FORMATS
from tests.factories.recordings import OF_FORMATS, cf32, ci16, cu8, npy, pairs_of, sigmf, signal, tar, wav

SAMPLES = signal(1)
PAIRS = pairs_of(SAMPLES)
CI16 = np.rint(PAIRS * 32767)
ARCHIVE = sigmf(cf32(SAMPLES))
GIGABYTES = 1 << 40
ANY_LENGTH = LengthLimits(0, GIGABYTES)


def integers(bits: int) -> np.ndarray:
    return np.rint(PAIRS * (2 ** (bits - 1) - 1))


def meta(document: object, samples: bytes = cf32(SAMPLES)) -> bytes:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return tar({"t.sigmf-meta": text, "t.sigmf-data": samples})


def of_global(**entries: Any) -> dict[str, Any]:
    return {"global": {"core:datatype": "cf32_le", **{f"core:{key}": value for key, value in entries.items()}}}


WHOLE: dict[str, tuple[bytes, str | None, float]] = {
    # bytes, sample_format, how far samples may be from those made
    "npy": (npy(SAMPLES), None, 0),
    "npy, named": (npy(SAMPLES), "npy", 0),
    "npy of complex128": (npy(SAMPLES.astype(np.complex128)), None, 0),
    "npy, big-endian": (npy(SAMPLES.astype(">c8")), None, 0),
    "npy of complex128, big-endian": (npy(SAMPLES.astype(">c16")), None, 0),
    "npy of pairs": (npy(PAIRS.astype(np.float32)), None, 0),
    "npy of pairs in float64, big-endian": (npy(PAIRS.astype(">f8")), None, 0),
    "npy of pairs, columns first": (npy(np.asfortranarray(PAIRS)), None, 0),
    "npy of pairs in int16": (npy(CI16.astype(np.int16)), None, 2**-15),
    "npy of pairs in int16, big-endian": (npy(CI16.astype(">i2")), None, 2**-15),
    "npy of pairs in int8": (npy(integers(8).astype(np.int8)), None, 2**-6.9),
    "npy of pairs in int32": (npy(integers(32).astype(np.int32)), None, 2**-23),
    "cf32": (cf32(SAMPLES), "cf32", 0),
    "ci16": (ci16(SAMPLES), "ci16", 2**-14.9),
    "cu8": (cu8(SAMPLES), "cu8", 2**-7.9),
    "wav": (wav(SAMPLES), None, 0),
    "wav, named": (wav(SAMPLES), "wav", 0),
    "wav of 8 bits": (wav(SAMPLES, "PCM_U8"), None, 2**-6.9),
    "wav of 16 bits": (wav(SAMPLES, "PCM_16"), None, 2**-14.9),
    "wav of 24 bits": (wav(SAMPLES, "PCM_24"), None, 2**-22),
    "wav of 32 bits": (wav(SAMPLES, "PCM_32"), None, 2**-23),
    "wav of float64": (wav(SAMPLES, "DOUBLE"), None, 0),
    "sigmf": (sigmf(cf32(SAMPLES)), None, 0),
    "sigmf, named": (sigmf(cf32(SAMPLES)), "sigmf", 0),
    "sigmf, big-endian": (sigmf(cf32(SAMPLES, ">"), "cf32_be"), None, 0),
    "sigmf of ci16": (sigmf(ci16(SAMPLES), "ci16_le"), None, 2**-14.9),
    "sigmf of ci16, big-endian": (sigmf(ci16(SAMPLES, ">"), "ci16_be"), None, 2**-14.9),
    "sigmf of float64": (sigmf(PAIRS.astype("<f8").tobytes(), "cf64_le"), None, 0),
    "sigmf of ci8": (sigmf(integers(8).astype(np.int8).tobytes(), "ci8"), None, 2**-6.9),
    "sigmf of unsigned samples": (sigmf(cu8(SAMPLES), "cu8"), None, 2**-7.9),
    "sigmf without sha512": (sigmf(cf32(SAMPLES), sha512=None, num_channels=1), None, 0),
    "sigmf of captures of one frequency": (
        meta({**of_global(), "captures": [
            {"core:sample_start": 0, "core:frequency": 1e8}, {"core:sample_start": 9}, {"core:frequency": 100_000_000},
        ]}),
        None, 0,
    ),
    "sigmf with an extension that may be ignored": (
        meta(of_global(extensions=[{"name": "x", "version": "1", "optional": True}])), None, 0,
    ),
    "wav of some chunks": (wav(SAMPLES)[:12] + b"junk\0\0\0\0" * 900 + wav(SAMPLES)[12:], None, 0),
    "sigmf with a long name": (sigmf(cf32(SAMPLES), name="t" * 90), None, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_recording_in_any_format_is_the_samples_that_were_written(name: str):
    data, sample_format, tolerance = WHOLE[name]
    found = read_recording(data, sample_format, ANY_LENGTH).samples  # type: ignore[arg-type]
    assert found.dtype == np.complex64
    np.testing.assert_allclose(pairs_of(found), PAIRS, rtol=0, atol=tolerance)


def header(text: str, version: tuple[int, int] = (1, 0), data: bytes = b"") -> bytes:
    """An npy file of this header."""
    encoded = text.encode("latin-1")
    length = struct.pack("<H" if version == (1, 0) else "<I", len(encoded))
    return b"\x93NUMPY" + bytes(version) + length + encoded + data


def shape(text: str, descr: str = "'<c8'", data: bytes = cf32(SAMPLES)) -> bytes:
    return header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {text}}}\n", data=data)


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([print, 3j], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def entry(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", size: int | None = None
) -> bytes:
    """One entry of a tar, with padding."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, len(data) if size is None else size
    return member.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)


END = bytes(1024)
META = json.dumps({"global": {"core:datatype": "cf32_le"}}).encode()
PAIR = entry("t.sigmf-meta", META) + entry("t.sigmf-data", cf32(SAMPLES))


def pax(records: bytes) -> bytes:
    return entry("PaxHeader", records, kind=b"x") + PAIR + END


def wav_chunk_of(length: int) -> bytes:
    data = bytearray(wav(SAMPLES))
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", length)
    return bytes(data)


REFUSED: dict[str, tuple[bytes, str | None, type[MatchkaError], str]] = {
    "nothing known": (b"some text that is no recording" * 9, None, NotRecordingError, "field sample_format"),
    "cf32 without its name": (cf32(SAMPLES), None, NotRecordingError, "cf32, ci16 or cu8"),
    "wav named cf32": (wav(SAMPLES), "cf32", NotRecordingError, "begins like wav"),
    "npy named sigmf": (npy(SAMPLES), "sigmf", NotRecordingError, "begins like npy"),
    "bare samples named npy": (cf32(SAMPLES), "npy", NotRecordingError, "begins like no such file"),
    "FLAC": (b"fLaC" + bytes(100), "wav", NotRecordingError, "begins like no such file"),
    "cf32 of an odd length": (cf32(SAMPLES)[:-1], "cf32", SampleLengthError, "8 bytes each"),
    "cf32 of half a sample": (cf32(SAMPLES)[:-4], "cf32", SampleLengthError, "8 bytes each"),
    "ci16 of an odd length": (ci16(SAMPLES)[:-2], "ci16", SampleLengthError, "4 bytes each"),
    "npy cut short": (npy(SAMPLES)[:-8], None, TruncatedFileError, "4088 of 4096"),
    "npy cut within its header": (npy(SAMPLES)[:60], None, TruncatedFileError, "within its header"),
    "npy cut within its magic": (npy(SAMPLES)[:7], None, RecordingHeaderError, "version 0.0"),
    "npy with more behind": (npy(SAMPLES) + b"x", None, SampleLengthError, "announces 4096 bytes"),
    "npy that announces gigabytes": (shape(f"({GIGABYTES},)"), None, TruncatedFileError, "ends before"),
    "npy that announces more than any number": (shape(f"({10**400},)"), None, TruncatedFileError, "ends before"),
    "npy of a length in hexadecimal": (shape(f"(0x{'f' * 400},)"), None, RecordingHeaderError, "a letter behind it"),
    "npy of lengths that are hardly printed": (
        shape(f"(0x{'f' * 3800},)"), None, RecordingHeaderError, "a header of 38",
    ),
    "npy of a type that is hardly printed": (
        shape("(512,)", f"0x{'f' * 3800}"), None, RecordingHeaderError, "a header of 38",
    ),
    "npy of an order that is hardly printed": (
        header(f"{{'descr': '<c8', 'fortran_order': 0x{'f' * 3800}, 'shape': (9,)}}"), None, RecordingHeaderError, "38",
    ),
    "npy of an order that is a number": (
        header("{'descr': '<c8', 'fortran_order': 7, 'shape': (9,)}"), None, RecordingHeaderError, "fortran_order 7",
    ),
    "npy of a type that is a number": (shape("(512,)", "9" * 400), None, UnsupportedSampleTypeError, "dtype 99"),
    "npy of a sum beyond floats": (shape("(512,)", "9" * 400 + " + 1.j"), None, RecordingHeaderError, "no literal"),
    "npy with an escape that is none": (shape("(512,)", r"'\d'"), None, RecordingHeaderError, "a backslash"),
    "npy with a keyword behind a number": (shape("(1or 2,)"), None, RecordingHeaderError, "a letter behind it"),
    "npy of a negative length": (shape("(-512,)"), None, RecordingHeaderError, "shape"),
    "npy of a true length": (shape("(True,)"), None, RecordingHeaderError, "shape"),
    "npy of a list of lengths": (shape("[512]"), None, RecordingHeaderError, "shape"),
    "npy of objects": (pickled(), None, UnsupportedSampleTypeError, "|O"),
    "npy of unsigned bytes": (npy(np.zeros((256, 2), np.uint8)), None, UnsupportedSampleTypeError, "|u1"),
    "npy of real numbers": (npy(PAIRS[:, 0]), None, UnsupportedSampleTypeError, "(512,)"),
    "npy of I and Q in rows": (npy(PAIRS.T.copy()), None, UnsupportedSampleTypeError, "(2, 512)"),
    "npy of several recordings": (npy(np.stack([SAMPLES, SAMPLES])), None, UnsupportedSampleTypeError, "(2, 512)"),
    "npy of a structure": (npy(np.zeros(256, [("i", "<f4"), ("q", "<f4")])), None, UnsupportedSampleTypeError, "('i'"),
    "npy of half precision": (npy(PAIRS.astype(np.float16)), None, UnsupportedSampleTypeError, "<f2"),
    "npy of a call": (shape("(512,)", "__import__('os')"), None, RecordingHeaderError, "none of NumPy"),
    "npy of Python 2": (shape("(512L,)"), None, RecordingHeaderError, "none of NumPy"),
    "npy of no dictionary": (header("['<c8']"), None, RecordingHeaderError, "no dictionary"),
    "npy of other keys": (header("{'descr': '<c8'}"), None, RecordingHeaderError, "no dictionary"),
    "npy of brackets": (header("(" * 500), None, RecordingHeaderError, "none of NumPy"),
    "npy of a long header": (header(" " * 5000), None, RecordingHeaderError, "5000 bytes"),
    "npy of a later version": (header("{}", (4, 0)), None, RecordingHeaderError, "version 4.0"),
    "wav of one channel": (wav(PAIRS[:, :1]), None, UnsupportedSampleTypeError, "channels: 1"),
    "wav of three channels": (wav(np.repeat(PAIRS[:, :1], 3, 1)), None, UnsupportedSampleTypeError, "channels: 3"),
    "wav of compressed samples": (wav(SAMPLES, "ULAW"), None, UnsupportedSampleTypeError, "ULAW"),
    "wav cut short": (wav(SAMPLES)[:-8], None, TruncatedFileError, "of 4096 bytes"),
    "wav that announces gigabytes": (wav_chunk_of(0xFFFFFFF0), None, TruncatedFileError, "of 4294967280 bytes"),
    "wav of half a sample": (wav_chunk_of(4092), None, SampleLengthError, "8 bytes each"),
    "wav without samples' chunk": (wav(SAMPLES)[:30], None, RecordingHeaderError, "no data chunk"),
    "wav of many chunks": (
        wav(SAMPLES)[:12] + b"junk\0\0\0\0" * 1000 + wav(SAMPLES)[12:], None, RecordingHeaderError, "first 1000",
    ),
    "sigmf cut short": (sigmf(cf32(SAMPLES))[:3000], None, TruncatedFileError, "announces more"),
    "sigmf without an end": (PAIR, None, TruncatedFileError, "closing blocks"),
    "sigmf that announces gigabytes": (
        entry("t.sigmf-data", b"", size=2**32) + END, None, TruncatedFileError, "4294967296 bytes",
    ),
    "sigmf of more than octal digits hold": (
        entry("t.sigmf-data", b"", size=2**40) + END, None, RecordingHeaderError, "number belongs",
    ),
    "sigmf with a wrong checksum": (PAIR[:100] + b"x" + PAIR[101:] + END, None, RecordingHeaderError, "checksum"),
    "sigmf with a path upwards": (entry("../t.sigmf-meta", META) + END, None, UnsafeArchiveError, "../t.sigmf-meta"),
    "sigmf with a path upwards within": (entry("a/../../t", META) + END, None, UnsafeArchiveError, "a/../../t"),
    "sigmf with an absolute path": (entry("/etc/t.sigmf-meta", META) + END, None, UnsafeArchiveError, "/etc/t"),
    "sigmf with a drive": (entry("c:/t.sigmf-meta", META) + END, None, UnsafeArchiveError, "c:/t"),
    "sigmf with backslashes": (entry("..\\t.sigmf-meta", META) + END, None, UnsafeArchiveError, "stay inside"),
    "sigmf with a symbolic link": (
        PAIR + entry("x", kind=tarfile.SYMTYPE, link="/etc/passwd") + END, None, UnsafeArchiveError, "type '2'",
    ),
    "sigmf with a hard link": (
        PAIR + entry("x", kind=tarfile.LNKTYPE, link="t.sigmf-data") + END, None, UnsafeArchiveError, "type '1'",
    ),
    "sigmf with a device": (PAIR + entry("x", kind=tarfile.CHRTYPE) + END, None, UnsafeArchiveError, "type '3'"),
    "sigmf with a sparse file": (
        entry("t.sigmf-data", kind=tarfile.GNUTYPE_SPARSE) + END, None, UnsafeArchiveError, "type 'S'",
    ),
    "sigmf with a name twice": (PAIR + PAIR + END, None, RecordingHeaderError, "twice"),
    "sigmf of many entries": (entry("a", kind=tarfile.DIRTYPE) * 65 + END, None, RecordingHeaderError, "more than 64"),
    "sigmf that renames to a path upwards": (pax(b"17 path=../../ab\n"), None, UnsafeArchiveError, "../../ab"),
    "sigmf that says another size": (pax(b"19 size=9999999999\n"), None, RecordingHeaderError, "header of size"),
    "sigmf with a broken extended header": (pax(b"99 path=a\n"), None, RecordingHeaderError, "extended header"),
    "sigmf with a negative length": (pax(b"-9 path=a\n"), None, RecordingHeaderError, "extended header"),
    "sigmf with GNU's long name": (
        entry("././@LongLink", b"a" * 120 + b"\0", kind=b"L") + PAIR + END, None, RecordingHeaderError, "long name",
    ),
    "sigmf with a global header": (
        entry("pax_global_header", b"13 comment=a\n", kind=b"g") + PAIR + END, None, RecordingHeaderError, "global pax",
    ),
    "sigmf of no recording": (tar({"readme": b"x"}), None, RecordingHeaderError, "readme"),
    "sigmf of two recordings": (
        tar({f"{n}.sigmf-{e}": META for n in "ab" for e in ("meta", "data")}), None, RecordingHeaderError, "one rec",
    ),
    "sigmf without samples": (tar({"t.sigmf-meta": META}), None, RecordingHeaderError, "t.sigmf-meta"),
    "sigmf of samples of another name": (
        tar({"t.sigmf-meta": META, "u.sigmf-data": cf32(SAMPLES)}), None, RecordingHeaderError, "u.sigmf-data",
    ),
    "sigmf with other samples": (
        sigmf(cf32(SAMPLES), sha512=hashlib.sha512(b"other").hexdigest()), None, Sha512MismatchError, "core:sha512",
    ),
    "sigmf whose sha512 is no text": (sigmf(cf32(SAMPLES), sha512=7), None, Sha512MismatchError, "core:sha512"),
    "sigmf of an unknown type": (meta(of_global(datatype="cf16_le")), None, UnsupportedSampleTypeError, "cf16_le"),
    "sigmf of real samples": (meta(of_global(datatype="rf32_le")), None, UnsupportedSampleTypeError, "rf32_le"),
    "sigmf of unsigned samples of 16 bits": (
        meta(of_global(datatype="cu16_le")), None, UnsupportedSampleTypeError, "cu16",
    ),
    "sigmf without a type": (meta({"global": {}}), None, UnsupportedSampleTypeError, "core:datatype None"),
    "sigmf whose type is a list": (meta(of_global(datatype=["x"])), None, UnsupportedSampleTypeError, "core:datatype"),
    "sigmf of two channels": (meta(of_global(num_channels=2)), None, UnsupportedSampleTypeError, "num_channels 2"),
    "sigmf of true channels": (meta(of_global(num_channels=True)), None, UnsupportedSampleTypeError, "num_channels T"),
    "sigmf of a receiver that was tuned anew": (
        meta({**of_global(), "captures": [
            {"core:sample_start": 0, "core:frequency": 1e8}, {"core:sample_start": 300, "core:frequency": 2e8},
        ]}),
        None, RecordingHeaderError, "one frequency",
    ),
    "sigmf that needs an extension": (
        meta(of_global(extensions=[{"name": "x", "version": "1", "optional": False}])), None, RecordingHeaderError,
        "core:extensions x",
    ),
    "sigmf whose extensions are none": (meta(of_global(extensions={"x": 1})), None, RecordingHeaderError, "a list of"),
    "sigmf of an odd length": (meta(of_global(), cf32(SAMPLES)[:-2]), None, SampleLengthError, "8 bytes each"),
    "sigmf whose samples lie elsewhere": (meta(of_global(dataset="../x.bin")), None, RecordingHeaderError, "dataset"),
    "sigmf with bytes between": (
        meta({**of_global(), "captures": [{"core:header_bytes": 4}]}), None, RecordingHeaderError, "header_bytes",
    ),
    "sigmf of a list": (meta([]), None, RecordingHeaderError, "`global`"),
    "sigmf of no JSON": (meta(b"{"), None, RecordingHeaderError, "in JSON"),
    "sigmf of two globals": (meta(b'{"global": {}, "global": {}}'), None, RecordingHeaderError, "given twice"),
    "sigmf of many brackets": (meta(b"[" * 100_000), None, RecordingHeaderError, "in JSON"),
    "sigmf of captures that are none": (meta({**of_global(), "captures": 7}), None, RecordingHeaderError, "`captures`"),
    "sigmf of long metadata": (meta(b" " * (1 << 20) + META), None, RecordingHeaderError, "at most 1048576"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_recording_that_lies_is_odd_or_unsafe_is_refused_and_says_what_is_wrong(name: str):
    data, sample_format, kind, told = REFUSED[name]
    with pytest.raises(kind) as refused:
        read_recording(data, sample_format, ANY_LENGTH)  # type: ignore[arg-type]
    assert type(refused.value) is kind
    assert told in str(refused.value)
    assert " at 0x" not in str(refused.value)  # an address of the process
    assert refused.value.remedy


def test_every_error_of_the_formats_is_met():
    assert {row[2].__name__ for row in REFUSED.values()} - {"TruncatedFileError"} == OF_FORMATS


@given(
    st.binary(max_size=300)
    | st.binary(max_size=300).map(lambda data: b"\x93NUMPY" + data)
    | st.binary(max_size=300).map(lambda data: b"RIFF" + data[:4] + b"WAVE" + data)
    | st.tuples(st.integers(0, 3000), st.binary(min_size=1, max_size=9)).map(
        lambda change: ARCHIVE[: change[0]] + change[1] + ARCHIVE[change[0] + len(change[1]) :]
    ),
    st.sampled_from([None, *SAMPLE_FORMATS]),
)
def test_any_bytes_are_a_recording_or_a_named_error(data: bytes, sample_format: Any):
    try:
        found = read_recording(data, sample_format, ANY_LENGTH)
    except (TruncatedFileError, *IQ.errors):
        return
    assert found.samples.ndim == 1


def test_archive_of_the_package_sigmf_is_read_as_it_reads_it(tmp_path: Path):
    package = pytest.importorskip("sigmf", reason="the package sigmf, the oracle, is in the extra `test`")
    ci8 = (CI16 // 256).astype(np.int8).tobytes()
    for datatype, data in (("cf32_le", cf32(SAMPLES)), ("ci16_be", ci16(SAMPLES, ">")), ("ci8", ci8)):
        (tmp_path / "take.sigmf-data").write_bytes(data)
        described = {"core:datatype": datatype, "core:sample_rate": 1e6, "core:version": "1.2.0"}
        written = package.SigMFFile(data_file=str(tmp_path / "take.sigmf-data"), global_info=described)
        written.add_capture(0)
        path = tmp_path / f"{datatype}.sigmf"
        written.archive(str(path))
        expected = package.sigmffile.fromarchive(str(path)).read_samples()
        found = read_recording(path.read_bytes(), None, ANY_LENGTH).samples
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)
