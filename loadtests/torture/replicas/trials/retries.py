"""Answers that get lost between a replica and the proxy: what it sends again is stored once."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from uuid import uuid4

from loadtests.client.caller import Caller, ConnectionLostError
from loadtests.server import HOST, free_port
from loadtests.torture.replicas import people
from loadtests.torture.replicas.group import Group, opened_group
from loadtests.torture.replicas.people import subject_of
from loadtests.torture.replicas.proxy import caller_through, opened_proxy
from loadtests.torture.replicas.traffic import IDEMPOTENCY
from loadtests.torture.replicas.trial import Plan, Result

ENROLMENTS = 40
LOST = b"POST /v1/enroll"
UNANSWERED = (502, 0)  # on a client's further requests HAProxy closes the connection instead: "the client has to retry"
PIECE = 1 << 16
POLL_S = 0.05


@dataclass
class AnswerThief:
    """Forwards to a replica, and closes the connection in place of the answer to an enrolment. Attributes: stolen."""

    target: int
    listener: socket.socket
    stolen: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def serve(self) -> None:
        """Take connections until it has ended."""
        while not self.ended.is_set():
            with suppress(TimeoutError):
                client, _ = self.listener.accept()
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with client, socket.create_connection((HOST, self.target)) as server, suppress(OSError):
            client.settimeout(None)
            request = client.recv(PIECE)
            server.sendall(request)
            pump = threading.Thread(target=_pump, args=(client, server))
            pump.start()
            answer = server.recv(PIECE)
            if request.startswith(LOST):
                self.stolen += 1
                answer = b""
            while answer:
                client.sendall(answer)
                answer = server.recv(PIECE)
            for end in (client, server):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)  # what is only closed lives on while the pump waits for it
            pump.join()


def store_once(plan: Plan) -> Result:
    """With an Idempotency-Key the proxy asks the other replica, and the caller gets one answer of one enrolment."""
    folder = plan.out / "retries"
    with opened_group(folder, plan.cluster, 2) as group, _thief_before(group) as (thief, seen):
        with opened_proxy(folder, [seen]) as proxy:
            caller = caller_through(proxy)
            broken = []
            for number in range(ENROLMENTS):
                headers = {IDEMPOTENCY: str(uuid4())}
                answer = people.enrol(caller, number, people.sample(plan.seed, number), headers)
                if answer.status != 201 or answer.body["template_count"] != 1:
                    broken.append(f"enrol of {subject_of(number)} answered {answer.status}: {answer.body}")
            status = _unkeyed(caller, plan.seed)
            while status == 201:  # by the replica whose answers arrive
                people.delete(caller, ENROLMENTS)
                status = _unkeyed(caller, plan.seed)
            if status not in UNANSWERED:
                broken.append(f"without a key enrol answered {status}")
            for number in range(ENROLMENTS + 1):
                held = caller.get(f"subjects/{subject_of(number)}")
                if held.status != 200 or len(held.body["templates"]) != 1:
                    broken.append(f"{subject_of(number)} is {held.status}: {held.body}")
        broken += group.disagreements()
        stolen = thief.stolen
    tried = ENROLMENTS + 1
    if stolen < 2:
        broken.append(f"only {stolen} answers were lost")
    return Result(tried, tried - len(broken), tuple(broken), f"{stolen} answers lost on their way to the proxy")


def _unkeyed(caller: Caller, seed: int) -> int:
    """The status of an enrolment that the proxy must not send again; 0 where the connection was closed."""
    try:
        return people.enrol(caller, ENROLMENTS, people.sample(seed, ENROLMENTS)).status
    except ConnectionLostError:
        return 0


@contextmanager
def _thief_before(group: Group) -> Iterator[tuple[AnswerThief, Group]]:
    """A thief before the first replica, and the group as the proxy then sees it."""
    first, *others = group.replicas
    with socket.create_server((HOST, free_port())) as listener:
        listener.settimeout(POLL_S)
        thief = AnswerThief(first.port, listener)
        thread = threading.Thread(target=thief.serve)
        thread.start()
        try:
            yield thief, replace(group, replicas=[replace(first, port=listener.getsockname()[1]), *others])
        finally:
            thief.ended.set()
            thread.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(PIECE):
            sink.sendall(piece)
