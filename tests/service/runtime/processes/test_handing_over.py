"""Connections on their way from the one that accepts them to the one that serves them."""

import asyncio
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from matchka.runtime.processes.handing_over import PAUSE_S, Front, Hand, HandedConnections

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no process hands connections over on Windows")

TIMEOUT_S = 120.0


class Sockets:
    """Makes sockets that are closed at the end of the test."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack

    def hand_and_child(self) -> tuple[Hand, HandedConnections]:
        own, its = socket.socketpair()
        child = self.stack.enter_context(HandedConnections(its.detach()))
        child.setblocking(False)
        hand = Hand(own)
        self.stack.callback(hand.close)
        return hand, child

    def connected(self) -> tuple[socket.socket, socket.socket]:
        """Both ends of a TCP connection, the client's first."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = self.stack.enter_context(socket.create_connection(listener.getsockname()))
            return client, self.stack.enter_context(listener.accept()[0])

    def taken(self, child: HandedConnections) -> tuple[socket.socket, object]:
        connection, peer = child.accept()
        return self.stack.enter_context(connection), peer


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    with ExitStack() as stack:
        yield Sockets(stack)


def test_connection_that_is_handed_over_is_the_same_to_its_client(sockets: Sockets):
    hand, child = sockets.hand_and_child()
    client, accepted = sockets.connected()
    assert hand.is_given(accepted)
    accepted.close()
    connection, peer = sockets.taken(child)
    assert peer == client.getsockname()
    assert connection.proto == socket.IPPROTO_TCP  # or asyncio would not send small answers at once
    connection.sendall(b"hello")
    assert client.recv(10) == b"hello"
    with pytest.raises(BlockingIOError):
        child.accept()


def test_open_connections_are_counted_until_they_end(sockets: Sockets):
    hand, child = sockets.hand_and_child()
    for _ in range(3):
        assert hand.is_given(sockets.connected()[1])
    assert hand.count() == 3
    taken = [sockets.taken(child)[0] for _ in range(3)]
    assert hand.count() == 3
    taken[0].close()
    taken[0].close()
    taken[2].close()
    assert hand.count() == 1


def test_child_that_takes_none_is_given_no_more_than_wait_and_one_that_ended_none(sockets: Sockets):
    hand, child = sockets.hand_and_child()
    _, accepted = sockets.connected()
    given = 0
    while hand.is_given(accepted):
        given += 1
    assert given == hand.count() > 1
    child.close()
    assert not hand.is_given(accepted)


def test_connection_whose_client_left_on_the_way_is_given_up_and_counted_as_ended(sockets: Sockets):
    hand, child = sockets.hand_and_child()
    client, accepted = sockets.connected()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()  # a reset
    assert hand.is_given(accepted)
    accepted.close()
    with suppress(ConnectionAbortedError):  # where the system has noticed; else the first read tells it
        sockets.taken(child)[0].close()
    assert hand.count() == 0


def test_connections_that_come_while_nobody_takes_any_wait_for_one_that_does(sockets: Sockets):
    async def scenario() -> bytes:
        hands: list[tuple[bool, Hand]] = []
        with socket.create_server(("127.0.0.1", 0)) as listener:
            front = Front(listener, lambda: hands)
            front.look()
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            full, _idle = sockets.hand_and_child()
            _, other = sockets.connected()
            while full.is_given(other):
                pass
            hands.append((True, full))
            front.look()
            await asyncio.sleep(0)
            hand, child = sockets.hand_and_child()
            hands.append((False, hand))
            front.look()

            async def answer(_: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
                out.write(b"late")
                out.close()

            server = await asyncio.start_server(answer, sock=child)
            found = await asyncio.wait_for(reader.read(), TIMEOUT_S)
            writer.close()
            server.close()
            front.close()
            return found

    assert asyncio.run(scenario()) == b"late"


def test_connection_that_a_busy_child_does_not_take_is_given_to_it_when_it_goes_on(sockets: Sockets):
    """No child comes, goes or loads meanwhile: nobody tells the front to look again."""

    async def scenario() -> socket.socket:
        hand, child = sockets.hand_and_child()
        _, other = sockets.connected()
        while hand.is_given(other):
            pass
        with socket.create_server(("127.0.0.1", 0)) as listener:
            front = Front(listener, lambda: [(True, hand)])
            front.look()
            client = sockets.stack.enter_context(socket.create_connection(listener.getsockname()))
            await asyncio.sleep(3 * PAUSE_S)  # it is looked for room twice at least, in vain
            while True:
                with suppress(BlockingIOError):
                    connection, peer = sockets.taken(child)
                    if peer == client.getsockname():
                        front.close()
                        return connection
                await asyncio.sleep(0)

    assert asyncio.run(asyncio.wait_for(scenario(), TIMEOUT_S)).fileno() > 0
