"""What the connections take from the server's own protocol; tests/end_to_end/test_hostile_clients.py has the rest."""

import inspect

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle


def test_server_still_has_what_is_overridden():
    """Another uvicorn may name it otherwise; without it, answers could be written to connections that are closed."""
    assert list(inspect.signature(HttpToolsProtocol._start_asgi_task).parameters) == ["self", "cycle", "app"]
    assert {"disconnected", "message_event"} <= set(vars_of(RequestResponseCycle))


def vars_of(kind: type) -> list[str]:
    """Attributes that its constructor sets."""
    return [word.removeprefix("self.") for word in inspect.getsource(kind.__init__).split() if word.startswith("self.")]
