"""The contract of `ResponseBody`, on our own connections."""

from __future__ import annotations

import httpx
import pytest
import trio
import trio.testing

from tests.http.posting import post, read_all, sender_of
from tests.wire.answers import CHUNKED_HEAD, LAST_CHUNK, chunk, sized
from tests.wire.server import NEVER_ANSWERING, Peer, answering, once, serve
from trio_stream._errors import APIConnectionError, IncompleteStreamError
from trio_stream._http import ConnectionStatistics, Transport

pytestmark = pytest.mark.usefixtures("nothing_left")

IDLE = ConnectionStatistics(active=0, idle=0, waiting=0)


async def test_what_has_arrived_is_taken_without_a_checkpoint():
    async with serve(answering(CHUNKED_HEAD + chunk(b"one") + chunk(b"two"))) as server, sender_of(server) as sender:
        body = (await post(sender)).body
        with trio.testing.assert_no_checkpoints():
            assert await body.receive_some() == b"onetwo"
        body.close()


async def test_a_wait_is_a_schedule_point():
    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED_HEAD)
        await trio.sleep(0.02)
        await peer.send(chunk(b"late"))

    async with serve(script) as server, sender_of(server) as sender:
        body = (await post(sender)).body
        with trio.testing.assert_checkpoints():
            assert await body.receive_some() == b"late"
        assert body.cancel_safe
        body.close()


async def test_the_end_stays_the_end():
    async with serve(answering(sized(b"hello"))) as server, sender_of(server) as sender:
        body = (await post(sender)).body
        assert await read_all(body) == b"hello"
        assert await body.receive_some() == b""
        body.finish()
        with pytest.raises(trio.ClosedResourceError):
            await body.receive_some()


async def test_two_readers():
    async with serve(answering(CHUNKED_HEAD)) as server, sender_of(server) as sender:
        body = (await post(sender)).body
        async with trio.open_nursery() as nursery:

            async def waits() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await body.receive_some()

            nursery.start_soon(waits)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await body.receive_some()
            body.close()
        assert sender.statistics() == IDLE
        await server.closed()


async def test_two_readers_through_httpx():
    async with serve(answering(CHUNKED_HEAD)) as server:
        answer = await Transport().handle_async_request(httpx.Request("GET", server.base_url))
        pieces = aiter(answer.stream)
        async with trio.open_nursery() as nursery:

            async def waits() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await anext(pieces)

            nursery.start_soon(waits)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await anext(pieces)
            await answer.stream.aclose()
        await server.closed()


async def test_close_between_the_wait_and_the_turn():
    """Bytes wake the reader; another task, which runs first, closes the body."""
    for _ in range(20):

        async def script(peer: Peer) -> None:
            await peer.answer(CHUNKED_HEAD)
            await peer.until_closed()

        async with serve(script) as server, sender_of(server) as sender:
            body = (await post(sender)).body
            peer = server.peers[0]
            async with trio.open_nursery() as nursery:

                async def waits() -> None:
                    with pytest.raises(trio.ClosedResourceError):
                        await body.receive_some()

                class CloseFirst(trio.abc.Instrument):
                    def before_task_step(self, task: trio.lowlevel.Task) -> None:
                        if task.name.endswith("waits"):
                            trio.lowlevel.remove_instrument(self)
                            body.close()

                nursery.start_soon(waits)
                await trio.testing.wait_all_tasks_blocked()
                trio.lowlevel.add_instrument(CloseFirst())
                await peer.send(chunk(b"too late"))


@pytest.mark.parametrize("how", ["close", "finish", "aclose"])
async def test_the_first_call_wins(how):
    async with serve(answering(sized(b"hello"))) as server, sender_of(server) as sender:
        body = (await post(sender)).body
        await read_all(body)
        if how == "aclose":
            with trio.testing.assert_no_checkpoints():
                await body.aclose()
        else:
            getattr(body, how)()
        expected = 1 if how == "finish" else 0
        assert sender.statistics().idle == expected
        body.finish()
        body.close()
        await body.aclose()
        assert sender.statistics() == ConnectionStatistics(active=0, idle=expected, waiting=0)


async def test_finish_in_mid_read_closes():
    async with serve(answering(CHUNKED_HEAD)) as server, sender_of(server) as sender:
        body = (await post(sender)).body
        async with trio.open_nursery() as nursery:

            async def waits() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await body.receive_some()

            nursery.start_soon(waits)
            await trio.testing.wait_all_tasks_blocked()
            body.finish()
        assert sender.statistics() == IDLE


async def test_an_ending_connection_is_read_to_its_end_by_its_next_user():
    """The message is whole before the last chunk comes: nobody waits for it, and the connection serves again."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.answer(CHUNKED_HEAD, chunk(b"whole"))
            await trio.sleep(0.02)
            await peer.send(chunk(b": a comment after the end"), LAST_CHUNK)

    async with serve(script) as server, sender_of(server) as sender:
        for _ in range(3):
            body = (await post(sender)).body
            assert await body.receive_some() == b"whole"
            body.finish()
            assert sender.statistics().idle == 1
        assert len(server.peers) == 1


@pytest.mark.parametrize("after", ["nothing", "fin", "rst", "garbage", "a flood", "a second answer", "comments"])
async def test_a_connection_that_does_not_end_is_dropped(after):
    """Within 50 ms of its next user's time."""

    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED_HEAD, chunk(b"whole"))
        if after == "fin":
            await peer.fin()
        elif after == "rst":
            await trio.sleep(0.01)
            peer.close(rst=True)
        elif after == "garbage":
            await peer.send(b"zz\r\n")
        elif after == "a flood":
            while True:
                await peer.send(chunk(b"x" * 60_000))
        elif after == "a second answer":
            await peer.send(LAST_CHUNK + sized(b"evil"))
        elif after == "comments":
            while True:
                await peer.send(chunk(b":\n"))
                await trio.sleep(0.01)

    async with serve(script, answering(CHUNKED_HEAD, chunk(b"good"))) as server, sender_of(server) as sender:
        body = (await post(sender)).body
        assert (await body.receive_some()).startswith(b"whole")
        body.finish()
        await trio.sleep(0.02)
        began = trio.current_time()
        body = (await post(sender)).body
        assert trio.current_time() - began < 0.09
        assert await body.receive_some() == b"good"
        assert len(server.peers) == 2
        body.close()


async def test_several_ending_connections_cost_50_ms_together():
    async with serve(answering(CHUNKED_HEAD, chunk(b"whole"))) as server, sender_of(server) as sender:
        bodies = [(await post(sender)).body for _ in range(5)]
        for body in bodies:
            await body.receive_some()
            body.finish()
        assert sender.statistics().idle == 5
        began = trio.current_time()
        body = (await post(sender)).body
        assert trio.current_time() - began < 0.1
        body.close()
        assert sender.statistics() == IDLE


async def test_finish_after_a_fault_closes():
    async with serve(once(CHUNKED_HEAD + chunk(b"x") + b"zz\r\n")) as server, sender_of(server) as sender:
        body = (await post(sender)).body
        assert await body.receive_some() == b"x"
        body.finish()
        assert sender.statistics() == IDLE


FAULTS = {
    "fin in a chunk": (CHUNKED_HEAD + b"a\r\nhello", "fin", IncompleteStreamError, "closed before the end"),
    "short body": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "fin", IncompleteStreamError, "closed"),
    "bad chunk": (CHUNKED_HEAD + chunk(b"hello") + b"zz\r\n", "wait", IncompleteStreamError, "chunk size"),
    "rst": (CHUNKED_HEAD + chunk(b"hello"), "rst", APIConnectionError, "connection reset by the server"),
}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("wire, end, error, says", FAULTS.values(), ids=FAULTS)
async def test_faults(wire, end, error, says, tls, server_tls, client_tls):
    """Everything before the fault is delivered, and the fault is raised at every further call."""

    async def script(peer: Peer) -> None:
        await peer.answer(wire)
        await trio.sleep(0.02)
        if end == "rst":
            peer.close(rst=True)
        elif end == "fin":
            await peer.fin()

    async with (
        serve(script, tls=server_tls if tls else None) as server,
        sender_of(server, ssl_context=client_tls) as sender,
    ):
        body = (await post(sender)).body
        assert await body.receive_some() == b"hello"
        if end == "rst" and tls:
            # Which of the two depends on what OpenSSL and Python make of it.
            error, says = (APIConnectionError, IncompleteStreamError), "reset by the server|closed before the end"
        with pytest.raises(error, match=says):
            await body.receive_some()
        with pytest.raises(IncompleteStreamError, match=says):
            await body.receive_some()
        body.finish()
        assert sender.statistics() == IDLE


async def test_a_body_that_is_only_framing_still_notices_the_limit():
    """Chunk extensions without end: bounded, and not one byte of body."""

    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED_HEAD)
        await peer.send(b"5;")
        while True:
            await peer.send(b"x" * 10_000)

    async with serve(script) as server, sender_of(server) as sender:
        body = (await post(sender)).body
        with pytest.raises(IncompleteStreamError, match="65536 bytes"):
            await body.receive_some()
        body.close()


async def test_a_cancelled_wait_loses_nothing():
    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED_HEAD)
        await peer.drip(chunk(b"hello"), seconds=0.005)

    async with serve(script) as server, sender_of(server) as sender:
        body = (await post(sender)).body
        got = b""
        while got != b"hello":
            with trio.move_on_after(0.003):
                got += await body.receive_some()
        body.close()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_aclose_of_the_sender_with_a_live_body(tls, server_tls, client_tls):
    async with (
        serve(answering(CHUNKED_HEAD), tls=server_tls if tls else None) as server,
        sender_of(server, ssl_context=client_tls) as sender,
    ):
        body = (await post(sender)).body
        async with trio.open_nursery() as nursery:

            async def waits() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await body.receive_some()

            nursery.start_soon(waits)
            await trio.testing.wait_all_tasks_blocked()
            await sender.aclose()
        assert sender.statistics() == IDLE
        with pytest.raises(trio.ClosedResourceError):
            await body.receive_some()
        body.finish()
        with pytest.raises(trio.ClosedResourceError):
            await post(sender)


async def test_aclose_of_the_sender_between_two_reads(nothing_left):
    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED_HEAD)
        await peer.drip(chunk(b"xy"), size=1, seconds=0.001)
        await peer.until_closed()

    async with serve(script) as server, sender_of(server) as sender:
        body = (await post(sender)).body
        assert await body.receive_some() == b"x"
        assert await body.receive_some() == b"y"
        await sender.aclose()
        for _ in range(2):
            with pytest.raises(trio.ClosedResourceError):
                await body.receive_some()


async def test_a_hundred_siblings_close_at_once():
    async with serve(answering(CHUNKED_HEAD, chunk(b"x"))) as server, sender_of(server) as sender:
        reading = 0

        async def read_on() -> None:
            nonlocal reading
            body = (await post(sender)).body
            try:
                await body.receive_some()
                reading += 1
                await body.receive_some()
            finally:
                body.close()

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(read_on)
            while reading < 100:
                await trio.sleep(0.001)
            cancelled_at = trio.current_time()
            nursery.cancel_scope.cancel(reason="enough")
        for number in range(100):
            assert await server.closed(number) - cancelled_at < 0.2
        assert sender.statistics() == IDLE


async def test_never_answering_server_and_a_bounded_wait():
    async with serve(NEVER_ANSWERING) as server, sender_of(server) as sender:
        with trio.move_on_after(0.02) as scope:
            await post(sender)
        assert scope.cancelled_caught
        assert sender.statistics() == IDLE
