"""Reading the body of an error: bounded, and the connection is let go of."""

from __future__ import annotations

import pytest
import trio

from tests.http.posting import AT_ONCE, post, sender_of
from tests.wire.answers import CHUNKED_HEAD, LAST_CHUNK, chunk, sized
from tests.wire.server import Peer, answering, once, serve
from trio_stream._http import read_error_body

pytestmark = pytest.mark.usefixtures("nothing_left")


async def read(sender, *, limit_bytes: int = 1 << 20, seconds: float = 2.0) -> bytes:
    body = (await post(sender)).body
    return await read_error_body(body, limit_bytes=limit_bytes, seconds=seconds)


@pytest.mark.parametrize("wire", [sized(b"hello"), CHUNKED_HEAD + chunk(b"hello") + LAST_CHUNK])
async def test_a_whole_body_keeps_the_connection(wire):
    async with serve(answering(wire)) as server, sender_of(server) as sender:
        for _ in range(3):
            assert await read(sender) == b"hello"
        assert len(server.peers) == 1


async def test_a_large_body_is_cut():
    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED_HEAD)
        while True:
            await peer.send(chunk(b"x" * 50_000))

    async with serve(script) as server, sender_of(server) as sender:
        assert await read(sender, limit_bytes=100_001) == b"x" * 100_001
        assert sender.statistics().active == 0
        await server.closed()


async def test_a_stalling_body_gives_what_came():
    async with serve(answering(CHUNKED_HEAD, chunk(b"hello"))) as server, sender_of(server) as sender:
        assert await read(sender, seconds=0.05) == b"hello"
        await server.closed()


async def test_no_time_at_all():
    async with serve(answering(sized(b"hello"))) as server, sender_of(server) as sender:
        assert await read(sender, seconds=0) == b""
        assert sender.statistics().active == 0


@pytest.mark.parametrize("end", ["fin", "rst"])
async def test_a_broken_body_gives_what_came(end):
    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED_HEAD, chunk(b"hello"))
        await trio.sleep(0.02)
        if end == "fin":
            await peer.fin()
        else:
            peer.close(rst=True)

    async with serve(script) as server, sender_of(server) as sender:
        assert await read(sender) == b"hello"
        assert sender.statistics().active == 0


async def test_short_of_its_content_length():
    wire = b"HTTP/1.1 500 Oops\r\nContent-Length: 500\r\n\r\nhello"
    async with serve(once(wire, end="fin")) as server, sender_of(server) as sender:
        assert await read(sender) == b"hello"


async def test_cancelled():
    async with serve(answering(CHUNKED_HEAD, chunk(b"hello"))) as server, sender_of(server) as sender:
        with trio.move_on_after(0.05) as scope:
            await read(sender)
        left_at = trio.current_time()
        assert scope.cancelled_caught
        assert await server.closed() - left_at < AT_ONCE
