"""Between a call and HTTP: the request of a call, the answer in a response, and the error where there is none."""

import inspect
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import update_wrapper
from typing import Any, Final, TypeVar

import httpx2
from pydantic import ValidationError

from matchka.client.answers import Problem
from matchka.client.calls import AnswerT, Call
from matchka.client.connection import Connection
from matchka.client.positions import HEADER, REFUSED
from matchka.errors import RefusedFile, RequestFailedError, ServiceUnreachableError

# where the service can only speak of headers and paths, which who calls it by this client never sees
REMEDIES: Final = {
    "unauthorized": "Set MATCHKA_API_KEY to the service's key, or give it to Client(api_key=…).",
    "unknown_path": "Set MATCHKA_URL to the service's root, without /v1; client and service have to be of one version.",
}
REFUSED_STATUS: Final = 422
LONGEST_WAIT_S: Final = 86400.0  # more is no answer to when: and no wait of the operating system takes any number
MethodT = TypeVar("MethodT", bound=Callable[..., Any])


def request_of(call: Call[Any], timeout_s: float, positions: Mapping[str, str]) -> Mapping[str, Any]:
    """The arguments of the HTTP library's `request`."""
    headers = {**call.headers, **positions}
    request = {"method": call.method, "url": call.path, "timeout": timeout_s, "headers": headers}
    if call.method == "GET":
        return {**request, "params": call.fields}
    # fields as parts: without a file, the library would send them as a content type that the service does not take
    parts = [(name, (None, value)) for name, value in call.fields.items()]
    return {**request, "files": [*parts, *call.files]}


@contextmanager
def failures_reported(connection: Connection, timeout_s: float) -> Iterator[None]:
    """Say in our words why no answer came.

    Raises: ServiceUnreachableError: none came.
    """
    try:
        yield
    except httpx2.RequestError as error:
        raise ServiceUnreachableError(
            _what_failed(error, timeout_s),
            value=connection.url,
            remedy="Start it with `matchka serve`, or set MATCHKA_URL to where it runs.",
        ) from error


def refused_position(response: httpx2.Response) -> str | None:
    """The position that was sent and refused before anything was done: that of a store which was replaced since."""
    if response.status_code != REFUSED_STATUS or HEADER not in response.request.headers:
        return None
    problem = _problem(response)
    sent: str = response.request.headers[HEADER]
    return sent if problem is not None and problem.code == REFUSED else None


def answer_in(response: httpx2.Response, call: Call[AnswerT]) -> AnswerT:
    """Read the answer of a call.

    Raises: RequestFailedError: the service refused. ServiceUnreachableError: another program answered.
    """
    if not response.is_success:
        raise _failure(response)
    try:
        return call.read(response.content)
    except ValueError as error:  # pydantic's, or text that is not UTF-8
        raise ServiceUnreachableError(
            "What answered is not a matchka service of this version.", value=response.url, remedy="Check the URL."
        ) from error


def documented(method: MethodT, describe: Callable[..., Call[Any]]) -> MethodT:
    """Give a method the name, the text and the parameters of the call that it sends, for help() and editors."""
    update_wrapper(method, describe, assigned=("__name__", "__doc__"))
    of_call = inspect.signature(describe)
    client = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    (answer,) = of_call.return_annotation.__args__
    signature = of_call.replace(parameters=[client, *of_call.parameters.values()], return_annotation=answer)
    method.__signature__ = signature  # type: ignore[attr-defined]  # inspect reads it, no type names it
    return method


def _what_failed(error: httpx2.RequestError, timeout_s: float) -> str:
    """The nearest reason that can be told from outside, without the library's own words."""
    if isinstance(error, httpx2.TimeoutException):
        return f"The service does not answer within {timeout_s:g} s."
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "No trusted TLS connection to the service can be made (MATCHKA_CA_FILE); http:// needs none."
        cause = cause.__cause__ or cause.__context__
    return "The service does not answer."


def _failure(response: httpx2.Response) -> RequestFailedError | ServiceUnreachableError:
    problem = _problem(response)
    if problem is None:
        return ServiceUnreachableError(
            f"What answered with status {response.status_code} is not a matchka service.",
            value=response.url,
            remedy="Check the URL.",
        )
    error = RequestFailedError(
        problem.detail,
        remedy=REMEDIES.get(problem.code, problem.remedy),
        value=problem.value,
        status=problem.status,
        code=problem.code,
        skipped=[RefusedFile(one.file, one.code, one.detail, one.remedy) for one in problem.skipped],
    )
    told = response.headers.get("retry-after", "")
    error.retry_after_s = min(LONGEST_WAIT_S, float(told)) if told.isdecimal() else None
    return error


def _problem(response: httpx2.Response) -> Problem | None:
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:
        return None
