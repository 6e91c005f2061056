"""Dependencies of handlers: what the caller may do, the verifier once it is ready, and worker threads."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Annotated, TypeVar
from weakref import WeakValueDictionary

from fastapi import Depends, Request
from starlette.requests import ClientDisconnect

from matchka.api.guards.account import account_of
from matchka.api.guards.key_ring import KeyRing
from matchka.api.guards.middleware import Refused
from matchka.api.telemetry import Telemetry
from matchka.api.tracing.traces import Traces
from matchka.errors import InvalidFieldError, MatchkaError, NotReadyError, OverloadedError, UnknownFieldError
from matchka.inference.registry import ModelRegistry
from matchka.runtime.deadline import Deadline, working_for
from matchka.runtime.drain import Drain
from matchka.runtime.fairness.account import Account, working_as
from matchka.runtime.load_shedding import LoadShedder
from matchka.runtime.processes.siblings import NoSiblings, Siblings
from matchka.store.attempts import AttemptRules, Target
from matchka.store.audit.writer import AuditWriter
from matchka.store.enrolment_limits import EnrolmentLimits, Mode
from matchka.store.health import DatabaseHealth, does_not_answer
from matchka.store.keys.records import Grant
from matchka.store.keys.scopes import Scope
from matchka.store.rights.terms import TermsRights
from matchka.tasks.challenges.challenger import Challenger
from matchka.tasks.embedding.verifier import Verifier
from matchka.tasks.speech.speech import Speech

T = TypeVar("T")


@dataclass
class ServiceState:
    """What an application holds while it runs.

    `refuses_duplicates`: whether an enrolment is refused whose person another subject may be.
    `traces`: where requests are traced, if anywhere.
    `verifier`, `speech` and `challenger` are None until models are warm and galleries are loaded; `has_failed` where
    they never will be; `refusal` says why the service stays without them. `audit` is None where no log is kept.
    `siblings`: the other processes of the service.
    """

    keys: KeyRing
    workers: ThreadPoolExecutor
    request_timeout_s: float
    load_shedder: LoadShedder = field(default_factory=lambda: LoadShedder(math.inf))
    telemetry: Telemetry = field(default_factory=Telemetry)
    required_terms: frozenset[str] = frozenset()
    attempt_rules: AttemptRules = field(default_factory=lambda: AttemptRules(math.inf, 0.0))
    refuses_duplicates: bool = False
    locks_of_tries: WeakValueDictionary[tuple[str, str, Target], asyncio.Lock] = field(
        default_factory=WeakValueDictionary
    )
    verifier: Verifier | None = None
    speech: Speech | None = None
    challenger: Challenger | None = None
    audit: AuditWriter | None = None
    traces: Traces | None = None
    has_failed: bool = False
    refusal: MatchkaError | None = None
    drain: Drain = field(default_factory=Drain)
    database_health: DatabaseHealth | None = None
    siblings: Siblings = field(default_factory=NoSiblings)

    async def require_database(self) -> None:
        """Ask the database whether it answers.

        Raises: StorageFailedError: it is away, or does not answer in time.
        """
        if self.database_health is None:
            return
        try:
            await self._ask_database(self.database_health)
        except MatchkaError:
            self.telemetry.database_up.set(0)
            raise
        self.telemetry.database_up.set(1)

    async def _ask_database(self, health: DatabaseHealth) -> None:
        asked, remaining_s = health.ask()
        answer = asyncio.wrap_future(asked)
        await asyncio.wait([answer], timeout=remaining_s)
        if not answer.done():
            answer.add_done_callback(lambda late: late.exception())  # somebody has to have looked at it
            raise does_not_answer()
        answer.result()

    def require_siblings(self) -> None:
        """Refuse to be ready before every process of the service was once: whoever begins to ask shall find all.

        Raises: NotReadyError: one is still loading.
        """
        if not self.siblings.all_loaded:
            raise NotReadyError(
                "Not all processes of the service are loaded yet.", remedy="Wait until /readyz answers 200."
            )

    @property
    def not_ready(self) -> MatchkaError:
        """Why nothing is served: for the time being, or until somebody sets it right."""
        return self.refusal or NotReadyError(
            "The models are not warm or the gallery is not loaded yet.", remedy="Wait until /readyz answers 200."
        )


@dataclass(frozen=True)
class Caller:
    """What a request's key lets it do, and its way to the tasks."""

    grant: Grant
    verifier: Verifier
    speech: Speech
    challenger: Challenger
    state: ServiceState
    request: Request

    @property
    def tenant(self) -> str:
        """Whose subjects it sees."""
        return self.grant.tenant

    @property
    def models(self) -> ModelRegistry:
        """The served models, for calls that store and compare nothing."""
        return self.verifier.models

    def may(self, scope: Scope) -> bool:
        """Whether its key has a scope."""
        return scope in self.grant.scopes

    def enrolment_limits(self, mode: Mode) -> EnrolmentLimits:
        """What it may add, by a call of this mode."""
        ceilings = self.grant.ceilings
        terms = TermsRights(self.may(Scope.APPEND), self.may(Scope.SUBJECTS_DELETE), self.state.required_terms)
        return EnrolmentLimits(self.may(Scope.APPEND), ceilings.max_subjects, ceilings.max_templates, mode, terms)

    async def run(self, call: Callable[[], T], samples: int = 1) -> T:
        """Run a blocking call on a worker thread until the request's deadline, or until its client leaves.

        Args:
            call: the work.
            samples: files that it embeds; a call without any counts as one.

        Raises:
            Refused: it would wait too long for its turn.
            DeadlinePassedError: it took longer than the service lets a request take.
            ClientDisconnect: the client left.
        """
        account = account_of(self.request.scope)
        try:
            with self.state.load_shedder.at_work(samples, account):
                return await self._run(call, account)
        except OverloadedError as error:
            raise Refused(error) from error  # nothing is held for it while it is answered

    async def on_worker(self, call: Callable[[], T]) -> T:
        """Run a short blocking call, which is no work that is charged or shed, on a worker thread to its end."""
        return await asyncio.get_running_loop().run_in_executor(self.state.workers, copy_context().run, call)

    async def _run(self, call: Callable[[], T], account: Account) -> T:
        deadline = Deadline(self.state.request_timeout_s)
        work = asyncio.get_running_loop().run_in_executor(
            self.state.workers, copy_context().run, _work, deadline, account, call
        )
        leaving = asyncio.ensure_future(self._client_leaves())
        try:
            await asyncio.wait((work, leaving), timeout=deadline.remaining_s, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            if leaving.done():
                leaving.result()
                raise ClientDisconnect
            raise deadline.deadline_error
        finally:
            deadline.cancel()
            leaving.cancel()
            work.cancel()  # of no effect on what a worker has begun; that checks its deadline

    async def _client_leaves(self) -> None:
        while (await self.request.receive())["type"] != "http.disconnect":
            pass


def _work(deadline: Deadline, account: Account, call: Callable[[], T]) -> T:
    with working_for(deadline), working_as(account):
        return call()


def service_state(request: Request) -> ServiceState:
    """The application's state."""
    state: ServiceState = request.app.state.service
    return state


async def authorised(request: Request) -> Grant:
    """What the request's key lets it do.

    Raises: UnauthorizedError: keys are in force and the request has none of them.
    """
    return service_state(request).keys.grant_of(request.headers.get("authorization"))


def caller_with(*parameters: str) -> Callable[..., Awaitable[Caller]]:
    """A dependency: the caller of a call with these query parameters, checked before a byte of the body is read."""

    async def caller_of(request: Request, grant: Annotated[Grant, Depends(authorised)]) -> Caller:
        """The caller.

        Raises:
            UnauthorizedError: keys are in force, and the header has none that is valid.
            NotReadyError: the service is still loading.
            VaultLockedError: what is stored cannot be opened.
            UnknownFieldError: a query parameter that the call does not have.
        """
        state = service_state(request)
        if state.verifier is None or state.speech is None or state.challenger is None:
            raise state.not_ready
        state.require_siblings()
        _refuse_stray_parameters(request, parameters)
        return Caller(grant, state.verifier, state.speech, state.challenger, state, request)

    return caller_of


def _refuse_stray_parameters(request: Request, declared: tuple[str, ...]) -> None:
    for name, _ in request.query_params.multi_items():
        if len(request.query_params.getlist(name)) > 1:
            raise InvalidFieldError(f"The parameter {name} is given twice.", value=name, remedy="Give it once.")
        if name not in declared:
            raise UnknownFieldError(
                "This call has no such query parameter.", value=name, remedy="Send fields in the form; see /docs."
            )


CallerDep = Annotated[Caller, Depends(caller_with())]
