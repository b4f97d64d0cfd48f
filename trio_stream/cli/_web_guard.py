"""Who may talk to `trio-stream web`: this page in a browser on an allowed host, and nobody's else.

What belongs here: judging a request by its head, and the headers that every response has. What does not: what is
answered (`_web_app`).

A server on the loopback device can be reached by every page that the same browser shows. Such a page may send requests
to it (so each must come from our page, as `Origin` and `Sec-Fetch-Site` say, and carry a token that only our page
has), and may have its own name resolve to 127.0.0.1 to pass for our page (so the name in `Host` must be ours).
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Iterable, Mapping
from typing import Any, Final, final

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    # No script but the page's files, no other host, and no string that becomes HTML: `innerHTML` raises.
    "content-security-policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}

TOKEN_HEADER: Final = "x-trio-stream-token"  # noqa: S105 - the name of a header

_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@final
class Guard:
    """Judges the heads of requests.

    Args:
      host: The address that the server listens on, as it was given.
      is_remote: Whether other machines may use the server. Its host may be any IP address then: a name that was made
        to resolve to it would be refused all the same.

    Attributes:
      token: Made for this start of the server, and given to the page alone.
    """

    def __init__(self, host: str, *, is_remote: bool) -> None:
        self.token: str = secrets.token_urlsafe(24)
        self._names = {*_LOOPBACK_NAMES, host.lower()}
        self._any_address = is_remote
        if is_remote:
            self._names.add(socket.gethostname().lower())

    def refusal_of(self, scope: Mapping[str, Any]) -> str | None:
        """Why a request is refused; None if it may be answered."""
        headers = Headers(scope["headers"])
        host = headers.only("host")
        if host is None or not self._is_ours(_name_in(host)):
            return "This server is not known by that name: open the address that it printed."
        origin = headers.only("origin")
        if origin is not None and origin.lower() not in {f"http://{host.lower()}", f"https://{host.lower()}"}:
            return "Requests of other pages are not answered."
        if headers.only("sec-fetch-site") not in (None, "same-origin", "none") and not _is_a_visit(scope, headers):
            return "Requests of other pages are not answered."
        return None

    def has_token(self, scope: Mapping[str, Any]) -> bool:
        """Whether a request has the token of the page."""
        given = Headers(scope["headers"]).only(TOKEN_HEADER) or ""
        return hmac.compare_digest(given.encode(), self.token.encode())

    def _is_ours(self, name: str) -> bool:
        if name in self._names:
            return True
        if not self._any_address:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


@final
class Headers:
    """The headers of a request. One that was sent twice counts as one that is wrong."""

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self._pairs = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in pairs]

    def only(self, name: str) -> str | None:
        """The value of a header; None if it is missing, and "" if there are several."""
        values = [value.strip() for other, value in self._pairs if other == name]
        return None if not values else values[0] if len(values) == 1 else ""


def _is_a_visit(scope: Mapping[str, Any], headers: Headers) -> bool:
    """Whether somebody follows a link to the page: it opens, as a page of its own, and its token stays in it."""
    return scope["method"] == "GET" and headers.only("sec-fetch-dest") == "document"


def _name_in(host: str) -> str:
    """The name in a ``Host`` header, without the port. A tunnel may have another port than the server."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
