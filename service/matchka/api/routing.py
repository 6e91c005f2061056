"""Routes that need a scope each, keep their callers within their rights, and show scores to whom they belong."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext, suppress
from functools import wraps
from typing import Annotated, Any, ParamSpec, TypeVar

from fastapi import APIRouter, Depends

from matchka.api.answers.answer import Answer
from matchka.api.dependencies import Caller, authorised
from matchka.api.forms import Form
from matchka.api.scopes import OPEN, SCOPES
from matchka.api.tries import tries_of
from matchka.errors import InvalidSubjectIdError
from matchka.runtime.audited_request import AuditedRequest, current_request
from matchka.store.keys.records import Grant
from matchka.store.keys.scopes import Scope, missing_scope
from matchka.store.subject_id import check_subject_id

P = ParamSpec("P")
T = TypeVar("T")


class GuardedRouter(APIRouter):
    """A router whose calls all have a row in matchka.api.scopes.

    Raises: LookupError: a call has none.
    """

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Add a call with what its row asks for; the rest is FastAPI's."""
        calls = {(method, path) for method in options["methods"]}
        if calls <= OPEN:
            super().add_api_route(path, endpoint, **options)
            return
        needed = [Depends(requires(SCOPES[call], " ".join(call))) for call in calls]
        given = options.pop("dependencies", None) or ()
        super().add_api_route(path, guarded(endpoint), dependencies=[*needed, *given], **options)


def requires(scope: Scope | None, call: str) -> Callable[..., Awaitable[None]]:
    """A dependency: refuses a caller without a scope, before a byte of the body is read; names the call."""

    async def require(grant: Annotated[Grant, Depends(authorised)]) -> None:
        """Check the scope.

        Raises: MissingScopeError: the key does not have it.
        """
        asked = current_request()
        if asked is not None:
            asked.call = call
        if scope is not None and scope not in grant.scopes:
            raise missing_scope(scope)

    return require


def note_asked(asked: AuditedRequest, arguments: Mapping[str, object]) -> None:
    """Say in the audit log on whom and which model a call is made."""
    for value in arguments.values():
        if isinstance(value, Form):
            asked.subject_id, asked.model = getattr(value, "subject_id", None), getattr(value, "model", None)
    with suppress(InvalidSubjectIdError):
        in_path = arguments.get("subject_id")
        asked.subject_id = check_subject_id(in_path) if isinstance(in_path, str) else asked.subject_id


def guarded(endpoint: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """A call that keeps to what its caller may do."""

    @wraps(endpoint)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        asked = current_request()
        if asked is not None:
            note_asked(asked, kwargs)
        caller = next((value for value in kwargs.values() if isinstance(value, Caller)), None)
        if caller is None:
            return await endpoint(*args, **kwargs)
        tries = None
        for name, value in kwargs.items():
            if isinstance(value, Form):
                kwargs[name] = value.within(caller.grant.ceilings)
                tries = tries_of(caller, value.target, getattr(value, "model", ""))
        async with nullcontext() if tries is None else tries.admitted():
            answer = await endpoint(*args, **kwargs)
            if tries is not None and isinstance(answer, Answer) and answer.failed_tries:
                await tries.note_failed(answer.failed_tries)
        if asked is not None and isinstance(answer, Answer):
            asked.decided = answer.decided
        if isinstance(answer, Answer) and not caller.may(Scope.SCORES):
            return answer.without_scores()
        return answer

    return call
