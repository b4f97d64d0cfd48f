"""One connection: requests go out on it one after another, and the answer to each comes in.

What belongs here: sending a request, reading the head of its answer, handing over the body, and finding out whether
the connection can be used again. What does not: opening sockets (`_socket`), framing (`_parser`), who uses which
connection (`_pool`), clocks beyond those of httpx's ``timeout`` extension.
"""

from __future__ import annotations

import itertools
import math
import socket
import ssl
from collections.abc import Callable
from typing import NamedTuple, final

import msgspec
import trio
from trio.lowlevel import wait_readable, wait_writable

from trio_stream._limits import Limits

from ._httpx import httpx
from ._parser import ResponseHead, ResponseParser
from ._request import WireRequest
from ._socket import close_socket, os_reason, receive, receive_nowait, reset_on_close

_LOOK_EVERY_SECONDS = 0.1
"""How often a request that the server is slow to take is interrupted to see whether an answer has come already."""

_SEND_UNINTERRUPTED_BYTES = 1 << 20
"""Sent without waiting before other tasks get their turn."""

_PIECE_BYTES = 262_144
"""Sent in one call. TLS says nothing of a call before all of it is sent, and ``send`` is a gap without progress."""

_MUCH_SENT_BYTES = 65536
"""Up to here a request fits in what any server's kernel takes without its program reading."""

_FIRST_REFUSAL = 300
"""From this status on an answer says that the request is not wanted, so that sending it on is of no use."""

_EARLY_BODY_BYTES = 65536
"""How much of an answer is read while its request is still being sent."""

_DRAIN_BYTES = 65536
"""How much of an earlier answer is read to get at a connection; beyond that a new one is cheaper."""


class Origin(NamedTuple):
    """The scheme, host and port that a connection goes to."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: httpx.URL) -> Origin:
        """The origin of an ``http`` or ``https`` URL."""
        # Not `url.host`: that decodes international names, and fails for some.
        default_port = 443 if url.scheme == "https" else 80
        return cls(url.scheme, url.raw_host.decode("ascii"), default_port if url.port is None else url.port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@final
class ConnectionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """How a request came to its connection. All times are seconds of Trio's clock.

    Args:
      reused: Whether the connection had served an earlier request.
      waited: How long the request waited for one of ``max_connections`` to become free.
      tcp: How long connecting took, the look-up of the name included; None for a connection that is reused.
      tls: How long the TLS handshake took; None for a connection that is reused, or without TLS.
    """

    reused: bool
    waited: float = 0.0
    tcp: float | None = None
    tls: float | None = None


class ServerDisconnectedError(httpx.RemoteProtocolError):
    """The connection ended before the head of an answer had arrived."""


class StaleConnectionError(Exception):
    """A connection that had served before did not take one byte of the request. ``__cause__`` says why."""


@final
class Connection:
    """A connected socket and the answer that is being read from it."""

    __slots__ = ("_reused", "_sent_bytes", "_sent_whole", "early_body", "idle_since", "origin", "parser", "sock")

    def __init__(self, sock: socket.socket, origin: Origin) -> None:
        self.sock = sock
        self.origin = origin
        self.parser: ResponseParser | None = None
        self.early_body = b""
        self.idle_since = 0.0
        self._reused = False
        self._sent_bytes = 0
        self._sent_whole = False

    def close(self) -> None:
        """Close the socket now.

        Where much of a request may still wait to be sent, the connection is reset: before a FIN the kernel would first
        deliver what waits, which a server that does not read never takes, and so would never see that nobody listens.
        """
        if self.unanswered and self._sent_bytes >= _MUCH_SENT_BYTES:
            reset_on_close(self.sock)
        close_socket(self.sock)
        if self.parser is not None:
            self.parser.discard()

    async def exchange(
        self,
        request: WireRequest,
        *,
        limits: Limits,
        send_seconds: float | None,
        read_seconds: float | None,
        on_sent: Callable[[], None],
    ) -> ResponseHead:
        """Send a request and read the head of its answer.

        A checkpoint. The connection is of no use after a cancelled call; the caller closes it.

        Args:
          request: What to send.
          limits: Bounds of the head.
          send_seconds: For each stretch in which not one byte of the request can be sent.
          read_seconds: For each wait for bytes of the head.
          on_sent: Called once when sending is over: after the last byte, or when an answer came before that.

        Raises:
          httpx.TransportError: There was no answer.
          StaleConnectionError: The connection had served before, and took not one byte of this request.
          trio.ClosedResourceError: The connection was closed by this program.
        """
        self.parser = parser = ResponseParser(
            method=request.method,
            max_header_bytes=limits.header_bytes,
            max_interim_answers=limits.interim_answers,
        )
        self.early_body = b""
        self._sent_bytes = 0
        self._sent_whole = False
        try:
            broken = await self._send(request, parser, send_seconds)
            if self._sent_whole:
                on_sent()
            head = await self._read_head(parser, read_seconds, broken)
            if not self._sent_whole:
                on_sent()
        except (httpx.NetworkError, ServerDisconnectedError):
            self._check_open()
            raise
        self._reused = True
        return head

    @property
    def unanswered(self) -> bool:
        """Whether not one byte of an answer to the present request has come."""
        return self.parser is not None and not self.parser.started

    def _check_open(self) -> None:
        if self.sock.fileno() < 0:
            raise trio.ClosedResourceError("the connection was closed by this program")

    async def _send(self, request: WireRequest, parser: ResponseParser, seconds: float | None) -> OSError | None:
        """Send the whole request, or stop where the server has answered or does not listen any more.

        Returns:
          The error that ended sending early: there may be an answer all the same (a 413, and then a close).
        """
        sock = self.sock
        in_a_row = 0
        # No CancelScope for all of it, and no clock before a wait: nearly always nothing here waits.
        deadline: float | None = None  # of the present stretch in which nothing could be sent
        # As views, which no text shows: the head has a key in it, the content a prompt.
        for piece in itertools.chain(request.buffers, request.rest):
            unsent = memoryview(piece)
            while unsent:
                try:
                    sent = sock.send(unsent[:_PIECE_BYTES])
                except (BlockingIOError, ssl.SSLWantWriteError):
                    in_a_row = 0
                    if deadline is None:
                        deadline = math.inf if seconds is None else trio.current_time() + seconds
                    if await self._wait_to_send(parser, deadline):  # noqa: ASYNC120 - there is nothing in it to keep
                        return None
                    if trio.current_time() >= deadline:
                        late = f"not one byte more within {seconds:g} s"
                        raise httpx.WriteTimeout(f"{self.origin} did not take the whole request: {late}") from None
                except ssl.SSLWantReadError:  # pragma: no cover - only a renegotiation reads in order to write
                    await wait_readable(sock)
                except OSError as exc:
                    self._check_open()
                    if self._reused and not self._sent_bytes:
                        raise StaleConnectionError from exc
                    return exc
                else:
                    unsent = unsent[sent:]
                    deadline = None
                    self._sent_bytes += sent
                    in_a_row += sent
                    if in_a_row >= _SEND_UNINTERRUPTED_BYTES:
                        in_a_row = 0
                        await trio.lowlevel.checkpoint()
        self._sent_whole = True
        return None

    async def _wait_to_send(self, parser: ResponseParser, deadline: float) -> bool:
        """Wait until more can be sent. Returns True if there is no point in that, because an answer has come."""
        with trio.move_on_at(min(deadline, trio.current_time() + _LOOK_EVERY_SECONDS)):
            await wait_writable(self.sock)
            return False
        if len(self.early_body) >= _EARLY_BODY_BYTES:
            return False
        # RFC 9112, 9.5: a client that sends a message body SHOULD monitor the connection for an error response.
        try:
            data = receive_nowait(self.sock)
        except OSError:
            return False  # sending will say it, and reading after it
        if data:
            self.early_body += parser.feed(data)
            # A good answer that begins early wants the rest all the same: some gateways send its head, and then read.
            return parser.ended or (parser.head is not None and parser.head.status_code >= _FIRST_REFUSAL)
        return data == b""

    async def _read_head(self, parser: ResponseParser, seconds: float | None, broken: OSError | None) -> ResponseHead:
        # An answer is not there yet, and to look for it would be a system call and an exception. But what TLS holds
        # does not make the socket readable.
        wait_first = seconds is None and broken is None and not isinstance(self.sock, ssl.SSLSocket)
        if wait_first:
            self._check_open()  # sending may have let another task run, and Trio would not say it in these words
        else:
            await trio.lowlevel.checkpoint()
        while parser.head is None:
            if parser.failure is not None:
                raise httpx.RemoteProtocolError(f"{self.origin}: {parser.failure}")
            try:
                if wait_first:
                    wait_first = False
                    await wait_readable(self.sock)
                data = await (receive(self.sock) if seconds is None else self._receive(seconds))
            except OSError as exc:
                # What TLS has to say is why sending failed.
                error = exc if broken is None or isinstance(exc, ssl.SSLError) else broken
                raise httpx.ReadError(f"{self.origin}: {os_reason(error)}") from error
            if data:
                self.early_body = parser.feed(data)
            elif broken is not None:
                raise httpx.WriteError(f"{self.origin}: {os_reason(broken)}") from broken
            else:
                part = "in the middle of the headers" if parser.started else "without an answer"
                raise ServerDisconnectedError(f"{self.origin}: the server closed the connection {part}")
        return parser.head

    async def _receive(self, seconds: float) -> bytes:
        with trio.move_on_after(seconds):
            return await receive(self.sock)
        raise httpx.ReadTimeout(f"{self.origin}: not one byte of an answer within {seconds:g} s")

    # Between two exchanges.

    @property
    def reusable(self) -> bool:
        """Whether another request may follow, once the present answer has been read to its end."""
        parser = self.parser
        if parser is None or not self._sent_whole or self.sock.fileno() < 0:
            return False
        return parser.reusable if parser.ended else parser.keep_alive

    async def make_ready(self, deadline: float) -> bool:
        """Read what is left of the last answer, and look whether the server is still there.

        Waits, if the end of the last answer has not arrived, until ``deadline`` at most; otherwise not a
        checkpoint.

        Args:
          deadline: A time of Trio's clock.

        Returns:
          False if the connection is of no use, because it was closed or something arrived that nobody asked for.
        """
        parser = self.parser
        assert parser is not None
        left = _DRAIN_BYTES
        try:
            while not parser.ended and left > 0:
                data = receive_nowait(self.sock)
                if data is None:
                    data = b""
                    with trio.move_on_at(deadline):
                        data = await receive(self.sock)
                if not data:
                    return False
                left -= len(data)
                parser.feed(data)
            # Also processes what TLS sends for itself (session tickets), which makes the socket readable.
            return parser.reusable and receive_nowait(self.sock) is None
        except OSError:
            return False
        finally:
            parser.discard()
