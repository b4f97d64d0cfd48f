"""How a request came to its connection, and that nobody pays for it who does not ask."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable

import httpx
import pytest
import trio
import trio.testing

from tests.http.posting import post, read_all, sender_of
from tests.wire.answers import CHUNKED_HEAD, LAST_CHUNK, chunk, sized
from tests.wire.server import answering, once, serve
from trio_stream._http import ConnectionInfo, _transport, open_sender
from trio_stream.testing import ScriptedAPI, say
from trio_stream.transport import BODY_EXTENSION, ON_SENT_EXTENSION, ResponseBody, Transport

pytestmark = pytest.mark.usefixtures("nothing_left")

HELLO = CHUNKED_HEAD + chunk(b"hello") + LAST_CHUNK


async def test_new_and_reused():
    seen: list[object] = []
    async with serve(answering(HELLO)) as server, sender_of(server) as sender:
        for _ in range(2):
            response = await post(sender, on_connected=seen.append, on_sent=lambda: seen.append("sent"))
            await read_all(response.body)
            response.body.finish()
    new, sent, reused, sent_again = seen
    assert (sent, sent_again) == ("sent", "sent")
    assert isinstance(new, ConnectionInfo)
    assert (new.reused, new.tls) == (False, None)
    assert new.tcp is not None
    assert 0 <= new.waited < 1 > new.tcp > 0
    assert isinstance(reused, ConnectionInfo)
    assert (reused.reused, reused.tcp, reused.tls) == (True, None, None)


async def test_a_name_and_tls(client_tls, authority):
    server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server_tls)
    seen: list[ConnectionInfo] = []
    async with serve(answering(HELLO), tls=server_tls) as server:
        for base_url in (server.base_url, f"https://localhost:{server.port}"):
            sender = open_sender(base_url=base_url, ssl_context=client_tls)
            (await post(sender, on_connected=seen.append)).body.close()
            await sender.aclose()
    for info in seen:
        assert not info.reused
        assert info.tcp is not None
        assert info.tls is not None
        assert min(info.tcp, info.tls) > 0
    assert len(seen) == 2


async def test_waiting_for_a_slot_is_not_connecting():
    seen: list[ConnectionInfo] = []
    async with serve(answering(HELLO)) as server, sender_of(server, max_connections=1) as sender:
        held = (await post(sender)).body
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                (await post(sender, on_connected=seen.append)).body.close()

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            asked_at = trio.current_time()
            await trio.sleep(0.05)
            waited = trio.current_time() - asked_at
            held.close()
    assert seen[0].waited >= waited
    assert seen[0].tcp is not None


async def test_no_clock_is_read_for_nobody(monkeypatch):
    def refuse() -> None:
        raise AssertionError("a stopwatch was made")

    monkeypatch.setattr(_transport, "Stopwatch", refuse)
    async with serve(answering(HELLO)) as server, sender_of(server) as sender:
        response = await post(sender)
        assert await read_all(response.body) == b"hello"
        response.body.finish()


@pytest.mark.parametrize("wrapped", [False, True], ids=["transport", "http_client"])
async def test_our_transport_as_that_of_a_caller(wrapped):
    seen: list[ConnectionInfo] = []
    async with serve(answering(HELLO)) as server, httpx.AsyncClient(transport=Transport()) as client:
        options = {"http_client": client} if wrapped else {"transport": Transport()}
        async with sender_of(server, **options) as sender:
            (await post(sender, on_connected=seen.append)).body.close()
    assert [info.reused for info in seen] == [False]


async def test_a_failing_watcher_leaves_no_socket():
    def fail(_info: ConnectionInfo) -> None:
        raise ZeroDivisionError

    async with serve(once(b"")) as server, sender_of(server) as sender:
        with pytest.raises(ZeroDivisionError):
            await post(sender, on_connected=fail)
        assert sender.statistics().active == 0


# When a request counts as sent.


class Slow(httpx.AsyncBaseTransport):
    """Takes a second to send."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.sleep(1)
        request.extensions[ON_SENT_EXTENSION]()
        await trio.sleep(1)
        return httpx.Response(200, content=b"hello")


class Telling(Slow):
    calls_on_sent = True


@pytest.mark.parametrize(("make", "expected"), [(Slow, 0), (Telling, 1)])
async def test_a_transport_that_says_so_is_believed(make, expected, autojump_clock):
    sent: list[float] = []
    sender = open_sender(base_url="http://test", transport=make())
    began_at = trio.current_time()
    (await post(sender, on_sent=lambda: sent.append(trio.current_time() - began_at))).body.close()
    assert sent == [expected]
    await sender.aclose()


async def test_a_transport_that_forgets_it_is_not_waited_for():
    """At the latest an answer shows that the request was sent."""

    class Forgetful(httpx.AsyncBaseTransport):
        calls_on_sent = True

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, content=b"hello")

    sent: list[int] = []
    sender = open_sender(base_url="http://test", transport=Forgetful())
    (await post(sender, on_sent=lambda: sent.append(1))).body.close()
    assert sent == [1]
    await sender.aclose()


async def test_a_hook_that_reads_what_a_transport_hands_over():
    """Not only with our own transport: what the hook kept is the body."""

    async def read(response: httpx.Response) -> None:
        await response.aread()

    api = ScriptedAPI(default=[say("hello")], strict=False)
    async with httpx.AsyncClient(transport=api, event_hooks={"response": [read]}) as client:
        sender = open_sender(base_url="http://test", http_client=client)
        response = await post(sender, b'{"stream": true}')
        assert b"message_stop" in await read_all(response.body)
        response.body.finish()
        await sender.aclose()
    assert api.open_streams == 0


async def test_no_hook_and_no_stream():
    """A response that brings its body in the extension alone is not taken for one that was read."""
    async with serve(answering(sized(b"hello"))) as server:

        class Bare(httpx.AsyncBaseTransport):
            inner = Transport()

            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                response = await self.inner.handle_async_request(request)
                body = Passed(response.extensions[BODY_EXTENSION])
                return httpx.Response(200, extensions={BODY_EXTENSION: body})

        sender = open_sender(base_url=server.base_url, transport=Bare())
        response = await post(sender)
        assert await read_all(response.body) == b"hello"
        response.body.close()
        await sender.aclose()


class Passed(ResponseBody):
    """A body of somebody else's around ours."""

    def __init__(self, body: ResponseBody) -> None:
        self.body = body

    def receive_nowait(self) -> bytes | None:
        return self.body.receive_nowait()

    def wait(self) -> Awaitable[None]:
        return self.body.wait()

    def close(self) -> None:
        self.body.close()

    def finish(self) -> None:
        self.body.finish()
