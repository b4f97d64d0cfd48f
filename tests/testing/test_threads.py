"""Message threads: the scripted API holds the conversation, and requests send only what is new."""

from __future__ import annotations

import contextlib
from typing import Any

import httpx
import pytest
import trio
import trio.testing

import trio_stream as ts
from trio_stream.testing import ScriptedAPI, call, disconnect, event, fail, http_error, say, stop, think

from .answers import KEY

JSON = dict[str, Any]

BETA = "message-threads-2026-08-12"
TOOL: JSON = {"name": "f", "input_schema": {"type": "object"}}
RESULT: JSON = {"type": "tool_result", "content": "y"}


def client_of(api: ScriptedAPI) -> ts.Client:
    return ts.Client(api_key="k", transport=api, max_retries=0)


async def send(client: ts.Client, *contents: Any, thread: Any = None, **params: Any) -> ts.Message:
    """One request of a thread, or of none."""
    params = {"model": "claude-opus-5-5", "max_tokens": 64, "betas": [BETA], **params}
    if thread is not None:
        params["thread"] = (
            {"type": "create"}
            if thread == "create"
            else {
                "type": "continue",
                "previous_message_id": thread.id if isinstance(thread, ts.Message) else thread,
            }
        )
    messages = [{"role": "user", "content": content} for content in contents]
    return await client.beta.messages.create(messages=messages, **params)


async def test_a_thread_that_is_continued_is_kept() -> None:
    """Strictness, signatures and scripts see the whole conversation, although each request has only what is new."""
    api = ScriptedAPI([think("hm"), call("f", {"a": 1}, id="t1")], [think("ah"), say("Done.")], [say("Bye.")])
    client = client_of(api)
    first = await send(client, "one", thread="create", system="be brief", tools=[TOOL])
    result = [{**RESULT, "tool_use_id": "t1"}]
    second = await send(client, result, thread=first)
    assert second.text == "Done."
    assert (await send(client, "three", thread=second)).text == "Bye."
    api.assert_done()
    last = api.requests[-1]
    assert [len(request.messages) for request in api.requests] == [1, 1, 1]
    assert [message["role"] for message in last.full_body["messages"]] == ["user", "assistant"] * 2 + ["user"]
    assert (last.full_body["system"], last.full_body["tools"]) == ("be brief", [TOOL])
    whole = last.full_body["messages"]
    assert whole[1]["content"][1] == {
        "type": "tool_use",
        "id": "t1",
        "name": "f",
        "input": {"a": 1},
        "caller": {"type": "direct"},
    }
    assert whole[2]["content"] == result
    assert whole[3]["content"][0]["signature"] == second.content[0].signature  # type: ignore[union-attr]


async def test_answers_that_are_not_streamed_are_kept_too() -> None:
    api = ScriptedAPI([say("one")], [say("two")])
    body: JSON = {"model": "claude-opus-5-5", "max_tokens": 64, "messages": [{"role": "user", "content": "x"}]}
    headers = {**KEY, "anthropic-beta": BETA}
    async with httpx.AsyncClient(transport=api, base_url="http://api", headers=headers) as client:
        first = (await client.post("/v1/messages", json={**body, "thread": {"type": "create"}})).json()
        thread = {"type": "continue", "previous_message_id": first["id"]}
        second = (await client.post("/v1/messages", json={**body, "thread": thread})).json()
    assert second["content"] == [{"type": "text", "text": "two"}]
    assert api.requests[1].full_body["messages"][1]["content"] == first["content"]


async def test_what_is_new_must_fit_what_is_held() -> None:
    api = ScriptedAPI([call("f", id="t1")], default=[say("Done.")])
    client = client_of(api)
    first = await send(client, "one", thread="create", tools=[TOOL])
    with pytest.raises(ts.BadRequestError, match=r"messages\.1: `tool_use` ids were found without"):
        await send(client, "two", thread=first)
    assert (await send(client, [{**RESULT, "tool_use_id": "t1"}], thread=first)).text == "Done."


@pytest.mark.parametrize("field", ["system", "tools"])
async def test_what_a_thread_keeps_cannot_be_sent_again(field: str) -> None:
    api = ScriptedAPI(default=[say("x")])
    client = client_of(api)
    first = await send(client, "one", thread="create")
    again: JSON = {"system": "be brief"} if field == "system" else {"tools": [TOOL]}
    with pytest.raises(ts.BadRequestError, match=f"{field}: Extra inputs are not permitted when a thread"):
        await send(client, "two", thread=first, **again)


async def test_a_message_is_continued_once() -> None:
    api = ScriptedAPI(default=[say("x")])
    client = client_of(api)
    first = await send(client, "one", thread="create")
    await send(client, "two", thread=first)
    with pytest.raises(ts.BadRequestError, match="has already been continued") as caught:
        await send(client, "again", thread=first)
    assert caught.value.error_code == "thread_already_continued"


async def test_while_it_is_continued_nothing_else_continues_it() -> None:
    api = ScriptedAPI([say("one")], [say("two words", tps=1)], default=[say("x")])
    client = client_of(api)
    first = await send(client, "one", thread="create")
    params: JSON = {"model": "claude-opus-5-5", "max_tokens": 64, "betas": [BETA]}
    thread = {"type": "continue", "previous_message_id": first.id}
    messages: Any = [{"role": "user", "content": "two"}]
    async with client.beta.messages.stream(messages=messages, thread=thread, **params):
        with pytest.raises(ts.BadRequestError, match="still continuing") as caught:
            await send(client, "meanwhile", thread=first)
        assert caught.value.error_code == "thread_continue_in_flight"
    # The block was left before the end: the message can be continued still.
    assert (await send(client, "two", thread=first)).text == "x"


@pytest.mark.parametrize(
    "failing",
    [
        [http_error(529)],
        [say("two", fail("overloaded_error"))],
        [say("two", disconnect())],
        [disconnect()],
    ],
    ids=["refused", "an error event", "cut", "no head"],
)
async def test_a_turn_that_failed_can_be_sent_again(failing: Any) -> None:
    api = ScriptedAPI([say("one")], failing, [say("two")])
    client = client_of(api)
    first = await send(client, "one", thread="create")
    with pytest.raises(ts.APIError):
        await send(client, "two", thread=first)
    assert (await send(client, "two", thread=first)).text == "two"


async def test_threads_expire(autojump_clock: trio.testing.MockClock) -> None:
    """After five minutes without a request; each request begins them anew."""
    api = ScriptedAPI(default=[say("x")])
    client = client_of(api)
    message = await send(client, "one", thread="create")
    for _ in range(3):
        await trio.sleep(299)
        message = await send(client, "more", thread=message)
    await trio.sleep(301)
    with pytest.raises(ts.NotFoundError) as caught:
        await send(client, "too late", thread=message)
    assert caught.value.error_code == "thread_not_found"
    await send(client, "anew", thread="create")
    assert len(api._threads._held) == 1


async def test_what_was_never_kept_is_not_found() -> None:
    api = ScriptedAPI(default=[say("x")])
    client = client_of(api)
    plain = await send(client, "one")
    for thread in (plain, "msg_nobody_knows"):
        with pytest.raises(ts.NotFoundError, match="Replay the full conversation"):
            await send(client, "two", thread=thread)


async def test_a_script_that_makes_no_message_is_not_kept() -> None:
    """Not even for what is only half a message: the client replays the conversation."""
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}}
    start = {"type": "message_start", "message": {"id": "msg_1", "content": [], "usage": {}}}
    for script in (
        [call("f", '{"a": oops}'), stop("tool_use")],
        [event(start), event(delta), event({"type": "message_stop"})],
    ):
        api = ScriptedAPI(script, default=[say("x")])
        client = client_of(api)
        async with client.beta.messages.stream(
            model="claude-opus-5-5",
            max_tokens=64,
            messages=[{"role": "user", "content": "one"}],
            thread={"type": "create"},
            betas=[BETA],
        ) as stream:
            with contextlib.suppress(ts.APIError):
                await stream.until_done()
        assert stream.partial is not None
        with pytest.raises(ts.NotFoundError):
            await send(client, "two", thread=stream.partial)


async def test_other_kinds_and_no_beta() -> None:
    api = ScriptedAPI(default=[say("x")])
    client = client_of(api)
    with pytest.raises(ts.BadRequestError, match="thread: Input tag"):
        await send(client, "one", extra_body={"thread": {"type": "fork"}})
    with pytest.raises(ts.BadRequestError, match="thread: Extra inputs are not permitted"):
        await send(client, "one", thread="create", betas=["another-2026-01-01"])
    assert (await send(client, "one", extra_body={"thread": None})).text == "x"
    lenient = client_of(ScriptedAPI(default=[say("x")], strict=False))
    assert (await send(lenient, "one", thread="msg_nobody_knows")).text == "x"


async def test_a_paused_turn_goes_on_without_new_messages() -> None:
    api = ScriptedAPI([say("Searching."), event({"type": "ping"}), stop("pause_turn")], [say("Found.")])
    client = client_of(api)
    first = await send(client, "one", thread="create", model="claude-opus-4-5")
    assert (await send(client, thread=first, model="claude-opus-4-5")).text == "Found."


async def test_dropped_thinking_is_reported() -> None:
    """``drop_block``: the request goes through, and the answer says which blocks the model did not see."""
    api = ScriptedAPI([think("hm"), say("one")], default=[say("x")])
    client = client_of(api)
    first = await send(client, "one")
    changed: Any = [{"role": "user", "content": "ONE"}, first, {"role": "user", "content": "two"}]
    params: JSON = {"model": "claude-opus-5-5", "max_tokens": 64, "betas": ["thinking-binding-controls-2026-08-01"]}
    with pytest.raises(ts.BadRequestError, match="bound to a different conversation"):
        await client.beta.messages.create(messages=changed, **params)
    drop: Any = {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}
    message = await client.beta.messages.create(messages=changed, thinking=drop, **params)
    assert message.to_dict()["input_transformations"] == [
        {"type": "thinking_dropped", "path": "messages.1.content.0", "reason": "prefix_binding_mismatch"}
    ]
    older = await client.beta.messages.create(messages=changed, **{**params, "model": "claude-opus-5"})
    assert older.input_transformations is None
