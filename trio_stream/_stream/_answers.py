"""Answers that are not what was asked for, and what is worth knowing of every answer.

What belongs here: looking at an answer's head, reading an answer that is JSON, and making an error of one that is none.
What does not: which errors are tried again (`_protocol`), and the clocks that run meanwhile (`_opening`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from typing import final

import trio

from trio_stream._errors import APIError, InvalidResponseError
from trio_stream._http import ResponseBody, codings_of, is_decoded, read_error_body
from trio_stream._limits import Limits
from trio_stream._protocol import (
    JSON_ERRORS,
    RawEvent,
    decode_json,
    error_from_response,
    events_of_message,
    find_sentence,
    is_message,
)
from trio_stream._response import Headers, ResponseInfo

_ERROR_BODY_SECONDS = 10.0
"""How long an error's body is waited for: its status is known and must not be lost to a body that stalls."""

_LONGEST_REQUEST_ID = 100
"""Characters. What is longer is not an id."""

_FRAMING = ("", "identity", "chunked")
"""Transfer codings that do nothing to the bytes of a body."""

_SNIPPET = 200
"""Characters of a body that is not an event stream which its error shows."""


def read_request_id(headers: Headers) -> str | None:
    """The ``request-id`` of an answer, if it can be one: the texts of errors repeat it."""
    value = headers.find(b"request-id")
    return value if value.isprintable() and 0 < len(value) <= _LONGEST_REQUEST_ID else None


class AnswerKind(Enum):
    """What follows the head of an answer."""

    EVENTS = "an event stream"
    JSON = "JSON: a whole message, or an error"
    OTHER = "an error, or a page of somebody else"


_WITHOUT_BODY = frozenset({204, 205})
"""RFC 9110, 15.3.5 and 15.3.6: No Content, Reset Content."""


def kind_of_answer(status_code: int, headers: Headers) -> AnswerKind:
    """What follows, as the head of an answer tells it.

    Raises:
      InvalidResponseError: The body is compressed in a way that is not known, or whatever else was done to it.
    """
    if not 200 <= status_code < 300 or status_code in _WITHOUT_BODY:
        return AnswerKind.OTHER
    check_encoding(headers)
    content_type = headers.find(b"content-type").partition(";")[0].strip().lower()
    # Gateways exist that send no content-type at all.
    if content_type in ("", "text/event-stream"):
        return AnswerKind.EVENTS
    return AnswerKind.JSON if content_type == "application/json" or content_type.endswith("+json") else AnswerKind.OTHER


@final
class JSONAnswer:
    """Takes the place of an `EventStreamParser` where the answer to a request for a stream is JSON.

    A whole message becomes the events in which it would have been streamed. Anything else is an error.

    Args:
      info: The head of the answer.
      limit_bytes: The largest body.
      unix_time: Gives seconds since the epoch, for ``retry-after`` dates.
    """

    __slots__ = ("_data", "_info", "_limit_bytes", "_tried_bytes", "_unix_time", "failure")

    failure: InvalidResponseError | None

    def __init__(self, info: ResponseInfo, *, limit_bytes: int, unix_time: Callable[[], float]) -> None:
        self.failure = None
        self._info = info
        self._limit_bytes = limit_bytes
        self._unix_time = unix_time
        self._data: bytearray | None = bytearray()  # None once it has been read
        self._tried_bytes = 0

    def feed(self, data: bytes) -> list[RawEvent]:
        """Take the next bytes of the body; the events, once they are all there.

        Some servers leave the connection open after an error. So this looks whether the JSON is whole, at lengths that
        double, which keeps the work linear.

        Raises:
          APIError: It is no message.
        """
        if self._data is None:
            return []
        self._data += data
        size = len(self._data)
        if size > self._limit_bytes:
            self.failure = InvalidResponseError(f"message too large: more than {self._limit_bytes} bytes")
            self._data = None
            return []
        if size < 2 * self._tried_bytes or not data.rstrip().endswith(b"}"):
            return []
        self._tried_bytes = size
        try:
            value = decode_json(_plain(self._data))
        except JSON_ERRORS:
            return []
        return self._read(value)

    def end(self) -> list[RawEvent]:
        """The body has ended: the events of the message in it, unless they were returned before.

        Raises:
          APIError: It is no message.
        """
        if self._data is None:
            return []
        try:
            value = decode_json(_plain(self._data))
        except JSON_ERRORS:
            value = None
        return self._read(value)

    def _read(self, value: object) -> list[RawEvent]:
        assert self._data is not None
        body, self._data = bytes(self._data), None
        if is_message(value):
            return events_of_message(value)
        raise _answer_error(self._info, body, unix_time=self._unix_time())


def _plain(body: bytearray) -> bytes:
    return bytes(body).removeprefix(b"\xef\xbb\xbf")


def check_encoding(headers: Headers) -> None:
    """Refuse a body to which something was done that cannot be undone here; gzip and deflate can (`decoded`).

    Raises:
      InvalidResponseError: It names the coding.
    """
    codings = codings_of(headers)
    unknown = [] if is_decoded(codings) else codings
    transfer = headers.find(b"transfer-encoding").lower()
    if transfer not in _FRAMING:
        unknown += [name for name in map(str.strip, transfer.split(",")) if name not in _FRAMING]
    if unknown:
        raise InvalidResponseError(
            f"the answer is encoded ({', '.join(repr(name[:40]) for name in unknown[:5])}) "
            "although accept-encoding: identity was asked for"
        )


async def read_error_answer(
    info: ResponseInfo,
    body: ResponseBody,
    *scopes: trio.CancelScope,
    limits: Limits,
    silence: float | None,
    unix_time: float,
) -> APIError:
    """Read the body of an answer that is not what was asked for, and make an error of it. Lets go of the body.

    Its status is known and worth more than the clocks: they bound the body, and do not replace the error.

    Args:
      info: The head of the answer.
      body: Its body.
      *scopes: Those of the clocks that are running.
      limits: How much of the body is read.
      silence: The clock, in seconds.
      unix_time: Seconds since the epoch, for ``retry-after`` dates.
    """
    now = trio.current_time()
    deadlines = [scope.deadline for scope in scopes]
    seconds = min(_ERROR_BODY_SECONDS, silence or math.inf, min(deadlines) - now)
    for scope in scopes:
        scope.deadline = math.inf
    try:
        content = await read_error_body(body, limit_bytes=limits.error_body_bytes, seconds=max(seconds, 0.0))
    finally:
        for scope, deadline in zip(scopes, deadlines, strict=True):
            scope.deadline = deadline
    return _answer_error(info, content, unix_time=unix_time)


def _answer_error(info: ResponseInfo, body: bytes, *, unix_time: float) -> APIError:
    error = error_from_response(info.status_code, info.headers, body, now=unix_time)
    if info.status_code != 200 or error.type is not None or find_sentence(error.body) is not None:
        return error
    content_type = info.headers.find(b"content-type")[:100]
    snippet = ""
    if content_type.lower().startswith("text/"):
        text = " ".join(body[: 4 * _SNIPPET].decode("utf-8", "replace").split())
        snippet = f": {text[:_SNIPPET]!r}"
    return InvalidResponseError(
        f"the answer is {content_type!r}, not the text/event-stream that was asked for{snippet}"
    )
