"""Who gets which connection: reuse, waiting in turn, idle ones, closing."""

from __future__ import annotations

import httpx
import pytest
import trio
import trio.testing

from tests.http.posting import client_of, post, sender_of
from tests.wire.answers import CHUNKED_HEAD, LAST_CHUNK, chunk, sized
from tests.wire.server import NEVER_ANSWERING, Peer, answering, once, serve
from trio_stream._http import ConnectionStatistics, Transport

pytestmark = pytest.mark.usefixtures("nothing_left")


# Reuse.


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_connection_is_reused(tls, server_tls, client_tls):
    async with (
        serve(answering(CHUNKED_HEAD, chunk(b"hello"), LAST_CHUNK), tls=server_tls if tls else None) as server,
        client_of(ssl_context=client_tls) as client,
    ):
        for _ in range(5):
            response = await client.get(server.base_url)
            assert response.content == b"hello"
        assert len(server.peers) == 1


@pytest.mark.parametrize(
    "answer",
    [
        sized(b"hello", b"Connection: close"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        sized(b"hello") + b"stray",
        sized(b"hello") + sized(b"a second answer"),
    ],
)
async def test_what_must_not_be_reused_is_not(answer):
    async with serve(answering(answer)) as server, client_of() as client:
        for _ in range(2):
            assert (await client.get(server.base_url)).content == b"hello"
        assert len(server.peers) == 2
        await server.closed(0)


async def test_a_body_that_ends_with_the_connection():
    script = once(b"HTTP/1.0 200 OK\r\n\r\n", b"hel", b"lo", end="fin")
    async with serve(script) as server, client_of() as client:
        for _ in range(2):
            assert (await client.get(server.base_url)).content == b"hello"
        assert len(server.peers) == 2


async def test_an_unasked_answer_is_never_the_next_one():
    """It arrives after the first answer was read, on an idle connection."""
    pushed = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.answer(sized(b"hello"))
        await peer.send(sized(b"evil"))
        pushed.set()

    async with serve(script, answering(sized(b"good"))) as server, client_of() as client:
        assert (await client.get(server.base_url)).content == b"hello"
        await pushed.wait()
        await trio.sleep(0.01)
        assert (await client.get(server.base_url)).content == b"good"
        assert len(server.peers) == 2


@pytest.mark.parametrize("end", ["fin", "rst"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_the_server_closed_the_idle_connection(end, tls, server_tls, client_tls):
    async with (
        serve(
            once(sized(b"one"), end=end),
            answering(sized(b"two")),
            tls=server_tls if tls else None,
        ) as server,
        client_of(ssl_context=client_tls) as client,
    ):
        assert (await client.get(server.base_url)).content == b"one"
        await trio.sleep(0.02)
        assert (await client.get(server.base_url)).content == b"two"
        assert len(server.peers) == 2


async def test_what_fails_on_a_new_connection_is_not_repeated():
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.close(rst=True)

    async with serve(script) as server, client_of() as client:
        with pytest.raises(httpx.ReadError, match="reset"):
            await client.post(server.base_url, content=b"1")
        assert len(server.peers) == 1


async def test_what_fails_after_a_byte_of_the_answer_is_not_repeated():
    async def script(peer: Peer) -> None:
        await peer.answer(sized(b"one"))
        await peer.answer(b"HTTP/1.1 2")
        await peer.fin()

    async with serve(script) as server, client_of() as client:
        await client.post(server.base_url, content=b"1")
        with pytest.raises(httpx.RemoteProtocolError, match="in the middle of the headers"):
            await client.post(server.base_url, content=b"2")
        assert len(server.peers) == 1


async def test_two_at_once_take_two_connections():
    async with serve(answering(CHUNKED_HEAD, chunk(b"hello"), LAST_CHUNK)) as server, client_of() as client:
        async with client.stream("GET", server.base_url) as one, client.stream("GET", server.base_url) as two:
            assert await one.aread() == b"hello"
            assert await two.aread() == b"hello"
        assert len(server.peers) == 2
        await client.get(server.base_url)
        assert len(server.peers) == 2


# Waiting for a connection.


async def test_max_connections_is_first_come_first_served():
    answered = []

    async with serve(answering(sized(b"x"))) as server, client_of(max_connections=2) as client:

        async def ask(number: int) -> None:
            await client.get(f"{server.base_url}/{number}")
            answered.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(ask, number)
                await trio.testing.wait_all_tasks_blocked()
        assert sorted(answered) == list(range(10))
        assert len(server.peers) <= 2
        assert client._transport.statistics().active == 0


async def test_cancelled_waiters_lose_no_slot():
    async with (
        serve(answering(CHUNKED_HEAD, chunk(b"x"), LAST_CHUNK)) as server,
        client_of(max_connections=1) as client,
    ):
        transport = client._transport
        for _ in range(20):
            async with client.stream("GET", server.base_url) as response:
                async with trio.open_nursery() as nursery:
                    for _ in range(3):
                        nursery.start_soon(client.get, server.base_url)
                    await trio.testing.wait_all_tasks_blocked()
                    assert transport.statistics().waiting == 3
                    nursery.cancel_scope.cancel(reason="tired of waiting")
                assert transport.statistics().waiting == 0
                await response.aread()
        assert transport.statistics() == ConnectionStatistics(active=0, idle=1, waiting=0)


async def test_a_slot_handed_to_a_cancelled_waiter_goes_on():
    """Release and cancellation in the same step."""
    async with serve(answering(sized(b"x"))) as server, client_of(max_connections=1) as client:
        async with client.stream("GET", server.base_url) as response:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.get, server.base_url)
                await trio.testing.wait_all_tasks_blocked()
                await response.aclose()
                nursery.cancel_scope.cancel(reason="too late")
        assert client._transport.statistics().active == 0
        assert (await client.get(server.base_url)).content == b"x"


# Idle connections.


async def test_idle_connections_expire():
    async with serve(answering(sized(b"x"))) as server, client_of(idle_seconds=0.03) as client:
        await client.get(server.base_url)
        assert client._transport.statistics().idle == 1
        await trio.sleep(0.05)
        await client.get(server.base_url)
        assert len(server.peers) == 2
        await server.closed(0)


async def test_the_number_of_idle_connections_is_bounded():
    async with serve(answering(sized(b"x"))) as server, client_of(max_idle=2) as client:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(client.get, server.base_url)
        assert client._transport.statistics().idle == 2


async def test_idle_connections_elsewhere_make_room():
    """`max_connections` bounds sockets, not only requests."""
    script = answering(sized(b"x"))
    async with serve(script) as one, serve(script) as two, client_of(max_connections=1) as client:
        for _ in range(2):
            await client.get(one.base_url)
            await client.get(two.base_url)
            assert client._transport.statistics().idle == 1
        assert (len(one.peers), len(two.peers)) == (2, 2)


async def test_the_last_one_used_is_the_first_one_reused():
    async with serve(answering(sized(b"x"))) as server, client_of() as client:
        async with client.stream("GET", server.base_url) as one:
            await client.get(server.base_url)
            await one.aread()
        for _ in range(3):
            await client.get(server.base_url)
        assert [len(peer.requests) for peer in server.peers] == [4, 1]


async def test_without_a_block_nothing_is_kept():
    transport = Transport()
    async with serve(answering(sized(b"x"))) as server:
        for _ in range(2):
            response = await transport.handle_async_request(httpx.Request("GET", server.base_url))
            assert await response.aread() == b"x"
            assert transport.statistics().idle == 0
        assert len(server.peers) == 2
        await server.closed(1)


async def test_keep_connections_off_closes_what_is_idle():
    transport = Transport()
    async with serve(answering(sized(b"x"))) as server, transport:
        await (await transport.handle_async_request(httpx.Request("GET", server.base_url))).aread()
        assert transport.statistics().idle == 1
        transport.keep_connections(False)
        assert transport.statistics().idle == 0
        await server.closed(0)


# Closing.


@pytest.mark.parametrize("phase", ["headers", "body", "slot", "connect"])
async def test_close_wakes_whoever_waits(phase):
    transport = Transport(max_connections=1)
    scripts = {"headers": NEVER_ANSWERING, "connect": NEVER_ANSWERING}
    async with serve(scripts.get(phase, answering(CHUNKED_HEAD, chunk(b"x")))) as server:
        url = server.base_url

        async def ask(raises=True) -> None:
            with pytest.raises((trio.ClosedResourceError, httpx.ReadError)):
                response = await transport.handle_async_request(httpx.Request("GET", url))
                await response.aread()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            if phase == "slot":
                nursery.start_soon(ask)
            if phase == "connect":
                await trio.lowlevel.checkpoint()
            else:
                await trio.sleep(0.05)
            transport.close()
        assert transport.statistics() == ConnectionStatistics(active=0, idle=0, waiting=0)
        with pytest.raises(trio.ClosedResourceError):
            await transport.handle_async_request(httpx.Request("GET", url))
        assert transport.statistics().active == 0


async def test_aclose_is_a_checkpoint_and_works_when_cancelled():
    transport = Transport()
    async with serve(answering(sized(b"x"))) as server:
        async with transport:
            await (await transport.handle_async_request(httpx.Request("GET", server.base_url))).aread()
            with trio.testing.assert_checkpoints():
                await transport.aclose()
        with trio.CancelScope() as scope:
            scope.cancel(reason="already over")
            await transport.aclose()
        assert scope.cancelled_caught


async def test_checkpoints():
    async with serve(answering(sized(b"x"))) as server, client_of() as client:
        for _ in range(2):
            request = httpx.Request("GET", server.base_url)
            with trio.testing.assert_checkpoints():
                response = await client._transport.handle_async_request(request)
            stream = response.stream.__aiter__()
            with trio.testing.assert_checkpoints():
                assert await anext(stream) == b"x"
            with trio.testing.assert_checkpoints(), pytest.raises(StopAsyncIteration):
                await anext(stream)
            with pytest.raises(StopAsyncIteration):
                await anext(stream)


# Idle connections when their time is over.


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_they_are_closed_by_themselves(tls, server_tls, client_tls, mock_clock):
    """No further request is needed for it."""
    async with serve(answering(sized(b"x")), tls=server_tls if tls else None) as server:
        before = tasks()
        async with client_of(ssl_context=client_tls) as client:
            await client.get(server.base_url)
            mock_clock.jump(15)
            await client.get(server.base_url)  # which begins its time anew
            assert len(server.peers) == 1
            for seconds, idle in ((20, 1), (9.9, 1), (0.2, 0)):
                mock_clock.jump(seconds)
                await trio.testing.wait_all_tasks_blocked()
                assert client._transport.statistics().idle == idle
            await server.closed()
            await client.get(server.base_url)
            assert client._transport.statistics().idle == 1
        await server.closed(1)
        await trio.testing.wait_all_tasks_blocked()
        assert tasks() == before


async def test_nothing_of_it_outlives_the_client():
    async with serve(answering(sized(b"x"))) as server:
        for how in ("left", "cancelled", "closed without waiting"):
            transport = Transport()
            before = {task.name for task in all_tasks()}
            async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
                await client.get(server.base_url)
                assert "trio_stream idle connections" in {task.name for task in all_tasks()} - before
                with trio.CancelScope() as scope:
                    if how == "cancelled":
                        scope.cancel(reason="the test")
                    if how == "closed without waiting":
                        transport.close()
                    await transport.aclose()
            assert "trio_stream idle connections" not in {task.name for task in all_tasks()}


async def test_turning_it_off_ends_the_task():
    async with serve(answering(sized(b"x"))) as server, client_of() as client:
        transport = client._transport
        for _ in range(2):
            await client.get(server.base_url)
            transport.keep_connections(keep=False)
            await trio.testing.wait_all_tasks_blocked()
            assert "trio_stream idle connections" not in {task.name for task in all_tasks()}
            transport.keep_connections(keep=True)


def all_tasks() -> list[trio.lowlevel.Task]:
    """Every task of this run, those of the system included."""
    root = trio.lowlevel.current_root_task()
    found, pending = [], [root]
    while pending:
        task = pending.pop()
        found.append(task)
        pending += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found


@pytest.mark.parametrize("end", ["fin", "rst"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_what_the_server_closed_is_not_counted_idle(end, tls, server_tls, client_tls):
    """Also where the last bytes of the answer have not been read yet."""
    go_on = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED_HEAD, chunk(b"x"))
        await go_on.wait()
        await peer.send(LAST_CHUNK)
        if end == "rst":
            peer.close(rst=True)
        else:
            await peer.fin()

    async with (
        serve(script, tls=server_tls if tls else None) as server,
        sender_of(server, ssl_context=client_tls if tls else None) as sender,
    ):
        body = (await post(sender)).body
        assert await body.receive_some() == b"x"
        body.finish()
        assert sender.statistics().idle == 1
        go_on.set()
        with trio.fail_after(2):
            while sender.statistics().idle:
                await trio.sleep(0.001)
