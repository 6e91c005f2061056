"""Radio recordings as a modality."""

from collections.abc import Mapping
from typing import Final, get_args

from matchka.errors import InvalidFieldError
from matchka.modalities.iq.errors import (
    ClippedRecordingError,
    ImplausibleSamplesError,
    NonFiniteRecordingError,
    NoSignalError,
    NotRecordingError,
    RecordingHeaderError,
    RecordingTooLongError,
    RecordingTooShortError,
    SampleLengthError,
    Sha512MismatchError,
    UnsafeArchiveError,
    UnsupportedSampleTypeError,
)
from matchka.modalities.iq.formats import SampleFormat
from matchka.modalities.iq.reader import IqOptions, open_reader
from matchka.modalities.iq.settings import IqSettings
from matchka.modalities.iq.spec import IqInputSpec
from matchka.modalities.modality import Modality, Purpose

RECORDING_S: Final = 0.005  # of one core: some windows, and their graph
PER_BYTE_S: Final = 1.5e-8
SAMPLE_FORMATS: Final[tuple[SampleFormat, ...]] = get_args(SampleFormat)


def options_for(_purpose: Purpose, given: Mapping[str, str]) -> IqOptions:
    """The format that the caller named, if any.

    Raises: InvalidFieldError: a format that there is not.

    >>> options_for("probe", {}), options_for("probe", {"sample_format": "ci16"})
    (IqOptions(sample_format=None), IqOptions(sample_format='ci16'))
    """
    named = given.get("sample_format")
    if named is None:
        return IqOptions(None)
    for known in SAMPLE_FORMATS:
        if known == named:
            return IqOptions(known)
    raise InvalidFieldError(
        "There is no such sample_format.", value=named, remedy=f"Use one of {', '.join(SAMPLE_FORMATS)}."
    )


def cost_s(data: bytes) -> float:
    """Seconds of one core that a recording is likely to take: samples are not compressed.

    >>> round(cost_s(bytes(8_000_000)), 2)
    0.12
    """
    return RECORDING_S + PER_BYTE_S * len(data)


IQ: Final = Modality(
    name="iq",
    samples="radio recordings (I and Q)",
    things="radio signals",
    spec=IqInputSpec,
    limits=IqSettings,
    open_reader=open_reader,
    option_names=("sample_format",),
    options_for=options_for,
    media_types=("application/x-npy", "application/octet-stream", "audio/wav", "application/x-tar"),
    cost_s=cost_s,
    errors={
        NotRecordingError: "not_recording",
        RecordingHeaderError: "bad_recording_header",
        UnsupportedSampleTypeError: "unsupported_sample_type",
        SampleLengthError: "bad_sample_length",
        UnsafeArchiveError: "unsafe_archive",
        Sha512MismatchError: "sha512_mismatch",
        RecordingTooShortError: "recording_too_short",
        RecordingTooLongError: "recording_too_long",
        NonFiniteRecordingError: "non_finite_recording",
        ImplausibleSamplesError: "implausible_samples",
        NoSignalError: "no_signal",
        ClippedRecordingError: "clipped_recording",
    },
    nothing_found=(NoSignalError, RecordingTooShortError),
    # a window takes a third of a millisecond, and two cores are no sooner done with as many as one request runs alone
    least_parallel_rows=8,
)
