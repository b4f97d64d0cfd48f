"""Non-blocking sockets: opening, closing, and moving bytes.

What belongs here: TCP, TLS and the waits of Trio. What does not: HTTP, and who owns a socket when.

A socket here is a plain `socket.socket` or a non-blocking `ssl.SSLSocket` (its own record layer, in C; measured at
two thirds of the CPU of `trio.SSLStream` per event), so "try, and wait only if it would block" is one exception
away, and closing is one synchronous call. Every socket that a task may wait on is closed by `close_socket`.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import select
import socket
import ssl
import struct
import sys
from collections.abc import Iterable
from typing import Any

import trio
from trio.lowlevel import wait_readable, wait_writable

RECEIVE_BYTES = 65536

_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError)

_KEEPALIVE_IDLE_SECONDS = 60
"""A model that thinks is silent for minutes: without probes a NAT forgets the connection."""


def options_of(module: object) -> tuple[tuple[int, int, int], ...]:
    """The options of every socket, as far as the system's ``socket`` module knows them."""
    return tuple(
        (level, getattr(module, name), value)
        for level, name, value in (
            (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
            (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
            (socket.IPPROTO_TCP, "TCP_KEEPIDLE", _KEEPALIVE_IDLE_SECONDS),
            (socket.IPPROTO_TCP, "TCP_KEEPALIVE", _KEEPALIVE_IDLE_SECONDS),  # the same on macOS, under its own name
            (socket.IPPROTO_TCP, "TCP_KEEPINTVL", _KEEPALIVE_IDLE_SECONDS),
            (socket.IPPROTO_TCP, "TCP_KEEPCNT", 5),
        )
        if hasattr(module, name)
    )


_OPTIONS = options_of(socket)

_NO_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)

_HANGS_UP = getattr(select, "POLLRDHUP", 0)  # a reset, and what other systems say, is told without asking

_UNDER_WAY = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)


@trio.lowlevel.enable_ki_protection
def close_socket(sock: socket.socket) -> None:
    """Close now, and wake whoever waits on it with `trio.ClosedResourceError`.

    TLS ends without a close_notify: HTTP says by itself where a body ends, and nobody waits for the peer here.
    """
    if sock.fileno() >= 0:
        try:  # noqa: SIM105 - a context manager takes as long as what is in it
            trio.lowlevel.notify_closing(sock)
        except RuntimeError:
            pass  # outside of a Trio run nobody can be waiting
    sock.close()


def reset_on_close(sock: socket.socket) -> None:
    """Have the coming close drop what has not been sent, and tell the peer at once by a RST."""
    with contextlib.suppress(OSError):  # closed already, or reset by the peer: there is nobody to tell
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)


@trio.lowlevel.enable_ki_protection
def begin_tcp(host: str, port: int) -> tuple[socket.socket | None, bool]:
    """Begin to connect by TCP to an address, without waiting.

    Returns:
      The socket, or None if the host is a name; and whether it is connected already, as connections within one
      machine are. If it is not, `finish_tcp` has to follow.

    Raises:
      OSError: The address cannot be reached.
    """
    family = _family_of(host)
    if family is None:
        return None, False
    sock = socket.socket(family)
    try:
        _set_up(sock)
        error = sock.connect_ex((host, port))
        if error not in _UNDER_WAY:
            raise OSError(error, os.strerror(error))
        return sock, error == 0 or _is_connected(sock)
    except BaseException:
        sock.close()
        raise


@trio.lowlevel.enable_ki_protection
async def finish_tcp(sock: socket.socket | None, host: str, port: int) -> socket.socket:
    """Connect what `begin_tcp` began, or to whichever address of a name answers first (happy eyeballs).

    A checkpoint. Takes the socket over, and closes it if this fails or is cancelled.

    Raises:
      OSError: Name or address failed; ``__cause__`` may hold one error for each address.
    """
    if sock is not None:
        # There is nothing to race, and a nursery with a task for that costs a quarter of opening a stream.
        try:
            await wait_writable(sock)
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, os.strerror(error))
        except BaseException:
            close_socket(sock)
            raise
        return sock
    try:
        stream = await trio.open_tcp_stream(host, port)
    except socket.gaierror:
        _check_descriptors()
        raise
    # From here on there is no checkpoint: the socket has exactly one owner at any time.
    sock = socket.socket(fileno=stream.socket.detach())
    try:
        _set_up(sock)
    except BaseException:  # pragma: no cover - setsockopt does not fail on a connected socket
        sock.close()
        raise
    return sock


def _check_descriptors() -> None:
    """Find out whether another socket can be opened. A resolver that cannot open one says only that it found nothing.

    Raises:
      OSError: It cannot.
    """
    socket.socket().close()


@functools.lru_cache(maxsize=64)
def _family_of(host: str) -> socket.AddressFamily | None:
    """The family of an IP address, or None for a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, UnicodeError):
            continue
        return family
    return None


def _is_connected(sock: socket.socket) -> bool:
    # Does not take the error of a failed attempt away, as another `connect` would.
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _set_up(sock: socket.socket) -> None:
    sock.settimeout(0)
    for level, option, value in _OPTIONS:
        sock.setsockopt(level, option, value)


@trio.lowlevel.enable_ki_protection
async def start_tls(sock: socket.socket, context: ssl.SSLContext, *, server_hostname: str) -> ssl.SSLSocket:
    """Do the TLS handshake over a connected socket. Takes the socket over, and closes it if this fails.

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


def hung_up(sockets: Iterable[socket.socket]) -> int:
    """How many of these the peer has closed, whatever is still to be read from them. Takes nothing from any."""
    if not hasattr(select, "poll"):  # pragma: no cover - Windows
        return 0
    poll = select.poll()
    for sock in sockets:
        if sock.fileno() >= 0:
            poll.register(sock.fileno(), _HANGS_UP)
    return len(poll.poll(0))


def receive_nowait(sock: socket.socket) -> bytes | None:
    """Receive what has arrived.

    Returns:
      The bytes; ``b""`` if the peer closed; None if nothing has arrived.

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
