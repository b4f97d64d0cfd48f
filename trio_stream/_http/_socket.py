"""Non-blocking sockets: opening, closing, and moving bytes.

What belongs here: TCP, TLS and the waits of Trio. What does not: HTTP, and who owns a socket when.

A socket here is a plain `socket.socket` or a non-blocking `ssl.SSLSocket` (its own record layer, in C; measured at
two thirds of the CPU of `trio.SSLStream` per event), so "try, and wait only if it would block" is one exception
away, and closing is one synchronous call. Every socket that a task may wait on is closed by `close_socket`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Iterable
from typing import Any

import trio
from trio.lowlevel import wait_readable, wait_writable

RECEIVE_BYTES = 65536

_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError)

_KEEPALIVE_IDLE_SECONDS = 60
"""A model that thinks is silent for minutes: without probes a NAT forgets the connection."""


@trio.lowlevel.enable_ki_protection
def close_socket(sock: socket.socket) -> None:
    """Close now, and wake whoever waits on it with `trio.ClosedResourceError`.

    TLS ends without a close_notify: HTTP says by itself where a body ends, and nobody waits for the peer here.
    """
    # Outside of a Trio run nobody can be waiting.
    with contextlib.suppress(RuntimeError):
        if sock.fileno() >= 0:
            trio.lowlevel.notify_closing(sock)
    sock.close()


@trio.lowlevel.enable_ki_protection
async def open_tcp(host: str, port: int) -> socket.socket:
    """Connect by TCP, to whichever address of ``host`` answers first (happy eyeballs).

    A checkpoint; nothing is left of it when it is cancelled.

    Raises:
      OSError: Name or address failed; ``__cause__`` may hold one error for each address.
    """
    family = _family_of(host)
    if family is not None:
        # There is nothing to race, and a nursery with a task for that costs a quarter of opening a stream.
        sock = await _connect(family, host, port)
    else:
        stream = await trio.open_tcp_stream(host, port)
        # From here on there is no checkpoint: the socket has exactly one owner at any time.
        sock = socket.socket(fileno=stream.socket.detach())
    try:
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _keep_alive(sock)
    except BaseException:  # pragma: no cover - setsockopt does not fail on a connected socket
        sock.close()
        raise
    return sock


def _family_of(host: str) -> socket.AddressFamily | None:
    """The family of an address; None for a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError, UnicodeError):
            socket.inet_pton(family, host)
            return family
    return None


async def _connect(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    """Connect to one address. A checkpoint."""
    await trio.lowlevel.checkpoint_if_cancelled()
    sock = socket.socket(family)
    try:
        sock.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            sock.connect((host, port))
        await wait_writable(sock)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
    except BaseException:
        close_socket(sock)
        raise
    return sock


def _keep_alive(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", _KEEPALIVE_IDLE_SECONDS),
        ("TCP_KEEPINTVL", _KEEPALIVE_IDLE_SECONDS),
        ("TCP_KEEPCNT", 5),
    ):
        number = getattr(socket, option, None)
        if number is not None:  # pragma: no branch - not every platform has all three
            sock.setsockopt(socket.IPPROTO_TCP, number, value)


@trio.lowlevel.enable_ki_protection
async def start_tls(sock: socket.socket, context: ssl.SSLContext, *, server_hostname: str) -> ssl.SSLSocket:
    """Do the TLS handshake over a connected socket. Takes it over: it is closed if this fails.

    Raises:
      OSError: The handshake failed (`ssl.SSLError` is one).
      ValueError: ``server_hostname`` cannot be a server's name.
    """
    try:
        # `wrap_socket` loses the socket when it fails in these two ways, so they are found out before.
        server_hostname.encode("idna")
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        tls = context.wrap_socket(sock, server_hostname=server_hostname, do_handshake_on_connect=False)
    except BaseException:
        sock.close()
        raise
    try:
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await wait_readable(tls)
            except ssl.SSLWantWriteError:  # pragma: no cover - a handshake fits any send buffer
                await wait_writable(tls)
            else:
                return tls
    except BaseException:
        close_socket(tls)
        raise


def receive_nowait(sock: socket.socket) -> bytes | None:
    """Receive what has arrived.

    Returns:
      The bytes, ``b""`` when the peer closed, None when nothing has arrived.

    Raises:
      OSError: The connection failed.
    """
    try:
        return sock.recv(RECEIVE_BYTES)
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return None


async def receive(sock: socket.socket) -> bytes:
    """Receive, waiting if nothing has arrived. Loses nothing when it is cancelled.

    Returns:
      The bytes, ``b""`` when the peer closed.

    Raises:
      OSError: The connection failed.
      trio.ClosedResourceError: The socket was closed by this program meanwhile.
    """
    while True:
        try:
            return sock.recv(RECEIVE_BYTES)
        except _WOULD_BLOCK:
            await wait_readable(sock)
        except ssl.SSLWantWriteError:  # pragma: no cover - only a renegotiation writes in order to read
            await wait_writable(sock)


def os_reason(error: OSError) -> str:
    """Say in a few words what the operating system reported, for all addresses that were tried."""
    # Trio reports the attempts on several addresses as a group, which is the cause of one OSError.
    errors: Iterable[Any] = getattr(error.__cause__, "exceptions", (error,))
    reasons: dict[str, None] = {}
    for exc in errors:
        number: int | None = None if isinstance(exc, (socket.gaierror, ssl.SSLError)) else exc.errno
        # Trio puts the address into `strerror`; the number's own sentence is the plain one.
        reason = str(exc.strerror or exc) if number is None else os.strerror(number)
        reasons[reason[:1].lower() + reason[1:] or type(exc).__name__] = None
    return "; ".join(reasons)
