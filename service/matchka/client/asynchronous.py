"""The asynchronous client: the same calls as coroutines.

>>> async def names() -> list[str]:
...     async with AsyncClient("http://127.0.0.1:8000") as client:
...         return [model.name for model in (await client.models()).models]
"""

import asyncio
from collections.abc import Callable, Coroutine
from os import PathLike
from types import TracebackType
from typing import Any, Concatenate, ParamSpec

import httpx2

from matchka.client import calls
from matchka.client.calls import AnswerT, Call
from matchka.client.connection import DEFAULT_TIMEOUT_S, connection_to
from matchka.client.positions import Positions
from matchka.client.readiness import POLL_S, ReadinessDeadline
from matchka.client.retries import IMPATIENT, Patience, Retries
from matchka.client.transport import answer_in, documented, failures_reported, refused_position, request_of
from matchka.errors import RequestFailedError, ServiceUnreachableError

P = ParamSpec("P")


def _sent(
    describe: Callable[P, Call[AnswerT]],
) -> "Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, AnswerT]]":
    """The coroutine that sends a call and waits for its answer."""

    async def method(client: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> AnswerT:
        # in a thread: files are read here, from a disk that may be slow
        return await client._send(await asyncio.to_thread(describe, *args, **kwargs))

    return documented(method, describe)


class AsyncClient:
    """A client of a running service for asyncio, whose connections stay open between calls. Tasks of one loop share it.

    Use it with `async with`, or close it. Arguments, calls and errors are those of `Client`.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        ca_file: str | PathLike[str] | None = None,
        patience: Patience = IMPATIENT,
    ) -> None:
        self._patience = patience
        self._connection = connection_to(url, api_key, timeout_s, ca_file)
        self._http = self._connection.open(httpx2.AsyncClient)
        self._positions = Positions()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; the client cannot be used any more."""
        await self._http.aclose()

    @property
    def url(self) -> str:
        """Where the service is, without a slash at the end."""
        return self._connection.url

    @property
    def key_id(self) -> str | None:
        """The id in a key that the service made; None of the one that it was started with, and where there is none."""
        return self._connection.key_id

    embed = _sent(calls.embed)
    enroll = _sent(calls.enroll)
    verify = _sent(calls.verify)
    verify_jointly = _sent(calls.verify_jointly)
    challenge = _sent(calls.challenge)
    head_turn = _sent(calls.head_turn)
    verify_turning = _sent(calls.verify_turning)
    pronounce = _sent(calls.pronounce)
    transcribe = _sent(calls.transcribe)
    compare = _sent(calls.compare)
    identify = _sent(calls.identify)
    classify = _sent(calls.classify)
    generate = _sent(calls.generate)
    morph = _sent(calls.morph)
    subjects = _sent(calls.subjects)
    subject = _sent(calls.subject)
    change_subject = _sent(calls.change_subject)
    export_subject = _sent(calls.export_subject)
    delete_subject = _sent(calls.delete_subject)
    receipt_of_deletion = _sent(calls.receipt_of_deletion)
    receipt_key = _sent(calls.receipt_key)
    delete_template = _sent(calls.delete_template)
    models = _sent(calls.models)
    keys = _sent(calls.keys)
    create_key = _sent(calls.create_key)
    revoke_key = _sent(calls.revoke_key)
    audit = _sent(calls.audit)
    metrics = _sent(calls.metrics)

    async def wait_until_ready(self, timeout_s: float) -> None:
        """Wait until the service is ready.

        Raises: ServiceUnreachableError: it is not, timeout_s seconds later.
        """
        deadline = ReadinessDeadline(self._connection, timeout_s)
        while True:
            try:
                await self._send(calls.ready(), deadline.answer_timeout_s)
                return
            except (ServiceUnreachableError, RequestFailedError) as error:
                deadline.require_more(error)
            await asyncio.sleep(POLL_S)

    async def _send(self, call: Call[AnswerT], timeout_s: float | None = None) -> AnswerT:
        limit_s = timeout_s or self._connection.timeout_s
        retries = Retries(call, self._patience)
        while True:
            with failures_reported(self._connection, limit_s):
                try:
                    response = await self._http.request(**request_of(call, limit_s, self._positions.headers))
                except httpx2.RequestError as error:
                    pause_s = retries.pause_after_error(error)
                else:
                    self._positions.note(response)
                    refused = refused_position(response)
                    if refused is not None:
                        self._positions.forget(refused)
                        continue
                    told_s = retries.pause_after_answer(response)
                    if told_s is None:
                        return answer_in(response, call)
                    pause_s = told_s
            await asyncio.sleep(pause_s)
