"""Clients and transports that a caller gives: whether they are what they must be.

What belongs here: saying early, and in a way that helps, what cannot work. What does not: using them
(`_foreign_sender`).
"""

from __future__ import annotations

from ._httpx import httpx

_FORK = "httpx2"
"""The fork of httpx that the official SDK builds on. Its classes are not those of httpx."""


def check_http_client(client: object) -> None:
    """Refuse what is no asynchronous client of httpx.

    Raises:
      TypeError: It says what to give.
    """
    if not isinstance(client, httpx.AsyncClient):
        raise TypeError(
            f"http_client must be an httpx.AsyncClient, not {_name(client)}{_advice(client, 'AsyncClient')}"
        )


def check_transport(transport: object) -> None:
    """Refuse what is no asynchronous transport of httpx.

    Raises:
      TypeError: It says what to give.
    """
    if isinstance(transport, httpx.AsyncBaseTransport):
        return
    # What only looks like one works too, as it does for httpx; but a transport of the fork takes its own requests.
    if isinstance(transport, type) or not hasattr(transport, "handle_async_request") or _is_of_fork(transport):
        advice = _advice(transport, "AsyncHTTPTransport")
        raise TypeError(f"transport must be an httpx.AsyncBaseTransport, not {_name(transport)}{advice}")


def _is_of_fork(given: object) -> bool:
    return any(base.__module__.partition(".")[0] == _FORK for base in type(given).__mro__)


def _name(given: object) -> str:
    if isinstance(given, type):
        return f"the class {given.__name__}"
    kind = type(given)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _advice(given: object, name: str) -> str:
    if isinstance(given, type):
        return ": give an object of it"
    if _is_of_fork(given):
        return f": make it of httpx.{name}, with the same arguments; or call httpx2.alias_httpx() before all imports"
    if isinstance(given, (httpx.Client, httpx.BaseTransport)):
        return f": this one is synchronous, httpx.{name} is its counterpart"
    return ""
