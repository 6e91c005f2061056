"""What is refused of samples that are radio recordings."""

from matchka.errors import MatchkaError


class NotRecordingError(MatchkaError):
    """Bytes that no format of recordings recognises, or that are of another than sample_format says."""


class RecordingHeaderError(MatchkaError):
    """A recording whose header or metadata cannot be read, or contradicts the rest of the file."""


class UnsupportedSampleTypeError(MatchkaError):
    """A recording of numbers that are no complex samples of a kind that is read."""


class SampleLengthError(MatchkaError):
    """A number of bytes that is not a whole number of samples, or not as many as announced."""


class UnsafeArchiveError(MatchkaError):
    """An archive with a path that leads out of it, a link, or anything but plain files."""


class Sha512MismatchError(MatchkaError):
    """Samples that are not those whose sha512 the metadata states."""


class RecordingTooShortError(MatchkaError):
    """Fewer samples than one window takes."""


class RecordingTooLongError(MatchkaError):
    """More samples than the limit."""


class NonFiniteRecordingError(MatchkaError):
    """Samples that are NaN or infinite."""


class ImplausibleSamplesError(MatchkaError):
    """Samples far larger or smaller than any receiver's: another data type or byte order, most likely."""


class NoSignalError(MatchkaError):
    """A recording of zeros, or of one constant."""


class ClippedRecordingError(MatchkaError):
    """A recording with too many samples at full scale."""
