"""Any bytes from a server, in any pieces: an answer, or one of our errors; and never somebody else's answer."""

from __future__ import annotations

from collections.abc import Sequence

import httpx
import pytest
import trio
from hypothesis import example, given, strategies as st

from tests.fuzz.pairs import answered_with
from tests.fuzz.seeds import ANSWERS
from tests.fuzz.strategies import BOUNDED, MANY, mutated, pieces
from tests.fuzz.targets import http, parse_answer
from tests.wire.answers import sized
from trio_stream import IncompleteStreamError
from trio_stream._http import BODY_EXTENSION, Transport

HEADS = (b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.0 ", b"")
WIRES = mutated(ANSWERS) | st.builds(lambda head, rest: head + rest, st.sampled_from(HEADS), st.binary(max_size=80))

pytestmark = pytest.mark.no_cover  # nothing is covered here alone: it would only take longer


@MANY
@given(st.binary(min_size=4, max_size=4), WIRES)
def test_the_parser(sizes: bytes, wire: bytes) -> None:
    """It never raises, takes the same from any pieces, and h11 does not read it otherwise."""
    http(sizes + wire)


async def _receive_all(transport: Transport) -> tuple[int | None, bytes, str | None]:
    """Status, body, and what went wrong."""
    body = b""
    try:
        response = await transport.handle_async_request(httpx.Request("POST", "http://127.0.0.1:1/v1", content=b"?"))
    except httpx.TransportError as error:
        return None, b"", str(error)
    answer = response.extensions[BODY_EXTENSION]
    try:
        while data := await answer.receive_some():
            body += data
    except IncompleteStreamError as error:
        return response.status_code, body, str(error)
    finally:
        answer.close()
    return response.status_code, body, None


async def _exchange(wire: Sequence[bytes]) -> tuple[int | None, bytes, str | None]:
    transport = Transport(max_connections=1)
    with answered_with(wire) as ours, trio.fail_after(10):
        got = await _receive_all(transport)
        assert transport.statistics().active == 0
        assert ours[0].fileno() == -1
    return got


@BOUNDED
@given(st.data(), WIRES)
def test_the_connection(data: st.DataObject, wire: bytes) -> None:
    """What comes through sockets is what the parser says of the whole, however it was cut."""
    status, body, failed = trio.run(_exchange, data.draw(pieces(wire)))
    head, expected, complete, failure, _ = parse_answer(iter([wire] if wire else []))
    assert status == (None if head is None else head.status_code)
    assert (failed is None) is (head is not None and complete)
    if head is not None:
        assert body == expected
        if failure is not None:
            assert failed is not None
            assert failure in failed


OTHER = sized(b"somebody else's")
SECOND = sized(b"second")


async def _two_exchanges(wire: Sequence[bytes]) -> tuple[int | None, bytes, str | None]:
    transport = Transport(max_connections=1)
    request = httpx.Request("POST", "http://127.0.0.1:1/v1", content=b"?")
    with answered_with(wire, [SECOND]), trio.fail_after(10):
        async with transport:
            try:
                response = await transport.handle_async_request(request)
            except httpx.TransportError:
                pass
            else:
                answer = response.extensions[BODY_EXTENSION]
                try:
                    while await answer.receive_some():
                        pass
                except IncompleteStreamError:
                    answer.close()
                else:
                    answer.finish()
            return await _receive_all(transport)


@BOUNDED
@given(st.data(), mutated([answer + OTHER for answer in ANSWERS]))
@example(None, sized(b"first") + OTHER)
def test_the_next_answer(data: st.DataObject | None, wire: bytes) -> None:
    """Whatever else the server said before it was asked is not the answer to the next request."""
    cut = [wire] if data is None else data.draw(pieces(wire))
    assert trio.run(_two_exchanges, cut) == (200, b"second", None)
