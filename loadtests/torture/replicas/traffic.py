"""Callers that enrol, verify, identify and delete people of their own, and remember what was acknowledged."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from loadtests.client.caller import Answer, Caller, ConnectionLostError
from loadtests.torture.replicas import people
from loadtests.torture.replicas.people import subject_of

CALLERS = 8
POSITION, IDEMPOTENCY = "Matchka-Position", "Idempotency-Key"
MOST_HELD = 40  # of each caller; then it deletes
REST_S = 0.1  # after an error, as any client that is told to come back


@dataclass(frozen=True)
class Failure:
    """A call that was not answered as it should have been; times are of time.monotonic(), status 0 is no answer."""

    call: str
    number: int
    status: int
    began: float
    ended: float
    detail: str

    def spans(self, moment: float) -> bool:
        """Whether it was in flight then."""
        return self.began <= moment <= self.ended

    def __str__(self) -> str:
        return f"{self.call} of {subject_of(self.number)} answered {self.status or 'nothing'}: {self.detail}"


@dataclass
class Journal:
    """What was asked and answered.

    Attributes:
        calls: by kind, and `answered` for those that succeeded.
        held: who was acknowledged to be enrolled.
        deleted: who was acknowledged to be deleted.
        unknown: whose enrolment or deletion was not answered with success: either is right.
        failures: calls that failed.
        wrong: answers that are not true.
        answered_at: when each success came.
    """

    calls: Counter[str] = field(default_factory=Counter)
    held: set[int] = field(default_factory=set)
    deleted: set[int] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)
    failures: list[Failure] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    answered_at: list[float] = field(default_factory=list)


def joined(journals: list[Journal]) -> Journal:
    """One journal of all callers."""
    whole = Journal()
    for one in journals:
        whole.calls += one.calls
        for name in ("held", "deleted", "unknown"):
            getattr(whole, name).update(getattr(one, name))
        for name in ("failures", "wrong", "answered_at"):
            getattr(whole, name).extend(getattr(one, name))
    return whole


class Client(threading.Thread):
    """One caller with people of its own.

    Args:
        caller: its connection.
        seed: of its samples and of what it does next.
        place: its number among all callers.
        callers: how many there are.
        with_keys: whether what it changes carries an Idempotency-Key.
    """

    def __init__(self, caller: Caller, seed: int, place: int, callers: int, with_keys: bool = True) -> None:
        super().__init__(daemon=True)
        self.finish = threading.Event()
        self.journal = Journal()
        self._caller, self._seed, self._next, self._step = caller, seed, place, callers
        self._rng = random.Random(f"{seed} {place}")
        self._with_keys = with_keys
        self._position: str | None = None

    def run(self) -> None:
        """Ask one thing after the other until it is told to finish."""
        try:
            while not self.finish.is_set():
                self._ask()
        except (LookupError, TypeError, ValueError) as error:  # of an answer that is not what was documented
            self.journal.wrong.append(f"a caller ended by itself: {error!r}")
        finally:
            self._caller.close()

    def _ask(self) -> None:
        held = self.journal.held
        if len(held) < 2:
            self._enrol_one()
        elif len(held) >= MOST_HELD:
            self._delete_one()
        else:
            often = (self._verify_one, self._identify_one)
            self._rng.choice((self._enrol_one, self._delete_one, self._embed_one, *often, *often))()

    def _enrol_one(self) -> None:
        number, self._next = self._next, self._next + self._step
        headers = self._key()
        answer = self._call("enrol", number, 201, lambda: people.enrol(self._caller, number, self._of(number), headers))
        if answer is None:
            self.journal.unknown.add(number)
        else:
            self.journal.held.add(number)
            if answer.body["template_count"] != 1:
                self.journal.wrong.append(f"{subject_of(number)} has {answer.body['template_count']} templates")

    def _delete_one(self) -> None:
        number = self._somebody()
        headers = self._key()
        self.journal.held.discard(number)
        answer = self._call("delete", number, 204, lambda: people.delete(self._caller, number, headers))
        (self.journal.unknown if answer is None else self.journal.deleted).add(number)

    def _verify_one(self) -> None:
        number = self._somebody()
        answer = self._call("verify", number, 200, lambda: people.verify(self._caller, number, self._of(number)))
        if answer is not None and not answer.body["match"]:
            self.journal.wrong.append(f"verify of {subject_of(number)}: no match")

    def _embed_one(self) -> None:
        number = self._next
        answer = self._call("embed", number, 200, lambda: people.embed_many(self._caller, self._of(number)))
        if answer is not None and len(answer.body["embeddings"]) != people.FILES:
            self.journal.wrong.append(f"embed answered {len(answer.body['embeddings'])} embeddings")

    def _identify_one(self) -> None:
        number = self._somebody()
        seen = self._seen()
        answer = self._call("identify", number, 200, lambda: people.identify(self._caller, self._of(number), seen))
        if answer is None:
            return
        if answer.body["match"] != subject_of(number):
            self.journal.wrong.append(f"identify of {subject_of(number)}: {answer.body['match']}")
        gone = people.candidates_of(answer) & {subject_of(one) for one in self.journal.deleted}
        if gone:
            self.journal.wrong.append(f"identify shows who was deleted: {sorted(gone)}")

    def _call(self, kind: str, number: int, expected: int, send: Callable[[], Answer]) -> Answer | None:
        self.journal.calls[kind] += 1
        began = time.monotonic()
        try:
            answer = send()
            status, detail = answer.status, str(answer.body)
        except ConnectionLostError as error:
            status, detail = 0, str(error)
        ended = time.monotonic()
        if status != expected:
            self.journal.failures.append(Failure(kind, number, status, began, ended, detail))
            self.finish.wait(REST_S)
            return None
        self.journal.calls["answered"] += 1
        self.journal.answered_at.append(ended)
        self._position = answer.headers.get(POSITION.lower(), self._position)
        return answer

    def _somebody(self) -> int:
        return self._rng.choice(sorted(self.journal.held))

    def _of(self, number: int) -> bytes:
        return people.sample(self._seed, number)

    def _key(self) -> dict[str, str]:
        return {IDEMPOTENCY: str(UUID(int=self._rng.getrandbits(128)))} if self._with_keys else {}

    def _seen(self) -> Mapping[str, str]:
        return {} if self._position is None else {POSITION: self._position}


@dataclass(frozen=True)
class Traffic:
    """Many callers at once."""

    clients: list[Client]

    def finish(self) -> Journal:
        """Let them end, and join what they wrote down."""
        for client in self.clients:
            client.finish.set()
        for client in self.clients:
            client.join()
        return joined([client.journal for client in self.clients])

    def answered(self) -> int:
        """How many calls have succeeded so far."""
        return sum(len(client.journal.answered_at) for client in self.clients)


def started_traffic(
    open_caller: Callable[[], Caller], seed: int, callers: int = CALLERS, with_keys: bool = True
) -> Traffic:
    """Callers that ask until they are told to finish."""
    clients = [Client(open_caller(), seed, place, callers, with_keys) for place in range(callers)]
    for client in clients:
        client.start()
    return Traffic(clients)


def lost_writes(caller: Caller, journal: Journal) -> list[str]:
    """Whom a store does not hold as it was acknowledged, asked when nobody else asks."""
    lost = []
    for number in sorted(journal.held | journal.deleted):
        answer = caller.get(f"subjects/{subject_of(number)}")
        expected = 200 if number in journal.held else 404
        if answer.status != expected:
            lost.append(f"{subject_of(number)} was acknowledged, and now answers {answer.status}")
        elif answer.status == 200 and len(answer.body["templates"]) != 1:
            lost.append(f"{subject_of(number)} has {len(answer.body['templates'])} templates")
    return lost
