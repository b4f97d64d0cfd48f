"""A client of httpx around a transport.

What belongs here: an `httpx.AsyncClient` that adds nothing of its own, and reads nothing of an answer. What does not:
sending requests with it (`_foreign_sender`).
"""

from __future__ import annotations

from http.cookiejar import CookieJar

from ._httpx import httpx


class _NoCookies(CookieJar):
    """Keeps no cookies. An answer must not add to the next request, let alone make it impossible to send."""

    def extract_cookies(self, response: object, request: object) -> None:
        """Take no cookies out of an answer."""

    def add_cookie_header(self, request: object) -> None:
        """Add no cookies to a request."""


LOCATION_EXTENSION = "trio_stream.location"


async def _set_location_aside(answer: httpx.Response) -> None:  # noqa: ASYNC124 - httpx awaits its hooks
    # httpx reads the target even of a redirect that it does not follow, and raises where it cannot.
    location = answer.headers.pop("location", None)
    if location is not None:
        answer.extensions[LOCATION_EXTENSION] = location


def plain_client(transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
    """A client of httpx that adds nothing of its own."""
    client = httpx.AsyncClient(
        transport=transport,
        trust_env=False,
        follow_redirects=False,
        timeout=None,
        cookies=_NoCookies(),
        event_hooks={"response": [_set_location_aside]},
    )
    for name in list(client.headers):
        del client.headers[name]
    return client
