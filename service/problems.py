"""Errors -> application/problem+json replies."""

from starlette.responses import Response

from service.errors import MatchkaError, status_and_code
from service.schemas import Problem

RETRY_AFTER_S = "1"
MEDIA_TYPE = "application/problem+json"


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
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": RETRY_AFTER_S}}.get(status, {})
    return Response(problem.model_dump_json(), status, headers, MEDIA_TYPE)
