"""Requests out of the bytes of a connection, by llhttp.

What belongs here: where a request ends, and the bounds on its size. What does not: sockets (`_server`),
meaning (`_scripted`).
"""

from __future__ import annotations

from typing import final
from urllib.parse import parse_qsl, unquote

import httptools
import msgspec

MOST_HEADER_BYTES = 65_536
MOST_BODY_BYTES = 64 * 2**20
MOST_BATCH_BYTES = 256_000_000

_BATCHES = b"/v1/messages/batches"


class ReadRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A whole request as it came. If it is not a valid request, ``fault`` is the HTTP status that says why."""

    method: str = ""
    path: str = ""
    params: dict[str, str] = {}
    headers: tuple[tuple[str, str], ...] = ()
    content: bytes = b""
    http_version: str = "1.1"
    keep_alive: bool = False
    fault: int | None = None


@final
class RequestReader:
    """Turns the bytes of one connection into requests."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._done: list[ReadRequest] = []
        self._failed = False
        self._in_headers = True
        self._header_bytes = 0
        self._expects_continue = False
        self._reset()

    def feed(self, data: bytes | bytearray) -> list[ReadRequest]:
        """Take what has arrived, and return the requests that it completes. After a fault no more are returned."""
        if self._failed or not data:
            return []
        if self._in_headers:
            self._header_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(400)
        if self._in_headers and self._header_bytes > MOST_HEADER_BYTES:
            self._fail(431)
        done, self._done = self._done, []
        return done

    def wants_continue(self) -> bool:
        """Whether the client now waits for a ``100 Continue``. True at most once for each request."""
        wants, self._expects_continue = self._expects_continue, False
        return wants and not self._in_headers

    def _fail(self, status: int) -> None:
        if not self._failed:
            self._failed = True
            self._done.append(ReadRequest(fault=status))

    def _reset(self) -> None:
        self._url = b""
        self._headers: list[tuple[str, str]] = []
        self._content = bytearray()
        self._too_large = False

    # The callbacks of httptools.

    def on_message_begin(self) -> None:
        self._reset()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))
        if name.lower() == b"expect" and value.lower() == b"100-continue":
            self._expects_continue = True

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._header_bytes = 0

    def on_body(self, data: bytes) -> None:
        # What is too large is read to its end and forgotten, so that the client gets to read the refusal.
        most = MOST_BATCH_BYTES if self._url.startswith(_BATCHES) else MOST_BODY_BYTES
        if len(self._content) + len(data) > most:
            self._too_large = True
            self._content.clear()
        if not self._too_large:
            self._content += data

    def on_message_complete(self) -> None:
        self._in_headers = True
        self._expects_continue = False
        if self._failed:
            return
        if self._too_large:
            self._fail(413)
            return
        path, _, query = self._url.decode("latin-1").partition("?")
        self._done.append(
            ReadRequest(
                method=self._parser.get_method().decode(),
                path=unquote(path),
                params=dict(parse_qsl(query, keep_blank_values=True)),
                headers=tuple(self._headers),
                content=bytes(self._content),
                http_version=self._parser.get_http_version(),
                keep_alive=self._parser.should_keep_alive(),
            )
        )
