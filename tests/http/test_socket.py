"""Opening and closing sockets, and what the operating system says in words."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest
import trio

from tests.http.wire_server import Peer, never_answering, serve
from trio_stream._http._socket import close_socket, open_tcp, os_reason, receive, receive_nowait, start_tls

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_open_tcp(host):
    async with serve(never_answering) as server:
        sock = await open_tcp(host, server.port)
        assert not sock.getblocking()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
        assert receive_nowait(sock) is None
        close_socket(sock)
        close_socket(sock)
        assert sock.fileno() == -1


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
        with trio.CancelScope() as scope:
            scope.cancel()
            await open_tcp(host, port)
        assert scope.cancelled_caught


async def test_close_wakes_the_reader():
    async with serve(never_answering) as server:
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
        peer.reset()

    async with serve(resets) as server:
        sock = await open_tcp("127.0.0.1", server.port)
        await trio.sleep(0.02)
        with pytest.raises(ConnectionResetError):
            await start_tls(sock, client_tls, server_hostname="127.0.0.1")
        assert sock.fileno() == -1

    async with serve(never_answering) as server:
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
