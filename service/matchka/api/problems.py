"""Errors -> application/problem+json replies."""

from typing import Final

from starlette.responses import Response

from matchka.api.schemas import Problem
from matchka.errors import MatchkaError, status_and_code

RETRY_AFTER_S: Final = "1"
MEDIA_TYPE: Final = "application/problem+json"
HEADERS: Final = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": RETRY_AFTER_S}}  # that statuses call for


def problem_response(error: MatchkaError) -> Response:
    """The reply to an error; 401 and 503 carry the headers that their statuses call for."""
    status, code = status_and_code(error)
    problem = Problem(
        type=f"urn:matchka:problem:{code}",
        title=code.replace("_", " ").capitalize(),
        status=status,
        code=code,
        detail=error.detail,
        value=error.value,
        remedy=error.remedy,
    )
    return Response(problem.model_dump_json(), status, HEADERS.get(status), MEDIA_TYPE)
