"""Bodies that are compressed although nobody asked: in any split, in bounded pieces, cut and broken."""

from __future__ import annotations

import gzip
import zlib

import httpx
import pytest
import trio

from tests.http.posting import post, read_all, sender_of
from tests.wire.answers import CHUNKED_HEAD, LAST_CHUNK, chunk
from tests.wire.server import answering, serve
from trio_stream._errors import IncompleteStreamError, InvalidResponseError
from trio_stream._http import ResponseBody, codings_of, decoded, is_decoded, open_sender
from trio_stream._response import Headers

DATA = b"data: hello\n\n" * 1000


class Pieces(ResponseBody):
    """A body in memory, of which each call brings one piece."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces[::-1]
        self.let_go: list[str] = []

    def receive_nowait(self) -> bytes | None:
        return self._pieces.pop() if self._pieces else b""

    async def wait(self) -> None:
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        self.let_go.append("close")

    def finish(self) -> None:
        self.let_go.append("finish")

    async def aclose(self) -> None:
        self.let_go.append("aclose")


def answer(coding: bytes | None) -> Headers:
    return Headers([] if coding is None else [(b"Content-Encoding", coding)])


PACKED = {
    "gzip": (b"gzip", gzip.compress(DATA)),
    "x-gzip": (b"X-GZip", gzip.compress(DATA)),
    "two members": (b"gzip", gzip.compress(DATA[:500]) + gzip.compress(DATA[500:])),
    "padding": (b"gzip", gzip.compress(DATA) + b"\0" * 100),
    "deflate": (b"deflate", zlib.compress(DATA)),
    "raw deflate": (b"deflate", zlib.compress(DATA, wbits=-15)),
    "bytes after deflate": (b"deflate", zlib.compress(DATA) + b"\x1f\x8b"),
    "nothing done": (b"identity, none", DATA),
    "no header": (None, DATA),
}


@pytest.mark.parametrize(("coding", "packed"), PACKED.values(), ids=PACKED)
async def test_in_any_split(coding, packed):
    for size in (len(packed), 1, 7):
        pieces = [packed[i : i + size] for i in range(0, len(packed), size)]
        assert await read_all(decoded(answer(coding), Pieces(pieces))) == DATA


async def test_pieces_are_bounded():
    body = decoded(answer(b"gzip"), Pieces([gzip.compress(bytes(50_000_000))]))
    total = 0
    while piece := await body.receive_some():
        assert len(piece) <= 65536
        total += len(piece)
    assert total == 50_000_000


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
async def test_cut(coding):
    packed = (gzip if coding == b"gzip" else zlib).compress(DATA)
    with pytest.raises(IncompleteStreamError, match="ends before its end"):
        await read_all(decoded(answer(coding), Pieces([packed[:-9]])))
    with pytest.raises(IncompleteStreamError):
        await read_all(decoded(answer(coding), Pieces([])))


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
async def test_broken(coding):
    packed = bytearray((gzip if coding == b"gzip" else zlib).compress(DATA))
    packed[-4:] = b"\xff" * 4
    for bad in (b"data: hello\n\n", bytes(packed), bytes(packed[:20]) + b"\xff" * 40):
        with pytest.raises((InvalidResponseError, IncompleteStreamError), match=r"cannot be decoded|before its end"):
            await read_all(decoded(answer(coding), Pieces([bad[:10], bad[10:]])))


async def test_letting_go_and_waiting_are_those_of_the_body():
    inner = Pieces([])
    body = decoded(answer(b"gzip"), inner)
    await body.wait()
    body.close()
    body.finish()
    await body.aclose()
    assert inner.let_go == ["close", "finish", "aclose"]
    assert body.cancel_safe


def test_nothing_yet_is_nothing_yet():
    class Slow(Pieces):
        def receive_nowait(self) -> bytes | None:
            return None

    assert decoded(answer(b"gzip"), Slow([])).receive_nowait() is None


def test_other_codings_are_left_alone():
    for coding in (b"br", b"gzip, gzip", b"zstd"):
        inner = Pieces([])
        assert decoded(answer(coding), inner) is inner
        assert not is_decoded(codings_of(answer(coding)))


async def test_a_connection_is_used_again_after_it():
    packed = gzip.compress(DATA)
    wire = CHUNKED_HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n") + chunk(packed) + LAST_CHUNK
    async with serve(answering(wire)) as server, sender_of(server) as sender:
        for _ in range(2):
            response = await post(sender)
            body = decoded(response.info.headers, response.body)
            assert await read_all(body) == DATA
            body.finish()
        assert len(server.peers) == 1


async def test_what_httpx_has_decoded_is_not_decoded_again():
    async def answers(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-encoding": "gzip"}, content=gzip.compress(DATA))

    sender = open_sender(base_url="http://api.test", transport=httpx.MockTransport(answers))
    response = await post(sender)
    assert await read_all(decoded(response.info.headers, response.body)) == DATA
    await sender.aclose()
