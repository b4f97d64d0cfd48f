"""Instruments: functions that are told the moments of every call.

What belongs here: the moments of a call, whom they are told, and keeping an instrument's mistakes away from the
program. What does not: where the moments come from (`_stream`, `_client`), the moments of a fan-out (`batch`), and what
is made of them (an instrument's own business).

An instrument is any function of one argument. It is called where the moment happens, in the task that enters, receives
or leaves, so it must not wait, and should be quick. Where nobody watches, nothing is made and nothing is called.

The moments of a call, in their order::

    CallStart
    ├── AttemptStart          once for each request; here bytes and events can be tapped
    │   ├── Connected         not with transports of other makers
    │   ├── RequestSent
    │   ├── HeadReceived      whatever its status
    │   └── FirstEvent        other than ping: from here on nothing is retried
    ├── Retry                 between two attempts
    └── CallEnd               exactly one for each CallStart
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from typing import Any, Protocol, TypeAlias, final

import msgspec
import trio

from trio_stream._errors import APIError
from trio_stream._limiter import Lane
from trio_stream._protocol import Message, RateLimits, RawMessageStreamEvent, Usage, check_added_header
from trio_stream._response import ResponseInfo
from trio_stream._stats import StreamStats

_log = logging.getLogger("trio_stream")

_ids = itertools.count(1)


class CallOutcome(Enum):
    """How a call ended."""

    COMPLETED = "completed"  # message_stop was read, or the last line of results, or a whole JSON answer
    FAILED = "failed"
    CANCELLED = "cancelled"  # by `stream.cancel`, or by a cancel scope of Trio's
    LEFT = "left"  # closed before its end; the error, if any, is what the body of the block raised


class Progress(Protocol):
    """What a call can tell while it is under way."""

    @property
    def usage(self) -> Usage | None:
        """The tokens counted so far."""

    @property
    def stats(self) -> StreamStats:
        """Timings and counts up to now."""
        ...

    @property
    def partial(self) -> Message | None:
        """The message as far as it has been read."""


class _Model(msgspec.Struct):
    model: Any = None  # a program may send what the API is going to refuse


@final
class JobInfo:
    """A fan-out as instruments see it: many calls are made for it.

    Attributes:
      id: Unique in this process.
    """

    __slots__ = ("id",)

    def __init__(self) -> None:
        self.id: int = next(_ids)

    def __repr__(self) -> str:
        return f"<JobInfo {self.id}>"


@final
class Call:
    """One call of the API, over all its attempts. It outlives them.

    Attributes:
      id: Unique in this process.
      method: The HTTP method.
      path: The path below the base URL, for example ``/v1/messages``.
      base_url: Where the client sends its requests, without credentials.
      content: The JSON body as it is sent, or nothing, as also where a fan-out sends a batch from a file. It holds the
        prompt, so ``repr`` leaves it out.
      parent: The job (a fan-out) that this call is made for, or None.
      item: The id of the job's item that it is made for, its number where it has no id; None for other calls.
      lane: Which queue of the client's limiter it waits in: ``"interactive"``, or ``"batch"``, as the items of a
        fan-out do.
      headers: Sent with each attempt, beside those of the call: `CallStart` may add to them, under lower-case names.
        Authentication is the client's alone, and what no header can carry is not sent; both are logged.
      attempts: Requests made so far.
      request_id: The API's ``request-id`` of the last answer, or None.
      response: The head of the last answer, or None.
    """

    __slots__ = (
        "_model",
        "_params",
        "_progress",
        "attempts",
        "base_url",
        "content",
        "headers",
        "id",
        "item",
        "lane",
        "method",
        "parent",
        "path",
        "request_id",
        "response",
    )

    def __init__(
        self, *, method: str, path: str, base_url: str, content: bytes, lane: Lane, progress: Progress | None
    ) -> None:
        self.id: int = next(_ids)
        self.method: str = method
        self.path: str = path
        self.base_url: str = base_url
        self.content: bytes = content
        self.parent: JobInfo | None = current_job.get()
        self.item: str | None = current_item.get()
        self.lane: Lane = lane
        self.headers: dict[str, str] = {}
        self.attempts: int = 0
        self.request_id: str | None = None
        self.response: ResponseInfo | None = None
        self._progress = progress
        self._model: _Model | None = None  # until it is asked for
        self._params: Mapping[str, Any] | None = None

    @property
    def model(self) -> str | None:
        """The model that is asked for; None where a call has none of its own, as those about batches."""
        if self._model is None:
            # Without decoding the rest, which may be megabytes.
            self._model = msgspec.json.decode(self.content, type=_Model) if self.content else _Model()
        model = self._model.model
        return model if isinstance(model, str) else None

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters of the request as they are sent, decoded when looked at. They hold the prompt."""
        params = self._params
        if params is None:
            params = self._params = msgspec.json.decode(self.content or b"{}", type=dict[str, Any])
        return params

    @property
    def usage(self) -> Usage | None:
        """The tokens counted so far; None before the answer's first event."""
        return None if self._progress is None else self._progress.usage

    @property
    def partial(self) -> Message | None:
        """The message as far as it has arrived, made when looked at; None before the answer's first event."""
        return None if self._progress is None else self._progress.partial

    def stats(self) -> StreamStats:
        """Timings and counts up to now."""
        stats = StreamStats() if self._progress is None else self._progress.stats
        # A call that never had an answer has made attempts all the same.
        return stats if stats.attempts else msgspec.structs.replace(stats, attempts=self.attempts)

    def __repr__(self) -> str:
        return f"<Call {self.id} {self.path} model={self.model!r} attempts={self.attempts}>"


# The moments.


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened.

    Args:
      at: When, by Trio's clock, in seconds.
    """

    at: float


class CallMoment(Moment, frozen=True, kw_only=True):
    """A moment of a call.

    Args:
      call: The call.
    """

    call: Call


@final
class CallStart(CallMoment, frozen=True, kw_only=True):
    """A call begins: its block is being entered."""


EventTap: TypeAlias = Callable[[RawMessageStreamEvent, float], object]
"""Called with each wire event (``ping`` and ``error`` included), and when it was decoded."""

ByteTap: TypeAlias = Callable[[bytes, float], object]
"""Called with each piece of the answer's body as it arrived, and when."""


@final
class Taps:
    """Who wants to see the bytes and events of one attempt."""

    __slots__ = ("bytes", "events")

    def __init__(self) -> None:
        self.bytes: list[ByteTap] = []
        self.events: list[EventTap] = []


@final
class AttemptStart(CallMoment, frozen=True, kw_only=True):
    """A request is about to be made.

    Args:
      attempt: Its number, from 1.
      waited_for_limit: Seconds that it has waited for the client's limiter.
      taps: Who taps it; `tap_events` and `tap_bytes` add to them.
    """

    attempt: int
    waited_for_limit: float = 0.0
    taps: Taps = msgspec.field(default_factory=Taps)

    def tap_events(self, function: EventTap) -> None:
        """Have a function called with each wire event of this attempt and the time, in the order of decoding."""
        self.taps.events.append(function)

    def tap_bytes(self, function: ByteTap) -> None:
        """Have a function called with each piece of this attempt's body and the time, before it is decoded."""
        self.taps.bytes.append(function)


@final
class Connected(CallMoment, frozen=True, kw_only=True):
    """There is a connection for the request. Only the transport of this library tells.

    Args:
      reused: Whether it had served an earlier request.
      waited: Seconds of waiting for a free connection.
      tcp: Seconds that the TCP connection took, the look-up of the name included; None for a reused one.
      tls: Seconds that the TLS handshake took; None for a reused one, and without TLS.
    """

    reused: bool
    waited: float
    tcp: float | None
    tls: float | None


@final
class RequestSent(CallMoment, frozen=True, kw_only=True):
    """The request has been sent, to its last byte."""


@final
class HeadReceived(CallMoment, frozen=True, kw_only=True):
    """The head of an answer has arrived, whatever its status.

    Args:
      response: Status and headers.
      request_id: The API's ``request-id``, or None.
    """

    response: ResponseInfo
    request_id: str | None

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        return self.response.status_code

    @property
    def rate_limits(self) -> RateLimits:
        """What the ``anthropic-ratelimit-*`` headers say; read when looked at."""
        return RateLimits.from_headers(self.response.headers)


@final
class FirstEvent(CallMoment, frozen=True, kw_only=True):
    """The first event other than ``ping`` has arrived. Nothing is retried from here on."""


@final
class Retry(CallMoment, frozen=True, kw_only=True):
    """An attempt failed, and another one follows.

    Args:
      error: What it failed with.
      delay: Seconds until the next attempt.
    """

    error: APIError
    delay: float


@final
class CallEnd(CallMoment, frozen=True, kw_only=True):
    """A call has ended.

    Args:
      outcome: How.
      error: What it failed with (``failed``), or what the body of its block raised (``left``); else None.
      reason: Why it was cancelled, where somebody said so.
      usage: The tokens counted; None where no answer began.
      usage_final: Whether these are the last figures, those of a complete message.
      stats: Timings and counts.
    """

    outcome: CallOutcome
    error: BaseException | None
    reason: str | None
    usage: Usage | None
    usage_final: bool
    stats: StreamStats


Instrument: TypeAlias = Callable[[Moment], object]
"""A function that is told every moment: ``moments.append`` is one."""


# Whom they are told.

_in_context: ContextVar[tuple[Instrument, ...]] = ContextVar("trio_stream_instruments", default=())

current_job: ContextVar[JobInfo | None] = ContextVar("trio_stream_job", default=None)
"""The job that calls of this task are made for; set in the tasks of a fan-out's items."""

current_item: ContextVar[str | None] = ContextVar("trio_stream_item", default=None)
"""The item that calls of this task are made for; set with the job."""


@contextmanager
def instrumented(*instruments: Instrument) -> Generator[None]:
    """Have instruments told the moments of all calls that are entered in this block, also in tasks started in it.

    ::

        moments: list[ts.Moment] = []
        with ts.instrumented(moments.append):
            message = await client.messages.create(...)

    It is a context variable that knows them: calls of other tasks, which were started outside, are not told.

    Args:
      *instruments: Functions of one argument. They are added to those that hold already; one that is given twice,
        here or to the client, is told once.
    """
    token = _in_context.set(_in_context.get() + check_instruments(instruments))
    try:
        yield
    finally:
        _in_context.reset(token)


def check_instruments(instruments: Iterable[Instrument]) -> tuple[Instrument, ...]:
    """Refuse what cannot be called, where it was given.

    Raises:
      TypeError: One of them is not callable.
    """
    checked = tuple(instruments)
    for instrument in checked:
        if not callable(instrument):
            raise TypeError(f"an instrument is a function of one argument, not {instrument!r}")
    return checked


@final
class Instruments:
    """The instruments of a client.

    Args:
      own: Those that the client was given.
      failures: What has been logged already; shared by a client and its copies.
    """

    __slots__ = ("_failures", "_own")

    def __init__(self, own: tuple[Instrument, ...] = (), failures: set[tuple[int, str]] | None = None) -> None:
        self._own = own
        self._failures: set[tuple[int, str]] = set() if failures is None else failures

    def with_more(self, more: Iterable[Instrument]) -> Instruments:
        """These and more."""
        return Instruments(self._own + check_instruments(more), self._failures)

    def watch(self) -> Audience | None:
        """Whoever is told what begins here; None if nobody is."""
        listeners = self._own + _in_context.get()
        if not listeners:
            return None
        if len(listeners) > 1:
            # Told twice, an instrument would begin spans twice and record bytes twice.
            listeners = tuple({id(one): one for one in listeners}.values())
        return Audience(listeners, self._failures)


@final
class Audience:
    """The instruments that are told of one call, or of one job."""

    __slots__ = ("_failures", "_listeners")

    def __init__(self, listeners: tuple[Instrument, ...], failures: set[tuple[int, str]]) -> None:
        self._listeners = listeners
        self._failures = failures

    def tell(self, moment: Moment) -> None:
        """Tell every instrument, in the order in which they were given."""
        for instrument in self._listeners:
            try:
                instrument(moment)
            except Exception:  # noqa: BLE001 - watching must not change what is watched
                self._log_once(id(instrument), type(moment).__name__)

    def tap(self, functions: Iterable[Callable[[Any, float], object]], value: object) -> None:
        """Give the functions that tap an attempt a piece of it."""
        at = trio.current_time()
        for function in functions:
            try:
                function(value, at)
            except Exception:  # noqa: BLE001
                # Every attempt may bring functions of its own, so it is their code that is remembered.
                self._log_once(id(getattr(function, "__code__", type(function))), "a tap")

    def start(self, call: Call) -> Mapping[str, str]:
        """Tell of a call's start.

        Returns:
          The headers that the instruments want to be sent.
        """
        self.tell(CallStart(call=call, at=trio.current_time()))
        headers: dict[str, str] = {}
        for name, value in call.headers.items():
            try:
                check_added_header(name, value)
            except (TypeError, ValueError):
                self._log_once(0, f"adding the header {name!r}")
            else:
                headers[name.lower()] = value
        return headers

    def _log_once(self, culprit: int, moment: str) -> None:
        if (culprit, moment) not in self._failures:
            self._failures.add((culprit, moment))
            _log.exception("an instrument failed at %s (it goes on, and this is logged once)", moment)
