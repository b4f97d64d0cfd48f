"""The way through a proxy that the environment names: httpx's own transport for it, and the clock of connecting.

What belongs here: making that transport, and bounding everything before the request itself is sent, the proxy's
``CONNECT`` included, which httpx has no clock for. What does not: which proxy it is (`_proxies`), and what a failure
means (`_failures`).
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, final

import trio

from trio_stream._errors import APIConnectionError

from ._httpx import httpx
from ._plain_client import plain_client
from ._proxies import Proxy
from ._tls import TrustStoreError, default_context

_SCHEMES: Final = ("http", "https", "socks5", "socks5h")
_AUTHENTICATION_REQUIRED: Final = 407


@final
class ProxyClient:
    """Makes the client for a proxy."""

    def __init__(self, proxy: Proxy, ssl_context: ssl.SSLContext | None) -> None:
        self._proxy = proxy
        self._ssl_context = ssl_context
        self.keep = False

    def __call__(self) -> httpx.AsyncClient:
        """Make it.

        Raises:
          APIConnectionError: The proxy cannot be used.
        """
        proxy = self._proxy
        if proxy.scheme not in _SCHEMES:
            usable = ", ".join(f"{scheme}://" for scheme in _SCHEMES)
            sentence = f"the proxy {proxy} has the scheme {proxy.scheme[:40]!r}; {usable} can be used"
            raise APIConnectionError(sentence, retryable=False)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None if self.keep else 0)
        try:
            context = self._ssl_context or default_context()
            return plain_client(httpx.AsyncHTTPTransport(proxy=proxy.url, verify=context, limits=limits))
        except TrustStoreError as exc:
            sentence = f"the request cannot be sent: the TLS trust store cannot be read: {exc}"
        except ImportError:
            sentence = f"the proxy {proxy} needs the package socksio: pip install 'httpx[socks]'"
        except (ValueError, httpx.InvalidURL):
            sentence = f"the proxy of {proxy.source} cannot be used: its URL is not valid"
        # Outside of the clauses: an exception of httpx shows the proxy's URL, which may hold a password.
        raise APIConnectionError(sentence, retryable=False)


@final
class WayThroughProxy:
    """One request on its way through a proxy.

    Args:
      proxy: The proxy.
      seconds: For everything before the request itself is sent. None: no limit.
      on_sent: Called when the request has been sent.
    """

    def __init__(self, proxy: Proxy, *, seconds: float | None, on_sent: Callable[[], None]) -> None:
        self._proxy = proxy
        self._seconds = seconds
        self._on_sent = on_sent
        self._scope = trio.CancelScope()

    async def exchange(
        self,
        send: Callable[[httpx.AsyncClient, httpx.Request], Awaitable[httpx.Response]],
        client: httpx.AsyncClient,
        request: httpx.Request,
    ) -> httpx.Response:
        """Send a request with ``send``.

        Raises:
          httpx.ConnectTimeout: The clock ran out.
          httpx.ProxyError: The proxy wants to know who asks.
        """
        request.extensions["trace"] = self._trace
        with self._scope:
            answer = await send(client, request)
            if answer.status_code == _AUTHENTICATION_REQUIRED:
                # RFC 9110, 15.5.8: it is the proxy's, also where there is no tunnel.
                with trio.CancelScope(shield=True) as scope:
                    scope.cancel(reason="closing the response")
                    await answer.aclose()
                raise httpx.ProxyError(f"{answer.status_code} {answer.reason_phrase}")
            return answer
        raise httpx.ConnectTimeout(f"no connection within {self._seconds:g} s")

    async def _trace(self, name: str, info: Mapping[str, Any]) -> None:
        # Called by httpcore for each step, with names such as "http11.send_request_headers.started".
        if name.endswith("connect_tcp.started"):
            self._scope.deadline = math.inf if self._seconds is None else trio.current_time() + self._seconds
        elif name.endswith("send_request_headers.started"):
            if info["request"].method != b"CONNECT":
                self._scope.deadline = math.inf
        elif name.endswith("send_request_body.complete") and self._scope.deadline == math.inf:
            self._on_sent()
