"""The recorded streams through the whole client: golden in any pieces, and cut anywhere an honest error.

`make soak` cuts them everywhere, every run at a sample.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import httpx
import pytest

import trio_stream as ts
from tests.corpora import CUT_TOOL_INPUT, DUPLICATE_START, Recorded, needs_corpora, recorded
from tests.soak.form import cuts
from trio_stream._http import BODY_EXTENSION, ResponseBody

from .api import PARAMS

# Not traced, for each line is passed thousands of times: the tests of the rooms cover them.
pytestmark = [needs_corpora, pytest.mark.no_cover]

STREAMS = [pytest.param(stream, id=stream.name) for stream in recorded() if stream.name != DUPLICATE_START]


class PiecesBody(ResponseBody):
    """Gives these pieces, one a read, and then the end."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces[::-1]
        self.let_go = ""

    def receive_nowait(self) -> bytes:
        return self.pieces.pop() if self.pieces else b""

    async def wait(self) -> None:
        raise AssertionError("there is nothing to wait for")

    def close(self) -> None:
        self.let_go = self.let_go or "close"

    def finish(self) -> None:
        self.let_go = self.let_go or "finish"


class PiecesTransport(httpx.AsyncBaseTransport):
    def __init__(self) -> None:
        self.body = PiecesBody([])

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        headers = {"content-type": "text/event-stream", "request-id": "req_1"}
        return httpx.Response(200, headers=headers, extensions={BODY_EXTENSION: self.body})


async def read(pieces: list[bytes]) -> tuple[ts.Message | None, ts.APIError | None, Counter[str], PiecesBody]:
    """Stream an answer that arrives in these pieces: the message or partial, the error, the events, the body."""
    transport = PiecesTransport()
    transport.body = body = PiecesBody([piece for piece in pieces if piece])
    client = ts.Client(api_key="k", transport=transport, max_retries=0)
    counts: Counter[str] = Counter()
    try:
        async with client.messages.stream(**PARAMS) as stream:
            async for event in stream:
                counts[event.type] += 1
    except ts.APIError as error:
        return error.partial, error, counts, body
    return stream.message, None, counts, body


def expected(stream: Recorded, message: dict[str, Any]) -> dict[str, Any]:
    """Golden, but for the one stream whose tool input was cut: there golden shows the beginning as if it were all."""
    if stream.name != CUT_TOOL_INPUT:
        return stream.message
    golden = dict(stream.message)
    golden["content"] = [*golden["content"][:-1], message["content"][-1]]
    return golden


@pytest.mark.parametrize("stream", STREAMS)
async def test_golden_in_any_pieces(stream):
    whole = stream.whole
    splits = [[whole], [whole[n : n + 1] for n in range(len(whole))]]
    splits += [[whole[:cut], whole[cut:]] for cut in cuts(whole, 1 if len(whole) < 1500 else 11, sample=40)]
    for pieces in splits:
        message, error, counts, body = await read(pieces)
        assert error is None
        assert message is not None
        assert message.to_dict() == expected(stream, message.to_dict())
        assert body.let_go == "finish"
        assert counts == stream.event_types


@pytest.mark.parametrize("stream", STREAMS)
async def test_cut_anywhere(stream):
    """`IncompleteStreamError` with exactly the prefix, and never a message, unless only its last blank line is cut."""
    whole = stream.whole
    final, *_ = await read([whole])
    assert final is not None
    last_text = ""
    for cut in cuts(whole[:-1], 1 if len(whole) < 1500 else 7, sample=60):
        partial, error, _, body = await read([whole[:cut]])
        if not whole[cut:].strip():
            assert error is None
            assert partial == final
            continue
        assert isinstance(error, ts.IncompleteStreamError)
        assert error.request_id == "req_1"
        assert body.let_go == "close"
        text = partial.text if partial is not None else ""
        assert final.text.startswith(text)
        assert text.startswith(last_text)
        last_text = text


async def test_duplicate_message_start():
    """The same message is started twice, before its first block: it is taken once."""
    stream = next(stream for stream in recorded() if stream.name == DUPLICATE_START)
    message, error, _, body = await read([stream.whole])
    assert error is None
    assert message is not None
    assert message.stop_reason is not None
    assert body.let_go == "finish"


async def test_a_cut_tool_block_has_no_input():
    stream = next(stream for stream in recorded() if stream.name == CUT_TOOL_INPUT)
    message, _, _, _ = await read([stream.whole])
    assert message is not None
    block = message.content[-1]
    assert isinstance(block, ts.ToolUseBlock)
    assert block.incomplete
    assert block.input_json.startswith('{"filename"')
    with pytest.raises(ts.InvalidToolInputError):
        _ = block.input
