"""The scripted API: which script answers which request, and what is remembered of it.

What belongs here: routing, order, bookkeeping. What does not: rules about requests (`_strict`), answers
(`_timeline`), carrying them (`_memory`, `_server`).
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar, TypeAlias, final

import trio

from trio_stream._http import BODY_EXTENSION, ON_SENT_EXTENSION, httpx
from trio_stream.testing._batches import PATH as BATCHES, Batches
from trio_stream.testing._faults import Betas
from trio_stream.testing._json import as_object, is_object
from trio_stream.testing._memory import BodyStream, ConnectionCut, ScriptedBody, wait_for_head
from trio_stream.testing._prompt_cache import PromptCache
from trio_stream.testing._quota import Quota
from trio_stream.testing._requests import RecordedHeaders, RecordedRequest
from trio_stream.testing._server import Server, Serving
from trio_stream.testing._steps import HTTPError, Step, checked
from trio_stream.testing._strict import dropped_thinking, find_fault
from trio_stream.testing._threads import Threads, Turn
from trio_stream.testing._timeline import AnswerContext, AnswerHead, Moment, error_answer, json_answer, timeline
from trio_stream.testing._wire import count_input_tokens, make_id

Script: TypeAlias = Iterable[Step] | Callable[[RecordedRequest], Iterable[Step]]
"""The steps of one answer, or a function that makes them for a request."""


@final
class ScriptedAPI(httpx.AsyncBaseTransport):
    """A Messages API that answers by scripts, for tests and demonstrations.

    It is a transport, so a client can use it in memory, without sockets, threads or tasks, and exactly in time under
    `trio.testing.MockClock`::

        api = ScriptedAPI([say("Hello", ttft=0.2, tps=50)], [http_error(529, retry_after=2)])
        client = trio_stream.Client(api_key="test", transport=api)

    The same scripts can be served on a real port: see `serve`.

    Every request to ``/v1/messages`` uses one script, in the order of arrival. Requests that are refused (without a
    key, by strictness, for an unknown path) and token counts use none.

    Args:
      scripts: Each a list of steps, or a function from the `RecordedRequest` to one. An endless iterator of steps is
        an endless answer.
      default: The script for every request after those. Without it, such a request gets a 500 that tells clients not
        to retry, and `assert_done` fails.
      strict: Whether to refuse, with the API's own errors, what the API refuses.
      keep_requests: How many of the last requests to remember, for servers that run for long. None: all of them.
      quota: Rate limits. A request that they refuse uses no script.
      batches: How message batches go. Without it they take a minute each, and nothing goes wrong. Each request in a
        batch uses one script.
      prompt_cache: The prompt cache. Without it nothing is cached.
      verbatim: Whether to play each script exactly as it stands, step by step and without headers of the API, for a
        request of any kind to any path. Nothing is checked then. `replay` plays recordings so.

    Attributes:
      batches: The message batches. ``batches.billed`` says what was billed.
      open_streams: How many answers have begun and are neither finished nor closed.
    """

    calls_on_sent: ClassVar[bool] = True
    """The function under `trio_stream.transport.ON_SENT_EXTENSION` is called, when the request is recorded."""

    def __init__(
        self,
        *scripts: Script,
        default: Script | None = None,
        strict: bool = True,
        keep_requests: int | None = None,
        quota: Quota | None = None,
        batches: Batches | None = None,
        prompt_cache: PromptCache | None = None,
        verbatim: bool = False,
    ) -> None:
        self._scripts: deque[Script] = deque(_checked(script) for script in scripts)
        self._default = None if default is None else _checked(default)
        self._strict = strict
        self._verbatim = verbatim
        self._quota = quota
        self.batches: Batches = Batches() if batches is None else batches
        self._prompt_cache = self.batches.prompt_cache = prompt_cache
        self._threads = Threads()
        self._under_way = 0
        self._number = 0
        self._scripted = 0
        self._unscripted: list[int] = []
        self._requests: deque[RecordedRequest] = deque(maxlen=keep_requests)
        self.open_streams: int = 0

    def __repr__(self) -> str:
        return (
            f"<ScriptedAPI: {self._number} requests, {len(self._scripts)} scripts left, "
            f"{self.open_streams} answers open>"
        )

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests so far, in the order of their arrival."""
        return list(self._requests)

    @property
    def disconnects(self) -> list[RecordedRequest]:
        """The requests whose client went away before it had the whole answer. Their ``closed_at`` says when."""
        return [request for request in self._requests if request.closed_by == "close" and not request.complete]

    @property
    def scripts_left(self) -> int:
        """How many scripts are still unused."""
        return len(self._scripts)

    def add(self, *scripts: Script) -> None:
        """Append scripts, for requests after those that have scripts already."""
        self._scripts.extend(_checked(script) for script in scripts)

    def assert_done(self) -> None:
        """Check that every script was used and every request has its answer.

        Raises:
          AssertionError: Something is left over. The text says what.
        """
        faults: list[str] = []
        if self._scripts:
            faults.append(f"{len(self._scripts)} of {self._scripted + len(self._scripts)} scripts were not used")
        if self._unscripted:
            numbers = ", ".join(map(str, self._unscripted))
            faults.append(f"no script was left for request {numbers}")
        faults.extend(f"not answered: {request!r}" for request in self._requests if _is_unanswered(request))
        faults.extend(f"still open: {request!r}" for request in self._requests if _is_open(request))
        if faults:
            raise AssertionError("; ".join(faults))

    def serve(self, *, host: str = "127.0.0.1", port: int = 0, ssl_context: ssl.SSLContext | None = None) -> Serving:
        """Serve the scripts on a real port: ``async with api.serve() as server: ... server.base_url``.

        Speaks HTTP/1.1 with keep-alive. Leaving the block closes the port and all its connections. An exception of
        the block leaves as itself. A mistake in a script ends the block, and leaves it.

        Args:
          host: The address to listen on. The default can be reached from this machine only.
          port: The port. 0 takes a free one.
          ssl_context: If given, the port serves TLS with it.
        """
        return Serving(self, host=host, port=port, ssl_context=ssl_context)

    async def serve_forever(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled: ``server = await nursery.start(api.serve_forever)``.

        The arguments are those of `serve`.
        """
        async with self.serve(host=host, port=port, ssl_context=ssl_context) as server:
            task_status.started(server)
            await trio.sleep_forever()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request in memory: the transport interface of httpx.

        Returns when the head of the answer is due. A checkpoint. If it is cancelled, the request is recorded as
        closed by the client.
        """
        content = await request.aread()
        recorded = self.record(
            method=request.method,
            path=request.url.path,
            params=dict(request.url.params),
            headers=request.headers.multi_items(),
            content=content,
        )
        on_sent = request.extensions.get(ON_SENT_EXTENSION)
        if on_sent is not None:
            on_sent()
        try:
            head, body = await self.answer(recorded)
        except ConnectionCut as cut:
            if cut.reset:
                raise httpx.ReadError("[Errno 104] Connection reset by peer", request=request) from None
            message = "Server disconnected without sending a response."
            raise httpx.RemoteProtocolError(message, request=request) from None
        return httpx.Response(
            head.status,
            headers=list(head.headers),
            stream=BodyStream(body),
            extensions={BODY_EXTENSION: body, "http_version": b"HTTP/1.1"},
            request=request,
        )

    def record(
        self,
        *,
        method: str,
        path: str,
        params: Mapping[str, str],
        headers: Iterable[tuple[str, str]],
        content: bytes,
    ) -> RecordedRequest:
        """Record a request that has arrived. For programs that carry requests here in a way of their own."""
        self._number += 1
        request = RecordedRequest(
            number=self._number,
            at=trio.current_time(),
            method=method,
            path=path,
            params=params,
            headers=RecordedHeaders(headers),
            content=content,
            request_id=make_id("req", self._number),
        )
        self._requests.append(request)
        return request

    async def answer(self, request: RecordedRequest) -> tuple[AnswerHead, ScriptedBody]:
        """The answer to a recorded request, once its head is due. For programs that carry answers themselves.

        A checkpoint. If it is cancelled, the request is recorded as closed by the client. Whoever gets the body has to
        ``close`` or ``finish`` it.

        Raises:
          ConnectionCut: The script ends the connection before the head.
        """
        self._under_way += 1
        turn = self._turn(request)
        moments = self._moments(request, turn)
        try:
            head, due = await wait_for_head(moments, request.at)
        except BaseException as error:
            self._under_way -= 1
            _end(turn)
            request.closed_by = "close"
            request.closed_at = trio.current_time()
            request.complete = isinstance(error, ConnectionCut)
            raise
        request.status = head.status
        self.open_streams += 1
        return head, ScriptedBody(moments, due=due, request=request, done=partial(self._one_closed, turn))

    def _one_closed(self, turn: Turn | HTTPError | None) -> None:
        self._under_way -= 1
        self.open_streams -= 1
        _end(turn)

    def _turn(self, request: RecordedRequest) -> Turn | HTTPError | None:
        """The turn of a message thread that the request is, or why it cannot be; None for any other request."""
        if request.path != _MESSAGES or not _betas(request).has("message-threads"):
            return None
        turn = self._threads.resolve(as_object(request.body), request.at)
        if isinstance(turn, HTTPError):
            return turn if self._strict else None
        if turn is not None:
            request.full_body = turn.body
        return turn

    def _moments(self, request: RecordedRequest, turn: Turn | HTTPError | None) -> Iterator[Moment]:
        if self._verbatim:
            context = AnswerContext(
                number=request.number, request_id=request.request_id, body={}, stream=True, verbatim=True
            )
            return self._scripted_answer(request, context)
        body = as_object(request.full_body)
        context = AnswerContext(
            number=request.number,
            request_id=request.request_id,
            body=body,
            stream=request.stream,
            transformations=_transformations(body) if self._strict else (),
            on_complete=partial(_keep, turn) if isinstance(turn, Turn) else None,
            cache=self._prompt_cache and self._prompt_cache.look(body, lane="messages", now=request.at),
            at=request.at,
        )
        refusal = _refusal(request, strict=self._strict) or (turn if isinstance(turn, HTTPError) else None)
        if refusal is not None:
            return error_answer(refusal, context)
        if _is_about_batches(request):
            return self.batches.answer(
                request,
                context,
                take_script=partial(self._next_script, request),
                find_fault=self._fault_finder(request),
            )
        if request.path == _COUNT_TOKENS:
            return json_answer({"input_tokens": count_input_tokens(body)}, context)
        if self._quota is not None:
            refusal = self._quota.refuse(body, under_way=self._under_way, now=request.at)
            if refusal is not None:
                return error_answer(refusal, context)
        moments = self._scripted_answer(request, context)
        return moments if self._quota is None else self._quota.metered(moments, trio.current_time)

    def _scripted_answer(self, request: RecordedRequest, context: AnswerContext) -> Iterator[Moment]:
        script = self._next_script(request)
        if script is None:
            return error_answer(
                HTTPError(
                    500,
                    "api_error",
                    f"ScriptedAPI: no script is left for request {request.number}"
                    f"{'; each recorded answer is played once' if self._verbatim else ''}",
                    None,
                    {"x-should-retry": "false"},
                    None,
                ),
                context,
            )
        steps = checked(script(request)) if callable(script) else script
        return timeline(steps, context)

    def _fault_finder(self, request: RecordedRequest) -> Callable[[Mapping[str, Any]], str | None]:
        """What finds the fault of a message that is part of a request."""
        if not self._strict:
            return _find_nothing
        asked = _betas(request)
        return partial(find_fault, version=request.headers.get("anthropic-version"), beta=asked.any, betas=asked.names)

    def _next_script(self, request: RecordedRequest) -> Script | None:
        if self._scripts:
            self._scripted += 1
            return self._scripts.popleft()
        if self._default is None:
            self._unscripted.append(request.number)
        return self._default


_MESSAGES = "/v1/messages"
_COUNT_TOKENS = "/v1/messages/count_tokens"


def _refusal(request: RecordedRequest, *, strict: bool) -> HTTPError | None:
    """The error for a request that is refused before any script is used, or None."""
    about_batches = _is_about_batches(request)
    if request.path not in (_MESSAGES, _COUNT_TOKENS) and not about_batches:
        return _error(404, f"Not found: {request.path}")
    if request.method != "POST" and not about_batches:
        return _error(405, "Method Not Allowed")
    if strict:
        if "x-api-key" in request.headers and "authorization" in request.headers:
            return _error(400, "send x-api-key or Authorization, not both")
        if not request.key:
            return _error(401, "x-api-key header is required")
    if about_batches:
        return None  # the rest is theirs
    if not is_object(request.body):
        return _error(400, "The request body is not valid JSON: an object is expected")
    if strict:
        asked = _betas(request)
        fault = find_fault(
            as_object(request.full_body),
            version=request.headers.get("anthropic-version"),
            beta=asked.any,
            betas=asked.names,
            counting=request.path == _COUNT_TOKENS,
        )
        if fault is not None:
            return _error(400, fault)
    return None


def _is_about_batches(request: RecordedRequest) -> bool:
    return request.path == BATCHES or request.path.startswith(f"{BATCHES}/")


def _find_nothing(body: Mapping[str, Any]) -> None:  # noqa: ARG001
    return None


def _betas(request: RecordedRequest) -> Betas:
    return Betas(bool(request.betas) or request.params.get("beta") == "true", frozenset(request.betas))


def _transformations(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """What the API reports that it has changed about a request."""
    dropped = {"type": "thinking_dropped", "reason": "prefix_binding_mismatch"}
    return tuple({**dropped, "path": path} for path in dropped_thinking(body))


def _keep(turn: Turn, message: Mapping[str, Any]) -> None:
    turn.keep(message, trio.current_time())


def _end(turn: Turn | HTTPError | None) -> None:
    if isinstance(turn, Turn):
        turn.end()


def _error(status: int, message: str) -> HTTPError:
    return HTTPError(status, None, message, None, {}, None)


def _checked(script: Script) -> Script:
    return script if callable(script) else checked(script)


def _is_unanswered(request: RecordedRequest) -> bool:
    return request.status is None and request.closed_by is None


def _is_open(request: RecordedRequest) -> bool:
    return request.status is not None and request.closed_by is None
