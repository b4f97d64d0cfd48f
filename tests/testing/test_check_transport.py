"""The check of a transport: ours, the scripted one and httpx's pass, and every fault that is built in is found."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import ClassVar

import httpx
import pytest
import trio
import trio.testing

from trio_stream.testing import ScriptedAPI, TransportMaker, check_transport
from trio_stream.transport import BODY_EXTENSION, ON_CONNECTED_EXTENSION, ON_SENT_EXTENSION, ResponseBody, Transport


@asynccontextmanager
async def in_memory(api: ScriptedAPI) -> AsyncIterator[tuple[httpx.AsyncBaseTransport, str]]:
    yield api, "http://api"


def over_a_port(make: Callable[[], httpx.AsyncBaseTransport]) -> TransportMaker:
    @asynccontextmanager
    async def maker(api: ScriptedAPI) -> AsyncIterator[tuple[httpx.AsyncBaseTransport, str]]:
        async with api.serve() as server, make() as transport:
            yield transport, server.base_url

    return maker


async def test_the_scripted_api(autojump_clock: trio.testing.MockClock) -> None:
    await check_transport(in_memory)


@pytest.mark.parametrize(
    "make",
    [
        Transport,
        lambda: Transport(max_connections=100, idle_seconds=0),
        httpx.AsyncHTTPTransport,
        lambda: httpx.AsyncHTTPTransport(limits=httpx.Limits(max_keepalive_connections=0)),
    ],
    ids=["ours", "ours, nothing kept", "httpx", "httpx, nothing kept"],
)
async def test_over_a_port(make: Callable[[], httpx.AsyncBaseTransport]) -> None:
    """Over real sockets. That of httpx hands over no body: its stream is read by this library's adapter."""
    await check_transport(over_a_port(make))


class Wrapped(httpx.AsyncBaseTransport):
    """The scripted API, and in each class below one fault."""

    calls_on_sent = True

    def __init__(self, api: ScriptedAPI) -> None:
        self.api = api

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.api.handle_async_request(request)


class NeverTellsSending(Wrapped):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions = {}
        return await super().handle_async_request(request)


class TellsSendingTwice(Wrapped):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        request.extensions.get(ON_SENT_EXTENSION, lambda: None)()
        return await super().handle_async_request(request)


class TellsSendingTooEarly(Wrapped):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions = {**request.extensions}
        request.extensions.pop(ON_SENT_EXTENSION, lambda: None)()
        return await super().handle_async_request(request)


class NeedsExtensions(Wrapped):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert request.extensions[ON_SENT_EXTENSION]
        return await super().handle_async_request(request)


class TellsConnectingWithAString(Wrapped):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions.get(ON_CONNECTED_EXTENSION, str)("connected")
        return await super().handle_async_request(request)


class HandsOverSomethingElse(Wrapped):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        response.extensions[BODY_EXTENSION] = response.stream
        return response


class DropsAHeader(Wrapped):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        del response.headers["x-answer"]
        return response


class DropsTheQuery(Wrapped):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(query=None)
        return await super().handle_async_request(request)


class InventsAnAnswer(Wrapped):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await super().handle_async_request(request)
        except httpx.TransportError:
            return httpx.Response(502)


class RaisesItsOwnErrors(Wrapped):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await super().handle_async_request(request)
        except httpx.TransportError as error:
            raise LookupError("no answer") from error


class IsDeafToCancellation(Wrapped):
    """Finishes what it has begun, however long that takes."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with trio.CancelScope(shield=True):
            with trio.move_on_after(60):
                return await super().handle_async_request(request)
        raise httpx.ReadTimeout("no answer")


class MixesAnswers(Wrapped):
    """Gives an answer to whoever asks next."""

    def __init__(self, api: ScriptedAPI) -> None:
        super().__init__(api)
        self.waiting: list[httpx.Response] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.waiting.append(await super().handle_async_request(request))
        await trio.lowlevel.checkpoint()
        return self.waiting.pop()


class LeavesAnswersOpen(Wrapped):
    """Loses an answer that comes to a request which is cancelled just then."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        await trio.lowlevel.checkpoint()
        return response


class LeavesSockets(Wrapped):
    sockets: list[socket.socket]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sockets = [*getattr(self, "sockets", ()), socket.socket()]
        return await super().handle_async_request(request)


class KeepsASocket(Wrapped):
    """And does not close it, with the transport."""

    sockets: ClassVar[list[socket.socket]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not self.sockets:
            self.sockets.append(socket.socket())
        return await super().handle_async_request(request)


class NeverCloses(Wrapped):
    """Keeps the connection of a body that was let go of, and reads on in secret."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        response.extensions[BODY_EXTENSION] = FinishedInsteadOfClosed(response.extensions[BODY_EXTENSION])
        return response


class FinishedInsteadOfClosed(ResponseBody):
    def __init__(self, body: ResponseBody) -> None:
        self.body = body

    def receive_nowait(self) -> bytes | None:
        return self.body.receive_nowait()

    async def wait(self) -> None:
        await self.body.wait()

    def close(self) -> None:
        self.body.finish()

    def finish(self) -> None:
        self.body.finish()


FAULTS: list[tuple[Callable[[ScriptedAPI], httpx.AsyncBaseTransport], str]] = [
    (NeverTellsSending, "`on_sent` is called once, when the request has been sent: it was not called"),
    (TellsSendingTwice, "`on_sent` is called once, when the request has been sent: it was called 2 times"),
    (TellsSendingTooEarly, "`on_sent` is called once, .*: it was called before the content was taken"),
    (NeedsExtensions, "The extensions of a request are optional: KeyError was raised"),
    (TellsConnectingWithAString, "`on_connected` is called before .*: it was given \\['connected'\\]"),
    (HandsOverSomethingElse, "The extensions of a request are optional: under 'trio_stream.body' there is"),
    (
        DropsAHeader,
        "A request arrives as it was sent, and the head of its answer too: the header of the answer was None",
    ),
    (DropsTheQuery, "A request arrives as it was sent, and the head of its answer too: the query was {}"),
    (InventsAnAnswer, "before the answer is an APIConnectionError: there was an answer with status 502"),
    (RaisesItsOwnErrors, "before the answer is an APIConnectionError: LookupError was raised"),
    (IsDeafToCancellation, "A cancelled request is over, and the server sees it: "),
    (MixesAnswers, "Requests at the same time do not mix: the answer to "),
    (LeavesAnswersOpen, "A request can be cancelled at every step: .*still has an answer open"),
    (
        LeavesSockets,
        "A request can be cancelled at every step: .*left behind: .*socket",
    ),
    (KeepsASocket, "A transport that was closed leaves nothing behind: file descriptor"),
    (NeverCloses, "The server sees that a body was closed in the middle: the server still takes it to be open"),
]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("fault", "sentence"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
async def test_faults_are_found(
    fault: Callable[[ScriptedAPI], httpx.AsyncBaseTransport], sentence: str, autojump_clock: trio.testing.MockClock
) -> None:
    @asynccontextmanager
    async def maker(api: ScriptedAPI) -> AsyncIterator[tuple[httpx.AsyncBaseTransport, str]]:
        yield fault(api), "http://api"

    with pytest.raises(AssertionError) as caught:
        await check_transport(maker)
    while KeepsASocket.sockets:
        KeepsASocket.sockets.pop().close()
    assert re.search(sentence, str(caught.value))
