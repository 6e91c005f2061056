"""Recordings to windows of unit power: which windows, what is told of the recording, and what shows no signal."""

import tracemalloc

import numpy as np
import pytest
from pydantic import ValidationError

from matchka.errors import EmptyFileError, InvalidFieldError, MatchkaError
from matchka.modalities import MODALITIES, options_for
from matchka.modalities.iq.errors import (
    ClippedRecordingError,
    ImplausibleSamplesError,
    NonFiniteRecordingError,
    NoSignalError,
    RecordingTooLongError,
    RecordingTooShortError,
)
from matchka.modalities.iq.formats.recording import LengthLimits, recording_of
from matchka.modalities.iq.modality import IQ
from matchka.modalities.iq.reader import IqOptions, IqReader
from matchka.modalities.iq.settings import IqSettings
from matchka.modalities.iq.spec import IqInputSpec
from matchka.modalities.iq.windows import windows_of
from matchka.modalities.modality import Observation
from tests.factories.recordings import OF_FORMATS, WINDOW, cf32, ci16, cu8, npy, pairs_of, sigmf, signal, wav

SPEC = IqInputSpec(window_samples=WINDOW, hop_samples=64, max_windows=16)
READER = IqReader(SPEC)
RUNS = np.concatenate([np.zeros(300), signal(1, 400), np.zeros(500), signal(2, 300)]).astype(np.complex64)


def read(data: bytes, sample_format: str | None = None, reader: IqReader = READER) -> Observation:
    (observation,) = reader.read(data, IqOptions(sample_format))  # type: ignore[arg-type]
    return observation


def slow_rows(samples: np.ndarray, hop: int) -> list[list[list[float]]]:
    """Windows by loops in float64; those of zeros are left out."""
    rows = []
    for start in range(0, len(samples) - WINDOW + 1, hop):
        window = samples[start : start + WINDOW].astype(np.complex128)
        power = sum(abs(one) ** 2 for one in window) / WINDOW
        if power > 0:
            rows.append([list((window / power**0.5).real), list((window / power**0.5).imag)])
    return rows


@pytest.mark.parametrize("samples", [128, 129, 191, 192, 255, 1000])
def test_read_cuts_whole_windows_of_unit_power_and_leaves_the_rest(samples: int):
    recording = signal(4, samples)
    rows = read(npy(recording)).rows
    assert rows.dtype == np.float32
    assert len(rows) == 1 + (samples - 128) // 64
    np.testing.assert_allclose(rows, slow_rows(recording, 64), atol=1e-6)
    np.testing.assert_allclose((rows.astype(np.float64) ** 2).sum(axis=1).mean(axis=1), 1, atol=1e-6)


def test_read_of_a_recording_with_pauses_leaves_windows_of_zeros_out():
    rows = read(npy(RUNS), reader=IqReader(IqInputSpec(window_samples=WINDOW, hop_samples=50, max_windows=99))).rows
    expected = slow_rows(RUNS, 50)
    assert len(expected) < len(range(0, len(RUNS) - WINDOW + 1, 50))
    np.testing.assert_allclose(rows, expected, atol=1e-6)


@pytest.mark.parametrize(
    "pause",
    [np.full(2048, 127 / 127.5 - 1), np.full(2048, 0.5j), 1e-30 * signal(6, 2048), 0.2 + 1e-9 * signal(6, 2048)],
)
def test_read_of_a_muted_receiver_leaves_windows_of_a_constant_and_of_residues_out(pause: np.ndarray):
    recording = np.concatenate([signal(3, 2048), pause]).astype(np.complex64)
    seen = read(npy(recording), reader=IqReader(SPEC.model_copy(update={"max_windows": 99})))
    expected = slow_rows(recording, 64)[: 2048 // 64]  # the last holds the end of the signal as well
    np.testing.assert_allclose(seen.rows, expected, atol=1e-6)


def test_read_keeps_windows_of_a_signal_far_below_a_constant_or_a_louder_one():
    beneath = 0.9 + 8e-6 * signal(4)
    assert len(read(npy(beneath.astype(np.complex64))).rows) == 7
    quiet = np.concatenate([signal(3), 1e-5 * signal(4)]).astype(np.complex64)
    np.testing.assert_allclose(read(npy(quiet)).rows, slow_rows(quiet, 64), atol=1e-6)


@pytest.mark.parametrize("most", [1, 2, 5, 16, 17])
def test_read_of_a_long_recording_takes_windows_spread_evenly_over_it(most: int):
    recording = signal(5, 3000)
    rows = read(npy(recording), reader=IqReader(SPEC.model_copy(update={"max_windows": most}))).rows
    every = slow_rows(recording, 64)
    chosen = [every[place * len(every) // most] for place in range(most)]
    np.testing.assert_allclose(rows, chosen, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-11, 1e-6, 1e6, 3e11])
def test_rows_do_not_depend_on_the_scale_of_floating_point_samples(scale: float):
    recording = signal(4)
    np.testing.assert_allclose(
        read(npy(recording.astype(np.complex128) * scale)).rows, read(npy(recording)).rows, atol=1e-6
    )


@pytest.mark.parametrize(("data", "sample_format"), [(ci16(signal(4)), "ci16"), (wav(signal(4), "PCM_16"), None)])
def test_finding_says_windows_samples_and_power_relative_to_full_scale(data: bytes, sample_format: str | None):
    seen = read(data, sample_format).finding
    assert seen is not None
    power = 10 * np.log10(np.mean(np.abs(signal(4).astype(np.complex128)) ** 2))
    assert seen.as_json() == {"windows": 7, "samples": 512, "power_dbfs": pytest.approx(power, abs=1e-3)}
    other = read(npy(signal(9))).finding
    assert seen.is_same(other)
    assert seen.likeness(other) == 1.0


def test_power_of_a_tone_at_full_scale_is_0_dbfs():
    tone = np.exp(2j * np.pi * 0.1 * np.arange(512) + 0.05j)  # passes beside 1.0 in I and Q
    seen = read(npy(tone.astype(np.complex64)), reader=IqReader(SPEC, IqSettings(max_clipped=1.0))).finding
    assert seen is not None
    assert (seen.as_json() or {})["power_dbfs"] == pytest.approx(0, abs=1e-5)


def with_one(value: complex, dtype: type = np.complex64) -> bytes:
    changed = signal(4).astype(dtype)
    changed[100] = value
    return npy(changed)


def constant(value: complex) -> np.ndarray:
    return np.full(512, value, np.complex64)


LOUD = 5 * signal(4)
CLIPPED = np.clip(LOUD.real, -1, 1) + 1j * np.clip(LOUD.imag, -1, 1)
SWAPPED = np.frombuffer(cf32(signal(4), ">"), "<f4")  # what a file of the other byte order says
AS_CI16 = np.frombuffer(ci16(signal(4)), "<f4")

NO_SIGNAL: dict[str, tuple[bytes, str | None, type[MatchkaError], str]] = {
    "nothing": (b"", None, EmptyFileError, "0 bytes"),
    "no samples": (npy(signal(4)[:0]), None, RecordingTooShortError, "at least 128"),
    "one sample too few": (npy(signal(4)[:127]), None, RecordingTooShortError, "127"),
    "one sample too many": (npy(np.resize(signal(4), 4097)), None, RecordingTooLongError, "4097"),
    "NaN": (with_one(complex("nan")), None, NonFiniteRecordingError, "NaN"),
    "infinite Q": (with_one(complex(0, float("inf"))), None, NonFiniteRecordingError, "infinite"),
    "more than float32 holds": (with_one(1e300, np.complex128), None, NonFiniteRecordingError, "infinite"),
    "zeros": (npy(constant(0)), None, NoSignalError, "Every sample is zero"),
    "negative zeros": (npy(constant(complex(-0.0, -0.0))), None, NoSignalError, "Every sample is zero"),
    "a constant": (npy(constant(0.3 - 0.1j)), None, NoSignalError, "one constant"),
    "a constant in ci16": (ci16(constant(0.3 - 0.1j)), "ci16", NoSignalError, "one constant"),
    "a constant with less than the last bit": (
        npy(constant(0.3) + 1e-8 * signal(4)), None, NoSignalError, "one constant",
    ),
    "far too large": (npy(signal(4) * 1e14), None, ImplausibleSamplesError, "1e+12"),
    "far too small": (npy(signal(4) * 1e-13), None, ImplausibleSamplesError, "1e-12"),
    "swapped bytes": (SWAPPED.tobytes(), "cf32", NonFiniteRecordingError, "sample_format"),
    "ci16 named cf32": (AS_CI16.tobytes(), "cf32", ImplausibleSamplesError, "sample_format"),
    "clipped": (npy(CLIPPED), None, ClippedRecordingError, "At most 1 %"),
    "clipped ci16": (ci16(CLIPPED), "ci16", ClippedRecordingError, "At most 1 %"),
    "clipped below": (ci16(np.minimum(CLIPPED.real, 0.5) + 0.1j), "ci16", ClippedRecordingError, "lower gain"),
    "clipped, of 16 bits divided by 32768": (
        npy(np.rint(pairs_of(CLIPPED) * 32768).clip(-32768, 32767).astype(np.float32) / 32768), None,
        ClippedRecordingError, "At most 1 %",
    ),
    "clipped above, of 16 bits divided by 32768": (
        wav(np.rint(pairs_of(np.maximum(CLIPPED.real, -0.5) + 0.1j) * 32768).clip(-32768, 32767) / 32768), None,
        ClippedRecordingError, "At most 1 %",
    ),
    "clipped, of unsigned bytes": (cu8(CLIPPED), "cu8", ClippedRecordingError, "At most 1 %"),
    "clipped wav of 8 bits": (wav(CLIPPED, "PCM_U8"), None, ClippedRecordingError, "At most 1 %"),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_SIGNAL)
def test_recording_without_a_signal_that_can_be_judged_is_refused_by_name(name: str):
    data, sample_format, kind, told = NO_SIGNAL[name]
    with pytest.raises(kind) as refused:
        read(data, sample_format, IqReader(SPEC, IqSettings(max_samples=4096)))
    assert told in str(refused.value)
    assert type(refused.value) is kind


@pytest.mark.parametrize("sample_format", ["npy", "wav", "sigmf"])
def test_recording_beyond_the_limit_is_refused_before_its_samples_are_converted(sample_format: str):
    small = np.resize(np.array([[1, -1], [-1, 1]], np.int8), (1 << 20, 2))
    files = {"npy": npy(small), "wav": wav(small / 2, "PCM_U8"), "sigmf": sigmf(small.tobytes(), "ci8")}
    reader = IqReader(SPEC, IqSettings(max_samples=4096))
    tracemalloc.start()
    try:
        with pytest.raises(RecordingTooLongError) as refused:
            read(files[sample_format], sample_format, reader)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.value.value == "1048576"
    assert peak < 1 << 22  # as complex64 it takes twice as much


@pytest.mark.parametrize("dtype", ["<c16", "<f8"])
def test_signalling_nan_is_refused_without_a_warning(dtype: str):
    bits = pairs_of(signal(4)).view(np.uint64)
    bits[100, 0] = 0x7FF0000000000001
    with pytest.raises(NonFiniteRecordingError):
        read(npy(bits.view("<f8") if dtype == "<f8" else bits.view("<c16")[:, 0]))


def test_recording_beyond_full_scale_has_none_and_is_read():
    assert len(read(npy(CLIPPED * 300)).rows)
    assert len(read(npy(CLIPPED * 1.001)).rows)


def test_share_of_clipped_samples_that_is_allowed_is_a_setting():
    few = signal(4).copy()
    few[:5] = 1.0
    assert len(read(npy(few)).rows)
    few[:6] = 1.0  # of 512
    with pytest.raises(ClippedRecordingError) as refused:
        read(npy(few))
    assert refused.value.value == "1.17 %"
    assert len(read(npy(few), reader=IqReader(SPEC, IqSettings(max_clipped=0.02))).rows)


@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("end", [-1, 1])
def test_top_of_integers_is_reached_at_either_end_and_not_one_step_before(bits: int, end: int):
    limits = np.iinfo(f"int{bits}")
    last = limits.max if end > 0 else limits.min
    step = max(1, 2 ** (bits - 24))  # of float32
    found = recording_of(np.array([[last, last - end * 2 * step]], f"int{bits}"), LengthLimits(1, 1))
    assert abs(found.samples[0].real) >= found.top > abs(found.samples[0].imag)


def test_options_are_the_format_that_was_named_and_nothing_else():
    assert options_for("iq", "radio", "probe", {}) == IqOptions(None)
    assert options_for("iq", "radio", "enrolment", {"sample_format": "ci16"}) == IqOptions("ci16")
    with pytest.raises(InvalidFieldError, match="no such sample_format"):
        options_for("iq", "radio", "probe", {"sample_format": "cu4"})
    with pytest.raises(InvalidFieldError, match="takes radio recordings"):
        options_for("iq", "radio", "probe", {"face": "only"})
    with pytest.raises(InvalidFieldError, match="use a model for radio signals") as refused:
        options_for("audio", "voice", "probe", {"sample_format": "wav"})
    assert MODALITIES["iq"].things in str(refused.value)


def test_spec_states_its_windows_and_an_example_of_unit_power_that_follows_its_seed():
    expected = SPEC.graph_input()
    assert (expected.name, expected.shape, expected.dtype) == ("windows", (2, WINDOW), "float32")
    assert SPEC.content() == {"window_samples": WINDOW, "hop_samples": 64, "max_windows": 16}
    rows = SPEC.example(5, seed=2)
    assert (rows.shape, rows.dtype) == ((5, 2, WINDOW), np.float32)
    np.testing.assert_allclose((rows**2).sum(axis=1).mean(axis=1), 1, atol=1e-5)
    assert np.array_equal(rows, SPEC.example(5, seed=2))
    assert not np.array_equal(rows, SPEC.example(5, seed=3))


@pytest.mark.parametrize("changes", [{"max_windows": 1025}, {"window_samples": 65_536, "max_windows": 65}])
def test_spec_of_more_windows_than_fit_is_refused(changes: dict[str, int]):
    given = {"window_samples": WINDOW, "hop_samples": 64, "max_windows": 16, **changes}
    with pytest.raises(ValidationError, match=r"1024|4194304"):
        IqInputSpec(**given)


def test_windows_of_zeros_alone_are_none():
    assert windows_of(constant(0), WINDOW, WINDOW, 4).shape == (0, 2, WINDOW)


def test_every_error_of_the_modality_is_met_in_these_tests():
    of_formats = {kind for kind in IQ.errors if kind.__name__ in OF_FORMATS}
    assert len(of_formats) == len(OF_FORMATS)
    assert {row[2] for row in NO_SIGNAL.values()} - {EmptyFileError} == set(IQ.errors) - of_formats
