"""The OpenAPI document: FastAPI's own, with every error that each call may answer, and examples."""

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI
from fastapi.routing import APIRoute

from matchka import errors
from matchka.api.answers.service import Problem
from matchka.api.bodies.json_object import JSON
from matchka.api.examples import EXAMPLES
from matchka.api.problems import HEADERS, MEDIA_TYPE, status_and_code_of
from matchka.api.scopes import SCOPES
from matchka.errors import MatchkaError
from matchka.modalities import MODALITIES

WITHOUT_KEY: Final = ("/healthz", "/readyz")
BEARER: Final = "key"
METHODS: Final = ("get", "put", "post", "patch", "delete")
NOT_OF_A_CALL: Final = frozenset({errors.UnknownPathError, errors.MethodNotAllowedError, errors.ClientGoneError})

# A call that has all of the first column may answer the errors of the second. What a call has: see _traits_of().
# The errors of a modality that are not named here are those of every call with samples.
ERRORS: Final[tuple[tuple[frozenset[str], tuple[type[MatchkaError], ...]], ...]] = (
    (
        frozenset(),
        (
            errors.InvalidHostError,
            errors.ForbiddenHostError,
            errors.CrossSiteError,
            errors.UnexpectedError,
            errors.OutOfMemoryError,
        ),
    ),
    (frozenset({"key"}), (errors.UnauthorizedError, errors.TooManyRequestsError)),
    (frozenset({"scope"}), (errors.MissingScopeError,)),
    (frozenset({"path", "key_id"}), (errors.UnknownKeyError,)),
    (frozenset({"/v1/keys", "post"}), (errors.StorageFullError,)),
    (frozenset({"max_fmr", "model"}), (errors.CeilingError,)),
    (frozenset({"max_fpir", "model"}), (errors.CeilingError,)),
    *((frozenset({path}), (errors.TooManyAttemptsError,)) for path in ("/v1/verify", "/v1/identify", "/v1/enroll")),
    (
        frozenset({"/readyz"}),
        (
            errors.NotReadyError,
            errors.DrainingError,
            errors.GalleryStaleError,
            errors.GalleryUnavailableError,
            errors.VaultLockedError,
        ),
    ),
    (
        frozenset({"work"}),
        (
            errors.UnknownFieldError,
            errors.InvalidFieldError,
            errors.NotReadyError,
            errors.OverloadedError,
            errors.DeadlinePassedError,
            errors.StorageDamagedError,
            errors.StorageFailedError,
            errors.VaultLockedError,
        ),
    ),
    (
        frozenset({"form"}),
        (
            errors.MalformedFormError,
            errors.UploadTimeoutError,
            errors.BodyTooLargeError,
            errors.UnsupportedContentTypeError,
            errors.MissingFieldError,
            errors.TooManyFilesError,
        ),
    ),
    (frozenset({"model"}), (errors.UnknownModelError, errors.OutputNotAvailableError)),
    (frozenset({"descriptor"}), (errors.UnknownDescriptorError,)),
    (frozenset({"dim"}), (errors.UntrainedDimError,)),
    (frozenset({"dimensions"}), (errors.UntrainedDimError,)),
    (frozenset({"subject_id"}), (errors.InvalidSubjectIdError,)),
    (frozenset({"/v1/audit"}), (errors.InvalidSubjectIdError,)),
    (frozenset({"path", "subject_id"}), (errors.UnknownSubjectError,)),
    (frozenset({"path", "template_id"}), (errors.UnknownTemplateError,)),
    (
        frozenset({"subject_id", "max_fmr"}),
        (errors.UnknownSubjectError, errors.NotEnrolledError, errors.OtherVersionError),
    ),
    (
        frozenset({"/v1/challenges"}),
        (
            errors.UnknownSubjectError,
            errors.OutputNotAvailableError,
            errors.TooManyChallengesError,
            errors.StorageFullError,
        ),
    ),
    (
        frozenset({"challenge_id"}),
        (
            errors.ChallengeNotRedeemableError,
            errors.DurationMismatchError,
            errors.DistortedClipError,
            errors.UnknownWordsError,
            errors.DuplicateSampleError,
            errors.StorageFullError,
        ),
    ),
    (frozenset({"/v1/transcribe"}), (errors.DurationMismatchError,)),
    (
        frozenset({"text"}),
        (errors.EmptyTextError, errors.UnknownWordsError, errors.DurationMismatchError, errors.DistortedClipError),
    ),
    (
        frozenset({"/v1/enroll"}),
        (
            errors.NoSpeechError,
            errors.DuplicateSampleError,
            errors.AlreadyEnrolledError,
            errors.IdempotencyKeyReusedError,
            errors.EnrolmentUndoneError,
            errors.UnknownSubjectError,
            errors.NotEnrolledError,
            errors.DiffersFromSubjectError,
            errors.SamplesDifferError,
            errors.LikelyDuplicateError,
            errors.GalleryStaleError,
            errors.GalleryUnavailableError,
            errors.QuotaReachedError,
            errors.StorageFullError,
        ),
    ),
    (frozenset({"consent"}), (errors.ConsentRequiredError, errors.StorageFullError)),
    (frozenset({"delete"}), (errors.StorageFullError,)),
    (
        frozenset({"file"}),
        (
            errors.EmptyFileError,
            errors.TruncatedFileError,
            errors.FormatNotEnabledError,
            errors.ZeroVectorError,
            errors.NonFiniteEmbeddingError,
        ),
    ),
    (frozenset({"/v1/identify"}), (errors.TooManyFacesError, errors.PositionError, errors.GalleryStaleError)),
    *((frozenset({path}), (errors.GalleryUnavailableError,)) for path in ("/v1/identify", "/v1/models")),
)


# of calls, by what they are about: generators make a class of each
TAGS: Final = {
    "embeddings": "Samples become vectors; nothing is stored.",
    "decisions": "Is this the subject, are these two the same, who is it; and challenges against recordings.",
    "subjects": "Enrolment, and what is held of whom.",
    "analysis": "Classes, phones, pronunciation and settings; nothing is stored.",
    "models": "What is served, and what was measured of it.",
    "keys": "API keys of the caller's tenant.",
    "audit": "Who asked for what, and what was decided.",
    "operation": "Health, readiness and metrics.",
}


def operation_id(route: APIRoute) -> str:
    """What generated clients call a call: its function's name, which is part of the interface, in camel case."""
    first, *others = route.name.split("_")
    return first + "".join(part.capitalize() for part in others)


class DescribedApi(FastAPI):
    """FastAPI with a document that declares the errors of its calls."""

    def openapi(self) -> dict[str, Any]:
        """The document, made at the first call."""
        if self.openapi_schema is None:
            document = super().openapi()
            document["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
            declare_errors(document)
            add_examples(document)
        described: dict[str, Any] = super().openapi()
        return described


def declare_errors(document: dict[str, Any]) -> None:
    """Declare in a document what its calls answer beside their own answers, each error by its status and code."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for framework_schema in ("HTTPValidationError", "ValidationError"):  # no call answers them
        schemas.pop(framework_schema, None)
    schemas["Problem"] = _problem_schema()
    components["securitySchemes"] = {BEARER: {"type": "http", "scheme": "bearer"}}
    for path, call in document["paths"].items():
        for method in METHODS:
            if method in call:
                _declare(path, method, call[method])


def add_examples(document: dict[str, Any]) -> None:
    """Add examples of requests and answers to the calls that have some."""
    operations = [call[method] for call in document["paths"].values() for method in METHODS if method in call]
    for operation in operations:
        example = EXAMPLES.get(operation["operationId"])
        if example is None:
            continue
        operation["requestBody"]["content"][JSON]["example"] = example.request
        succeeded = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
        succeeded["content"][JSON]["example"] = example.answer


def _problem_schema() -> dict[str, Any]:
    """The schema of every error, whose parts the document has as components of its own."""
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return schema


def _declare(path: str, method: str, operation: dict[str, Any]) -> None:
    traits = _traits_of(path, method, operation)
    if "key" in traits:
        operation["security"] = [{BEARER: []}]
    by_status: dict[int, dict[str, str]] = {}
    for kind in _errors_of(traits):
        status, code = status_and_code_of(kind)
        by_status.setdefault(status, {})[code] = (kind.__doc__ or "").splitlines()[0]
    own = {status: answer for status, answer in operation["responses"].items() if status.startswith("2")}
    refusals = {str(status): _refusal(status, codes) for status, codes in sorted(by_status.items())}
    operation["responses"] = own | refusals


def _traits_of(path: str, method: str, operation: dict[str, Any]) -> frozenset[str]:
    """What a call has that decides which errors it may answer.

    Returns: its path, its method, the names of its form's fields and of its path's parameters; `key` where it needs
        one, `scope` where it needs one of its scopes, `work` for calls of /v1, `path` where its path has parameters,
        `form`, and `file` for one with samples.
    """
    traits = {path, method}
    if path not in WITHOUT_KEY:
        traits.add("key")
    if SCOPES.get((method.upper(), path)) is not None:
        traits.add("scope")
    if path.startswith("/v1/"):
        traits.add("work")
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            traits |= {"path", parameter["name"]}
    for content in operation.get("requestBody", {}).get("content", {}).values():
        fields = content["schema"]["properties"]
        traits |= {"form", *fields}
        if any("file" in name or _is_file(described) for name, described in fields.items()):
            traits.add("file")
    return frozenset(traits)


def _is_file(described: dict[str, Any]) -> bool:
    return "binary" in (described.get("format"), described.get("items", {}).get("format"))


def _errors_of(traits: frozenset[str]) -> Iterator[type[MatchkaError]]:
    for needed, kinds in ERRORS:
        if needed <= traits:
            yield from kinds
    if "file" in traits:
        named = {kind for _, kinds in ERRORS for kind in kinds}
        yield from (kind for known in MODALITIES.values() for kind in known.errors if kind not in named)


def _refusal(status: int, codes: dict[str, str]) -> dict[str, Any]:
    """The response object of one status: the problem document, with the codes that it may carry."""
    described: dict[str, Any] = {
        "description": "\n".join(f"- `{code}`: {meaning}" for code, meaning in codes.items()),
        "content": {
            MEDIA_TYPE: {
                "schema": {
                    "allOf": [{"$ref": "#/components/schemas/Problem"}],
                    "properties": {"status": {"const": status}, "code": {"enum": list(codes)}},
                }
            }
        },
    }
    headers = HEADERS.get(status, {})
    if headers:
        described["headers"] = {
            name: {"schema": {"type": "string"}, "example": value} for name, value in headers.items()
        }
    return described
