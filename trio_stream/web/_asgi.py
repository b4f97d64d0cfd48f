"""The types of ASGI, as far as a response needs them.

What belongs here: the forms in which hosts and frameworks call an application (https://asgi.readthedocs.io, HTTP). What
does not: any application.

Hosts and frameworks have types of their own for the same things. These fit all of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeAlias

Scope: TypeAlias = Mapping[str, Any]
"""What a connection is, as the host tells it."""

Receive: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]
"""Waits for the next message of the host."""

Send: TypeAlias = Callable[[Any], Awaitable[None]]
"""Gives the host a message."""


class Application(Protocol):
    """An ASGI application."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""


class Respondent(Application, Protocol):
    """A response of this package: an ASGI application, and in two halves for hosts that send heads themselves."""

    def head(self) -> tuple[int, dict[str, str]]:
        """The status and headers of the response, as far as they are known before anything was said."""
        ...

    async def send_body(self, receive: Receive, send: Send) -> None:
        """Send the response without its head. A failure is told by the protocol then."""


def check_http(scope: Scope, owner: str) -> None:
    """Refuse anything but an HTTP request.

    Raises:
      RuntimeError: It is a WebSocket, or the life of the server.
    """
    if scope["type"] != "http":
        raise RuntimeError(f"{owner} answers HTTP requests, and this is {scope['type']!r}")


async def until_disconnect(receive: Receive) -> None:
    """Wait until the peer is gone. What is left of the request's body is read and dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass
