"""Whether a transport keeps what the client of this library relies on.

What belongs here: the promises of a transport, each as a check. What does not: those of the body that it hands over
(`_check_body`), how a check is run (`_promises`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias, final

import trio

from trio_stream._errors import APIConnectionError
from trio_stream._http import AsyncBaseTransport, AsyncByteStream, HTTPRequest, Response, open_sender
from trio_stream._timeouts import Timeouts
from trio_stream.testing._cancel_everywhere import cancel_everywhere
from trio_stream.testing._check_body import LARGE, body_promises
from trio_stream.testing._leftovers import Leftovers
from trio_stream.testing._promises import Attempt, Promise, eventually, require
from trio_stream.testing._requests import RecordedRequest
from trio_stream.testing._scripted import ScriptedAPI
from trio_stream.testing._steps import Step, disconnect, headers, raw, stall
from trio_stream.transport import (
    BODY_EXTENSION,
    ON_CONNECTED_EXTENSION,
    ON_SENT_EXTENSION,
    ConnectionInfo,
    ResponseBody,
)

TransportMaker: TypeAlias = Callable[[ScriptedAPI], AbstractAsyncContextManager[tuple[AsyncBaseTransport, str]]]
"""A function from the API to be asked to an asynchronous context manager of a transport and a base URL.

Through that transport, that base URL has to lead to this API.
"""

_PATH = "/v1/messages"
_CONTENT = b'{"stream": true}'
_HEADERS = {"content-type": "application/json", "x-api-key": "check"}
_AT_ONCE = 6


async def check_transport(
    make_transport: TransportMaker, *, pause_seconds: float = 0.02, limit_seconds: float = 5.0
) -> None:
    """Check that a transport can carry the requests of a `trio_stream.Client`.

    The requests of the check go through it as a client's do. What they bring back is checked as by
    `check_response_body`; and besides: heads arrive as they were sent, and requests too; a connection that breaks
    before the answer is an `APIConnectionError`; a cancelled request is over at once; the server sees that an answer
    was let go of; the functions in a request's extensions are called once and in time; requests at the same time do
    not mix; and nothing is left behind wherever a request is cancelled.

    Works under `trio.testing.MockClock` and with real sockets. A checkpoint. ::

        @asynccontextmanager
        async def over_a_port(api: ScriptedAPI) -> AsyncIterator[tuple[httpx.AsyncBaseTransport, str]]:
            async with api.serve() as server, MyTransport() as transport:
                yield transport, server.base_url


        async def test_my_transport() -> None:
            await check_transport(over_a_port)

    Args:
      make_transport: Called once, with a `ScriptedAPI` that answers the requests. Returns an asynchronous context
        manager that yields the transport and the base URL at which it reaches that API. When it is left, everything
        has to be closed.
      pause_seconds: How long an answer pauses between bytes that should not arrive together.
      limit_seconds: Seconds after which one check has failed.

    Raises:
      AssertionError: A promise is not kept. The text says which, and what happened instead.
    """
    with Leftovers() as leftovers:
        await leftovers.begin()
        script = _CurrentScript()
        api = ScriptedAPI(default=script, strict=False)
        async with make_transport(api) as (transport, base_url):
            # Half of the deadline for what is waited for inside a check, so that its own sentence is told.
            checks = _Checks(api, script, transport, base_url, limit_seconds / 2)
            for promise in checks.promises(pause_seconds):
                await promise.verify(limit_seconds)
                await Promise("Nothing is open between requests", checks.nothing_is_open).verify(2 * limit_seconds)
            await Promise("A request can be cancelled at every step", checks.cancelled_everywhere).verify(
                60 * limit_seconds
            )
        found, cause = await leftovers.find()
    if found:
        raise AssertionError(f"A transport that was closed leaves nothing behind: {'; '.join(found)}") from cause


@final
class _CurrentScript:
    """Answers every request by the steps of the check that is under way."""

    def __init__(self) -> None:
        self.answer: Callable[[RecordedRequest], Sequence[Step]] = lambda _: ()

    def __call__(self, request: RecordedRequest) -> Sequence[Step]:
        return self.answer(request)


@final
class _Checks:
    def __init__(
        self, api: ScriptedAPI, script: _CurrentScript, transport: AsyncBaseTransport, base_url: str, seconds: float
    ) -> None:
        self._api = api
        self._script = script
        self._transport = transport
        self._base_url = base_url
        self._seconds = seconds
        self._sender = open_sender(base_url=base_url, transport=transport)

    def promises(self, pause_seconds: float) -> list[Promise]:
        return [
            Promise("A request arrives as it was sent, and the head of its answer too", self._heads),
            Promise("A cancelled request is over, and the server sees it", self._cancelled_before_the_head),
            Promise("The extensions of a request are optional", self._without_extensions),
            Promise("`on_sent` is called once, when the request has been sent", self._on_sent),
            Promise("`on_connected` is called before the request is sent, if at all", self._on_connected),
            *body_promises(self._body, pause_seconds=pause_seconds),
            Promise("A connection that ends before the answer is an APIConnectionError", self._no_answer(reset=False)),
            Promise("A connection reset before the answer is an APIConnectionError", self._no_answer(reset=True)),
            Promise("The server sees that a body was closed in the middle", self._closed_in_the_middle),
            Promise("After `finish` another request can be made", self._one_after_another),
            Promise("Requests at the same time do not mix", self._at_the_same_time),
        ]

    async def nothing_is_open(self) -> None:
        statistics = self._sender.statistics()
        require(statistics.active == 0, f"{statistics.active} requests are active")
        await eventually(
            lambda: not self._api.open_streams, "the server still has an answer open", seconds=self._seconds
        )

    async def _send(
        self,
        *steps: Step,
        content: bytes = _CONTENT,
        more_headers: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
    ) -> Response:
        """Send a request as a client does."""
        if steps:
            self._answer_with(steps)
        return await self._sender.send(
            method="POST",
            url=_PATH,
            headers={**_HEADERS, **(more_headers or {})},
            params=params,
            content=content,
            timeouts=Timeouts(connect=self._seconds, send=self._seconds),
            on_sent=_nothing,
        )

    def _answer_with(self, steps: Sequence[Step]) -> None:
        self._script.answer = lambda _: steps

    async def _body(self, steps: Sequence[Step]) -> ResponseBody:
        return (await self._send(*steps)).body

    async def _heads(self) -> None:
        content = b'{"stream": true, "pad": "%s"}' % (b"x" * len(LARGE))
        for status in (200, 429):
            response = await self._send(
                headers({"x-answer": "as sent"}, status=status),
                raw(b"body"),
                content=content,
                more_headers={"x-request": "as sent"},
                params={"n": "1"},
            )
            await _read_and_finish(response.body)
            require(response.info.status_code == status, f"status {response.info.status_code} instead of {status}")
            answered = response.info.headers.get("x-answer")
            require(answered == "as sent", f"the header of the answer was {answered!r}")
            request = self._api.requests[-1]
            require(request.method == "POST", f"the method was {request.method}")
            require(request.path.endswith(_PATH), f"the path was {request.path}")
            require(request.params == {"n": "1"}, f"the query was {request.params!r}")
            asked = request.headers.get("x-request")
            require(asked == "as sent", f"the header of the request was {asked!r}")
            require(request.content == content, f"{len(request.content)} bytes of {len(content)} arrived, or others")

    def _request(self, seen: list[object] | None = None) -> HTTPRequest:
        """A request as a transport gets it, which notes in ``seen`` when its content has been taken."""
        return HTTPRequest(
            "POST",
            self._base_url.rstrip("/") + _PATH,
            headers={**_HEADERS, "content-length": str(len(_CONTENT))},
            content=_WatchedContent([] if seen is None else seen),
        )

    async def _exchange(self, request: HTTPRequest) -> None:
        """Hand a request to the transport itself, and read the answer by whichever way it offers."""
        self._answer_with([raw(b"whole")])
        response = await self._transport.handle_async_request(request)
        body = response.extensions.get(BODY_EXTENSION)
        require(body is None or isinstance(body, ResponseBody), f"under {BODY_EXTENSION!r} there is {body!r}")
        if isinstance(body, ResponseBody):
            received = await _read_and_finish(body)
        else:
            received = await response.aread()
            await response.aclose()
        require(received == b"whole", f"the answer was {received!r}")

    async def _without_extensions(self) -> None:
        await self._exchange(self._request())

    async def _on_sent(self) -> None:
        """The head of the answer never comes: so a call cannot be due to that."""
        self._answer_with([stall()])
        seen: list[object] = []
        request = self._request(seen)
        request.extensions[ON_SENT_EXTENSION] = lambda: seen.append("sent")
        arrived = len(self._api.requests)
        async with Attempt(lambda: self._transport.handle_async_request(request)) as asking:
            await eventually(
                lambda: len(self._api.requests) > arrived or asking.over.is_set(),
                "the request did not arrive",
                seconds=self._seconds,
            )
            require(not asking.over.is_set(), f"the request ended: {asking.error!r}")
            if getattr(self._transport, "calls_on_sent", False):
                await eventually(lambda: "sent" in seen, "it was not called", seconds=self._seconds)
            await asking.cancel_and_wait()
        require(seen.count("sent") <= 1, f"it was called {seen.count('sent')} times")
        if "sent" in seen:
            require("content" in seen[: seen.index("sent")], "it was called before the content was taken")

    async def _on_connected(self) -> None:
        seen: list[object] = []
        request = self._request()
        request.extensions[ON_CONNECTED_EXTENSION] = seen.append
        request.extensions[ON_SENT_EXTENSION] = lambda: seen.append("sent")
        await self._exchange(request)
        told = [what for what in seen if what != "sent"]
        require(all(isinstance(what, ConnectionInfo) for what in told), f"it was given {told!r}")
        require(seen[: len(told)] == told, "it was called after the request had been sent")

    def _no_answer(self, *, reset: bool) -> Callable[[], Awaitable[None]]:
        async def check() -> None:
            try:
                response = await self._send(disconnect(reset=reset))
            except APIConnectionError:
                return
            response.body.close()
            await response.body.aclose()
            raise AssertionError(f"there was an answer with status {response.info.status_code}")

        return check

    async def _cancelled_before_the_head(self) -> None:
        arrived = len(self._api.requests)
        async with Attempt(lambda: self._send(stall())) as asking:
            await eventually(
                lambda: len(self._api.requests) > arrived, "the request did not arrive", seconds=self._seconds
            )
            await asking.cancel_and_wait()
            require(asking.cancelled, f"it was cancelled, and ended with {asking.error!r}")
        await self._server_sees_the_end()

    async def _closed_in_the_middle(self) -> None:
        body = await self._body([raw(b"x"), stall()])
        body.close()
        await body.aclose()
        await self._server_sees_the_end()

    async def _server_sees_the_end(self) -> None:
        request = self._api.requests[-1]
        await eventually(
            lambda: request.closed_by == "close", "the server still takes it to be open", seconds=self._seconds
        )

    async def _one_after_another(self) -> None:
        for number in range(3):
            content = b"answer %d" % number
            body = await self._body([raw(content)])
            received = await _read_and_finish(body)
            require(received == content, f"the answer to request {number} was {received!r}")

    async def _at_the_same_time(self) -> None:
        self._script.answer = lambda request: [headers(), raw(request.content)]
        contents = [b'{"stream": true, "number": %d}' % number for number in range(_AT_ONCE)]
        received: dict[bytes, bytes] = {}

        async def ask(content: bytes) -> None:
            received[content] = await _read_and_finish((await self._send(content=content)).body)

        async with trio.open_nursery() as nursery:
            for content in contents:
                nursery.start_soon(ask, content)
        for content in contents:
            require(received[content] == content, f"the answer to {content!r} was {received[content]!r}")

    async def cancelled_everywhere(self) -> None:
        self._answer_with([headers(), raw(b"one"), raw(b"two")])

        async def ask() -> None:
            response = await self._send()
            try:
                while await response.body.receive_some():
                    pass
            except BaseException:
                response.body.close()
                raise
            else:
                response.body.finish()
            finally:
                await response.body.aclose()  # noqa: ASYNC102 - it does not wait

        await cancel_everywhere(ask, self.nothing_is_open)


@final
class _WatchedContent(AsyncByteStream):
    """The content of a request, which notes that it has been taken."""

    def __init__(self, seen: list[object]) -> None:
        self._seen = seen
        self._pieces = [_CONTENT]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self._pieces:
            self._seen.append("content")
            raise StopAsyncIteration
        return self._pieces.pop()


async def _read_and_finish(body: ResponseBody) -> bytes:
    pieces: list[bytes] = []
    while data := await body.receive_some():
        pieces.append(data)
    body.finish()
    await body.aclose()
    return b"".join(pieces)


def _nothing() -> None:
    """What is called when a request has been sent."""
