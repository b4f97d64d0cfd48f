"""The results of a batch: `client.messages.batches.results`, line by line."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from typing import Any

import pytest
import trio
import trio.testing

import trio_stream as ts
from tests.client.batches import BATCH, answer_of, answers, client_of, ended, requests_of
from tests.faults.rows import client_for
from tests.wire.answers import api_error, chunk
from tests.wire.server import WireServer, delay, fin, on, once, request, send, silence
from trio_stream._http import httpx
from trio_stream.testing import Batches, ScriptedAPI, cancel_everywhere, say
from trio_stream.transport import BODY_EXTENSION, ResponseBody

LINE = {"custom_id": "a", "result": {"type": "canceled"}}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-jsonl\r\n"


def line_of(number: int) -> bytes:
    return json.dumps({**LINE, "custom_id": f"q-{number}"}).encode() + b"\n"


async def read_from(*steps: Any, batch: Any = "msgbatch_1", **options: Any) -> tuple[list[str], Exception | None, Any]:
    """The ids of the lines, what the loop ended with, and the server's end of the connection."""
    found: list[str] = []
    error: Exception | None = None
    async with WireServer([on(request(), *steps)]) as server:
        async with client_for(server, **options) as client:
            try:
                async with client.messages.batches.results(batch) as lines:
                    async for line in lines:
                        found.append(line.custom_id)
            except (ts.APIError, trio.Cancelled) as exc:
                error = exc if isinstance(exc, ts.APIError) else None
                if error is None:
                    raise
        await server.closed(0)
        return found, error, server.peers[0]


def chunks(*pieces: bytes, last: bool = True) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body + (b"0\r\n\r\n" if last else b"")


async def test_lines_in_order() -> None:
    """One at a time; the last one may lack its end."""
    found, error, peer = await read_from(send(chunks(line_of(1), line_of(2)[:9], line_of(2)[9:] + line_of(3).strip())))
    assert (found, error) == (["q-1", "q-2", "q-3"], None)
    assert peer.requests[0].target == "/v1/messages/batches/msgbatch_1/results"


async def test_no_lines() -> None:
    """A file without any is whole too, and the connection is of use afterwards."""
    async with WireServer([on(request(), send(chunks()), request(), send(answer_of(BATCH)))]) as server:
        async with client_for(server) as client:
            async with client.messages.batches.results("msgbatch_1") as lines:
                assert [line async for line in lines] == []
                with pytest.raises(trio.EndOfChannel):
                    await lines.receive()
            assert (await client.messages.batches.retrieve("msgbatch_1")).id == "msgbatch_1"
    assert len(server.peers) == 1


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (chunks(line_of(1), line_of(2)[:20], last=False), "cut"),
        (chunks(line_of(1), line_of(2)[:20]), "end in the middle of a line, after 1 lines and"),
        (chunks(line_of(1), last=False), "cut"),
        (HEAD + b"Content-Length: 500\r\n\r\n" + line_of(1), "cut"),
        (HEAD + b"Connection: close\r\n\r\n" + line_of(1) + line_of(2)[:20], "end in the middle of a line"),
    ],
)
async def test_a_cut_is_never_a_clean_end(body: bytes, sentence: str) -> None:
    """Wherever it is cut: the lines before it have come, and then an error says what happened."""
    found, error, _ = await read_from(send(body), fin())
    assert found == ["q-1"]
    assert isinstance(error, ts.IncompleteStreamError)
    assert sentence in str(error)


@pytest.mark.parametrize("head", [b"Transfer-Encoding: chunked\r\n\r\n", b"Connection: close\r\n\r\n"])
async def test_lines_that_are_missing(head: bytes) -> None:
    """With the batch in place of its id they are counted: HTTP itself does not tell."""
    raw = {**BATCH, "request_counts": {"succeeded": 2, "expired": 1}}
    body = line_of(1) + line_of(2)
    if b"chunked" in head:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    for batch, problem in ((ts.MessageBatch.from_dict(raw), ts.IncompleteStreamError), ("msgbatch_1", type(None))):
        found, error, _ = await read_from(send(HEAD + head + body), fin(), batch=batch)
        assert found == ["q-1", "q-2"]
        assert isinstance(error, problem)
    assert "of a batch with 3 requests" in str(
        (await read_from(send(HEAD + head + body), fin(), batch=ts.MessageBatch.from_dict(raw)))[1]
    )


@pytest.mark.parametrize(
    ("line", "kind", "sentence"),
    [
        (b"<html>", ts.InvalidResponseError, "line 1 of the results: invalid result"),
        (b'{"type": "error", "error": {"type": "api_error", "message": "Oh"}}', ts.InternalServerError, "Oh"),
        (b'{"message": "quota used up"}', ts.APIStatusError, "quota used up"),
    ],
)
@pytest.mark.parametrize("ending", [b"\n", b""])
async def test_what_is_no_line(line: bytes, ending: bytes, kind: type[ts.APIError], sentence: str) -> None:
    """Not even the first one is: gateways answer with pages, and with errors under a good status."""
    found, error, _ = await read_from(send(chunks(line + ending)))
    assert found == []
    assert isinstance(error, kind)
    assert sentence in str(error)


async def test_a_line_that_is_none_among_others() -> None:
    """It says which one, and ends the loop for good."""
    found, error, _ = await read_from(send(chunks(line_of(1), b'{"type": "error", "error": {}}\n', line_of(3))))
    assert found == ["q-1"]
    assert isinstance(error, ts.InvalidResponseError)
    assert "line 2 of the results" in str(error)


async def test_a_line_that_is_too_large() -> None:
    """Memory is bounded by `Limits.message_bytes`."""
    endless = send(chunks(line_of(1), *[b"x" * 1000] * 5, last=False))
    found, error, _ = await read_from(endless, limits=ts.Limits(message_bytes=3000))
    assert found == ["q-1"]
    assert isinstance(error, ts.InvalidResponseError)
    assert "more than 3000 bytes" in str(error)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (api_error(b"404 Not Found", "not_found_error"), ts.NotFoundError),
        (b"HTTP/1.1 302 Found\r\nLocation: https://evil.example/x\r\nContent-Length: 0\r\n\r\n", ts.APIStatusError),
        (HEAD + b"Content-Encoding: zstd\r\nContent-Length: 1\r\n\r\nx", ts.InvalidResponseError),
    ],
)
async def test_no_results(answer: bytes, kind: type[ts.APIError]) -> None:
    """An error, a redirect to another host (which never gets the key), a coding that nobody asked for."""
    found, error, _ = await read_from(send(answer))
    assert found == []
    assert isinstance(error, kind)


async def test_compressed_results() -> None:
    """Gateways compress although nobody asked for it."""
    body = gzip.compress(line_of(1) + line_of(2))
    answer = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    assert (await read_from(send(answer)))[:2] == (["q-1", "q-2"], None)


async def test_results_come_from_our_own_origin() -> None:
    """Wherever ``results_url`` leads: the key goes to the base URL of the client and nowhere else."""
    raw = {**BATCH, "request_counts": {"canceled": 1}, "results_url": "https://evil.example/v1/results?of=all"}
    found, error, peer = await read_from(send(chunks(line_of(1))), batch=ts.MessageBatch.from_dict(raw))
    assert (found, error) == (["q-1"], None)
    assert peer.requests[0].target == "/v1/messages/batches/msgbatch_1/results"


async def test_the_way_of_the_official_sdk_says_what_to_write() -> None:
    """There, results are awaited."""
    client, _ = client_of()
    with pytest.raises(TypeError, match="async with client"):
        await client.messages.batches.results("msgbatch_1")  # type: ignore[misc]
    with pytest.raises(RuntimeError, match="async with"):
        async for _ in client.messages.batches.results("msgbatch_1"):
            pass  # pragma: no cover


async def test_results_are_tried_again_until_the_first_line() -> None:
    """A 529, and a body that ends before the first line; afterwards nothing is."""
    refusal = answers(529, "overloaded_error", b"retry-after-ms: 1")
    steps = [send(refusal), request(), send(chunks(b"{", last=False)), fin()]
    async with WireServer([on(request(), *steps), once(chunks(line_of(1)))]) as server:
        async with client_for(server, max_retries=2) as client:
            async with client.messages.batches.results("msgbatch_1") as lines:
                assert [line.custom_id async for line in lines] == ["q-1"]
            assert lines.stats.attempts == 3


async def test_leaving_the_block_closes_the_connection() -> None:
    """With lines still to come: nothing is left of it, and the server sees it at once."""
    async with WireServer([on(request(), send(chunks(line_of(1), line_of(2), last=False)), silence())]) as server:
        async with client_for(server) as client:
            async with client.messages.batches.results("msgbatch_1") as lines:
                assert (await lines.receive()).custom_id == "q-1"
            await server.closed(0)
            assert client.statistics().active == 0
            with pytest.raises(trio.ClosedResourceError):
                await lines.receive()
            with pytest.raises(RuntimeError, match="entered before"):
                await lines.__aenter__()


async def test_a_cancelled_anext_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """At each line: cancelled while it waits, and before it waits."""
    steps = [step for number in range(4) for step in (delay(2), send(chunk(line_of(number))))]
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    async with WireServer([on(request(), send(head), *steps, send(b"0\r\n\r\n"))]) as server:
        async with client_for(server) as client:
            async with client.messages.batches.results("msgbatch_1") as lines:
                found: list[str] = []
                with pytest.raises(StopAsyncIteration):
                    while True:
                        with trio.move_on_after(0):
                            found.append((await anext(lines)).custom_id)
                        with trio.move_on_after(1):
                            found.append((await anext(lines)).custom_id)
    assert found == ["q-0", "q-1", "q-2", "q-3"]


async def test_clocks_run_while_lines_are_awaited(autojump_clock: trio.testing.MockClock) -> None:
    """As in a stream: silence in the middle of the results is an error."""
    found, error, _ = await read_from(send(chunks(line_of(1), last=False)), silence(), timeout=ts.Timeouts(silence=5))
    assert found == ["q-1"]
    assert isinstance(error, ts.SilenceTimeoutError)


async def test_two_tasks_cannot_read_the_same_lines() -> None:
    """One waits, and the other is told so."""
    async with WireServer([on(request(), send(chunks(line_of(1), last=False)), silence())]) as server:
        async with client_for(server) as client, client.messages.batches.results("msgbatch_1") as lines:
            await lines.receive()

            async def wait() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await lines.receive()

            lines.nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError, match="these results"):
                await lines.receive()
            await lines.aclose()


async def test_many_lines_at_once_let_other_tasks_run() -> None:
    """A hundred thousand lines that are there already do not keep the loop to themselves."""

    class Whole(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await trio.lowlevel.checkpoint()
            return httpx.Response(200, content=b"".join(map(line_of, range(10_000))))

    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with ts.Client(api_key="test", transport=Whole()) as client:
        async with client.messages.batches.results("msgbatch_1") as lines:
            lines.nursery.start_soon(others)
            count = len([None async for _ in lines])
            lines.nursery.cancel_scope.cancel(reason="all lines are read")
    assert count == 10_000
    assert turns > 10


@pytest.mark.no_cover
async def test_memory_is_constant(autojump_clock: trio.testing.MockClock) -> None:
    """40 MB of results are read with less than a megabyte. At full size: ``python -m tests.bench.batch_results``."""
    line = json.dumps(
        {
            "custom_id": "a",
            "result": {
                "type": "succeeded",
                "message": {"type": "message", "content": [{"type": "text", "text": "x" * 2000}], "usage": {}},
            },
        }
    ).encode()

    class Endless(ResponseBody):
        def __init__(self) -> None:
            self.left = 20_000

        def receive_nowait(self) -> bytes | None:
            self.left -= 1
            return line + b"\n" if self.left >= 0 else b""

        async def wait(self) -> None:
            raise AssertionError("it never waits")  # pragma: no cover

        def close(self) -> None:
            pass  # pragma: no cover - it is read to its end

        def finish(self) -> None:
            pass

    class Whole(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await trio.lowlevel.checkpoint()
            return httpx.Response(200, stream=NoStream(), extensions={BODY_EXTENSION: Endless()})

    class NoStream(httpx.AsyncByteStream):
        pass

    async with ts.Client(api_key="test", transport=Whole()) as client:
        async with client.messages.batches.results("msgbatch_1") as lines:
            await lines.receive()
            tracemalloc.start()
            try:
                count = len([None async for _ in lines])
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
    assert count == 20_000 - 1
    assert peak < 1_000_000


@pytest.mark.parametrize("on_a_port", [False, True], ids=["in memory", "on a port"])
async def test_cancelled_at_every_step(on_a_port: bool) -> None:
    """From the creation of a batch to its last line: nothing is left behind, wherever it is cancelled."""

    async def all_calls(client: ts.Client) -> None:
        async with client:
            batch = await client.messages.batches.create(requests_of(2))
            async for _ in client.messages.batches.list(limit=1):
                break
            async with client.messages.batches.results(batch.id) as lines:
                async for _ in lines:
                    pass
            await client.messages.batches.delete(batch.id)

    api = ScriptedAPI(default=[say("Hello")], batches=Batches(seconds=0))
    if on_a_port:
        async with api.serve() as server:
            assert await cancel_everywhere(lambda: all_calls(ts.Client(api_key="k", base_url=server.base_url))) > 20
    else:
        assert await cancel_everywhere(lambda: all_calls(ts.Client(api_key="k", transport=api))) > 20
    assert api.open_streams == 0


async def test_closing_the_client_closes_the_results(autojump_clock: trio.testing.MockClock) -> None:
    """As it closes streams."""
    client, _ = client_of()
    batch = await ended(client, 2)
    with pytest.raises(trio.ClosedResourceError):
        async with client.messages.batches.results(batch) as lines:
            await client.aclose()
            await lines.receive()


async def test_through_a_client_of_httpx() -> None:
    """The calls need no transport of ours."""
    api = ScriptedAPI(default=[say("Hello")], batches=Batches(seconds=0))
    async with api.serve() as server, httpx.AsyncClient() as http_client:
        async with ts.Client(api_key="k", base_url=server.base_url, http_client=http_client) as client:
            batch = await client.messages.batches.create(requests_of(3))
            async with client.messages.batches.results(batch) as lines:
                assert [line.custom_id async for line in lines] == ["q-0", "q-1", "q-2"]
            await client.messages.batches.delete(batch.id)
            assert (await client.messages.batches.list()).data == ()
