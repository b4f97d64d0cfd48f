"""What a failure of httpx, TLS or the operating system is in this library.

What belongs here: the mapping, for failures before the head of an answer and in its body. What does not: when to
try again, and failures of our own sockets' bodies (`_socket_body` raises the right ones at once).
"""

from __future__ import annotations

import ssl
import time

import trio

from trio_stream._errors import (
    APIConnectionError,
    APIError,
    ConnectTimeoutError,
    IncompleteStreamError,
    InvalidResponseError,
    SendTimeoutError,
)
from trio_stream._protocol import error_from_response
from trio_stream._timeouts import Timeouts

from ._connection import Origin, ServerDisconnectedError
from ._httpx import httpx
from ._proxies import Proxy
from ._socket import os_reason
from ._tls import can_help_to_retry, is_refusal, tls_reason

FOREIGN_FAILURES = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    trio.BrokenResourceError,
    OSError,
    UnicodeError,
    ImportError,
)
"""What transports raise that is mapped. Anything else is a mistake in a program, and leaves as itself."""

_NOT_SENT = (httpx.ConnectError, httpx.PoolTimeout, httpx.ProxyError, httpx.WriteError)
"""Failures of a request that was not wholly sent, whatever a transport that is not ours may have been doing."""

_DETAIL_CHARACTERS = 300
"""How much of a foreign error's text ours repeats."""

_ACCEPTED = "the API may have accepted the request"


def request_failure(exc: Exception, *, origin: Origin | None, timeouts: Timeouts, sent: bool) -> APIError:
    """Map a failure before the head of an answer.

    Args:
      exc: One of `FOREIGN_FAILURES`.
      origin: Where the request went, if that is known.
      timeouts: The clocks that the transport was given.
      sent: Whether the request had been sent.
    """
    if isinstance(exc, httpx.HTTPStatusError):
        # A response hook of the caller's client called `raise_for_status`: it is an answer all the same.
        return error_from_response(exc.response.status_code, exc.response.headers, b"", now=time.time())
    if isinstance(exc, httpx.InvalidURL):
        # Its text repeats parts of the URL, which may be parts of a password.
        return APIConnectionError("the request cannot be sent: its URL, with the query, is not valid", retryable=False)
    detail = _detail(exc)
    if isinstance(exc, httpx.ConnectTimeout):
        return ConnectTimeoutError(f"connect: {_located(detail, origin)}", seconds=timeouts.connect or 0.0)
    if isinstance(exc, httpx.WriteTimeout):
        return SendTimeoutError(f"send: {_located(detail, origin)}", seconds=timeouts.send or 0.0)
    if isinstance(exc, (httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnicodeError)):
        return APIConnectionError(f"the request cannot be sent: {detail}", retryable=False)
    accepted = sent and not isinstance(exc, _NOT_SENT)
    tls = _tls_error(exc)
    if tls is not None and (not accepted or is_refusal(tls)):
        return APIConnectionError(f"cannot connect to {origin}: {tls_reason(tls)}", retryable=can_help_to_retry(tls))
    if isinstance(exc, (httpx.DecodingError, httpx.StreamError, ImportError)):
        return APIConnectionError(f"the transport failed: {detail}", retryable=False)
    if isinstance(exc, httpx.RemoteProtocolError) and not _is_disconnect(exc):
        return InvalidResponseError(f"the answer breaks HTTP/1.1: {_located(detail, origin)}")
    if isinstance(exc, OSError):
        detail = os_reason(exc)
    elif isinstance(exc, httpx.ConnectError):
        detail = _connect_reason(exc, detail)
    sentence = _located(detail, origin)
    if accepted:
        sentence = f"{sentence} ({_ACCEPTED})"
    return APIConnectionError(sentence, may_have_been_accepted=accepted)


def proxy_failure(exc: Exception, *, proxy: Proxy, origin: Origin | None, timeouts: Timeouts, sent: bool) -> APIError:
    """Map a failure before the head of an answer that was to come through a proxy.

    Args:
      exc: One of `FOREIGN_FAILURES`.
      proxy: The proxy.
      origin: Where the request was to go, if that is known.
      timeouts: The clocks.
      sent: Whether the request had been sent, and not only a ``CONNECT``.
    """
    if isinstance(exc, httpx.ProxyError):
        return APIConnectionError(
            f"the proxy {proxy} did not connect to {origin}: {_detail(exc)}", retryable=_proxy_may_recover(_detail(exc))
        )
    if sent or not isinstance(exc, (httpx.TransportError, trio.BrokenResourceError, OSError)):
        error = request_failure(exc, origin=origin, timeouts=timeouts, sent=sent)
        error.message = f"{error.message} (through the proxy {proxy})"
        error.args = (error.message,)
        return error
    if isinstance(exc, httpx.ConnectTimeout):
        return ConnectTimeoutError(
            f"connect: the proxy {proxy} did not connect to {origin} within {timeouts.connect:g} s",
            seconds=timeouts.connect or 0.0,
        )
    tls = _tls_error(exc)
    if tls is not None:
        sentence = f"cannot connect to {origin} through the proxy {proxy}: {tls_reason(tls)}"
        return APIConnectionError(sentence, retryable=can_help_to_retry(tls))
    if isinstance(exc, (httpx.RemoteProtocolError, httpx.UnsupportedProtocol)) and not _is_disconnect(exc):
        return APIConnectionError(f"the proxy {proxy} does not answer as a proxy: {_detail(exc)}", retryable=False)
    if isinstance(exc, httpx.ConnectError):
        return APIConnectionError(f"cannot connect to the proxy {proxy}: {_system_reason(exc) or _detail(exc)}")
    return APIConnectionError(f"the proxy {proxy} gave up the connection to {origin}: {_detail(exc)}")


def _proxy_may_recover(detail: str) -> bool:
    """Whether asking a proxy again can help, by the status of its answer to ``CONNECT``."""
    status = detail[:3]
    return status in ("408", "429") or (status.startswith("5") and status not in ("501", "505", "511"))


def body_failure(exc: Exception, *, origin: Origin | None) -> APIError:
    """Map a failure in the middle of a body that came through a transport which is not ours."""
    detail = _detail(exc)
    if isinstance(exc, (httpx.RemoteProtocolError, httpx.DecodingError)):
        return IncompleteStreamError(f"the stream was cut: {_located(detail, origin)}")
    if isinstance(exc, OSError):
        detail = os_reason(exc)
    return APIConnectionError(f"{_located(detail, origin)} in the middle of the answer", may_have_been_accepted=True)


def _detail(exc: Exception) -> str:
    # Some of these quote what the server sent, which may be of any length and hold anything.
    text = str(exc)[:_DETAIL_CHARACTERS]
    return "".join(character if character.isprintable() else " " for character in text) or type(exc).__name__


def _located(detail: str, origin: Origin | None) -> str:
    return detail if origin is None or str(origin) in detail else f"{origin}: {detail}"


def _tls_error(exc: BaseException) -> ssl.SSLError | None:
    """The TLS error behind the error that a transport made of it, or None."""
    seen: BaseException | None = exc
    while seen is not None:
        if isinstance(seen, ssl.SSLError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def _connect_reason(exc: BaseException, detail: str) -> str:
    reason = _system_reason(exc)
    return detail if reason is None or "cannot connect" in detail else f"cannot connect: {reason}"


def _system_reason(exc: BaseException) -> str | None:
    """What the operating system said. httpcore's own text is only "All connection attempts failed"."""
    seen = exc.__cause__ or exc.__context__
    while seen is not None:
        if isinstance(seen, OSError):
            return os_reason(seen)
        seen = seen.__cause__ or seen.__context__
    return None


def _is_disconnect(exc: Exception) -> bool:
    # httpcore has no class of its own for it.
    return isinstance(exc, ServerDisconnectedError) or str(exc).startswith("Server disconnected")
