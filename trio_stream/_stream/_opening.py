"""Opening a stream: request, answer's head, first event, and doing it again while that is allowed.

What belongs here: everything between entering the block and the first event other than ``ping``; nothing has been
handed to the caller until then, so this is also the only part that is ever retried. What does not: reading on
(`_reader`, `_life`) and making the request (`_client`).
"""

from __future__ import annotations

import math
from typing import Any, Generic, Literal, Protocol, TypeVar, final

import msgspec
import trio

from trio_stream._errors import (
    APIError,
    APITimeoutError,
    FirstEventTimeoutError,
    SilenceTimeoutError,
    TotalTimeoutError,
)
from trio_stream._http import Response, ResponseBody, decoded
from trio_stream._limiter import Admission
from trio_stream._protocol import RateLimits
from trio_stream._response import ResponseInfo
from trio_stream._stats import StreamStats

from ._answers import read_error_answer, read_request_id
from ._body_reader import BodyReader
from ._clocks import Clocks
from ._request import StreamRequest, locate
from ._retrying import EarlierAttempts, Waiting, with_retries
from ._watching import CallWatch

_OpeningClock = Literal["first_event", "silence", "total"]

_ACCEPTED = " (the API may have accepted the request)"


ReaderT = TypeVar("ReaderT", bound=BodyReader[Any])
ReaderT_co = TypeVar("ReaderT_co", bound=BodyReader[Any], covariant=True)


class AnswerFormat(Protocol[ReaderT_co]):
    """What is expected in the body of an answer, and who reads it."""

    def reader(
        self,
        info: ResponseInfo,
        body: ResponseBody,
        *,
        request: StreamRequest,
        clocks: Clocks,
        watch: CallWatch | None,
        request_id: str | None,
    ) -> ReaderT_co | None:
        """Make the reader of an answer.

        Args:
          info: The head of the answer.
          body: Its body.
          request: The request.
          clocks: Told since when the reader waits.
          watch: Who watches the call, if anybody does.
          request_id: The API's ``request-id``, or None.

        Returns:
          The reader; None if the answer is not what was asked for, so that an error is to be made of it.

        Raises:
          InvalidResponseError: The body cannot be read.
        """
        ...


class Opened(msgspec.Struct, Generic[ReaderT], frozen=True, kw_only=True, gc=False):
    """An answer whose first event has arrived. Nothing that it holds refers back to it.

    Args:
      reader: Reads on.
      response: The head of the answer.
      request_id: The API's ``request-id``, or None.
      began_at: When the attempt that was answered began, by Trio's clock.
      attempts: Requests made, this one included.
    """

    reader: ReaderT
    response: ResponseInfo
    request_id: str | None
    began_at: float
    attempts: int

    @property
    def rate_limits(self) -> RateLimits:
        """The rate limits that the answer's headers tell. Read when looked at: it takes as long as a dozen events."""
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
class Opening(Generic[ReaderT]):
    """One go at opening, from the first attempt to the last.

    Attributes:
      first: What the first event brings, once `open` has returned; None if the answer is whole without any.
      attempts: Requests made so far.
    """

    first: tuple[Any, ...] | None
    attempts: int

    def __init__(
        self,
        request: StreamRequest,
        *,
        answer_format: AnswerFormat[ReaderT],
        clocks: Clocks,
        entered_at: float,
        watch: CallWatch | None,
        admission: Admission | None,
    ) -> None:
        self._request = request
        self._clocks = clocks
        self._format = answer_format
        self._watch = watch
        self._admission = admission
        total = request.timeouts.total
        self._total_at = math.inf if total is None else entered_at + total
        self._runs_out_first: _OpeningClock = "total"
        self._waiting = Waiting(request.timeouts.first_event)
        self.attempts = 0
        self._sent = False
        self._earlier = EarlierAttempts()
        self._last_error: APIError | None = None
        self._request_id: str | None = None

    async def open(self) -> Opened[ReaderT]:
        """Send the request and wait for the first event other than ``ping``.

        Raises:
          APIError: The last attempt's error, or `TotalTimeoutError`.
        """
        return await with_retries(
            self._attempt,
            max_retries=self._request.max_retries,
            repeatable=self._request.repeatable,
            renewable=self._request.outgoing.renewable,
            sleep=self._sleep,
            on_retry=None if self._watch is None else self._watch.retry,
            earlier=self._earlier,
            has_time=self._may_go_on,
        )

    def _may_go_on(self) -> bool:
        """Whether another attempt is of any use, where the error allows one."""
        # The clock has to hear of the end of the attempt in any case, so it is asked first.
        return self._waiting.has_time() and not (self._admission is not None and self._admission.too_large)

    async def _sleep(self, seconds: float) -> None:
        if trio.current_time() + seconds < self._total_at:
            await trio.sleep(seconds)
        else:
            await trio.sleep_until(self._total_at)
            error = self._locate(self._total_ran_out(), None)
            self._earlier.mark(error)
            raise error from self._last_error

    async def _attempt(self, retries_taken: int) -> Opened[ReaderT]:
        request, watch, admission = self._request, self._watch, self._admission
        response: Response | None = None
        self._sent = False
        self._request_id = None
        self._runs_out_first = "total"
        self._waiting.stop()
        self._clocks.restart()
        # One scope for all clocks: another one would cost as much as a dozen events.
        with trio.CancelScope(deadline=self._total_at) as scope:
            if admission is not None:
                await admission.ask()  # of the clocks only `total` runs meanwhile
            began_at = trio.current_time()
            self.attempts += 1
            if watch is not None:
                watch.attempt_starts(waited_for_limit=0.0 if admission is None else admission.waited_before)

            def on_sent() -> None:
                self._sent = True
                if watch is not None:
                    watch.request_sent()
                # Waiting for a connection and sending have clocks of their own.
                self._run(scope, "first_event", self._waiting.start())

            try:
                response = await request.outgoing.send(
                    retries_taken=retries_taken,
                    added_headers=None if watch is None else watch.added_headers,
                    on_sent=on_sent,
                    on_connected=None if watch is None else watch.connected,
                )
                headers = response.info.headers
                self._request_id = read_request_id(headers)
                if watch is not None:
                    watch.head_received(response.info, self._request_id)
                body = decoded(headers, response.body)
                if watch is not None:
                    body = watch.tapped(body)
                reader = self._format.reader(
                    response.info,
                    body,
                    request=request,
                    clocks=self._clocks,
                    watch=watch,
                    request_id=self._request_id,
                )
                if reader is None:
                    raise await read_error_answer(
                        response.info,
                        body,
                        scope,
                        limits=request.limits,
                        silence=request.timeouts.silence,
                        unix_time=request.unix_time(),
                    )
                self.first = await self._read_first_event(reader, scope)
                if admission is not None:
                    admission.began(RateLimits.from_headers(headers), reader.usage, lambda: reader.events)
            except BaseException as exc:
                if isinstance(exc, APIError):
                    self._last_error = self._locate(exc, response)
                if admission is not None:
                    if isinstance(exc, APIError):
                        admission.failed(exc)
                    admission.release()
                if response is not None:
                    response.body.close()
                    await response.body.aclose()
                raise
            if watch is not None:
                watch.first_event()
            return Opened(
                reader=reader,
                response=response.info,
                request_id=self._request_id,
                began_at=began_at,
                attempts=self.attempts,
            )
        if self._runs_out_first == "total":
            raise self._locate(self._total_ran_out(), response) from self._last_error
        self._last_error = self._locate(self._too_late(response), response)
        raise self._last_error

    def _locate(self, error: APIError, response: Response | None) -> APIError:
        """Write on an error where the request went and what answered."""
        return locate(
            error, self._request, response=None if response is None else response.info, request_id=self._request_id
        )

    def _run(self, scope: trio.CancelScope, clock: _OpeningClock, runs_out_at: float) -> None:
        """Start a clock that runs beside ``total``, and note which of the two runs out first."""
        if scope.cancel_called:
            return  # after a stall of the whole program bytes and clocks are due at once: it is too late
        if runs_out_at < self._total_at:
            self._runs_out_first, scope.deadline = clock, runs_out_at
        else:
            self._runs_out_first, scope.deadline = "total", self._total_at

    async def _read_first_event(self, reader: ReaderT, scope: trio.CancelScope) -> tuple[Any, ...] | None:
        silence = math.inf if self._request.timeouts.silence is None else self._request.timeouts.silence
        first_event_at = self._waiting.runs_out_at
        while (first := reader.advance()) is None and not reader.complete:
            if reader.waits_for_bytes:
                silence_at = trio.current_time() + silence - self._clocks.silence_used
                if silence_at < first_event_at:
                    self._run(scope, "silence", silence_at)
                else:
                    self._run(scope, "first_event", first_event_at)
            elif self._runs_out_first == "silence":
                self._run(scope, "first_event", first_event_at)  # there were bytes
            await reader.wait()
        return first

    def _total_ran_out(self) -> TotalTimeoutError:
        seconds = self._request.timeouts.total or 0.0
        sentence = f"total: the stream was not open within {seconds:g} s"
        waited = 0.0 if self._admission is None else self._admission.waited
        if waited:
            sentence += f", {waited:.3g} s of which it waited for the client's limiter"
        return TotalTimeoutError(
            sentence + (_ACCEPTED if self._sent else ""),
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
