"""Bodies of other transports: read, left early, cancelled, and no async generator left behind."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Sequence

import httpx
import pytest
import trio
import trio.testing

from tests.http.posting import post, read_all, sender_of
from tests.wire.answers import CHUNKED_HEAD, LAST_CHUNK, chunk, sized
from tests.wire.server import Peer, answering, once, serve
from trio_stream._errors import APIConnectionError, IncompleteStreamError
from trio_stream._http import BODY_EXTENSION, ConnectionStatistics, ResponseBody, Transport, open_sender
from trio_stream._http._foreign_body import ForeignBody, HeldBody
from trio_stream.testing import ScriptedAPI, Step, check_response_body

pytestmark = pytest.mark.usefixtures("nothing_left")

IDLE = ConnectionStatistics(active=0, idle=0, waiting=0)


@pytest.fixture(autouse=True)
def no_async_generator_warnings():
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()


def httpx_transport(**options) -> httpx.AsyncHTTPTransport:
    return httpx.AsyncHTTPTransport(**options)


def streaming(pieces, **options) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(200, content=pieces(), **options))


async def let_go(body: ResponseBody) -> None:
    body.close()
    await body.aclose()


async def test_httpx_transport():
    async with serve(answering(CHUNKED_HEAD, chunk(b"hel"), chunk(b"lo"), LAST_CHUNK)) as server:
        async with sender_of(server, transport=httpx_transport()) as sender:
            for _ in range(3):
                response = await post(sender)
                assert isinstance(response.body, ForeignBody)
                assert not response.body.cancel_safe
                assert await read_all(response.body) == b"hello"
                assert await response.body.receive_some() == b""
                response.body.finish()
                await response.body.aclose()
                assert sender.statistics() == IDLE
        assert len(server.peers) == 1


@pytest.mark.parametrize("read", ["nothing", "some"])
async def test_leaving_early(read):
    """In mid-air, where closing httpx's stream leaves its generators to the garbage collector."""
    async with serve(answering(CHUNKED_HEAD, chunk(b"hello"))) as server:
        async with sender_of(server, transport=httpx_transport()) as sender:
            body = (await post(sender)).body
            if read == "some":
                assert await body.receive_some() == b"hello"
            with trio.fail_after(0.5):
                await let_go(body)
            await server.closed()
            assert sender.statistics() == IDLE
            with pytest.raises(trio.ClosedResourceError):
                await body.receive_some()


async def test_finish_lets_the_transport_keep_its_connection():
    """What is left has arrived already, so it can be read without waiting."""
    whole = CHUNKED_HEAD + chunk(b"whole") + LAST_CHUNK
    async with serve(answering(whole)) as server:
        async with sender_of(server, transport=httpx_transport()) as sender:
            for _ in range(3):
                body = (await post(sender)).body
                assert await body.receive_some() == b"whole"
                body.finish()
                await body.aclose()
        assert len(server.peers) == 1


async def test_leaving_in_a_cancelled_scope():
    async with serve(answering(CHUNKED_HEAD, chunk(b"hello"))) as server:
        async with sender_of(server, transport=httpx_transport()) as sender:
            body = (await post(sender)).body
            with trio.CancelScope() as scope:
                await body.receive_some()
                scope.cancel(reason="the test")
                await let_go(body)
            assert not scope.cancelled_caught
            await server.closed()


async def test_a_cancelled_read_breaks_it_loudly():
    async with serve(answering(CHUNKED_HEAD, chunk(b"hello"))) as server:
        async with sender_of(server, transport=httpx_transport()) as sender:
            body = (await post(sender)).body
            assert await body.receive_some() == b"hello"
            with trio.move_on_after(0.02) as scope:
                await body.receive_some()
            assert scope.cancelled_caught
            for _ in range(2):
                with pytest.raises(trio.BrokenResourceError, match="cancelled"):
                    await body.receive_some()
            await let_go(body)
            assert sender.statistics() == IDLE


async def test_close_from_another_task():
    """The reader gets ClosedResourceError, and does what is left on its way out."""
    async with serve(answering(CHUNKED_HEAD)) as server:
        async with sender_of(server, transport=httpx_transport()) as sender:
            body = (await post(sender)).body
            async with trio.open_nursery() as nursery:

                async def waits() -> None:
                    with pytest.raises(trio.ClosedResourceError):
                        await body.receive_some()

                nursery.start_soon(waits)
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(trio.BusyResourceError):
                    await body.receive_some()
                with trio.testing.assert_no_checkpoints():
                    await body.aclose()
            assert sender.statistics() == IDLE
            await server.closed()
            await body.aclose()


@pytest.mark.parametrize(
    "wire, end, error",
    [
        (CHUNKED_HEAD + chunk(b"hello"), "fin", IncompleteStreamError),
        (CHUNKED_HEAD + chunk(b"hello") + b"zz\r\n", "wait", IncompleteStreamError),
        (CHUNKED_HEAD + chunk(b"hello"), "rst", APIConnectionError),
    ],
)
async def test_faults(wire, end, error):
    async def script(peer: Peer) -> None:
        await peer.answer(wire)
        await trio.sleep(0.02)
        if end == "rst":
            peer.close(rst=True)
        elif end == "fin":
            await peer.fin()

    async with serve(script) as server:
        async with sender_of(server, transport=httpx_transport()) as sender:
            body = (await post(sender)).body
            with pytest.raises(error, match=f"127.0.0.1:{server.port}") as caught:
                await read_all(body)
            assert isinstance(caught.value.__cause__, httpx.HTTPError)
            with pytest.raises(trio.BrokenResourceError):
                await body.receive_some()
            await let_go(body)
            assert sender.statistics() == IDLE


async def test_a_failure_of_the_operating_system():
    async def pieces():
        await trio.lowlevel.checkpoint()
        yield b"x"
        raise OSError(104, "whatever")

    async with serve(answering(b"")) as server, sender_of(server, transport=streaming(pieces)) as sender:
        body = (await post(sender)).body
        await body.receive_some()
        with pytest.raises(APIConnectionError, match="connection reset by peer in the middle of the answer"):
            await body.receive_some()
        await let_go(body)


async def test_a_stream_in_memory():
    async def pieces():
        for piece in (b"one ", b"", b"two"):
            await trio.lowlevel.checkpoint()
            yield piece

    async with serve(answering(b"")) as server, sender_of(server, transport=streaming(pieces)) as sender:
        body = (await post(sender)).body
        assert await read_all(body) == b"one two"
        await let_go(body)
        assert sender.statistics() == IDLE


async def test_a_stream_that_never_waits_is_skipped_to_its_end():
    ended = []

    async def pieces():
        try:
            for _ in range(100):
                yield b"x"
        finally:
            ended.append(1)

    async with serve(answering(b"")) as server, sender_of(server, transport=streaming(pieces)) as sender:
        body = (await post(sender)).body
        assert await body.receive_some() == b"x"
        await let_go(body)
        assert ended == [1]


class Endless(httpx.AsyncByteStream):
    """A stream that never waits and never ends; a class, so there is nothing to unwind."""

    def __init__(self) -> None:
        self.taken = 0
        self.closed = 0

    def __aiter__(self):
        return self

    async def __anext__(self) -> bytes:
        self.taken += 1
        return b"x"

    async def aclose(self) -> None:
        self.closed += 1
        raise RuntimeError("the stream cannot be closed")


async def test_skipping_is_bounded_and_errors_of_closing_are_logged(caplog):
    caplog.set_level("DEBUG", logger="trio_stream")
    stream = Endless()
    body = ForeignBody(httpx.Response(200, stream=stream), origin=None, slots=_slots_with_one_taken())
    assert await body.receive_some() == b"x"
    await let_go(body)
    await let_go(body)
    assert 1000 < stream.taken < 100_000
    assert stream.closed == 1
    assert "failed to close" in caplog.text


def _slots_with_one_taken():
    from trio_stream._http._pool import Slots

    slots = Slots(1)
    slots.taken = 1
    return slots


async def test_a_programming_error_in_a_stream_leaves_as_itself():
    async def pieces():
        await trio.lowlevel.checkpoint()
        yield b"x"
        raise ZeroDivisionError

    async with serve(answering(b"")) as server, sender_of(server, transport=streaming(pieces)) as sender:
        body = (await post(sender)).body
        await body.receive_some()
        with pytest.raises(ZeroDivisionError):
            await body.receive_some()
        await let_go(body)


async def test_content_in_memory():
    async with serve(answering(b"")) as server:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, content=b"hello"))
        async with sender_of(server, transport=transport) as sender:
            body = (await post(sender)).body
            assert isinstance(body, HeldBody)
            assert await read_all(body) == b"hello"
            assert sender.statistics().active == 1
            body.finish()
            body.close()
            assert sender.statistics() == IDLE
            with pytest.raises(trio.ClosedResourceError):
                await body.receive_some()
            body = (await post(sender)).body
            await body.aclose()
            assert sender.statistics() == IDLE


async def test_asgi_transport():
    async def app(scope, receive, send) -> None:
        request = {"more_body": True, "body": b""}
        while request["more_body"]:
            more = await receive()
            request = {**more, "body": request["body"] + more["body"]}
        await send({"type": "http.response.start", "status": 201, "headers": [(b"x-one", b"1")]})
        await send({"type": "http.response.body", "body": b"echo: " + request["body"]})

    async with serve(answering(b"")) as server:
        async with sender_of(server, transport=httpx.ASGITransport(app)) as sender:
            response = await post(sender, content=b"hi")
            assert (response.info.status_code, response.info.headers["x-one"]) == (201, "1")
            assert await read_all(response.body) == b"echo: hi"
            await let_go(response.body)


async def test_our_own_transport_in_a_callers_client():
    async with serve(answering(CHUNKED_HEAD, chunk(b"hello"), LAST_CHUNK)) as server:
        async with httpx.AsyncClient(transport=Transport()) as client:
            async with sender_of(server, http_client=client, max_connections=1) as sender:
                for _ in range(2):
                    body = (await post(sender)).body
                    assert body.cancel_safe
                    assert await body.receive_some() == b"hello"
                    body.finish()
                    assert sender.statistics() == IDLE
            assert not client.is_closed
            assert client._transport.statistics().idle == 1
        assert len(server.peers) == 1


class OtherBody(ResponseBody):
    """What a transport outside of this package brings, as the test kit does."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def receive_nowait(self) -> bytes | None:
        self.calls.append("receive")
        return b"hello" if "wait" in self.calls else None

    async def wait(self) -> None:
        self.calls.append("wait")

    def close(self) -> None:
        self.calls.append("close")

    def finish(self) -> None:
        self.calls.append("finish")


async def test_the_body_of_an_extension():
    other = OtherBody()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, extensions={BODY_EXTENSION: other}))
    async with serve(answering(b"")) as server, sender_of(server, transport=transport) as sender:
        body = (await post(sender)).body
        assert body.cancel_safe
        assert await body.receive_some() == b"hello"
        assert sender.statistics().active == 1
        body.finish()
        assert sender.statistics() == IDLE
        await body.aclose()
        assert other.calls == ["receive", "wait", "receive", "finish", "close", "close"]


async def test_cancelled_while_waiting_for_the_headers():
    async with serve(once(b"")) as server:
        async with sender_of(server, transport=httpx_transport(), max_connections=1) as sender:
            with trio.move_on_after(0.03):
                await post(sender)
            assert sender.statistics() == IDLE
            await server.closed()


@pytest.mark.parametrize(
    "options, expected",
    [({"limits": httpx.Limits(max_connections=1)}, 1), ({"limits": httpx.Limits(max_connections=9)}, 2)],
)
async def test_requests_wait_in_front_of_the_transport(options, expected):
    """Not inside of httpcore, whose queue does not survive cancellation."""
    async with serve(answering(CHUNKED_HEAD, chunk(b"x"))) as server:
        async with sender_of(server, transport=httpx_transport(**options), max_connections=2) as sender:
            bodies = [(await post(sender)).body for _ in range(expected)]
            with trio.move_on_after(0.02):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(post, sender)
                    await trio.testing.wait_all_tasks_blocked()
                    assert sender.statistics() == ConnectionStatistics(active=expected, idle=0, waiting=1)
                    await trio.sleep_forever()
            for body in bodies:
                await let_go(body)
            assert sender.statistics() == IDLE
            assert await post(sender, url="/again") is not None
            assert sender.statistics().active == 1


async def test_gzip_is_handed_on_as_it_came():
    wire = sized(b"\x1f\x8bnot really", b"Content-Encoding: gzip")
    async with serve(answering(wire)) as server:
        async with sender_of(server, transport=httpx_transport()) as sender:
            response = await post(sender)
            assert response.info.headers["content-encoding"] == "gzip"
            assert await read_all(response.body) == b"\x1f\x8bnot really"
            await let_go(response.body)


@pytest.mark.parametrize("own", [True, False], ids=["our own", "httpx's"])
async def test_the_contract(own):
    """Over a real port, through the sender, by the check that the test kit offers to everybody."""
    steps: list[Sequence[Step]] = []
    api = ScriptedAPI(default=lambda _: steps[-1], strict=False)
    async with api.serve() as server:
        sender = open_sender(base_url=server.base_url, transport=None if own else httpx_transport())

        async def make(answer: Sequence[Step]) -> ResponseBody:
            steps.append(answer)
            return (await post(sender, b'{"stream": true}')).body

        sender.keep_connections(keep=True)
        await check_response_body(make)
        await sender.aclose()


async def test_a_body_in_memory_is_closed_for_whoever_waits():
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=b"hello"))
    sender = open_sender(base_url="http://test", transport=transport)
    body = (await post(sender)).body
    with trio.testing.assert_checkpoints():
        await body.wait()
    body.close()
    with pytest.raises(trio.ClosedResourceError):
        await body.wait()
    await sender.aclose()
