"""Routes that need a scope each, keep their callers within their rights, and show scores to whom they belong."""

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from functools import wraps
from typing import Annotated, Any, ParamSpec, TypeVar

from fastapi import APIRouter, Depends

from matchka.api.dependencies import Caller, authorised
from matchka.api.forms import Form
from matchka.api.schemas import Answer
from matchka.api.scopes import OPEN, SCOPES
from matchka.api.tries import tries_of
from matchka.store.keys.records import Grant
from matchka.store.keys.scopes import Scope, missing_scope

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
        needed = [Depends(requires(SCOPES[call])) for call in calls]
        given = options.pop("dependencies", None) or ()
        super().add_api_route(path, guarded(endpoint), dependencies=[*needed, *given], **options)


def requires(scope: Scope | None) -> Callable[..., Awaitable[None]]:
    """A dependency: refuses a caller without a scope, before a byte of the body is read."""

    async def require(grant: Annotated[Grant, Depends(authorised)]) -> None:
        """Check the scope.

        Raises: MissingScopeError: the key does not have it.
        """
        if scope is not None and scope not in grant.scopes:
            raise missing_scope(scope)

    return require


def guarded(endpoint: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """A call that keeps to what its caller may do."""

    @wraps(endpoint)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
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
        if isinstance(answer, Answer) and not caller.may(Scope.SCORES):
            return answer.without_scores()
        return answer

    return call
