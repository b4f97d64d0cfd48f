"""What only a race shows: errors between a wait and its turn, looks in the middle of sending."""

from __future__ import annotations

import contextlib
import socket
import ssl

import pytest
import trio
import trio.testing

from tests.wire.answers import sized
from tests.wire.server import NEVER_ANSWERING, Peer, answering, serve
from trio_stream._http import Transport, _connection
from trio_stream._http._connection import Connection, Origin
from trio_stream._http._httpx import httpx
from trio_stream._http._request import WireRequest
from trio_stream._limits import Limits

pytestmark = pytest.mark.usefixtures("nothing_left")

ORIGIN = Origin("http", "127.0.0.1", 1)


def request_of(*buffers: bytes) -> WireRequest:
    return WireRequest(method="POST", buffers=buffers)


async def exchange(connection: Connection, request: WireRequest, read_seconds: float | None = None) -> int:
    head = await connection.exchange(
        request, limits=Limits(), send_seconds=2, read_seconds=read_seconds, on_sent=lambda: None
    )
    return head.status_code


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize(
    "origin, text",
    [(Origin("http", "host", 80), "host:80"), (Origin("https", "::1", 443), "[::1]:443")],
)
def test_origins_in_words(origin, text):
    assert str(origin) == text


@pytest.mark.parametrize(
    "url, origin",
    [
        ("http://Host.example/x", Origin("http", "host.example", 80)),
        ("https://host.example", Origin("https", "host.example", 443)),
        ("https://[::1]:8443", Origin("https", "::1", 8443)),
        ("https://bücher.example", Origin("https", "xn--bcher-kva.example", 443)),
    ],
)
def test_origins_of_urls(url, origin):
    assert Origin.of(httpx.URL(url)) == origin


async def test_others_run_while_much_is_sent(pair, monkeypatch):
    """Where the socket takes everything at once, sending yields every so many bytes."""
    ours, theirs = pair
    monkeypatch.setattr(_connection, "_SEND_UNINTERRUPTED_BYTES", 1000)
    connection = Connection(ours, ORIGIN)
    theirs.send(sized(b""))
    with trio.testing.assert_checkpoints():
        assert await exchange(connection, request_of(b"x" * 1000, b"y" * 1000)) == 200


async def test_a_look_that_fails_leaves_the_word_to_sending(pair, monkeypatch):
    ours, theirs = pair
    looks = 0

    def look(_sock: socket.socket) -> bytes | None:
        nonlocal looks
        looks += 1
        theirs.close()
        raise ConnectionResetError

    monkeypatch.setattr(_connection, "receive_nowait", look)
    monkeypatch.setattr(_connection, "_LOOK_EVERY_SECONDS", 0.01)
    with pytest.raises(httpx.NetworkError):
        await exchange(Connection(ours, ORIGIN), request_of(b"x" * 10_000_000))
    assert looks == 1


async def test_a_broken_pipe_and_no_answer(pair):
    ours, theirs = pair
    theirs.close()
    with pytest.raises(httpx.WriteError, match="broken pipe"):
        await exchange(Connection(ours, ORIGIN), request_of(b"x"))


async def test_a_broken_pipe_and_an_answer(pair):
    ours, theirs = pair
    theirs.send(sized(b"", status=b"413 Too Large"))
    theirs.close()
    connection = Connection(ours, ORIGIN)
    assert await exchange(connection, request_of(b"x")) == 413
    assert not connection.reusable


async def test_closed_between_the_wait_and_the_turn():
    """The answer wakes the task; another closes the transport before its turn."""
    transport = Transport()

    async def script(peer: Peer) -> None:
        await peer.request()
        await trio.testing.wait_all_tasks_blocked()

        class CloseFirst(trio.abc.Instrument):
            def before_task_step(self, task: trio.lowlevel.Task) -> None:
                if task.name.endswith("ask"):
                    trio.lowlevel.remove_instrument(self)
                    transport.close()

        trio.lowlevel.add_instrument(CloseFirst())
        await peer.send(sized(b""))

    async with serve(script) as server:

        async def ask() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await transport.handle_async_request(httpx.Request("GET", server.base_url))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
        assert transport.statistics().active == 0


@pytest.mark.parametrize("read_seconds", [None, 2.0])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_checkpoint_even_where_the_answer_is_there(pair, tls, read_seconds, server_tls, client_tls):
    ours, theirs = pair
    if tls:
        ours = client_tls.wrap_socket(ours, server_hostname="127.0.0.1", do_handshake_on_connect=False)
        theirs = server_tls.wrap_socket(theirs, server_side=True, do_handshake_on_connect=False)
        shake_hands(ours, theirs)
    with ours, theirs, trio.fail_after(1):
        # In one record: what TLS holds does not make the socket readable.
        theirs.send(b"x" + sized(b"", status=b"418 Too Early"))
        await trio.lowlevel.wait_readable(ours)
        assert ours.recv(1) == b"x"
        with trio.testing.assert_checkpoints():
            assert await exchange(Connection(ours, ORIGIN), request_of(b"x"), read_seconds=read_seconds) == 418
        with trio.CancelScope() as scope:
            scope.cancel()
            await exchange(Connection(ours, ORIGIN), request_of(b"x"), read_seconds=read_seconds)
        assert scope.cancelled_caught


def shake_hands(*sides: ssl.SSLSocket) -> None:
    left = list(sides)
    while left:
        for side in list(left):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
                left.remove(side)


async def test_closed_while_sending_let_others_run(pair, monkeypatch):
    ours, _ = pair
    monkeypatch.setattr(_connection, "_SEND_UNINTERRUPTED_BYTES", 1000)
    for _ in range(2):  # a wait for what is closed would be in the way of the next one
        connection = Connection(ours.dup(), ORIGIN)

        async def another_task_closes(connection=connection) -> None:
            connection.close()

        with monkeypatch.context() as patch, pytest.raises(trio.ClosedResourceError, match="by this program"):
            patch.setattr(trio.lowlevel, "checkpoint", another_task_closes)
            await exchange(connection, request_of(b"x" * 1000))


async def test_closed_while_connecting(monkeypatch):
    transport = Transport()
    connect = trio.open_tcp_stream

    async def connect_and_close(_host: str, port: int) -> trio.SocketStream:
        stream = await connect("127.0.0.1", port)
        transport.close()
        return stream

    monkeypatch.setattr(trio, "open_tcp_stream", connect_and_close)
    async with serve(NEVER_ANSWERING) as server:
        with pytest.raises(trio.ClosedResourceError):
            await transport.handle_async_request(httpx.Request("GET", f"http://localhost:{server.port}/"))
        assert transport.statistics().active == 0
        await server.closed()


async def test_a_connection_that_never_served_is_not_reusable(pair):
    connection = Connection(pair[0], ORIGIN)
    assert not connection.reusable
    connection.close()


async def test_answers_do_not_keep_requests_alive():
    """A prompt of megabytes is not held while its answer streams."""
    import sys

    from tests.http.posting import post, sender_of

    async with serve(answering(b"HTTP/1.1 200 OK\r\n\r\n")) as server, sender_of(server) as sender:
        content = bytes(bytearray(b"x" * 100_000))
        before = sys.getrefcount(content)
        response = await post(sender, content)
        assert sys.getrefcount(content) == before
        response.body.close()
