"""The data of the events as the API sent it, for programs that hand it on."""

from __future__ import annotations

import msgspec
import pytest
import trio
import trio.testing

import trio_stream as ts
from tests.stream.api import PARAMS, client_of
from trio_stream.testing import event, raw, say, stall


async def test_nothing_is_kept_unless_asked_for():
    """So that a large event is not held any longer than its stream needs it."""
    client, _ = client_of([say("Hello")])
    async with client.messages.stream(**PARAMS) as stream:
        async for _event in stream:
            assert stream.raw_data is None


async def test_a_manager_keeps_the_first_event_too():
    """Each event has its own data, and a helper event that of its delta; a ping has none."""
    client, _ = client_of([say("Hello "), event({"type": "new", "n": 1})])
    manager = client.messages.stream(**PARAMS)
    manager.keep_raw_data()
    seen: list[tuple[str, dict[str, object]]] = []
    async with manager as stream:
        async for received in stream:
            assert stream.raw_data is not None
            seen.append((received.type, msgspec.json.decode(stream.raw_data)))
    kinds = [kind for kind, _ in seen]
    assert kinds[:4] == ["message_start", "content_block_start", "content_block_delta", "text"]
    assert "new" in kinds
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert all(data["type"] == kind for kind, data in seen if kind != "text")
    deltas = [data for kind, data in seen if kind == "content_block_delta"]
    assert deltas == [data for kind, data in seen if kind == "text"]


async def test_it_begins_with_the_next_event_once_the_block_is_entered():
    client, _ = client_of([say("Hello")])
    async with client.messages.stream(**PARAMS) as stream:
        stream.keep_raw_data()
        stream.keep_raw_data()  # once more changes nothing
        assert (await stream.receive()).type == "message_start"
        assert stream.raw_data is None
        assert (await stream.receive()).type == "content_block_start"
        assert b"content_block_start" in (stream.raw_data or b"")
        await stream.until_done()
    stream.keep_raw_data()  # nothing is left to keep
    assert msgspec.json.decode(stream.raw_data or b"") == {"type": "message_stop"}


async def test_bytes_are_those_that_came():
    """With the spaces that the API puts into them."""
    data = b'{"type":"message_stop"      }'
    client, _ = client_of([say("Hello"), raw(b"event: message_stop\ndata: " + data + b"\n\n")])
    events = await client.messages.create(stream=True, **PARAMS)
    events.keep_raw_data()
    async with events:
        first = await events.receive()
        assert first.type == "message_start"
        assert msgspec.json.decode(events.raw_data or b"")["type"] == "message_start"
        await events.until_done()
        assert events.raw_data == data


async def test_an_event_that_was_not_sent_has_none():
    """With ``accept_missing_stop`` the last event is made here, and must not go out with the data of another one."""
    for keep in (True, False):
        client, _ = client_of([raw(_WITHOUT_STOP)], accept_missing_stop=True)
        manager = client.messages.stream(**PARAMS)
        if keep:
            manager.keep_raw_data()
        async with manager as stream:
            last = [received async for received in stream][-1]
        assert last.type == "message_stop"
        assert stream.raw_data is None


_WITHOUT_STOP = b"".join(
    b"event: %b\ndata: %b\n\n" % (msgspec.json.decode(data)["type"].encode(), data)
    for data in (
        b'{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[]}}',
        b'{"type":"message_delta","delta":{"stop_reason":"end_turn"}}',
    )
)


async def test_close_now_ends_a_wait_at_once():
    """It needs no waiting, so it also serves where a task cannot be cancelled."""
    client, api = client_of([say("Hello ", stall())])
    async with client.messages.stream(**PARAMS) as stream:
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await stream.until_done()

            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            stream.close_now()
            assert api.open_streams == 0
        stream.close_now()
    assert isinstance(stream.partial, ts.Message)
    assert stream.text == "Hello "
