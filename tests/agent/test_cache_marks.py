"""Breakpoints of the prompt cache."""

from __future__ import annotations

from typing import Any

from tests.agent.talking import conversation, wait
from trio_stream.agent._cache_marks import mark
from trio_stream.testing import ScriptedAPI, call, say, think


def marked(messages: list[dict[str, Any]]) -> list[int]:
    """The places of the breakpoints, as blocks from the end."""
    blocks = [
        block for message in messages for block in ([{}] if isinstance(message["content"], str) else message["content"])
    ]
    return [place for place, block in enumerate(reversed(blocks)) if "cache_control" in block]


async def test_breakpoints_are_18_blocks_apart(autojump_clock):
    """The automatic one, and up to three more; the conversation has none of them."""
    turns = [[think("hm"), *[call("wait", {"seconds": 0}) for _ in range(12)]] for _ in range(4)]
    api = ScriptedAPI(*turns, [say("Done.")])
    chat = conversation(
        api, wait, cache="5m", system=[{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]
    )
    await chat.ask("go")
    bodies = [request.body for request in api.requests]
    assert bodies[0]["cache_control"] == {"type": "ephemeral"}
    assert [marked(body["messages"]) for body in bodies] == [[], [18], [18, 36], [18, 36], [18, 36]]
    assert marked(chat.messages) == []
    assert {request.status for request in api.requests} == {200}


async def test_what_was_written_is_found_again(autojump_clock):
    """A turn that adds more than 20 blocks still finds what the request before has written."""
    turns = [[call("wait", {"seconds": 0}) for _ in range(12)] for _ in range(20)]
    api = ScriptedAPI(*turns, [say("Done.")])
    chat = conversation(api, wait, cache="1h")
    await chat.ask("go")
    written: set[int] = set()
    for request in api.requests:
        messages = request.body["messages"]
        size = sum(1 if isinstance(message["content"], str) else len(message["content"]) for message in messages)
        ends = [size, *(size - place for place in marked(messages))]
        found = [end for end in written if any(0 <= mark - end <= 20 for mark in ends)]
        assert not written or max(found) == max(written)
        written.update(ends)
    assert api.requests[3].body["cache_control"] == {"type": "ephemeral", "ttl": "1h"}


async def test_breakpoints_of_texts_and_beside_thinking(autojump_clock):
    """A text becomes a block, and in place of thinking the block before it is marked."""
    api = ScriptedAPI(default=[say("a"), think("b"), say("c")])
    chat = conversation(api, cache="5m", interrupt_note=None)
    for _ in range(12):
        await chat.ask("go")
    places = marked(api.requests[-1].body["messages"])
    assert len(places) == 2
    assert all(18 <= place % 18 + 18 <= 20 for place in places)
    assert {request.status for request in api.requests} == {200}


async def test_a_place_that_cannot_be_marked(autojump_clock):
    """Where there is nothing but thinking, there is no breakpoint."""
    chat = conversation(ScriptedAPI(), cache="5m")
    thinking = {"type": "thinking", "thinking": "x", "signature": "s"}
    chat._dialogue.transcript.append(
        [{"role": "assistant", "content": [thinking] * 20}, {"role": "user", "content": "go"}]
    )
    raws = mark(chat._dialogue.transcript.entries, "5m", elsewhere=0)
    assert b"cache_control" not in b"".join(raws)
