"""Errors -> application/problem+json replies."""

import math
from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

from matchka.api.answers.enrolment import SkippedFileAnswer
from matchka.api.answers.service import Problem
from matchka.errors import (
    AlreadyEnrolledError,
    BodyTooLargeError,
    CeilingError,
    ChallengeNotRedeemableError,
    ClientGoneError,
    ConsentRequiredError,
    CrossSiteError,
    DeadlinePassedError,
    DiffersFromSubjectError,
    DistortedClipError,
    DrainingError,
    DuplicateSampleError,
    DurationMismatchError,
    EmptyFileError,
    EmptyTextError,
    EnrolmentUndoneError,
    ForbiddenHostError,
    FormatNotEnabledError,
    GalleryStaleError,
    GalleryUnavailableError,
    IdempotencyKeyReusedError,
    InvalidFieldError,
    InvalidHostError,
    InvalidSubjectIdError,
    LikelyDuplicateError,
    MalformedFormError,
    MatchkaError,
    MethodNotAllowedError,
    MissingFieldError,
    MissingScopeError,
    NonFiniteEmbeddingError,
    NotEnrolledError,
    NotReadyError,
    OtherVersionError,
    OutOfMemoryError,
    OutputNotAvailableError,
    OverloadedError,
    PositionError,
    QuotaReachedError,
    SamplesDifferError,
    StorageDamagedError,
    StorageFailedError,
    StorageFullError,
    TooManyAttemptsError,
    TooManyChallengesError,
    TooManyFilesError,
    TooManyRequestsError,
    TruncatedFileError,
    UnauthorizedError,
    UnknownDescriptorError,
    UnknownFieldError,
    UnknownKeyError,
    UnknownModelError,
    UnknownPathError,
    UnknownSubjectError,
    UnknownTemplateError,
    UnknownWordsError,
    UnsupportedContentTypeError,
    UntrainedDimError,
    UploadTimeoutError,
    VaultLockedError,
    ZeroVectorError,
)
from matchka.modalities import MODALITIES
from matchka.runtime.telemetry.served_request import served_request

RETRY_AFTER_S: Final = "1"
MEDIA_TYPE: Final = "application/problem+json"
HEADERS: Final = {  # that statuses call for
    401: {"WWW-Authenticate": "Bearer"},
    429: {"Retry-After": RETRY_AFTER_S},
    503: {"Retry-After": RETRY_AFTER_S},
}


def problem_response(error: MatchkaError) -> Response:
    """The reply to an error; 401, 429 and 503 carry the headers that their statuses call for."""
    status, code = status_and_code(error)
    note_problem(error)
    served = served_request()
    problem = Problem(
        type=f"urn:matchka:problem:{code}",
        title=code.replace("_", " ").capitalize(),
        status=status,
        code=code,
        detail=error.detail,
        value=error.value,
        remedy=error.remedy,
        request_id=None if served is None else served.request_id,
    )
    if error.of_files:
        problem = problem.model_copy(update={"skipped": skipped_answers(error.of_files)})
    known = {} if error.retry_after_s is None else {"Retry-After": str(math.ceil(error.retry_after_s))}
    without = ({"request_id"} if served is None else set()) | (set() if error.of_files else {"skipped"})
    return Response(problem.model_dump_json(exclude=without), status, {**HEADERS.get(status, {}), **known}, MEDIA_TYPE)


def skipped_answers(errors: Mapping[int, MatchkaError]) -> list[SkippedFileAnswer]:
    """Why files were refused, by their places."""
    return [
        SkippedFileAnswer(file=file, code=status_and_code(error)[1], detail=error.detail, remedy=error.remedy)
        for file, error in sorted(errors.items())
    ]


def note_problem(error: MatchkaError) -> None:
    """Say in logs and metrics what the request that is served is answered with."""
    served = served_request()
    if served is not None:
        served.problem = status_and_code(error)[1]


INTERNAL_ERROR: Final = "internal_error"  # the code of every error that no caller should ever meet


STATUS_AND_CODE: Final[dict[type[MatchkaError], tuple[int, str]]] = {
    MalformedFormError: (400, "malformed_form"),
    InvalidHostError: (400, "invalid_host"),
    UnauthorizedError: (401, "unauthorized"),
    ForbiddenHostError: (403, "forbidden_host"),
    CrossSiteError: (403, "cross_site"),
    MissingScopeError: (403, "missing_scope"),
    CeilingError: (403, "ceiling"),
    UnknownPathError: (404, "unknown_path"),
    UnknownModelError: (404, "unknown_model"),
    UnknownSubjectError: (404, "unknown_subject"),
    NotEnrolledError: (404, "not_enrolled"),
    UnknownTemplateError: (404, "unknown_template"),
    UnknownKeyError: (404, "unknown_key"),
    MethodNotAllowedError: (405, "method_not_allowed"),
    OtherVersionError: (409, "other_version"),
    DuplicateSampleError: (409, "duplicate_sample"),
    AlreadyEnrolledError: (409, "already_enrolled"),
    DiffersFromSubjectError: (409, "differs_from_subject"),
    LikelyDuplicateError: (409, "likely_duplicate"),
    QuotaReachedError: (409, "quota_reached"),
    EnrolmentUndoneError: (409, "enrolment_undone"),
    ChallengeNotRedeemableError: (409, "challenge_not_redeemable"),
    UploadTimeoutError: (408, "upload_timeout"),
    BodyTooLargeError: (413, "body_too_large"),
    UnsupportedContentTypeError: (415, "unsupported_content_type"),
    UnknownFieldError: (422, "unknown_field"),
    MissingFieldError: (422, "missing_field"),
    InvalidFieldError: (422, "invalid_field"),
    IdempotencyKeyReusedError: (422, "idempotency_key_reused"),
    TooManyFilesError: (422, "too_many_files"),
    InvalidSubjectIdError: (422, "invalid_subject_id"),
    PositionError: (422, "invalid_position"),
    ConsentRequiredError: (422, "consent_required"),
    UntrainedDimError: (422, "untrained_dim"),
    OutputNotAvailableError: (422, "output_not_available"),
    EmptyTextError: (422, "empty_text"),
    UnknownWordsError: (422, "unknown_words"),
    DurationMismatchError: (422, "duration_mismatch"),
    DistortedClipError: (422, "distorted_clip"),
    UnknownDescriptorError: (422, "unknown_descriptor"),
    EmptyFileError: (422, "empty_file"),
    TruncatedFileError: (422, "truncated_file"),
    FormatNotEnabledError: (422, "format_not_enabled"),
    SamplesDifferError: (422, "samples_differ"),
    ZeroVectorError: (422, "zero_embedding"),
    NonFiniteEmbeddingError: (422, "non_finite_embedding"),
    **{kind: (422, code) for known in MODALITIES.values() for kind, code in known.errors.items()},
    TooManyRequestsError: (429, "too_many_requests"),
    TooManyAttemptsError: (429, "too_many_attempts"),
    TooManyChallengesError: (429, "too_many_challenges"),
    ClientGoneError: (499, "client_gone"),  # the status that web servers log for a client that left
    StorageDamagedError: (503, "storage_damaged"),
    NotReadyError: (503, "not_ready"),
    GalleryStaleError: (503, "gallery_stale"),
    GalleryUnavailableError: (503, "gallery_unavailable"),
    DrainingError: (503, "draining"),
    DeadlinePassedError: (503, "deadline_passed"),
    OverloadedError: (503, "overloaded"),
    OutOfMemoryError: (503, "out_of_memory"),
    StorageFailedError: (503, "storage_failed"),
    VaultLockedError: (503, "vault_locked"),
    StorageFullError: (507, "storage_full"),
}


def status_and_code(error: MatchkaError) -> tuple[int, str]:
    """The HTTP status and stable code of an error: its class's own, or those of the nearest listed parent.

    Returns: (500, "internal_error") for one no caller should ever meet.

    >>> status_and_code(EmptyFileError("empty", remedy="send its bytes"))
    (422, 'empty_file')
    """
    return status_and_code_of(type(error))


def status_and_code_of(kind: type[MatchkaError]) -> tuple[int, str]:
    """HTTP status and stable code of an error class."""
    listed = (STATUS_AND_CODE[parent] for parent in kind.__mro__ if parent in STATUS_AND_CODE)
    return next(listed, (500, INTERNAL_ERROR))
