"""What a stream is told by the client that prepared it.

What belongs here: the request as the client hands it over, and what the two need of each other. What does not: how a
request is prepared (`_client`) and sent (`_http`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableSet
from typing import Any, Protocol

import msgspec

from trio_stream._errors import APIError
from trio_stream._hidden import Hidden
from trio_stream._http import ConnectionInfo, Response
from trio_stream._instruments import Instruments
from trio_stream._limiter import Admission, Lane
from trio_stream._limits import Limits
from trio_stream._protocol import Content
from trio_stream._response import ResponseInfo
from trio_stream._runs import OneRun
from trio_stream._schemas import OutputType
from trio_stream._timeouts import Timeouts

from ._watchdog import Watchdog


class Closable(Protocol):
    """What a client closes when it is closed itself."""

    def close_now(self) -> None:
        """Close without waiting."""


class OutgoingRequest(Protocol):
    """A request that is ready to be sent, any number of times."""

    @property
    def method(self) -> str:
        """The HTTP method."""
        ...

    @property
    def path(self) -> str:
        """The path below the base URL."""
        ...

    @property
    def base_url(self) -> str:
        """Where requests go, without credentials."""
        ...

    @property
    def url(self) -> str | None:
        """The whole address, query included, without credentials; None where the base URL is not valid."""

    @property
    def content(self) -> bytes | Content:
        """The JSON body, or nothing."""
        ...

    @property
    def renewable(self) -> bool:
        """Whether the next `send` may authenticate in another way, where the API has refused the last one (401)."""
        ...

    async def send(
        self,
        *,
        retries_taken: int,
        added_headers: Mapping[str, str] | None,
        on_sent: Callable[[], None],
        on_connected: Callable[[ConnectionInfo], None] | None,
    ) -> Response:
        """Send it, and read the head of the answer.

        Args:
          retries_taken: Attempts before this one.
          added_headers: Headers beside those of the request.
          on_sent: Called once the request is wholly sent.
          on_connected: Called once there is a connection for it, where the transport tells.
        """
        ...


class StreamRequest(Hidden, msgspec.Struct, frozen=True, kw_only=True):
    """One request as the client prepared it.

    Args:
      outgoing: Sends it.
      timeouts: The six clocks.
      max_retries: How often it may be tried again while nothing of its answer has been handed out.
      repeatable: Whether doing twice what it asks for costs no more than doing it once. If not, it is tried again only
        where it is certain that it has not been done.
      limits: How large the answer may be.
      accept_missing_stop: Whether a message with a ``stop_reason`` is complete when its stream ends without a
        ``message_stop``.
      unix_time: Gives seconds since the epoch, for ``retry-after`` dates.
      live: The open streams of the client.
      watchdog: Watches the clocks of all open streams of the client.
      run: The run of Trio in which the client is used.
      instruments: Those of the client.
      lane: Whether it is made for somebody who waits, or for a fan-out.
      admission: Makes what waits for the client's limiter, anew each time the request is made; None where nobody waits
        for one.
      output: The type that the answer is asked for as, or None.
    """

    outgoing: OutgoingRequest
    timeouts: Timeouts
    max_retries: int
    repeatable: bool
    limits: Limits
    accept_missing_stop: bool
    unix_time: Callable[[], float]
    live: MutableSet[Closable]
    watchdog: Watchdog
    run: OneRun
    instruments: Instruments
    lane: Lane
    admission: Callable[[], Admission] | None = None
    output: OutputType[Any] | None = None


def locate(
    error: APIError, request: StreamRequest, *, response: ResponseInfo | None, request_id: str | None
) -> APIError:
    """Write on an error where its request went, and what answered.

    Args:
      error: The error; what it says already stays.
      request: The request.
      response: The head of the answer, if there was one.
      request_id: The API's ``request-id``, if there was one.
    """
    error.method = request.outgoing.method
    error.url = error.url or request.outgoing.url
    error.response = error.response or response
    error.request_id = error.request_id or request_id
    return error
