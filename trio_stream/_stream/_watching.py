"""What the instruments of one call are told, and the pieces of its answer that they tap.

What belongs here: making the moments of a call. What does not: when they happen (`_opening`, `_life`), and who listens
(`_instruments`).

Nothing of this module is made for a call that nobody watches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import trio

from trio_stream._errors import APIError
from trio_stream._http import ConnectionInfo, ResponseBody, WrappedBody
from trio_stream._instruments import (
    AttemptStart,
    Audience,
    Call,
    CallEnd,
    CallOutcome,
    Connected,
    FirstEvent,
    HeadReceived,
    Progress,
    RequestSent,
    Retry,
    Taps,
)
from trio_stream._protocol import Content, RawEvent, RawMessageStreamEvent, decode_event
from trio_stream._response import ResponseInfo

from ._request import StreamRequest


@final
class CallWatch:
    """Tells the instruments of one call its moments.

    Attributes:
      call: The call.
      added_headers: What the instruments want to be sent with each attempt.
    """

    __slots__ = ("_audience", "_ended", "_taps", "added_headers", "call")

    def __init__(self, audience: Audience, request: StreamRequest, progress: Progress | None) -> None:
        outgoing = request.outgoing
        self._audience = audience
        self._taps = Taps()
        self._ended = False
        self.call: Call = Call(
            method=outgoing.method,
            path=outgoing.path,
            base_url=outgoing.base_url,
            content=b"" if isinstance(outgoing.content, Content) else outgoing.content,
            lane=request.lane,
            progress=progress,
        )
        self.added_headers: Mapping[str, str] = audience.start(self.call)

    def attempt_starts(self, *, waited_for_limit: float = 0.0) -> None:
        """A request is about to be made, after a wait for the client's limiter in seconds."""
        call = self.call
        call.attempts += 1
        call.request_id = call.response = None
        moment = AttemptStart(
            call=call, at=trio.current_time(), attempt=call.attempts, waited_for_limit=waited_for_limit
        )
        self._audience.tell(moment)
        self._taps = moment.taps

    def connected(self, info: ConnectionInfo) -> None:
        """There is a connection for the request."""
        self._audience.tell(
            Connected(
                call=self.call,
                at=trio.current_time(),
                reused=info.reused,
                waited=info.waited,
                tcp=info.tcp,
                tls=info.tls,
            )
        )

    def request_sent(self) -> None:
        """The request has been sent."""
        self._audience.tell(RequestSent(call=self.call, at=trio.current_time()))

    def head_received(self, response: ResponseInfo, request_id: str | None) -> None:
        """The head of an answer has arrived."""
        call = self.call
        call.response, call.request_id = response, request_id
        self._audience.tell(HeadReceived(call=call, at=trio.current_time(), response=response, request_id=request_id))

    def first_event(self) -> None:
        """The first event other than ``ping`` has arrived."""
        self._audience.tell(FirstEvent(call=self.call, at=trio.current_time()))

    def retry(self, error: APIError, delay: float) -> None:
        """An attempt failed, and another one follows after a delay in seconds."""
        self._audience.tell(Retry(call=self.call, at=trio.current_time(), error=error, delay=delay))

    def end(self, outcome: CallOutcome, *, error: BaseException | None = None, reason: str | None = None) -> None:
        """The call has ended; later calls of this method do nothing."""
        if self._ended:
            return
        self._ended = True
        call = self.call
        self._audience.tell(
            CallEnd(
                call=call,
                at=trio.current_time(),
                outcome=outcome,
                error=error,
                reason=reason,
                usage=call.usage,
                usage_final=outcome is CallOutcome.COMPLETED,
                stats=call.stats(),
            )
        )

    # Taps: where there are none, the reader gets the body and the decoder that it always has.

    def tapped(self, body: ResponseBody) -> ResponseBody:
        """The body of this attempt's answer, such that whoever taps its bytes sees them."""
        return _TappedBody(body, self._audience, self._taps) if self._taps.bytes else body

    def decode(self, raw: RawEvent) -> RawMessageStreamEvent:
        """As `decode_event`, such that whoever taps the events of this attempt sees them."""
        event = decode_event(raw)
        if self._taps.events:
            self._audience.tap(self._taps.events, event)
        return event


@final
class _TappedBody(WrappedBody):
    """Another body, whose bytes are shown to those who tap them."""

    __slots__ = ("_audience", "_taps")

    def __init__(self, body: ResponseBody, audience: Audience, taps: Taps) -> None:
        super().__init__(body)
        self._audience = audience
        self._taps = taps

    def receive_nowait(self) -> bytes | None:
        """As `ResponseBody.receive_nowait`."""
        data = self._body.receive_nowait()
        if data:
            self._audience.tap(self._taps.bytes, data)
        return data


def watch_call(request: StreamRequest, progress: Progress | None) -> CallWatch | None:
    """Begin to watch a call, and tell of its start; None if nobody watches."""
    audience = request.instruments.watch()
    return None if audience is None else CallWatch(audience, request, progress)
