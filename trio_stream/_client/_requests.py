"""From the keyword arguments of a call to a request that can be sent.

What belongs here: taking options and parameters apart, choosing the path, checking early what the API would refuse
late, and handing a prepared request to the connections. What does not: encoding (`_protocol`), sockets (`_http`), and
what becomes of the answer (`_stream`).
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, final

import msgspec
import trio

from trio_stream._hidden import Hidden, HiddenHeaders
from trio_stream._http import ConnectionInfo, Response
from trio_stream._limiter import Admission, Lane, RateLimiter, check_lane, permits_for, working_lane
from trio_stream._protocol import (
    Content,
    Message,
    MessageTokensCount,
    build_body,
    check_sampling_params,
    count_retries,
    param_headers,
)
from trio_stream._schemas import OutputType, ask_for_output, output_type
from trio_stream._stream import EventStream, MessageStreamManager, StreamRequest
from trio_stream._timeouts import Timeouts

from ._credentials import Secret
from ._json_call import JSONCall
from ._options import ADMISSION, OPTION_NAMES
from ._settings import UNSET, Connections, Settings, authenticates, check_max_retries

T = TypeVar("T")

_log = logging.getLogger("trio_stream")

MESSAGES_PATH: Final = "/v1/messages"
COUNT_PATH: Final = "/v1/messages/count_tokens"

_UNAUTHORIZED: Final = 401

_CACHE_MARK: Final = b'"cache_control":'
"""In the JSON of a prompt that is cached. In its texts quotes are escaped, so there it is not found."""

_NO_OPTIONS: Mapping[str, Any] = {}


def take_apart(call: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Split what a call was given into the parameters of the API and the options of the call."""
    if OPTION_NAMES.isdisjoint(call):
        return call, _NO_OPTIONS  # nearly always
    params = {name: value for name, value in call.items() if name not in OPTION_NAMES}
    return params, {name: value for name, value in call.items() if name in OPTION_NAMES}


@final
class Requests:
    """Makes the requests of ``client.messages``, or with ``beta`` those of ``client.beta.messages``."""

    def __init__(self, settings: Settings, connections: Connections, *, beta: bool) -> None:
        self._settings = settings
        self._connections = connections
        self._query: Mapping[str, object] = {"beta": "true"} if beta else {}
        self._usual_headers: dict[bool, _Headers] = {}

    @property
    def anthropic_version(self) -> str:
        """The ``anthropic-version`` of the client."""
        return self._settings.anthropic_version

    def message(self, call: Mapping[str, Any], output: type[Any] | OutputType[Any] | None = None) -> StreamRequest:
        """A request for a streamed message, and for an answer of a type where that is given.

        Raises:
          TypeError: The type cannot be asked for.
        """
        if output is None:
            return self._prepare(MESSAGES_PATH, call, stream=True)
        wanted = output_type(output)
        return self._prepare(MESSAGES_PATH, ask_for_output(call, wanted), stream=True, output=wanted)

    def count(self, call: Mapping[str, Any]) -> JSONCall[MessageTokensCount]:
        """A request for a count of tokens."""
        return JSONCall(
            request=self._prepare(COUNT_PATH, call, stream=None),
            name="count_tokens",
            read=MessageTokensCount.from_wire,
            limit_bytes=self._settings.limits.error_body_bytes,
        )

    @trio.lowlevel.enable_ki_protection  # of the block; the interrupt is raised where it waits
    async def create(self, call: Mapping[str, Any], *, stream: bool) -> Message | EventStream:
        """Create a message and wait for it; or, with ``stream``, return its raw events before the block is entered."""
        self._connections.run.enter()
        request = self.message(call)
        if stream:
            await trio.lowlevel.checkpoint()
            return EventStream(request)
        async with MessageStreamManager(request) as message_stream:
            await message_stream.until_done()
        return message_stream.message

    async def parse(self, call: Mapping[str, Any], output: type[T] | OutputType[T]) -> T:
        """Create a message, wait for it, and make a value of it."""
        self._connections.run.enter()
        manager: MessageStreamManager[T] = MessageStreamManager(self.message(call, output))
        async with manager as stream:
            await stream.until_done()
        return stream.parse()

    def _prepare(
        self, path: str, call: Mapping[str, Any], *, stream: bool | None, output: OutputType[Any] | None = None
    ) -> StreamRequest:
        params, options = take_apart(call)
        check_sampling_params(params, self.anthropic_version)
        return self.prepare(
            path,
            params,
            options,
            content=build_body(params, stream=stream, extra_body=options.get("extra_body")),
            streaming=stream is True,
            paced=path == MESSAGES_PATH,
            output=output,
        )

    def prepare(
        self,
        path: str,
        params: Mapping[str, Any],
        options: Mapping[str, Any],
        *,
        method: str = "POST",
        query: Mapping[str, object] | None = None,
        content: bytes | Content = b"",
        streaming: bool = False,
        repeatable: bool = True,
        send_seconds: float = 0.0,
        paced: bool = False,
        output: OutputType[Any] | None = None,
    ) -> StreamRequest:
        """A request with its headers, its clocks and what else it needs from the client.

        Args:
          path: The path below the base URL.
          params: The parameters of the call; those that are headers are taken from them.
          options: The options of the call, without ``extra_body``.
          method: The HTTP method.
          query: The query.
          content: The body.
          streaming: Whether an event stream is asked for.
          repeatable: As `StreamRequest.repeatable`.
          send_seconds: What the clock ``send`` is at least, unless it is off.
          paced: Whether it waits for the client's limiter. Its limits are those of messages.
          output: As `StreamRequest.output`.
        """
        # Built here: what is wrong with a header is said where it was given.
        headers = self._headers(params, options.get("extra_headers"), streaming=streaming)
        settings, connections = self._settings, self._connections
        timeout, max_retries = options.get("timeout", UNSET), options.get("max_retries")
        timeouts = settings.timeouts if timeout is UNSET else Timeouts.of(timeout)
        if timeouts.send is not None and timeouts.send < send_seconds:
            timeouts = msgspec.structs.replace(timeouts, send=send_seconds)
        lane = check_lane(options["lane"]) if "lane" in options else settings.lane or working_lane.get()
        extra_query = options.get("extra_query")
        if query or extra_query:
            query = {**self._query, **(query or {}), **(extra_query or {})}
        return StreamRequest(
            outgoing=_Prepared(
                settings=settings,
                connections=connections,
                method=method,
                path=path,
                headers=headers,
                query=query or self._query,
                content=content,
                timeouts=timeouts,
            ),
            timeouts=timeouts,
            max_retries=settings.max_retries if max_retries is None else check_max_retries(max_retries),
            repeatable=repeatable,
            limits=settings.limits,
            accept_missing_stop=settings.accept_missing_stop,
            unix_time=time.time,
            live=connections.live,
            watchdog=connections.watchdog,
            run=connections.run,
            instruments=settings.instruments,
            lane=lane,
            # A message, whose body is never made while it is sent.
            admission=_admission(options, settings.limiter, lane, content)
            if paced and isinstance(content, bytes)
            else None,
            output=output,
        )

    def _headers(
        self, params: Mapping[str, Any], extra_headers: Mapping[str, str] | None, *, streaming: bool
    ) -> _Headers:
        betas = params.get("betas")
        extra = param_headers(params)
        if extra_headers:
            extra.update(extra_headers)
        if extra or betas is not None:
            return _Headers(self._settings.headers(streaming=streaming, betas=betas, extra_headers=extra))
        # Those of nearly every call: built once, and changed by nobody.
        headers = self._usual_headers.get(streaming)
        if headers is None:
            headers = _Headers(self._settings.headers(streaming=streaming))
            self._usual_headers[streaming] = headers
        return headers


def _admission(
    options: Mapping[str, Any], limiter: RateLimiter | None, lane: Lane, content: bytes
) -> Callable[[], Admission] | None:
    """What makes the admission of a message; None where there is no limiter."""
    given: Callable[[], Admission] | None = options.get(ADMISSION)
    if given is not None or limiter is None:
        return given
    return functools.partial(_admit, limiter, lane, content)


def _admit(limiter: RateLimiter, lane: Lane, content: bytes) -> Admission:
    # Of what is sent, and not of what was given: that may be anything that can be encoded.
    params = msgspec.json.decode(content, type=dict[str, Any])
    return Admission(limiter, permits_for(params, lane=lane, cached=_CACHE_MARK in content))


@final
class _Headers(Hidden):
    """The headers of a request, without what authenticates it at each attempt.

    Args:
      headers: The headers.

    Attributes:
      authenticated: Whether there is authentication among them. Then the client's own is not added.
    """

    __slots__ = ("_fields", "_joined", "_secret", "authenticated")

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._fields = self._joined = HiddenHeaders(headers)
        self._secret: Secret | None = None
        self.authenticated: bool = authenticates(headers)

    def join(self, secret: Secret | None) -> HiddenHeaders:
        """The headers with a secret; nearly always it is that of the request before, and nothing is put together."""
        if secret is not self._secret:
            self._secret, self._joined = secret, HiddenHeaders(self._fields, secret or {})
        return self._joined


@final
class _Prepared(Hidden, msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One request, ready to be sent any number of times."""

    settings: Settings
    connections: Connections
    method: str
    path: str
    headers: _Headers
    query: Mapping[str, object] | None
    content: bytes | Content
    timeouts: Timeouts

    def __repr__(self) -> str:
        return f"<request for {self.path}>"  # the others hold key and prompt

    @property
    def base_url(self) -> str:
        """As `OutgoingRequest.base_url`."""
        return self.settings.shown_base_url

    @property
    def url(self) -> str | None:
        """As `OutgoingRequest.url`."""
        return self.connections.sender.show_url(self.path, self.query)

    @property
    def renewable(self) -> bool:
        """As `OutgoingRequest.renewable`."""
        return self.settings.credentials.renewable and not self.headers.authenticated

    @trio.lowlevel.enable_ki_protection
    async def send(
        self,
        *,
        retries_taken: int,
        added_headers: Mapping[str, str] | None,
        on_sent: Callable[[], None],
        on_connected: Callable[[ConnectionInfo], None] | None,
    ) -> Response:
        """As `OutgoingRequest.send`."""
        if self.connections.closed:
            raise trio.ClosedResourceError("this client is closed")
        _log.debug("%s %s, attempt %d, %d bytes", self.method, self.path, retries_taken + 1, len(self.content))
        credentials, sender = self.settings.credentials, self.connections.sender
        secret = None
        if not self.headers.authenticated:
            secret = credentials.at_hand() or await credentials.ask(sender.forget_heads)
        headers = self.headers.join(secret)
        if added_headers or retries_taken:
            headers = HiddenHeaders(count_retries({}, retries_taken), headers, added_headers or {})
        response = await sender.send(
            method=self.method,
            url=self.path,
            headers=headers,
            params=self.query,
            content=self.content,
            timeouts=self.timeouts,
            on_sent=on_sent,
            on_connected=on_connected,
        )
        if response.info.status_code == _UNAUTHORIZED and secret is not None:
            credentials.refuse(secret)
        if _log.isEnabledFor(logging.DEBUG):
            request_id = response.info.headers.find(b"request-id") or None
            _log.debug("%d for %s, request-id %s", response.info.status_code, self.path, request_id)
        return response
