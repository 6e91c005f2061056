"""What the guards of requests tell the connection that a request came on; http_protocol.py acts on it."""

from typing import Final, Protocol, cast

from starlette.types import Scope

EXTENSION: Final = "matchka.connection"  # in the scope's `extensions`


class Connection(Protocol):
    """The connection of a request."""

    def note_authorised(self) -> None:
        """The request is authorised."""

    def note_refused(self) -> None:
        """The request is refused; its connection may make room for another."""

    def hang_up(self) -> bool:
        """End the connection without an answer; whether that was possible."""


class _UnknownConnection:
    """Null object: of a server with another protocol, or of a connection that has ended."""

    def note_authorised(self) -> None:
        pass

    def note_refused(self) -> None:
        pass

    def hang_up(self) -> bool:
        return False


def connection_of(scope: Scope) -> Connection:
    """The connection that a request came on."""
    return cast(Connection, scope.get("extensions", {}).get(EXTENSION) or _UnknownConnection())
