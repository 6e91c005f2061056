"""Errors that callers and operators can meet; matchka.api.problems gives each its HTTP status and stable code."""

import copyreg
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

LONGEST_ECHO: Final = 120  # characters of an offending value that are repeated to the caller
# one of them not found is a defect, not a missing extra
OWN_PACKAGES: Final = ("matchka", "matchka_train", "matchka_export")


class MatchkaError(Exception):
    """An error with the offending value and the remedy; every error of this project derives from it.

    Attributes:
        retry_after_s: seconds after which it may be gone, where that is known.
        failed_tries: how often it tells that a sample is not of a subject.
        of_files: why each file was refused that has a reason of its own, by its place in the call, from 1.

    Args:
        detail: what is wrong, one sentence, with the allowed range.
        remedy: what the caller can do about it.
        value: the offending value, if it can be shown; it is shortened to 120 characters.
    """

    retry_after_s: float | None = None
    failed_tries: int = 0
    of_files: Mapping[int, "MatchkaError"] = MappingProxyType({})

    def __init__(self, detail: str, *, remedy: str, value: object = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy
        self.value = None if value is None else shorten(str(value))

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """Pickle it without calling the constructor, so that every class of error can cross processes."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]

    def __str__(self) -> str:
        """The whole error as one line for a terminal or a log."""
        shown = "" if self.value is None else f" (got {self.value!r})"
        return f"{self.detail}{shown} {self.remedy}"


def shorten(text: str) -> str:
    """Cut a text that came from outside to a length that is safe to repeat.

    >>> shorten("x" * 500) == "x" * 120 + "… (500 characters)"
    True
    """
    # a form may smuggle in half a surrogate pair, which no reply can carry
    printable = text[:LONGEST_ECHO].encode("utf-8", "replace").decode("utf-8")
    return printable if len(text) <= LONGEST_ECHO else f"{printable}… ({len(text)} characters)"


class UnexpectedError(MatchkaError):
    """A failure that nobody foresaw; the service's log has it."""


# --- the request as a whole -----------------------------------------------------------------------------------------
class UnknownPathError(MatchkaError):
    """No such path."""


class MethodNotAllowedError(MatchkaError):
    """The path exists, but not for this HTTP method."""


class UnauthorizedError(MatchkaError):
    """No API key, or one that is not known."""


class MissingScopeError(MatchkaError):
    """The key does not have the scope that the call needs."""


class CeilingError(MatchkaError):
    """A rate above the one that the key may ask for."""


class TooManyRequestsError(MatchkaError):
    """More requests with one key than it may send in a second."""

    def __init__(self, detail: str, *, remedy: str, value: object, retry_after_s: float) -> None:
        super().__init__(detail, remedy=remedy, value=value)
        self.retry_after_s = retry_after_s


class UnsupportedContentTypeError(MatchkaError):
    """The body is neither multipart/form-data nor application/json."""


class MalformedFormError(MatchkaError):
    """The body is not what its content type says."""


class UploadTimeoutError(MatchkaError):
    """A body that took too long to arrive."""


class BodyTooLargeError(MatchkaError):
    """The body passed the limit while it streamed in."""


class UnknownFieldError(MatchkaError):
    """A field or parameter that this call does not have."""


class MissingFieldError(MatchkaError):
    """A field that this call needs is absent."""


class InvalidFieldError(MatchkaError):
    """A field whose value cannot be read or is out of range."""


class TooManyFilesError(MatchkaError):
    """More files than one request may carry."""


class InvalidSubjectIdError(MatchkaError):
    """A subject_id that is too long or has characters it may not have."""


class PositionError(MatchkaError):
    """A position that is none, or that is of another store."""


class UntrainedDimError(MatchkaError):
    """A dim the bundle was not trained and validated for."""


class OutputNotAvailableError(MatchkaError):
    """A call needs an output of a kind that the model's graph does not have."""


class UnknownDescriptorError(MatchkaError):
    """A word that too few people gave, or nobody."""


class NotReadyError(MatchkaError):
    """The models are not warm or the gallery is not loaded yet."""


class GalleryStaleError(MatchkaError):
    """This process does not know yet what was changed in the store: its galleries have fallen behind."""


class GalleryUnavailableError(MatchkaError):
    """The server that holds the galleries does not answer, or refuses; the store does not need it."""


class DrainingError(MatchkaError):
    """The service is about to stop; what it was sent is still answered, but it is no longer ready."""


class OverloadedError(MatchkaError):
    """More requests in flight than the service accepts, or more rows waiting for a model than its queue holds."""


class OutOfMemoryError(MatchkaError):
    """The system gave no more memory for this request."""


class DeadlinePassedError(MatchkaError):
    """A request that waited longer than an answer may take; it was dropped."""


class ClientGoneError(MatchkaError):
    """A client that left before its answer; nobody reads this one."""


class InvalidHostError(MatchkaError):
    """A request of HTTP/1.1 whose Host header is missing, empty or given twice."""


class ForbiddenHostError(MatchkaError):
    """A Host that does not name this machine, where no key is in force."""


class CrossSiteError(MatchkaError):
    """A request that a page of another origin made, where no key is in force."""


# --- samples --------------------------------------------------------------------------------------------------------
class EmptyFileError(MatchkaError):
    """A file of no bytes."""


class NotAudioError(MatchkaError):
    """Bytes that no audio decoder recognises."""


class FormatNotEnabledError(MatchkaError):
    """A file of a format that is read only where the operator names it."""


class TruncatedFileError(MatchkaError):
    """A file that ends before its own header says."""


class NoSamplesError(MatchkaError):
    """A well-formed audio file that holds no samples."""


class SilenceError(MatchkaError):
    """A clip whose level is that of a muted microphone."""


class TooLittleSpeechError(MatchkaError):
    """Less audible material than a voice embedding needs."""


class NoSpeechError(MatchkaError):
    """A clip to be enrolled that is loud enough, but in which nobody speaks."""


class NonFiniteSamplesError(MatchkaError):
    """Samples that are NaN or infinite."""


class AudioTooLongError(MatchkaError):
    """A clip longer than the limit."""


class UnsupportedSampleRateError(MatchkaError):
    """A sample rate at which no voice can be judged."""


class EmptyTextError(MatchkaError):
    """A text without a word, where one is compared with a clip."""


class DurationMismatchError(MatchkaError):
    """A clip that is too short or too long to be the text that it is compared with, or any text."""


class DistortedClipError(MatchkaError):
    """A clip so overdriven that little more than its zero crossings is left to hear words in."""


class UnknownWordsError(MatchkaError):
    """A text with words that a model's lexicon does not have."""


class NotImageError(MatchkaError):
    """Bytes that no image decoder recognises."""


class ImageTooLargeError(MatchkaError):
    """A picture of more pixels, or of more memory while it is decoded, than the limit."""


class ImageTooThinError(MatchkaError):
    """A picture far longer than wide."""


class ImageTooComplexError(MatchkaError):
    """A picture's file whose decoding takes more work than its pixels warrant."""


class NoFaceError(MatchkaError):
    """A picture in which no face was found."""


class SeveralFacesError(MatchkaError):
    """A picture with more than one face where one was asked for."""


class PoorFaceError(MatchkaError):
    """A face too small, too blurred, too far turned or too far out of the picture to be compared."""


class SmallFaceError(MatchkaError):
    """A face large enough to be compared with a larger one, and too small for a template or another small one."""


class TooManyFacesError(MatchkaError):
    """A picture with more faces than are looked up at once."""


# --- what is looked up ----------------------------------------------------------------------------------------------
class UnknownModelError(MatchkaError):
    """No bundle of this name is loaded."""


class UnknownSubjectError(MatchkaError):
    """No such subject for this tenant."""


class KeyDestroyedError(UnknownSubjectError):
    """A subject in an older copy of the templates that was deleted since: its key is gone, and nothing opens it."""


class NotEnrolledError(MatchkaError):
    """The subject exists, but has no templates of this model."""


class OtherVersionError(MatchkaError):
    """The subject's templates were made by another version of the model."""


class ChallengeNotRedeemableError(MatchkaError):
    """A challenge that is unknown, expired, used or somebody else's; which of them is not told."""


class TooManyChallengesError(MatchkaError):
    """More challenges of one subject than an hour may have."""

    def __init__(self, detail: str, *, remedy: str, value: object, retry_after_s: float) -> None:
        super().__init__(detail, remedy=remedy, value=value)
        self.retry_after_s = retry_after_s


class TooManyAttemptsError(MatchkaError):
    """Too many verifications of a subject, or identifications, failed with one key; it has to wait."""

    def __init__(self, detail: str, *, remedy: str, value: object, retry_after_s: float) -> None:
        super().__init__(detail, remedy=remedy, value=value)
        self.retry_after_s = retry_after_s


class QuotaReachedError(MatchkaError):
    """An enrolment beyond the subjects or templates that the key may have."""


class UnknownKeyError(MatchkaError):
    """No such API key of this tenant in force."""


class DuplicateSampleError(MatchkaError):
    """A sample that is enrolled for this subject already, or sent twice."""


class ConsentRequiredError(MatchkaError):
    """An enrolment without the consent or the purpose that a setting requires."""


class ReceiptError(MatchkaError):
    """A receipt of an erasure that is none, was changed, or is of another service."""


class AlreadyEnrolledError(MatchkaError):
    """The subject has templates of this model, and the call was to begin a new one."""


class IdempotencyKeyReusedError(MatchkaError):
    """Another request was sent with the same Idempotency-Key."""


class EnrolmentUndoneError(MatchkaError):
    """The enrolment with this Idempotency-Key was done, and its subject is deleted or has expired since."""


class DiffersFromSubjectError(MatchkaError):
    """A sample that does not agree with the templates of the subject that it is to be added to."""

    failed_tries = 1


class SamplesDifferError(MatchkaError):
    """Samples of one enrolment that do not agree with each other: of several people, or one of them is spoilt."""


class LikelyDuplicateError(MatchkaError):
    """Somebody else who is enrolled is probably the same person, and such enrolments are refused.

    Attributes:
        similar: subjects that identify would have taken for this one, the most similar first; not for every caller.
        near: subjects that would be similar at a much higher rate, and those that are, but the most similar one.
    """

    def __init__(
        self, detail: str, *, remedy: str, value: object = None, similar: Sequence[str] = (), near: Sequence[str] = ()
    ) -> None:
        super().__init__(detail, remedy=remedy, value=value)
        self.similar = tuple(similar)
        self.near = tuple(near)


class UnknownTemplateError(MatchkaError):
    """No such template for this tenant."""


# --- starting up ----------------------------------------------------------------------------------------------------
class SettingsError(MatchkaError):
    """A MATCHKA_ variable that is unknown or out of range."""


class KeyRequiredError(MatchkaError):
    """Listening beyond this machine without an API key."""


class BundleError(MatchkaError):
    """A bundle that does not check out: a hash, the manifest, or the graph's inputs and outputs."""


class LexiconError(MatchkaError):
    """A bundle's lexicon or vocabulary that is not one."""


class DataDirInUseError(MatchkaError):
    """Another process owns the data directory."""


class StoreError(MatchkaError):
    """The database cannot be opened or is of another schema."""


class BackupError(MatchkaError):
    """A backup, an export or a deletion log that cannot be written or read, or does not check out."""


class RestoreRefusedError(MatchkaError):
    """Restoring or importing would replace what is there, or bring back what was deleted, and nobody said it should."""


class StorageFullError(MatchkaError):
    """The database cannot grow: the disk or a quota is full."""


class StorageDamagedError(MatchkaError):
    """The database file, or a vector in it, is not what was written."""


class StorageFailedError(MatchkaError):
    """The database cannot be read or written now: the disk failed, is read-only, or its server is away."""


class VaultLockedError(MatchkaError):
    """The templates are encrypted and cannot be opened: the master key or the key store is missing, or another."""


class VaultError(MatchkaError):
    """The vault cannot do what a command asks for."""


class RotationInProgressError(VaultError):
    """Another process is rotating keys, or encrypting the store."""


class MissingPackageError(MatchkaError):
    """An optional package that this call needs is not installed."""


@contextmanager
def extra_required(extra: str) -> Iterator[None]:
    """Name the extra to install where an import fails for want of a package.

    Args:
        extra: of pyproject.toml, as pip takes it: "cpu", or "cpu,train".

    Raises: MissingPackageError: a package that is not ours could not be found.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in ("", *OWN_PACKAGES):
            raise
        raise MissingPackageError(
            "A package that this command needs is not installed.",
            value=package,
            remedy=f"Run `pip install '.[{extra}]'` in the repository, or `pip install 'matchka[{extra}]'` elsewhere.",
        ) from error


# --- arithmetic and the client --------------------------------------------------------------------------------------
class VariableLengthError(MatchkaError):
    """Rows of any length, where one length is needed."""


class DimensionError(MatchkaError):
    """A dim outside 1..full_dim, or arrays whose dims differ."""


class ZeroVectorError(MatchkaError):
    """A vector without direction cannot be scaled to unit length."""


class NonFiniteEmbeddingError(MatchkaError):
    """The graph returned NaN or infinity for this sample."""


class ServiceUnreachableError(MatchkaError):
    """The client got no answer from the service."""


class NoRecorderError(MatchkaError):
    """Nothing on this machine records from its microphone."""


class NoCameraError(MatchkaError):
    """Nothing on this machine takes pictures with its camera."""


@dataclass(frozen=True)
class RefusedFile:
    """A file of a call that was refused: its place from 1, and the code, detail and remedy of its problem."""

    file: int
    code: str
    detail: str
    remedy: str


class RequestFailedError(MatchkaError):
    """The service answered the client with a problem document.

    Attributes:
        status: the HTTP status.
        code: the problem's stable code.
        skipped: why each file was refused, where bad ones were to be left out and none was left.
    """

    def __init__(
        self, detail: str, *, remedy: str, value: object, status: int, code: str, skipped: Sequence[RefusedFile] = ()
    ) -> None:
        super().__init__(detail, remedy=remedy, value=value)
        self.status = status
        self.code = code
        self.skipped = tuple(skipped)
