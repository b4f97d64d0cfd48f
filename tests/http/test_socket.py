"""Opening and closing sockets, and what the operating system says in words."""

from __future__ import annotations

import contextlib
import errno
import resource
import socket
import ssl
from types import SimpleNamespace

import pytest
import trio

from tests.http.posting import open_tcp
from tests.wire.server import NEVER_ANSWERING, Peer, serve
from trio_stream._http import _socket
from trio_stream._http._socket import (
    begin_tcp,
    close_socket,
    finish_tcp,
    hung_up,
    options_of,
    os_reason,
    receive,
    receive_nowait,
    start_tls,
)

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_open_tcp(host):
    async with serve(NEVER_ANSWERING) as server:
        sock = await open_tcp(host, server.port)
        assert not sock.getblocking()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
        assert receive_nowait(sock) is None
        close_socket(sock)
        close_socket(sock)
        assert sock.fileno() == -1


def test_keep_alive_by_the_name_of_each_system():
    """macOS has its own for the time until the first probe."""
    linux = SimpleNamespace(TCP_NODELAY=1, SO_KEEPALIVE=9, TCP_KEEPIDLE=4, TCP_KEEPINTVL=5, TCP_KEEPCNT=6)
    macos = SimpleNamespace(TCP_NODELAY=1, SO_KEEPALIVE=8, TCP_KEEPALIVE=16, TCP_KEEPINTVL=257, TCP_KEEPCNT=258)
    bare = SimpleNamespace(TCP_NODELAY=1, SO_KEEPALIVE=8)
    tcp = socket.IPPROTO_TCP
    assert {(tcp, 4, 60), (tcp, 5, 60), (tcp, 6, 5)} <= set(options_of(linux))
    assert {(tcp, 16, 60), (tcp, 257, 60), (tcp, 258, 5)} <= set(options_of(macos))
    assert len(options_of(bare)) == 2


async def test_a_name_looked_up_when_descriptors_run_out(monkeypatch):
    """The resolver, which cannot open a socket, says only that there is no such name."""

    async def resolves_nothing(*_args: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(trio, "open_tcp_stream", resolves_nothing)
    with pytest.raises(socket.gaierror):
        await open_tcp("api.test", 80)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [socket.socket()]
    resource.setrlimit(resource.RLIMIT_NOFILE, (held[0].fileno() + 20, limits[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(socket.socket())
        with pytest.raises(OSError, match="Too many open files") as caught:
            await open_tcp("api.test", 80)
        assert os_reason(caught.value) == "too many open files"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for sock in held:
            sock.close()


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
async def test_open_tcp_at_an_address(family, host):
    with socket.socket(family) as listener:
        try:
            listener.bind((host, 0))
        except OSError:
            pytest.skip(f"this machine has no {host}")
        port = listener.getsockname()[1]
        with pytest.raises(ConnectionRefusedError, match="refused"):
            await open_tcp(host, port)
        listener.listen()
        sock = await open_tcp(host, port)
        assert sock.family == family
        assert sock.getpeername()[:2] == (host, port)
        close_socket(sock)


async def test_a_connection_that_is_not_there_at_once(monkeypatch):
    """As everywhere but on this machine."""
    monkeypatch.setattr(_socket, "_is_connected", lambda _: False)
    async with serve(NEVER_ANSWERING) as server:
        sock, connected = begin_tcp("127.0.0.1", server.port)
        assert not connected
        with trio.testing.assert_checkpoints():
            sock = await finish_tcp(sock, "127.0.0.1", server.port)
        assert sock.getpeername() == ("127.0.0.1", server.port)
        close_socket(sock)
        sock, _ = begin_tcp("127.0.0.1", server.port)
        with trio.CancelScope() as scope:
            scope.cancel()
            await finish_tcp(sock, "127.0.0.1", server.port)
        assert scope.cancelled_caught
        assert sock is not None
        assert sock.fileno() == -1


def test_an_address_that_cannot_be_reached():
    """Without a wait; `nothing_left` sees that the socket is closed."""
    with pytest.raises(OSError, match="unreachable"):
        begin_tcp("255.255.255.255", 1)
    with pytest.raises(OverflowError):
        begin_tcp("127.0.0.1", 65536)


async def test_close_wakes_the_reader():
    async with serve(NEVER_ANSWERING) as server:
        sock = await open_tcp("127.0.0.1", server.port)
        async with trio.open_nursery() as nursery:

            async def waits() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await receive(sock)

            nursery.start_soon(waits)
            await trio.testing.wait_all_tasks_blocked()
            close_socket(sock)


async def test_tls_takes_the_socket_over(client_tls):
    """Whatever goes wrong, it is closed."""

    async def resets(peer: Peer) -> None:
        peer.close(rst=True)

    async with serve(resets) as server:
        sock = await open_tcp("127.0.0.1", server.port)
        await trio.sleep(0.02)
        with pytest.raises(ConnectionResetError):
            await start_tls(sock, client_tls, server_hostname="127.0.0.1")
        assert sock.fileno() == -1

    async with serve(NEVER_ANSWERING) as server:
        for name in (".example", "a" * 64):
            sock = await open_tcp("127.0.0.1", server.port)
            with pytest.raises(UnicodeError):
                await start_tls(sock, client_tls, server_hostname=name)
            assert sock.fileno() == -1


@pytest.mark.parametrize(
    "error, text",
    [
        (OSError(errno.ECONNREFUSED, "Error connecting to ('::1', 1): Connection refused"), "connection refused"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "name or service not known"),
        (ssl.SSLError(1, "[SSL] odd"), "[SSL] odd"),
        (OSError("no number"), "no number"),
        (OSError(), "OSError"),
    ],
)
def test_os_reason(error, text):
    assert os_reason(error) == text


def test_os_reason_of_several_addresses():
    """Each reason once."""
    refused = [OSError(errno.ECONNREFUSED, "x"), OSError(errno.ECONNREFUSED, "y")]
    error = OSError("all attempts to connect failed")
    error.__cause__ = ExceptionGroup("attempts", [*refused, OSError(errno.ENETUNREACH, "z")])
    assert os_reason(error) == "connection refused; network is unreachable"


def test_who_has_hung_up():
    """A socket that is closed here is nobody's any more, and does not count."""
    ours, theirs = socket.socketpair()
    closed = socket.socket()
    closed.close()
    with ours:
        assert hung_up([ours, closed]) == 0
        theirs.send(b"last words")
        theirs.close()
        assert hung_up([ours, closed]) == 1
        assert ours.recv(100) == b"last words"
