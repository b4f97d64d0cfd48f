"""One HTTP/1.1 answer: bytes in, head and body out.

What belongs here: the framing of an answer (RFC 9112) as `httptools` sees it, and the bounds it does not have.
What does not: sockets, clocks, and what an error is called; this module does no I/O.

Bytes of the socket go to `ResponseParser.feed` in pieces of any size, and it returns the bytes of the body among
them. ``head`` is there once the final answer's header block is whole. ``ended`` says that nothing more will come:
the body is complete, or ``failure`` says in words what is wrong. Bytes of the body that came before a failure are
returned before it can be seen. Work is linear in the bytes, and what is kept is bounded by the limits.

A head that `httptools` refuses is tried a second time as RFC 9112 lets a user agent read it (`_lenient_head`). Such an
answer is read, but the connection is not used again: who writes such heads may mean something else by the next bytes.

What `httptools` does, measured: status and ``should_keep_alive()`` are right only inside its callbacks; every 1xx
fires the whole set of callbacks; after the last ``on_message_complete`` it goes on with the next answer in the
same callbacks; it has no notion of EOF; and it bounds nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import httptools
import msgspec

from ._lenient_head import NoHeadError, end_of_head, rewrite_head


class ResponseHead(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The head of the final answer. Not seen by the garbage collector: it holds no cycles, and every stream has one."""

    status_code: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    http_version: str


@final
class ResponseParser:
    """One answer, 1xx answers before it included."""

    __slots__ = (
        "_beginning",
        "_beyond_end",
        "_chunked",
        "_head_request",
        "_header_bytes",
        "_headers",
        "_http",
        "_interim_left",
        "_irregular",
        "_max_header_bytes",
        "_max_interim_answers",
        "_pieces",
        "_pieces_at_end",
        "_raw",
        "_reason",
        "_refusal",
        "_until_eof",
        "_without_body",
        "complete",
        "ended",
        "failure",
        "head",
        "keep_alive",
        "on_body",
    )

    def __init__(self, *, method: str, max_header_bytes: int, max_interim_answers: int) -> None:
        self.head: ResponseHead | None = None
        self.complete = False
        self.ended = False
        self.failure: str | None = None
        self.keep_alive = False
        self._head_request = method == "HEAD"
        self._max_header_bytes = max_header_bytes
        self._interim_left = self._max_interim_answers = max_interim_answers
        self._headers: list[tuple[bytes, bytes]] = []
        self._header_bytes = 0
        self._reason = b""
        self._chunked = False
        self._until_eof = False
        self._without_body = 0  # bytes fed since the last byte of the body
        self._pieces: list[bytes] = []
        self._pieces_at_end = 0
        self._beyond_end = False
        self._beginning = True  # until the head is whole, and the line after it if that is of a chunk
        self._raw: bytes | bytearray = b""  # what was fed since the beginning
        self._refusal: str | None = None  # why the head was refused at first, if it was
        self._irregular = False
        # The parser calls this for every piece of the body: straight into the list.
        self.on_body: Callable[[bytes], None] = self._pieces.append
        self._http: httptools.HttpResponseParser | _LetGo = _new_parser(self)

    @property
    def started(self) -> bool:
        """Whether any byte has been fed."""
        return bool(self._raw)

    @property
    def reusable(self) -> bool:
        """Whether the connection can serve another request, because the answer is whole and nothing came after it."""
        return self.complete and self.keep_alive and not self._beyond_end

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the socket.

        Args:
          data: Not empty. Not to be called once ``ended``.

        Returns:
          The bytes of the body among them.
        """
        if self._beginning:
            self._feed_beginning(data)
        else:
            try:  # the same as `_feed`, without a call for every read
                self._http.feed_data(data)
            except httptools.HttpParserError as exc:
                self._refused(exc)
        pieces = self._pieces
        if self.complete:
            del pieces[self._pieces_at_end :]
        if not pieces:
            self._without_body += len(data)
            if self._without_body > self._max_header_bytes and not self.ended:
                part = "header block" if self.head is None else "stretch without a byte of the body"
                self.fail(f"a {part} of more than {self._max_header_bytes} bytes")
            return b""
        self._without_body = 0
        if len(pieces) == 1:
            return pieces.pop()
        body = b"".join(pieces)
        pieces.clear()
        return body

    def _feed(self, data: bytes) -> None:
        try:
            self._http.feed_data(data)
        except httptools.HttpParserError as exc:
            self._refused(exc)

    def _feed_beginning(self, data: bytes) -> None:
        raw: bytes | bytearray
        if not self._raw:
            raw = data  # nearly always the whole head, and much of the body: it is not copied
        else:
            raw = self._raw if isinstance(self._raw, bytearray) else bytearray(self._raw)
            raw += data
        self._raw = raw
        if self._refusal is not None and self.head is None:
            self._feed_rewritten()
        else:
            try:
                self._http.feed_data(data)
            except httptools.HttpParserError as exc:
                if self.head is not None or self.failure is not None or not _looks_like_http(raw):
                    self._refused(exc)
                else:
                    self._refusal = str(exc)
                    self._feed_rewritten()
        if self.head is not None and (not self._chunked or self._looked_at_size() or self.ended):
            self._beginning = False
            self._raw = bytes(raw[:1])

    def _feed_rewritten(self) -> None:
        """Once the whole head is there: begin anew with what it should have been."""
        raw = bytes(self._raw)
        try:
            end = end_of_head(raw)
        except NoHeadError:
            self.fail(f"the headers cannot be parsed as HTTP/1.1: {self._refusal}")
            return
        if end is None:
            return
        self._irregular = True
        self._http = _new_parser(self)
        self._headers, self._header_bytes, self._reason = [], 0, b""
        self._interim_left = self._max_interim_answers
        self._pieces.clear()
        self._feed(rewrite_head(raw[:end]))
        if self.head is None and self.failure is not None:
            self.failure = f"the headers cannot be parsed as HTTP/1.1: {self._refusal}"
        elif not self.ended and end < len(raw):  # ended: there is no body, and what follows is another answer's
            self._feed(raw[end:])

    def _looked_at_size(self) -> bool:
        """Look at the first chunk's size, if that has come: some servers pad it with blanks.

        RFC 9112, 7.1 has none there, so that such an answer is as irregular as a head that was rewritten.
        """
        raw = bytes(self._raw)
        begin = end_of_head(raw) or 0
        end = raw.find(b"\n", begin)
        if end < 0:
            return False
        size = raw[begin:end].removesuffix(b"\r").partition(b";")[0]
        if size != size.strip():
            self.keep_alive = False
        return True

    def feed_eof(self) -> None:
        """Take note that the server closed the connection. ``ended`` is True afterwards."""
        self.keep_alive = False
        if self.ended:
            return
        if self.head is None:
            self.fail("the connection was closed in the middle of the headers")
        elif self._until_eof:
            # RFC 9112, 6.3: neither Transfer-Encoding nor Content-Length: the body ends with the connection.
            self.complete = self.ended = True
        else:
            self.fail("the connection was closed before the end of the body")

    def discard(self) -> None:
        """Let go of the parser underneath, which refers back to this object."""
        self._http = _LET_GO

    def fail(self, reason: str) -> None:
        """Give up on the answer. ``reason`` says why in words."""
        self.failure = reason
        self.ended = True
        self.keep_alive = False

    def _refused(self, exc: httptools.HttpParserError) -> None:
        if self.complete:
            # What follows a complete answer cannot spoil it; the connection is done for.
            self._beyond_end = True
        elif self.failure is None:
            sentence = str(exc) or type(exc).__name__
            place = "headers" if self.head is None else "body"
            self.fail(f"the {place} cannot be parsed as HTTP/1.1: {sentence}")

    # Called by the parser. An exception raised here stops it, and arrives in `feed` as an HttpParserError.

    def on_message_begin(self) -> None:
        """The first byte of an answer that is not a line end."""
        if self.complete:
            self._beyond_end = True

    def on_status(self, reason: bytes) -> None:
        """A piece of the reason phrase."""
        if self.head is None:
            self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        if self.head is not None:
            return
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > self._max_header_bytes:
            self.fail(f"a header block of more than {self._max_header_bytes} bytes")
            raise _StopParsingError
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The end of a header block: a 1xx answer's or the final one's."""
        http = self._http
        if self.head is not None or isinstance(http, _LetGo):
            return
        status, version = http.get_status_code(), http.get_http_version()
        if version not in ("1.1", "1.0") or not _looks_like_http(self._raw):
            self.fail("the answer is not HTTP/1.1")
            raise _StopParsingError
        if status < 200:
            self._interim(status)
            return
        self.head = ResponseHead(
            status_code=status, reason=self._reason, headers=self._headers, http_version=f"HTTP/{version}"
        )
        self.keep_alive = http.should_keep_alive() and not self._irregular
        codings, length_known = _framing(self._headers)
        self._chunked = codings[-1:] == [b"chunked"]
        if codings.count(b"chunked") > 1:
            # RFC 9112, 6.1: "A sender MUST NOT apply the chunked transfer coding more than once".
            self.fail("the body is said to be chunked twice")
            self.head = None
            raise _StopParsingError
        # RFC 9112, 6.3: a final coding other than chunked: the body ends with the connection.
        self._until_eof = not self._chunked if codings else not length_known
        if self._head_request:
            # RFC 9110, 9.3.2: no content, whatever the headers say. The parser cannot be told.
            self.keep_alive = False
            self.on_message_complete()
            raise _StopParsingError

    def on_message_complete(self) -> None:
        """The end of an answer."""
        if self.head is not None and not self.complete:
            self.complete = self.ended = True
            self._pieces_at_end = len(self._pieces)

    def _interim(self, status: int) -> None:
        if status < 100 or status == 101:
            # RFC 9110, 15.2.2: only an Upgrade that was asked for may be answered with 101.
            self.fail(f"the answer is {status:03d}, which was not asked for")
            raise _StopParsingError
        self._interim_left -= 1
        if self._interim_left < 0:
            self.fail("too many 1xx answers before the final one")
            raise _StopParsingError
        self._headers = []
        self._reason = b""


class _StopParsingError(Exception):
    """Stops the parser, after the reason has been noted."""


class _LetGo:
    """Stands in for a parser that has been let go of."""

    def feed_data(self, _data: bytes) -> None:
        raise httptools.HttpParserError("the answer has been let go of")


_LET_GO = _LetGo()


def _new_parser(answer: ResponseParser) -> httptools.HttpResponseParser:
    parser = httptools.HttpResponseParser(answer)
    parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)
    return parser


def _looks_like_http(raw: bytes | bytearray) -> bool:
    """Whether it is HTTP at all: the parser accepts RTSP and ICE too."""
    return raw.lstrip(b"\r\n").startswith(b"HTTP/")


def _framing(headers: list[tuple[bytes, bytes]]) -> tuple[list[bytes], bool]:
    """The transfer codings, in the order in which they were applied; and whether there is a ``content-length``."""
    codings: list[bytes] = []
    length_known = False
    for name, value in headers:
        length = len(name)  # nearly always enough to tell
        if length == 17 and name.lower() == b"transfer-encoding":
            codings += [coding.strip().lower() for coding in value.split(b",")]
        elif length == 14 and name.lower() == b"content-length":
            length_known = True
    return codings, length_known
