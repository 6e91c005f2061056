"""What callers of the torture of replicas remember, and what they call broken, against a server that lies."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from loadtests.client.caller import Answer, Caller
from loadtests.server import HOST
from loadtests.torture.replicas import people
from loadtests.torture.replicas.people import subject_of
from loadtests.torture.replicas.traffic import Client, Failure, Journal, Traffic, joined, lost_writes
from loadtests.torture.replicas.trials.paused import TOP_K, differences

BOUND_S = 60.0
SEED = 3
Respond = Callable[[str, str], tuple[int, object]]


@contextmanager
def answering(respond: Respond) -> Iterator[int]:
    """The port of a server whose answers are made from method and path."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = respond(self.command, self.path)
            content = b"" if status == 204 else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.do_GET()

        def do_DELETE(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def asked(respond: Respond, calls: int = 40) -> Journal:
    """What a client wrote down of a server after so many calls or more."""
    with answering(respond) as port:
        client = Client(Caller(port), SEED, 0, 1)
        client.start()
        while client.journal.calls.total() < calls and client.is_alive():
            client.join(0.01)
        client.finish.set()
        client.join(BOUND_S)
    return client.journal


def enrolled(_method: str, path: str) -> tuple[int, object]:
    """All is well, but that everybody who is looked for is nobody."""
    if path == "/v1/enroll":
        return 201, {"template_count": 1}
    return 200, {"match": True, "candidates": [], "embeddings": []}


def test_client_whose_people_are_not_found_calls_it_wrong():
    journal = asked(enrolled)
    assert journal.held
    assert journal.wrong
    assert any("identify of person-" in one for one in journal.wrong)


def test_client_that_is_refused_forgets_nothing_and_knows_nothing():
    journal = asked(lambda _method, _path: (503, {"code": "overloaded"}), calls=3)
    assert not journal.held
    assert journal.unknown == set(range(len(journal.failures)))
    assert {failure.status for failure in journal.failures} == {503}
    assert journal.calls["answered"] == 0


def test_client_that_is_shown_whom_it_deleted_says_whom():
    shown = {
        "match": None,
        "embeddings": [],
        "candidates": [{"subject_id": subject_of(number)} for number in range(200)],
    }

    def respond(method: str, path: str) -> tuple[int, object]:
        if path == "/v1/identify":
            return 200, shown
        return (204, None) if method == "DELETE" else enrolled(method, path)

    journal = asked(respond, calls=120)
    assert journal.deleted
    assert any("who was deleted" in one for one in journal.wrong)


def test_client_that_fails_by_itself_is_told_of():
    with answering(lambda _method, _path: (201, [])) as port:  # no object
        traffic = Traffic([Client(Caller(port), SEED, 0, 1)])
        traffic.clients[0].start()
        traffic.clients[0].join(BOUND_S)
        assert traffic.finish().wrong == [
            "a caller ended by itself: TypeError('list indices must be integers or slices, not str')"
        ]


def test_template_that_was_stored_twice_is_wrong():
    journal = asked(lambda _method, _path: (201, {"template_count": 2}), calls=1)
    assert journal.wrong[0] == "person-0 has 2 templates"


@pytest.mark.parametrize(
    ("held", "deleted", "found", "lost"),
    [
        ({1}, set(), (200, {"templates": [{}]}), 0),
        ({1}, set(), (404, {}), 1),
        ({1}, set(), (200, {"templates": [{}, {}]}), 1),
        (set(), {1}, (404, {}), 0),
        (set(), {1}, (200, {"templates": [{}]}), 1),
    ],
)
def test_lost_writes_are_those_that_a_store_does_not_show(
    held: set[int], deleted: set[int], found: tuple[int, object], lost: int
):
    with answering(lambda _method, _path: found) as port, closing(Caller(port)) as caller:
        assert len(lost_writes(caller, Journal(held=held, deleted=deleted))) == lost


def test_joined_journals_have_all_of_each():
    whole = joined([Journal(held={1}, wrong=["a"], answered_at=[1.0]), Journal(held={2}, deleted={3}, wrong=["b"])])
    assert (whole.held, whole.deleted, whole.wrong, whole.answered_at) == ({1, 2}, {3}, ["a", "b"], [1.0])


@pytest.mark.parametrize(("moment", "spans"), [(0.9, False), (1.0, True), (1.5, True), (2.0, True), (2.1, False)])
def test_failure_spans_what_lies_between_its_begin_and_its_end(moment: float, spans: bool):
    assert Failure("enrol", 1, 0, 1.0, 2.0, "").spans(moment) is spans


def honest(probe: int, held: list[int]) -> Answer:
    """What a replica has to answer about a probe."""
    likeness = sorted(((people.cosine(SEED, probe, one), one) for one in held), reverse=True)[:TOP_K]
    candidates = [{"subject_id": subject_of(one), "cosine": cosine} for cosine, one in likeness]
    return Answer(200, {"match": subject_of(probe) if probe in held else None, "candidates": candidates})


def test_differences_of_an_honest_answer_are_none():
    held = list(range(1, 40, 2))
    assert differences(SEED, 3, held, honest(3, held)) == []
    assert differences(SEED, 4, held, honest(4, held)) == []


@pytest.mark.parametrize("fault", ["deleted is shown", "too few", "order", "cosine", "match", "status"])
def test_differences_find_each_fault(fault: str):
    held = list(range(1, 40, 2))
    answer = honest(3, [*held, 4] if fault == "deleted is shown" else held)
    candidates = answer.body["candidates"]
    if fault == "deleted is shown":
        candidates[-1]["subject_id"] = subject_of(4)
    elif fault == "too few":
        candidates.pop()
    elif fault == "order":
        candidates.reverse()
    elif fault == "cosine":
        candidates[0]["cosine"] -= 0.001
    elif fault == "match":
        answer.body["match"] = subject_of(5)
    else:
        answer = Answer(503, {"code": "overloaded"})
    assert len(differences(SEED, 3, held, answer)) == 1
