"""Recording the answers of an API, and playing them again."""

from __future__ import annotations

import errno
import gzip
import math
import os
import re
import stat
import threading
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import trio
import trio.testing

import trio_stream as ts
from tests.corpora import Recorded, parametrized
from trio_stream import testing
from trio_stream.testing import (
    Arrival,
    RecordedEnd,
    Recording,
    RecordingError,
    ScriptedAPI,
    Step,
    call,
    disconnect,
    fail,
    headers,
    http_error,
    pause,
    raw,
    read_recordings,
    replay,
    say,
    stall,
    think,
)
from trio_stream.testing._recording import Line, arrival_line, write_events

KEY = "sk-ant-api03-Zq7Kw9Lm2Xv"
SECRET_PROMPT = "the harbour master drinks rosewater"

PARAMS: dict[str, Any] = {
    "model": "claude-opus-5",
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": SECRET_PROMPT}],
}


class Seen:
    """What a client gets of one call: its bytes, pieces and times, and how it ended."""

    def __init__(self) -> None:
        self.attempts: list[list[tuple[float, bytes]]] = []
        self.end: Any = None
        self._sent_at = 0.0

    def __call__(self, moment: ts.Moment) -> None:
        match moment:
            case ts.AttemptStart():
                self.attempts.append(pieces := [])
                moment.tap_bytes(lambda data, at: pieces.append((round(at - self._sent_at, 6), data)))
            case ts.RequestSent():
                self._sent_at = moment.at
            case ts.CallEnd():
                self.end = moment.outcome, type(moment.error)


async def ask(
    api: ScriptedAPI, *instruments: ts.Instrument, retries: int = 0, timeout: Any = 30.0, **more: Any
) -> Seen:
    """Make one call to its end, whatever that is."""
    seen = Seen()
    async with ts.Client(
        api_key=KEY, transport=api, instruments=[seen, *instruments], max_retries=retries, timeout=timeout
    ) as client:
        try:
            async with client.messages.stream(**{**PARAMS, **more}) as stream:
                await stream.until_done()
        except ts.APIError:
            pass
    return seen


ENDS: dict[str, list[Step]] = {
    "complete": [think("Let me see.", ttft=0.3), say("It is sunny", ttft=0.1, tps=20), call("f", {"city": "Pécs"})],
    "cut": [say("It is", ttft=0.2, tps=10), disconnect()],
    "reset": [say("It is", tps=10), disconnect(reset=True)],
    "cut in an event": [
        say("It is", tps=10),
        pause(0.1),
        raw('event: content_block_delta\ndata: {"type'),
        disconnect(),
    ],
    "cut in a character": [say("It is"), pause(0.1), raw(b"event: p\xc3"), pause(1), raw(b"\xa9"), disconnect()],
    "before the head": [pause(0.5), disconnect()],
    "reset before the head": [pause(0.5), disconnect(reset=True)],
    "an error": [pause(0.2), http_error(400, message="no such model")],
    "not the API": [http_error(502, body=b"<html>\xff bad gateway</html>", headers={"content-type": "text/html"})],
    "an error in the stream": [say("It is", tps=10), fail("overloaded_error")],
    "silence": [say("It is", tps=10), stall()],
    "no events": [raw(b"hello"), disconnect(clean=True)],
    "lines ended otherwise": [raw(b'event: ping\r\ndata: {"type":"ping"}\r\n\r\n'), say("It is")],
}


@pytest.mark.parametrize("end", ENDS)
async def test_bytes_pieces_and_times_come_back(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, end: str
) -> None:
    """What was recorded plays as it was: the same bytes in the same pieces at the same times, and the same end."""
    path = tmp_path / "recording.jsonl"
    with testing.record(path) as recording:
        before = await ask(ScriptedAPI(ENDS[end]), recording)
    api = replay(path)
    assert_same(before, await ask(api))
    api.assert_done()


def assert_same(first: Seen, second: Seen) -> None:
    assert second.attempts == first.attempts
    assert second.end == first.end


async def test_retries_are_answers_of_their_own(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """Each attempt is recorded, and equal requests are answered in order."""
    path = tmp_path / "recording.jsonl"
    script = [[http_error(529)], [pause(0.3), disconnect()], [say("Hello", tps=10)]]
    with testing.record(path) as recording:
        before = await ask(ScriptedAPI(*script), recording, retries=2)
    assert [one.end.value for one in read_recordings(path)] == ["complete", "reset", "complete"]
    assert_same(before, await ask(replay(path), retries=2))


async def test_what_the_client_left_plays_on_in_silence(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """An answer that was cancelled ends in a stall, as long as nobody closes it."""
    path = tmp_path / "recording.jsonl"
    with testing.record(path) as recording, trio.move_on_after(0.35):
        await ask(ScriptedAPI([say("one two three four five six", tps=10)]), recording)
    (recorded,) = read_recordings(path)
    assert recorded.end is RecordedEnd.LEFT
    assert recorded.body.endswith(b'" four"}  }\n\n') or b" four" in recorded.body
    seen = await ask(replay(path), timeout=ts.Timeouts(silence=5))
    assert seen.end == (ts.CallOutcome.FAILED, ts.SilenceTimeoutError)


async def test_several_streams_at_once(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """The lines of answers under way are mixed; each comes back as itself, by the hash of its request."""
    path = tmp_path / "recording.jsonl"
    prompts = [[{"role": "user", "content": f"question {number}"}] for number in range(5)]
    before: dict[int, Seen] = {}
    after: dict[int, Seen] = {}

    async def one(api: ScriptedAPI, into: dict[int, Seen], number: int, *instruments: ts.Instrument) -> None:
        into[number] = await ask(api, *instruments, messages=prompts[number])

    def answer(request: testing.RecordedRequest) -> list[Step]:
        number = int(str(request.messages[-1]["content"])[-1])
        return [say(f"answer {number} " * 4, tps=7 + number)]

    with testing.record(path) as recording:
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(one, ScriptedAPI(default=answer), before, number, recording)
    api = replay(path)
    async with trio.open_nursery() as nursery:
        for number in reversed(range(5)):
            nursery.start_soon(one, api, after, number)
    for number in range(5):
        assert_same(before[number], after[number])


async def test_other_calls_are_recorded_too(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """Answers that are no stream, and other paths than that of messages."""
    path = tmp_path / "recording.jsonl"

    async def calls(api: ScriptedAPI, *instruments: ts.Instrument) -> tuple[str, int, int]:
        async with ts.Client(api_key=KEY, transport=api, instruments=instruments) as client:
            message = await client.messages.create(**PARAMS)
            counted = await client.messages.count_tokens(model=PARAMS["model"], messages=PARAMS["messages"])
            batch = await client.messages.batches.create([{"custom_id": "a", "params": PARAMS}])
            await trio.sleep(100)
            async with client.messages.batches.results(batch.id) as lines:
                results = [line async for line in lines]
        return message.text, counted.input_tokens, len(results)

    with testing.record(path) as recording:
        before = await calls(ScriptedAPI(default=[say("Hello there")]), recording)
    assert before[0] == "Hello there"
    assert before[2] == 1
    assert await calls(replay(path)) == before


@pytest.mark.parametrize("coding", ["gzip", "br"])
async def test_compressed_answers(autojump_clock: trio.testing.MockClock, tmp_path: Path, coding: str) -> None:
    """What the client decompresses is recorded without its coding; what it refuses is refused again."""
    path = tmp_path / "recording.jsonl"
    event = b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"No."}}\n\n'
    body = gzip.compress(event)
    kinds = {"content-type": "text/event-stream", "content-encoding": coding}
    with testing.record(path) as recording:
        before = await ask(ScriptedAPI([headers(kinds), raw(body), disconnect(clean=True)], verbatim=True), recording)
    assert before.end[0] is ts.CallOutcome.FAILED
    (recorded,) = read_recordings(path)
    assert recorded.body == (event if coding == "gzip" else b"")
    assert_same(before, await ask(replay(path)))


async def test_equal_requests_at_once(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """Which request was first counts, not which answer: so a hedge goes as it went."""
    path = tmp_path / "recording.jsonl"

    async def hedged(api: ScriptedAPI, *instruments: ts.Instrument) -> tuple[str, int, float]:
        began = trio.current_time()
        async with ts.Client(api_key=KEY, transport=api, instruments=instruments) as client:
            outcome = await ts.hedge(client, PARAMS, after=2)
        return outcome.text, outcome.index, round(trio.current_time() - began, 3)

    with testing.record(path) as recording:
        before = await hedged(ScriptedAPI([say("slow", ttft=9)], [say("quick", ttft=1)]), recording)
    assert before == ("quick", 1, 3)
    assert [one.end for one in read_recordings(path)] == [RecordedEnd.LEFT, RecordedEnd.COMPLETE]
    api = replay(path)
    assert await hedged(api) == before
    api.assert_done()


# Finding the recording of a request.


async def test_a_request_that_nobody_recorded(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """It gets a 500 that is not retried and names the keys that differ, and uses no recording."""
    path = tmp_path / "recording.jsonl"
    with testing.record(path) as recording:
        await ask(ScriptedAPI([say("Hello")]), recording)
    api = replay(path)
    async with ts.Client(api_key=KEY, transport=api) as client:
        with pytest.raises(ts.InternalServerError) as caught:
            await client.messages.create(**{**PARAMS, "stop_sequences": ["!"], "max_tokens": 7})
        assert "differs in max_tokens, stop_sequences" in str(caught.value)
        assert len(api.requests) == 1
        with pytest.raises(AssertionError, match="1 of 2 scripts were not used"):
            api.assert_done()
        async with client.messages.stream(**PARAMS) as stream:
            assert await stream.get_final_text() == "Hello"
        with pytest.raises(
            ts.InternalServerError, match="no script is left for request 3; each recorded answer is played once"
        ):
            await client.messages.count_tokens(model="m", messages=PARAMS["messages"])


async def test_by_order_and_by_a_function(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """`match` may also take the next recording whatever is asked, or choose for itself."""
    path = tmp_path / "recording.jsonl"
    with testing.record(path) as recording:
        for number in range(3):
            await ask(ScriptedAPI([say(f"answer {number}")]), recording, max_tokens=10 + number)

    async def texts(api: ScriptedAPI, many: int) -> list[str]:
        async with ts.Client(api_key=KEY, transport=api, max_retries=0) as client:
            return [await one_text(client) for _ in range(many)]

    async def one_text(client: ts.Client) -> str:
        async with client.messages.stream(**PARAMS) as stream:
            return await stream.get_final_text()

    def last(request: testing.RecordedRequest, unused: Any) -> Recording | None:
        return unused[-1] if len(unused) > 1 else None

    assert await texts(replay(path, match="order"), 3) == ["answer 0", "answer 1", "answer 2"]
    api = replay(path, match=last)
    assert await texts(api, 2) == ["answer 2", "answer 1"]
    with pytest.raises(ts.InternalServerError, match="differs in max_tokens"):
        await texts(api, 1)
    stranger = msgspec.structs.replace(read_recordings(path)[0], number=99)
    with pytest.raises(ValueError, match="none of the unused"):
        await texts(replay(path, match=lambda request, unused: stranger), 1)


async def test_speed(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """Silences can be halved or left out."""
    path = tmp_path / "recording.jsonl"
    with testing.record(path) as recording:
        await ask(ScriptedAPI([say("one two three", ttft=1, tps=1)]), recording)
    for speed, seconds in ((1.0, 3.0), (2.0, 1.5), (math.inf, 0.0)):
        began = trio.current_time()
        await ask(replay(path, speed=speed))
        assert trio.current_time() - began == pytest.approx(seconds)
    with pytest.raises(ValueError, match="speed"):
        replay(path, speed=0)
    with pytest.raises(ValueError, match="cut_at"):
        replay(path, cut_at=-1)


async def test_cut_at_nothing_and_between_pieces(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """A cut may come before the first byte, and where a piece ends."""
    path = tmp_path / "recording.jsonl"
    with testing.record(path) as recording:
        await ask(ScriptedAPI([say("one two", tps=10)]), recording)
    first, second = read_recordings(path)[0].arrivals[:2]
    for size, pieces in (
        (0, []),
        (len(first.data), [first.data]),
        (len(first.data) + 9, [first.data, second.data[:9]]),
    ):
        seen = await ask(replay(path, cut_at=size))
        assert seen.end == (ts.CallOutcome.FAILED, ts.IncompleteStreamError)
        assert [data for _, data in seen.attempts[0]] == pieces


@parametrized(but=("vercel-ai__duplicate-message-start.sse",))
async def test_cut_at_every_so_many_bytes(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, stream: Recorded
) -> None:
    """Cut anywhere, an answer is incomplete; only the last byte makes it whole."""
    path = tmp_path / "recording.jsonl"
    with testing.record(path) as recording:
        whole = await ask(ScriptedAPI([raw(stream.whole), disconnect(clean=True)]), recording)
    (recorded,) = read_recordings(path)
    assert recorded.body == stream.whole
    if whole.end[0] is not ts.CallOutcome.COMPLETED:
        return  # some recordings are of answers that failed
    body = recorded.body
    done = body.index(b"\n\n", body.index(b"event: message_stop")) + 2
    for size in sorted({0, 1, *range(7, done, max(1, done // 12)), done - 1}):
        seen = await ask(replay(path, cut_at=size))
        assert seen.end[0] is ts.CallOutcome.FAILED, size
        assert b"".join(data for _, data in seen.attempts[0]) == body[:size]
    assert (await ask(replay(path, cut_at=done))).end[0] is ts.CallOutcome.COMPLETED


async def test_served_on_a_port(tmp_path: Path) -> None:
    """A recording answers any client over a real connection."""
    path = tmp_path / "recording.jsonl"
    with testing.record(path) as recording:
        await ask(ScriptedAPI([http_error(529)], [say("Hello", " there")]), recording, retries=1)
    async with (
        replay(path, match="order", speed=math.inf).serve() as server,
        ts.Client(api_key=KEY, base_url=server.base_url) as client,
        client.messages.stream(**PARAMS) as stream,
    ):
        assert await stream.get_final_text() == "Hello there"


# What is in the file.


def pieces_of(secret: str, size: int = 4) -> set[str]:
    return {secret[start : start + size] for start in range(len(secret) - size + 1)}


def deltas(body: bytes) -> str:
    """All text of an answer, its deltas joined."""
    texts = re.findall(rb'"(?:text|thinking|partial_json)":"((?:[^"\\]|\\.)*)"', body)
    return b"".join(texts).decode()


@pytest.mark.parametrize("mask", [False, True])
async def test_no_key_no_cookie_no_prompt(autojump_clock: trio.testing.MockClock, tmp_path: Path, mask: bool) -> None:
    """Of the request there are only hashes, of the head only what is of use; masked, nothing of what was said."""
    path = tmp_path / "recording.jsonl"
    head = testing.headers({"set-cookie": "session=Tr0ubad0ur", "anthropic-organization-id": "org-secret"})
    said = [KEY[start : start + 3] for start in range(0, len(KEY), 3)]
    script = [
        head,
        think(*said),
        say(*said),
        call("login", {"key": KEY, "code": 84213, "on": True, 'q\n"': "\u00e9\\"}),
    ]
    with testing.record(path, mask=mask) as recording:
        seen = await ask(ScriptedAPI(script), recording, system=SECRET_PROMPT)
    text = path.read_text()
    for word in ("Tr0u", "cookie", "org-secret", "x-api-key", "harbour", "rosewater", "authorization"):
        assert word not in text
    said_in_file = deltas(read_recordings(path)[0].body)
    if not mask:
        assert KEY in said_in_file  # the answer is the answer
        return
    for piece in pieces_of(KEY):
        assert piece not in said_in_file
        assert piece not in text
    assert "8421" not in text
    again = await ask(replay(path), system=SECRET_PROMPT)
    assert again.end == seen.end
    assert [at for at, _ in again.attempts[0]] == [at for at, _ in seen.attempts[0]]
    async with (
        ts.Client(api_key=KEY, transport=replay(path, match="order")) as client,
        client.messages.stream(**PARAMS) as stream,
    ):
        message = await stream.get_final_message()
    assert [len(block.text) for block in message.content if block.type == "text"] == [len(KEY)]
    (used,) = [block for block in message.content if block.type == "tool_use"]
    assert used.name == "login"
    assert list(used.input.values()) == ["xx-xxx-xxx00-xx0xx0xx0xx", 11111, True, "x\\"]


async def test_prompts_on_request(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """With `prompts` the body of the request is kept, for programs that tell requests apart by it."""
    path = tmp_path / "recording.jsonl"
    with testing.record(path, prompts=True) as recording:
        await ask(ScriptedAPI([say("Hello")]), recording)
    (recorded,) = read_recordings(path)
    assert recorded.request.body == {**PARAMS, "stream": True}
    assert recorded.request.model == PARAMS["model"]


async def test_the_file_is_its_owner_s_and_goes_on(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """A second recording in a file goes on where the first ended, also where that was killed in a line."""
    path = tmp_path / "recording.jsonl"
    with testing.record(path) as recording:
        await ask(ScriptedAPI([say("Hello")]), recording)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open("ab") as file:
        file.write(b'{"x":1,"at":3,"te')
    assert len(read_recordings(path)) == 1
    with testing.record(path) as recording:
        await ask(ScriptedAPI([say("Hello again")]), recording)
    first, second = read_recordings(path)
    assert (first.number, second.number) == (1, 2)
    assert first.end is second.end is RecordedEnd.COMPLETE
    assert b"again" in second.body


async def test_a_killed_program(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """Every arrival is in the file at once; an answer without its end counts as left."""
    path = tmp_path / "recording.jsonl"
    recording = testing.record(path)
    with trio.move_on_after(0.25):
        await ask(ScriptedAPI([say("one two three", tps=10), stall()]), recording)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    (recorded,) = read_recordings(path)
    assert recorded.end is RecordedEnd.LEFT
    assert b"three" in recorded.body
    recording.close()
    recording.close()


async def test_a_share_of_the_calls(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sample` takes whole calls; a closed recording takes none, and does not disturb."""
    path = tmp_path / "recording.jsonl"
    chances = iter([0.1, 0.6, 0.3])
    monkeypatch.setattr("trio_stream.testing._record.random", lambda: next(chances))
    with testing.record(path, sample=0.5) as recording:
        for _ in range(3):
            await ask(ScriptedAPI([http_error(529)], [say("Hello")]), recording, retries=1)
    assert len(read_recordings(path)) == 4
    assert (await ask(ScriptedAPI([say("Hello")]), recording)).end[0] is ts.CallOutcome.COMPLETED
    with pytest.raises(ValueError, match="sample"):
        testing.record(path, sample=2)


async def test_closed_under_way(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """Closing while an answer arrives leaves what had come; it counts as left."""
    path = tmp_path / "recording.jsonl"
    recording = testing.record(path)

    async def close() -> None:
        await trio.sleep(0.15)
        recording.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(close)
        seen = await ask(ScriptedAPI([say("one two three", tps=10)]), recording)
    assert seen.end[0] is ts.CallOutcome.COMPLETED
    (recorded,) = read_recordings(path)
    assert recorded.end is RecordedEnd.LEFT
    assert b"two" in recorded.body
    assert b"three" not in recorded.body


async def test_a_call_that_never_asked(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """A call that ends before its first attempt leaves nothing in the file."""
    path = tmp_path / "recording.jsonl"

    def no_key() -> str:
        raise RuntimeError("no vault")

    with testing.record(path) as recording:
        async with ts.Client(api_key=no_key, transport=ScriptedAPI(), instruments=[recording]) as client:
            with pytest.raises(ts.CredentialsError):
                await client.messages.create(**PARAMS)
        assert all(one.status is None for one in read_recordings(path))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"hello\n", "line 1: this is no line of a recording"),
        (b'{"x":1,"at":0.1,"text":"a"}\n', "answer 1 has no head"),
        (b'{"x":1,"v":2,"request":{"path":"/v1/messages"},"at":0}\n', "version 2"),
        (b'{"x":1,"v":1,"request":{"path":"\xff"},"at":0}\n', "line 1: this is no line of a recording"),
        (b'{"x":1,"v":1,"request":{"path":"p"},"at":0}\n{"x":1,"at":1,"sse":[1]}\n', "line 2: this is no line"),
        (b'{"x":1,"v":1,"request":{"path":"p"},"at":0}\n{"x":1,"at":1,"b64":"a?"}\n', "line 2: this is no line"),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, complaint: str) -> None:
    """A file that is no recording is neither read nor written to."""
    path = tmp_path / "recording.jsonl"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=complaint):
        read_recordings(path)
    with pytest.raises(RecordingError, match=complaint):
        testing.record(path)
    assert path.read_bytes() == content


def test_blank_lines_and_what_no_string_can_hold(tmp_path: Path) -> None:
    """Blank lines are ignored; bytes that are no text are kept as Base64."""
    path = tmp_path / "recording.jsonl"
    path.write_bytes(
        b'\n{"x":1,"v":1,"request":{"path":"/v1/messages"},"status":200,"at":0}\n\n{"x":1,"at":1,"b64":"/w=="}'
    )
    (recorded,) = read_recordings(path)
    assert recorded.body == b"\xff"
    assert recorded.end_at == 1


def test_an_instrument_without_a_file(tmp_path: Path) -> None:
    """A path that cannot be opened is told where the recording is made."""
    with pytest.raises(IsADirectoryError):
        testing.record(tmp_path)
    with pytest.raises(FileNotFoundError):
        testing.record(tmp_path / "missing" / "recording.jsonl")


async def test_masked_and_cut(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """What was being written when the connection ended is masked too, and nothing of it is lost."""
    path = tmp_path / "recording.jsonl"
    with testing.record(path, mask=True) as recording:
        before = await ask(ScriptedAPI(ENDS["cut in an event"]), recording)
    (recorded,) = read_recordings(path)
    assert recorded.body.endswith(b'\n\nevent: content_block_delta\ndata: {"xxxx')
    assert [at for at, _ in (await ask(replay(path))).attempts[0]] == [at for at, _ in before.attempts[0]]


async def test_a_call_without_an_attempt(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """A call that ends before it asks leaves nothing in the file."""
    path = tmp_path / "recording.jsonl"
    moments: list[ts.Moment] = []
    await ask(ScriptedAPI([say("Hello")]), moments.append)
    first, last = moments[0], moments[-1]
    assert isinstance(first, ts.CallStart)
    first.call.attempts = 0
    with testing.record(path) as recording:
        recording(first)
        recording(last)
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b'event: ping\ndata: {"type":"ping"}\n\n', True),
        (b'event: ping\ndata: {"type": "ping" }\n\nevent: x\ndata: {"a":1,"type":"x"}\n\n', True),
        (b'event: pong\ndata: {"type":"ping"}\n\n', False),
        (b'event: ping\ndata: {"type":"ping","a":"\xff"}\n\n', False),
        (b'event: ping\ndata: {"type":\n\n', False),
        (b'event: ping\ndata: {"type":\ndata: "ping"}\n\n', False),
        (b"event: ping\n\n", False),
        (b": hello\n\n", False),
        (b"\n\n", False),
        (b'event: ping\ndata: {"type":"ping"}\n\nevent: ping\n', False),
    ],
)
def test_arrivals_come_back_as_they_were(data: bytes, whole: bool) -> None:
    """Whole events are kept as their data, everything else as it is; either way the bytes are the same."""
    line = msgspec.json.decode(arrival_line(1, Arrival(0.5, data)))
    assert ("sse" in line) is whole
    if whole:
        written = write_events(
            [bytes(event) for event in msgspec.json.decode(arrival_line(1, Arrival(0, data)), type=Line).sse]
        )
        assert written == data


async def test_a_request_that_is_no_json(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """Other programs may ask a replay anything: it says that nothing was recorded for that."""
    path = tmp_path / "recording.jsonl"
    with testing.record(path) as recording:
        await ask(ScriptedAPI([say("Hello")]), recording)
    async with httpx.AsyncClient(transport=replay(path), base_url="http://api") as client:
        refused = await client.put("/v1/other", content=b"{")
    assert refused.status_code == 500
    assert "differs in method, path, max_tokens" in refused.json()["error"]["message"]


# Files that fail, and files that several want.


async def test_a_disk_that_is_full(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an answer that could not be written whole only its beginning is in the file; those after it are whole."""
    path = tmp_path / "recording.jsonl"
    room = 1800
    write = os.write

    def on_a_small_disk(file: int, data: Any) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(file, data[:room])
        room -= written
        return written

    with testing.record(path) as recording:
        monkeypatch.setattr("trio_stream.testing._record.os.write", on_a_small_disk)
        first = await ask(ScriptedAPI([say("one two three four", tps=10)]), recording, max_tokens=1)
        room = 10
        second = await ask(ScriptedAPI([say("not even a head")]), recording, max_tokens=2)
        room = 1_000_000
        third = await ask(ScriptedAPI([say("five six")]), recording, max_tokens=3)
    assert {seen.end[0] for seen in (first, second, third)} == {ts.CallOutcome.COMPLETED}
    cut, whole = read_recordings(path)
    assert (cut.end, whole.end) == (RecordedEnd.LEFT, RecordedEnd.COMPLETE)
    assert b"".join(data for _, data in first.attempts[0]).startswith(cut.body)
    assert_same(third, await ask(replay(path), max_tokens=3))
    testing.record(path).close()  # it can be continued


@pytest.mark.parametrize("device", ["/dev/full", "/dev/null"])
async def test_devices(autojump_clock: trio.testing.MockClock, device: str, caplog: pytest.LogCaptureFixture) -> None:
    """What is no file has nothing to continue; a failure to write is logged once and changes nothing."""
    with testing.record(device) as recording, testing.record(device):
        for _ in range(2):
            assert (await ask(ScriptedAPI([say("Hello")]), recording)).end[0] is ts.CallOutcome.COMPLETED
    logged = [record.getMessage() for record in caplog.records]
    full = ["answers in /dev/full are not recorded whole: No space left on device"]
    assert logged == (full if device == "/dev/full" else [])


async def test_cancelled_while_backing_off(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """Only attempts that were made are in the file."""
    path = tmp_path / "recording.jsonl"
    with testing.record(path) as recording, trio.move_on_after(5):
        await ask(ScriptedAPI([http_error(529, retry_after=30)]), recording, retries=2)
    (recorded,) = read_recordings(path)
    assert recorded.status == 529


def test_one_recording_writes_to_a_file(tmp_path: Path) -> None:
    """Two would give their answers the same numbers."""
    path = tmp_path / "recording.jsonl"
    with testing.record(path), pytest.raises(RecordingError, match="another recording is writing to this file"):
        testing.record(path)
    testing.record(path).close()


async def test_a_fork_records_nothing(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answers would have the numbers of the answers of the process that it came from."""
    path = tmp_path / "recording.jsonl"
    with testing.record(path) as recording:
        await ask(ScriptedAPI([say("Hello")]), recording)
        child = os.getpid() + 1
        with monkeypatch.context() as patched:
            patched.setattr("trio_stream.testing._record.os.getpid", lambda: child)
            await ask(ScriptedAPI([say("Hello")]), recording)
        await ask(ScriptedAPI([say("Hello")]), recording)
    assert [one.number for one in read_recordings(path)] == [1, 2]


def test_a_last_line_without_its_end(tmp_path: Path) -> None:
    """An editor may have taken away the line feed at the end: the line is whole, and stays."""
    path = tmp_path / "recording.jsonl"
    lines = b'{"x":4,"v":1,"request":{"path":"/v1/messages"},"status":200,"at":0}\n{"x":4,"at":1,"end":"complete"}'
    path.write_bytes(lines)
    testing.record(path).close()
    assert path.read_bytes() == lines + b"\n"


def test_one_recording_of_two_threads(tmp_path: Path) -> None:
    """Clients in several threads may share a recording; every answer has a number of its own."""
    path = tmp_path / "recording.jsonl"

    async def many(recording: testing.record) -> None:
        api = ScriptedAPI(default=[say("a b c d e")])
        async with ts.Client(api_key=KEY, transport=api, instruments=[recording]) as client:
            for _ in range(20):
                await client.messages.create(**PARAMS)

    with testing.record(path) as recording:
        threads = [threading.Thread(target=trio.run, args=(many, recording)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = read_recordings(path)
    assert sorted(one.number for one in found) == list(range(1, 41))
    assert all(one.end is RecordedEnd.COMPLETE for one in found)


async def test_a_moved_program(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is the one that it was when the recording was made."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    with testing.record("recording.jsonl") as recording:
        monkeypatch.chdir(elsewhere)
        await ask(ScriptedAPI([say("Hello")]), recording)
    assert len(read_recordings(tmp_path / "recording.jsonl")) == 1
    assert list(elsewhere.iterdir()) == []
