"""Where requests go: the base URL, the path below it and the query, put together.

What belongs here: URLs, and what of them goes into a request and its headers. What does not: sending it (`_sender`).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, final

import msgspec

from trio_stream._errors import APIConnectionError
from trio_stream._hidden import HeaderItems, Hidden

from ._connection import Origin
from ._httpx import httpx

_SHOWN_CHARACTERS = 100

_HOST = re.compile(r"(?!https?/)[\w.-]+(:[0-9]{1,5})?(/.*)?")

MOST_KEPT = 64
"""Targets. A program has two or three; but what is in a query is the caller's."""


def check_base_url(base_url: str, *, any_scheme: bool) -> None:
    """Refuse a base URL that no request can go to.

    Args:
      base_url: The base URL.
      any_scheme: Whether a transport of the caller's takes others than ``http`` and ``https``.

    Raises:
      ValueError: It is not valid. The text has nothing of what may be credentials in it.
    """
    try:
        url = httpx.URL(base_url)
        host = url.host
    except (httpx.InvalidURL, UnicodeError):
        scheme = host = ""  # raised below: this text repeats the URL
    else:
        scheme = url.scheme
    if host and (scheme in ("http", "https") or (scheme and any_scheme)):
        return
    shown = base_url.partition("?")[0].rpartition("@")[2][:_SHOWN_CHARACTERS]
    advice = f": did you mean 'http://{shown}'?" if _HOST.fullmatch(shown) else ""
    raise ValueError(f"base_url must begin with https:// or http:// and a host, not {shown!r}{advice}")


@final
class Target(Hidden, msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The address of one kind of request, taken apart.

    Args:
      url: The whole URL, without credentials.
      shown_url: The same as text.
      plain_url: The same without the query.
      query: The query.
      origin: Where the connection goes.
      authorization: The header that credentials in the base URL make, or None if it has none.
    """

    url: httpx.URL
    shown_url: str
    plain_url: httpx.URL
    query: httpx.QueryParams
    origin: Origin
    authorization: bytes | None


@final
class Targets:
    """The targets below one base URL. Each is made once, because making one takes longer than sending a request."""

    __slots__ = ("_base_url", "_kept")

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._kept: dict[tuple[str, str], Target] = {}

    def find(self, path: str, params: Mapping[str, Any] | None) -> Target:
        """The target for a path and a query.

        Raises:
          httpx.InvalidURL: The base URL is not valid.
          UnicodeError: Its host is not a valid name.
        """
        key = (path, repr(params) if params else "")
        target = self._kept.get(key)
        if target is None:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            target = self._kept[key] = _put_together(self._base_url, path, params)
        return target

    def show(self, path: str, params: Mapping[str, Any] | None) -> str | None:
        """The whole address as a text, without credentials; None where the base URL is not valid."""
        try:
            return self.find(path, params).shown_url
        except (httpx.InvalidURL, UnicodeError):
            return None


def _put_together(base_url: str, path: str, params: Mapping[str, Any] | None) -> Target:
    base, below = httpx.URL(base_url), httpx.URL(path)
    query = base.params.merge(below.params).merge(params or {})
    raw_path = base.raw_path.partition(b"?")[0].rstrip(b"/") + below.raw_path.partition(b"?")[0]
    plain_url = base.copy_with(raw_path=raw_path, userinfo=b"")
    url = httpx.URL(plain_url, params=query) if query else plain_url
    authorization = None
    if base.userinfo:
        # As httpx would do, but that it writes the URL, password and all, into its log.
        credentials = f"{base.username}:{base.password}".encode()
        authorization = b"Basic " + base64.b64encode(credentials)
    url.host  # noqa: B018 - raises for a name that is not what IDNA encodes
    return Target(
        url=url,
        shown_url=str(url),
        plain_url=plain_url,
        query=query,
        origin=Origin.of(url),
        authorization=authorization,
    )


def request_fields(target: Target, headers: HeaderItems) -> list[tuple[bytes, bytes]]:
    """The headers of a request as bytes, with what the target adds to them.

    Raises:
      APIConnectionError: A header cannot be encoded. The text does not repeat it.
    """
    fields: list[tuple[bytes, bytes]] = []
    for name, value in headers.items():
        try:
            fields.append((name.encode("ascii"), value.encode("latin-1")))
        except UnicodeError:
            break  # raised below, not here: this exception holds the value, and would be the context of ours
    else:
        if target.authorization is not None and all(name.lower() != "authorization" for name, _ in headers.items()):
            fields.append((b"Authorization", target.authorization))
        return fields
    raise APIConnectionError("a header holds characters that cannot be sent", retryable=False)
