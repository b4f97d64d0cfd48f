"""Opening a stream: request, answer's head, first event, and doing it again while that is allowed.

What belongs here: everything between entering the block and the first event other than ``ping``; nothing has been
handed to the caller until then, so this is also the only part that is ever retried. What does not: reading on
(`_reader`, `_base`) and making the request (`_client`).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, MutableSet
from typing import Literal, Protocol, final

import msgspec
import trio

from trio_stream._errors import (
    APIError,
    APITimeoutError,
    FirstEventTimeoutError,
    InvalidResponseError,
    SilenceTimeoutError,
    TotalTimeoutError,
)
from trio_stream._http import Response, read_error_body
from trio_stream._limits import Limits
from trio_stream._protocol import RateLimits, error_from_response
from trio_stream._response import ResponseInfo
from trio_stream._stats import StreamStats
from trio_stream._timeouts import Timeouts

from ._clocks import Clocks
from ._reader import EventReader
from ._retrying import with_retries
from ._watchdog import Watchdog

_OpeningClock = Literal["first_event", "silence", "total"]

_ACCEPTED = " (the API may have accepted the request)"

_ERROR_BODY_SECONDS = 10.0
"""How long an error's body is waited for: its status is known and must not be lost to a body that stalls."""

_LONGEST_REQUEST_ID = 100
"""Characters. What is longer is not an id."""

_SNIPPET = 200
"""Characters of a body that is not an event stream which its error shows."""


class Closable(Protocol):
    """What a client closes when it is closed itself."""

    def close_now(self) -> None:
        """Close without waiting."""


class StreamRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request as the client prepared it; it may be sent several times.

    Args:
      send: Sends it. Takes the number of retries taken so far, and what to call once it is wholly sent.
      unix_time: Seconds since the epoch, for ``retry-after`` dates.
      live: The open streams of the client.
      watchdog: Watches the clocks of all open streams of the client.
    """

    send: Callable[[int, Callable[[], None]], Awaitable[Response]]
    timeouts: Timeouts
    max_retries: int
    limits: Limits
    unix_time: Callable[[], float]
    live: MutableSet[Closable]
    watchdog: Watchdog


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """An answer whose first event has arrived."""

    reader: EventReader
    response: ResponseInfo
    request_id: str | None
    began_at: float
    attempts: int

    @property
    def rate_limits(self) -> RateLimits:
        """What the answer's headers say of them; read when looked at: it takes as long as a dozen events."""
        return RateLimits.from_headers(self.response.headers)

    def stats(self) -> StreamStats:
        """The reader's counts and moments, as seconds since this attempt began."""
        reader = self.reader
        reader.note_firsts()

        def since_began(moment: float | None) -> float | None:
            return None if moment is None else moment - self.began_at

        return StreamStats(
            time_to_first_byte=since_began(reader.first_byte_at),
            time_to_first_event=since_began(reader.first_event_at),
            time_to_first_text=since_began(reader.first_text_at),
            longest_gap=reader.longest_gap,
            events=reader.events,
            bytes=reader.bytes,
            attempts=self.attempts,
        )


@final
class Opening:
    """One go at opening, from the first attempt to the last."""

    def __init__(self, request: StreamRequest, *, clocks: Clocks, entered_at: float, raw_events: bool) -> None:
        self._request = request
        self._clocks = clocks
        self._raw_events = raw_events
        total = request.timeouts.total
        self._total_at = math.inf if total is None else entered_at + total
        self._runs_out_first: _OpeningClock = "total"
        self._sent = False
        self._last_error: APIError | None = None
        self._request_id: str | None = None

    async def open(self) -> Opened:
        """Send the request and wait for the first event other than ``ping``.

        Raises:
          APIError: The last attempt's error, or `TotalTimeoutError`.
        """
        return await with_retries(self._attempt, max_retries=self._request.max_retries, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        if trio.current_time() + seconds < self._total_at:
            await trio.sleep(seconds)
        else:
            await trio.sleep_until(self._total_at)
            raise self._total_ran_out() from self._last_error

    async def _attempt(self, retries_taken: int) -> Opened:
        limit = self._request.timeouts.first_event
        began_at = trio.current_time()
        response: Response | None = None
        self._sent = False
        self._request_id = None
        self._runs_out_first = "total"
        self._clocks.restart()
        # One scope for all clocks: another one would cost as much as a dozen events.
        with trio.CancelScope(deadline=self._total_at) as scope:

            def on_sent() -> None:
                self._sent = True
                # Waiting for a connection and sending have clocks of their own.
                if limit is not None:
                    self._run(scope, "first_event", trio.current_time() + limit)

            try:
                response = await self._request.send(retries_taken, on_sent)
                self._request_id = read_request_id(response.info)
                await self._check_head(response, scope)
                reader = EventReader(
                    response.body, clocks=self._clocks, limits=self._request.limits, raw_events=self._raw_events
                )
                await self._read_first_event(reader, scope)
            except BaseException as exc:
                if isinstance(exc, APIError):
                    self._last_error = exc
                    exc.request_id = exc.request_id or self._request_id
                if response is not None:
                    response.body.close()
                    await response.body.aclose()
                raise
            return Opened(
                reader=reader,
                response=response.info,
                request_id=self._request_id,
                began_at=began_at,
                attempts=retries_taken + 1,
            )
        if self._runs_out_first == "total":
            raise self._total_ran_out() from self._last_error
        self._last_error = self._too_late(response)
        raise self._last_error

    def _run(self, scope: trio.CancelScope, clock: _OpeningClock, runs_out_at: float) -> None:
        """Let a clock run, beside ``total``."""
        if scope.cancel_called:
            return  # after a stall of the whole program bytes and clocks are due at once: it is too late
        if runs_out_at < self._total_at:
            self._runs_out_first, scope.deadline = clock, runs_out_at
        else:
            self._runs_out_first, scope.deadline = "total", self._total_at

    async def _read_first_event(self, reader: EventReader, scope: trio.CancelScope) -> None:
        silence = math.inf if self._request.timeouts.silence is None else self._request.timeouts.silence
        first_event_at = scope.deadline if self._runs_out_first == "first_event" else math.inf
        while not reader.advance():
            if reader.wants_schedule_point:
                if self._runs_out_first == "silence":
                    self._run(scope, "first_event", first_event_at)  # there were bytes
                await reader.schedule_point()
                continue
            arrival, woken = reader.begin_wait(), False
            try:
                silence_at = trio.current_time() + silence - self._clocks.silence_used
                if silence_at < first_event_at:
                    self._run(scope, "silence", silence_at)
                else:
                    self._run(scope, "first_event", first_event_at)
                await arrival
                woken = True
            finally:
                reader.end_wait(woken=woken)

    def _total_ran_out(self) -> TotalTimeoutError:
        seconds = self._request.timeouts.total or 0.0
        return TotalTimeoutError(
            f"total: the stream was not open within {seconds:g} s" + (_ACCEPTED if self._sent else ""),
            seconds=seconds,
            may_have_been_accepted=self._sent,
            request_id=self._request_id,
        )

    def _too_late(self, response: Response | None) -> APITimeoutError:
        """The error of the clock that ran out in an attempt."""
        timeouts = self._request.timeouts
        kind: type[APITimeoutError]
        if self._runs_out_first == "silence":
            kind, seconds = SilenceTimeoutError, timeouts.silence or 0.0
            sentence = f"silence: not one byte for {seconds:g} s while waiting for the first event"
        else:
            kind, seconds = FirstEventTimeoutError, timeouts.first_event or 0.0
            missing = "the response headers" if response is None else "the first event"
            sentence = f"first_event: waited {seconds:g} s for {missing}"
        return kind(sentence + _ACCEPTED, seconds=seconds, may_have_been_accepted=True, request_id=self._request_id)

    async def _check_head(self, response: Response, scope: trio.CancelScope) -> None:
        """Raise unless an event stream follows."""
        info = response.info
        if info.status_code == 200:
            check_encoding(info)
            content_type = info.headers.find(b"content-type").partition(";")[0].strip().lower()
            # Gateways exist that send no content-type at all.
            if content_type in ("", "text/event-stream"):
                return
        raise await read_error_answer(self._request, response, scope)


async def read_error_answer(request: StreamRequest, response: Response, *scopes: trio.CancelScope) -> APIError:
    """Read the body of an answer that is not what was asked for, and make an error of it. Lets go of the body.

    Its status is known and worth more than the clocks: they bound the body, and do not replace the error.

    Args:
      request: What was asked.
      response: The answer.
      *scopes: Those of the clocks that are running.
    """
    now = trio.current_time()
    deadlines = [scope.deadline for scope in scopes]
    seconds = min(_ERROR_BODY_SECONDS, request.timeouts.silence or math.inf, min(deadlines) - now)
    for scope in scopes:
        scope.deadline = math.inf
    try:
        body = await read_error_body(
            response.body, limit_bytes=request.limits.error_body_bytes, seconds=max(seconds, 0.0)
        )
    finally:
        for scope, deadline in zip(scopes, deadlines, strict=True):
            scope.deadline = deadline
    return answer_error(response.info, body, unix_time=request.unix_time())


def check_encoding(response: ResponseInfo) -> None:
    """Refuse a body that is compressed, or whatever else was done to it.

    Raises:
      InvalidResponseError: It names the coding.
    """
    headers = response.headers
    for header, plain in ((b"content-encoding", "identity"), (b"transfer-encoding", "chunked")):
        for coding in headers.find(header).split(","):
            name = coding.strip().lower()
            if name not in ("", "identity", plain):
                raise InvalidResponseError(
                    f"the answer is encoded ({name[:40]!r}) although accept-encoding: identity was asked for"
                )


def read_request_id(response: ResponseInfo) -> str | None:
    """The ``request-id`` of an answer, if it can be one: the texts of errors repeat it."""
    value = response.headers.find(b"request-id")
    return value if value.isprintable() and 0 < len(value) <= _LONGEST_REQUEST_ID else None


def answer_error(response: ResponseInfo, body: bytes, *, unix_time: float) -> APIError:
    """The error for an answer that is not what was asked for."""
    error = error_from_response(response.status_code, response.headers, body, now=unix_time)
    if response.status_code != 200 or error.type is not None:
        return error
    content_type = response.headers.find(b"content-type")[:100]
    snippet = ""
    if content_type.lower().startswith("text/"):
        text = " ".join(body[: 4 * _SNIPPET].decode("utf-8", "replace").split())
        snippet = f": {text[:_SNIPPET]!r}"
    return InvalidResponseError(
        f"the answer is {content_type!r}, not the text/event-stream that was asked for{snippet}"
    )
