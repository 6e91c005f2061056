"""The Python client: every call of the HTTP interface as a method, every problem document as an exception.

>>> client = Client("http://127.0.0.1:8000")  # nothing is sent yet
>>> client.close()
"""

import time
import weakref
from collections.abc import Callable
from os import PathLike
from types import TracebackType
from typing import Concatenate, ParamSpec

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


def _sent(describe: Callable[P, Call[AnswerT]]) -> "Callable[Concatenate[Client, P], AnswerT]":
    """The method that sends a call and waits for its answer."""

    def method(client: "Client", /, *args: P.args, **kwargs: P.kwargs) -> AnswerT:
        return client._send(describe(*args, **kwargs))

    return documented(method, describe)


class Client:
    """A client of a running service, whose connections stay open between calls. Threads may share it.

    Enrolments are sent again, a few times, where no answer came or the service has no room: each has a key by which it
    is stored once (matchka.client.retries). With patience, calls that change nothing are sent again where the service
    has no room. No other call is repeated: whoever deletes knows whether it was done, or that nobody can say. What was
    enrolled or deleted by a client shows in all that it asks afterwards, whichever replica of the service answers.

    Args:
        url: where the service is; MATCHKA_URL by default.
        api_key: sent as a bearer token; MATCHKA_API_KEY by default, none where it is empty.
        timeout_s: longest wait for one answer.
        ca_file: PEM file of the trusted authorities; MATCHKA_CA_FILE by default, the system's where it is empty.
        patience: with a service that has no room; none by default.

    Raises: SettingsError: no http(s) address, a key that no header can carry, or a proxy or file that cannot be used.
    Every method raises:
        RequestFailedError: the service refused; the error carries its code, the value and the remedy.
        ServiceUnreachableError: there was no answer.
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
        self._http = self._connection.open(httpx2.Client)
        self._positions = Positions()
        self._closing = weakref.finalize(self, self._http.close)  # also where nobody closes it

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the client cannot be used any more."""
        self._closing()

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

    def wait_until_ready(self, timeout_s: float) -> None:
        """Wait until the service is ready.

        Raises: ServiceUnreachableError: it is not, timeout_s seconds later.
        """
        deadline = ReadinessDeadline(self._connection, timeout_s)
        while True:
            try:
                self._send(calls.ready(), deadline.answer_timeout_s)
                return
            except (ServiceUnreachableError, RequestFailedError) as error:
                deadline.require_more(error)
            time.sleep(POLL_S)

    def _send(self, call: Call[AnswerT], timeout_s: float | None = None) -> AnswerT:
        limit_s = timeout_s or self._connection.timeout_s
        retries = Retries(call, self._patience)
        while True:
            with failures_reported(self._connection, limit_s):
                try:
                    response = self._http.request(**request_of(call, limit_s, self._positions.headers))
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
            time.sleep(pause_s)
