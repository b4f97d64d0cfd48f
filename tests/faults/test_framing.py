"""Fault matrix, section "Event-stream framing": everything that WHATWG allows, and some that it does not."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

import trio_stream as ts
from tests.faults import rows
from tests.faults.rows import (
    FAULTS,
    LONGEST_TEXT,
    Section,
    client_for,
    expect_complete,
    expect_error,
)
from tests.wire.answers import CHUNKED_HEAD, LAST_CHUNK, MESSAGE, OK, chunk, chunked, event, sized, sse
from tests.wire.events import (
    BEGIN,
    CUT_EVENTS,
    DELTAS,
    END,
    PIECES,
    PING,
    TEXT,
    block_delta,
    message_events,
    message_start,
    text_delta,
)
from tests.wire.server import WireServer, drip, on, once, request, send

FRAMING = Section("Event-stream framing")
row = FRAMING.row

BOM = b"\xef\xbb\xbf"
FOREIGN = (
    "héllo \N{SNOWMAN} 你好，世界 \N{GRINNING FACE}\N{EMOJI MODIFIER FITZPATRICK TYPE-4} 👨‍👩‍👧 \N{LINE SEPARATOR}"
)


def ends(line_end: bytes, body: bytes = MESSAGE) -> bytes:
    """The same lines with other ends."""
    return body.replace(b"\n", line_end)


def answer(body: bytes) -> bytes:
    """The head and one chunk."""
    return CHUNKED_HEAD + chunk(body) + LAST_CHUNK


async def complete(body: bytes, text: str = TEXT) -> None:
    """It arrives in one piece, in two (cut anywhere), in pieces, and means the same each time."""
    async with WireServer([once(answer(body))]) as server:
        await expect_complete(server, text=text)
    middle = len(body) // 2
    async with WireServer([once(CHUNKED_HEAD, chunked(body[:middle], body[middle:]), LAST_CHUNK)]) as server:
        await expect_complete(server, text=text)
    pieces = [body[i : i + 7] for i in range(0, len(body), 7)]
    async with WireServer([once(CHUNKED_HEAD, chunked(*pieces, last=True))]) as server:
        await expect_complete(server, text=text)


async def complete_by_bytes(body: bytes, text: str = TEXT) -> None:
    """Each byte is a chunk, a packet and a read of its own."""
    async with WireServer([on(request(), send(CHUNKED_HEAD), drip_chunks(body))]) as server:
        stream = await expect_complete(server, text=text, within=10)
        # A CR ends the last line; whether an LF belongs to it is not waited for.
        assert len(body) - stream.stats.bytes <= body.endswith(b"\n")


def drip_chunks(body: bytes) -> Callable[[Any], Awaitable[None]]:
    chunks = b"".join(chunk(body[i : i + 1]) for i in range(len(body)))
    return drip(chunks + LAST_CHUNK, size=len(chunk(b"x")))


@row("CRLF", b"\r\n")
@row("CR", b"\r")
async def line_ends(line_end: bytes) -> None:
    await complete(ends(line_end))


@row("LF, split at every byte", b"\n")
@row("CRLF, split at every byte", b"\r\n")
@row("CR, split at every byte", b"\r")
async def line_ends_split(line_end: bytes) -> None:
    await complete_by_bytes(ends(line_end))


@row("mixed line ends")
async def mixed_line_ends() -> None:
    kinds = [b"\n", b"\r", b"\r\n"]
    lines = MESSAGE.split(b"\n")
    for shift in range(3):
        mixed = b"".join(line + kinds[(i + shift) % 3] for i, line in enumerate(lines[:-1]))
        await complete(mixed)
        await complete_by_bytes(mixed)


@row("UTF-8 BOM first")
async def byte_order_mark() -> None:
    await complete(BOM + MESSAGE)
    await complete_by_bytes(BOM + MESSAGE)


@row("extra blank lines")
async def blank_lines() -> None:
    for line_end in (b"\n", b"\r\n", b"\r"):
        await complete(line_end * 3 + ends(line_end, MESSAGE.replace(b"\n\n", b"\n\n\n\n\n")))


@row("no space after the colon")
async def no_space() -> None:
    await complete(MESSAGE.replace(b"event: ", b"event:").replace(b"data: ", b"data:"))


@row("no event: lines (type comes from the JSON)")
async def no_event_lines() -> None:
    lines = [line for line in MESSAGE.split(b"\n") if not line.startswith(b"event:")]
    await complete(b"\n".join(lines))


@row("id, retry, unknown fields, comments")
async def other_fields() -> None:
    extra = b": a comment\n:\nid: 5\nid\nretry: 3000\nretry: soon\nunknown: field\nunknown\nDATA: x\n data: x\n: :\n"
    await complete(b"".join(extra + sse(each) for each in message_events()))
    await complete(MESSAGE.replace(b"\ndata: ", b"\n: in between\nid: 6\ndata: "))


@row("JSON over several data: lines")
async def several_data_lines() -> None:
    events = []
    for each in map(sse, message_events()):
        name, _, data = each.rstrip(b"\n").partition(b"\ndata: ")
        pretty = json.dumps(json.loads(data), indent=1).encode()
        events.append(name + b"".join(b"\ndata: " + line for line in pretty.split(b"\n")) + b"\n\n")
    await complete(b"".join(events))
    await complete(ends(b"\r\n", b"".join(events)))


@row("event with empty data")
async def empty_data() -> None:
    nothing = b"event: content_block_delta\ndata:\n\ndata\n\ndata: \n\nevent: message_stop\n\nevent:\ndata:\n\n"
    await complete(nothing.join([b"", *map(sse, message_events()), b""]))


@row("raw U+2028 U+2029 U+0085 in text")
async def other_line_ends() -> None:
    # `str.splitlines` would take each of these for a line end.
    text = "one\u2028two\u2029three\x85four\x0bfive\x0csix\x1cseven"
    data = '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%s"}}'
    raw = data % text.replace("\x0b", "\\u000b").replace("\x0c", "\\u000c").replace("\x1c", "\\u001c")
    body = sse(*BEGIN, event("content_block_delta", raw.encode()), *END)
    await complete(body, text)
    await complete_by_bytes(body, text)


@row("emoji and CJK split at every byte")
async def characters_split() -> None:
    await complete_by_bytes(sse(*message_events([FOREIGN])), FOREIGN)


@row("0xff inside JSON text")
async def not_utf8_in_json() -> None:
    for broken in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc0\xaf"):
        bad = sse(text_delta("?")).replace(b"?", b"x" + broken)
        body = sse(*CUT_EVENTS, bad, *END)
        async with WireServer([once(answer(body))]) as server:
            await expect_error(
                server, ts.InvalidResponseError, "content_block_delta", "UTF-8", partial=TEXT, connections=1
            )


@row("0xff inside a comment")
async def not_utf8_in_a_comment() -> None:
    await complete(b"".join(b": \xff\xfe\n" + sse(each) for each in message_events()))
    await complete(MESSAGE.replace(b"\ndata: ", b"\n: \xff\nid: \xff\n\xff: \xff\ndata: "))


# The rows above, and that they are all.


@pytest.mark.parametrize("check", FRAMING.checks())
async def test_framing(check: Callable[[], Awaitable[None]]) -> None:
    await check()


def test_every_row() -> None:
    FRAMING.check_complete()


# Neighbours, held to the same rules.


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
async def test_message_stop_is_not_held_back(line_end: bytes) -> None:
    """An event is delivered with its blank line: a CR that may become a CRLF is a line end already."""
    body = ends(line_end)
    async with WireServer([on(request(), send(CHUNKED_HEAD, chunk(body)))]) as server:
        await expect_complete(server, within=0.5)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
async def test_each_event_is_delivered_when_it_has_come(line_end: bytes) -> None:
    gate = [trio.Event() for _ in PIECES]

    async def piece_by_piece(peer: Any) -> None:
        await peer.send(CHUNKED_HEAD + chunk(ends(line_end, sse(*BEGIN))))
        for opened, delta in zip(gate, DELTAS, strict=True):
            await peer.send(chunk(ends(line_end, sse(delta))))
            await opened.wait()
        await peer.send(chunk(ends(line_end, sse(*END))))

    got: list[str] = []
    async with (
        WireServer([on(request(), piece_by_piece)]) as server,
        client_for(server) as client,
        client.messages.stream(**rows.PARAMS) as stream,
    ):
        with trio.fail_after(2):
            async for text in stream.text_stream:
                gate[len(got)].set()
                got.append(text)
    assert got == list(PIECES)


@pytest.mark.parametrize(
    "prefix", [BOM + BOM, b"\xff\xfe", b"\xef\xbb", b"\0", b"\x1b[2J"], ids=["two", "UTF-16", "cut", "NUL", "escape"]
)
async def test_what_is_no_bom(prefix: bytes) -> None:
    """One BOM is taken off. Anything else belongs to the first line, whose field is then unknown and ignored."""
    await complete(prefix + MESSAGE)


async def test_a_bom_inside_belongs_to_its_line() -> None:
    """Only the first is a BOM; this one makes the `event` line of the second event unknown, its JSON counts."""
    first, *others = map(sse, message_events())
    await complete(first + b"".join(BOM + each for each in others))


async def test_a_leading_blank_alone_is_removed() -> None:
    await complete(MESSAGE.replace(b"data: ", b"data:  \t"))


async def test_the_last_event_line_counts() -> None:
    """The type in the JSON decides, whatever the event line says."""
    await complete(MESSAGE.replace(b"event: content_block_delta\n", b"event: x\nevent: ping\n"))
    await complete(MESSAGE.replace(b"event: ", b"event: not_"))


async def test_utf16_is_an_error() -> None:
    async with WireServer([once(answer(MESSAGE.decode().encode("utf-16")))]) as server:
        await expect_error(server, ts.APIError)


@pytest.mark.parametrize("name", ["content_block_delta", "a_new_kind", ""])
async def test_a_name_that_is_not_utf8(name: str) -> None:
    strange = b"event: " + name.encode() + b"\xff\xfe" + b'\ndata: {"type":"ping"}\n\n'
    await complete(sse(*CUT_EVENTS, strange, *END))


@pytest.mark.parametrize("size", [100_000, 5_000_000], ids=["100 KB", "5 MB"])
async def test_a_large_event_is_one_event(size: int) -> None:
    text = "ab\N{SNOWMAN}" * (size // 5)
    body = sse(*message_events([text]))
    async with WireServer([once(answer(body))]) as server:
        await expect_complete(server, text=text)


async def test_an_event_name_without_end() -> None:
    async with WireServer([once(answer(sse(*CUT_EVENTS) + b"event: " + b"e" * 17_000_000))]) as server:
        error = await expect_error(server, ts.InvalidResponseError, "too large", "16777216", partial=TEXT, within=3)
        assert len(str(error)) < LONGEST_TEXT


async def test_data_lines_without_end() -> None:
    """Each line is short; together they are one event."""
    limits = ts.Limits(event_bytes=100_000)
    body = sse(*CUT_EVENTS) + b"event: x\n" + b"data: x\n" * 200_000
    async with WireServer([once(answer(body))]) as server:
        await expect_error(server, ts.InvalidResponseError, "too large", "100000", partial=TEXT, limits=limits)


async def test_what_came_before_a_framing_error_in_the_same_packet_is_kept() -> None:
    """The last delta, the broken event and the end in one read: the delta is delivered first."""
    got = []
    body = sse(*CUT_EVENTS, event("content_block_delta", b"{"), *END)
    script = once(sized(body, content_type=b"text/event-stream"))
    async with WireServer([script]) as server, client_for(server) as client:
        with pytest.raises(ts.InvalidResponseError) as raised:
            async with client.messages.stream(**rows.PARAMS) as stream:
                async for text in stream.text_stream:
                    got.append(text)
        await rows.check_after(client)
    assert got == list(PIECES)
    assert raised.value.partial is not None
    assert raised.value.partial.text == TEXT


async def test_http_chunks_and_events_have_nothing_to_do_with_each_other() -> None:
    """Chunk sizes of every length, and packets of every length."""
    body = BOM + ends(b"\r\n", sse(*message_events([FOREIGN])))
    for size in (1, 2, 3, 5, 64, 997):
        pieces = [body[i : i + size] for i in range(0, len(body), size)]
        wire = chunked(*pieces, last=True)
        async with WireServer([on(request(), send(CHUNKED_HEAD), drip(wire, size=13))]) as server:
            await expect_complete(server, text=FOREIGN)


async def test_by_content_length_and_by_close() -> None:
    for head in (OK + b"Content-Length: %d\r\n\r\n" % len(MESSAGE), OK + b"\r\n"):
        for line_end in (b"\n", b"\r\n"):
            body = ends(line_end)
            framed = head.replace(b"%d" % len(MESSAGE), b"%d" % len(body))
            async with WireServer([on(request(), drip(framed + body, size=31))]) as server:
                await expect_complete(server)


@pytest.mark.parametrize("cut", range(1, len(sse(PING)) + 1))
async def test_two_packets_cut_at_every_byte_of_an_event(cut: int) -> None:
    body = sse(*BEGIN, PING, *DELTAS, *END)
    at = body.index(sse(PING)) + cut
    async with WireServer(
        [on(request(), send(CHUNKED_HEAD), drip(chunked(body[:at], body[at:], last=True), size=at))]
    ) as s:
        await expect_complete(s, then=None)


async def test_an_event_that_never_gets_its_blank_line() -> None:
    """The connection goes on with comments: the end of the body is the end of the event."""
    last = sse(message_events()[-1])
    body = sse(*message_events()[:-1]) + last[:-1]
    async with WireServer([once(answer(body + b": nothing\n" * 1000))]) as server:
        await expect_complete(server)


async def test_retry_and_id_numbers_without_end() -> None:
    await complete(b"retry: " + b"9" * 100_000 + b"\nid: " + b"i" * 100_000 + b"\n" + MESSAGE)


async def test_unknown_delta_in_the_middle_of_text() -> None:
    body = sse(*BEGIN, DELTAS[0], block_delta({"type": "new_delta", "x": 1}), *DELTAS[1:], *END)
    await complete(body)


async def test_a_message_id_of_any_characters() -> None:
    body = sse(message_start(FOREIGN), *message_events()[1:])
    async with WireServer([once(answer(body))]) as server:
        stream = await expect_complete(server)
        assert stream.message.id == FOREIGN


RECORDED = {path.stem: path.read_bytes() for path in sorted((FAULTS.parent / "corpora").glob("*.sse"))}


@pytest.mark.parametrize("body", RECORDED.values(), ids=RECORDED)
async def test_recorded_streams_over_sockets(body: bytes) -> None:
    """A recorded stream gives the same message in one piece, and with CRLF in pieces of seven bytes."""
    outcomes: list[object] = []
    crlf = body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    pieces = [crlf[i : i + 7] for i in range(0, len(crlf), 7)]
    for wire in (answer(body), CHUNKED_HEAD + chunked(*pieces, last=True)):
        async with WireServer([once(wire)]) as server, client_for(server) as client:
            try:
                stream = await rows.read_to_end(client)
                outcomes.append((stream.message, stream.message.to_param()))
            except ts.APIError as error:
                outcomes.append((type(error), error.partial))
    assert outcomes[0] == outcomes[1]
