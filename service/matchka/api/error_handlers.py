"""Exception handlers: every error becomes a problem document."""

import logging
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from matchka.api.problems import INTERNAL_ERROR, note_problem, problem_response, status_and_code
from matchka.api.scopes import methods_of
from matchka.errors import (
    ClientGoneError,
    InvalidFieldError,
    MatchkaError,
    MethodNotAllowedError,
    OutOfMemoryError,
    UnknownPathError,
)
from matchka.store.database_errors import as_matchka_error

CLIENT_GONE: Final = 499  # the status that web servers log for a client that left
LOGGER: Final = logging.getLogger("matchka")


def add_error_handlers(app: FastAPI) -> None:
    """Handle the service's own errors, and those of its database and memory."""

    @app.exception_handler(MatchkaError)
    async def known(_request: Request, error: MatchkaError) -> Response:
        _, code = status_and_code(error)
        if code == INTERNAL_ERROR:
            LOGGER.error("a request failed", exc_info=error)
        elif code.startswith("storage_"):
            LOGGER.error("a request failed: %s", error.detail)  # the value may name whose template is damaged
        return problem_response(error)

    @app.exception_handler(SQLAlchemyError)
    async def failed_database(_request: Request, error: SQLAlchemyError) -> Response:
        problem = as_matchka_error(error)
        if problem is None:
            raise error
        LOGGER.error("a request failed: %s", problem)  # with the driver's name for it
        return problem_response(problem)

    @app.exception_handler(MemoryError)
    async def exhausted(_request: Request, error: MemoryError) -> Response:
        LOGGER.error("a request was refused for want of memory", exc_info=error)
        return problem_response(
            OutOfMemoryError(
                "The service has no memory left for this request.",
                remedy="Try again after the seconds in Retry-After, or send fewer or smaller files.",
            )
        )


def add_framework_error_handlers(app: FastAPI) -> None:
    """Handle the framework's refusals; RequestIds answers what nobody expected."""

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = str(first["loc"][-1])
        return problem_response(
            InvalidFieldError(
                f"{name} is not valid: {first['msg']}.", value=first.get("input"), remedy="See /docs for its range."
            )
        )

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        kind = MethodNotAllowedError if error.status_code == 405 else UnknownPathError
        where = f"{request.method} {request.url.path}"
        response = problem_response(kind(f"{error.detail}.", value=where, remedy="See /docs for the calls."))
        response.headers.update(error.headers or {})
        allowed = methods_of(request.scope["path"]) if error.status_code == 405 else None
        if allowed:  # the framework knows those of one function only
            response.headers["Allow"] = ", ".join(sorted(allowed))
        return response

    @app.exception_handler(ClientDisconnect)
    async def gone(_request: Request, _error: ClientDisconnect) -> Response:
        note_problem(ClientGoneError("The client closed the connection.", remedy="Wait for the answer."))
        return Response(status_code=CLIENT_GONE)  # nobody reads it; the metrics tell it from a failure
