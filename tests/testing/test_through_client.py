"""The kit as its users see it: this library's own client in front of scripts."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
import trio
import trio.testing
import trustme

import trio_stream as ts
from trio_stream.testing import (
    ScriptedAPI,
    Step,
    block,
    call,
    cancel_everywhere,
    compact,
    disconnect,
    fail,
    http_error,
    ping,
    say,
    scripted_model,
    server_tool,
    stall,
    stop,
    think,
)

from .answers import until

PARAMS: dict[str, Any] = {
    "model": "claude-opus-5",
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": "hello there"}],
}
SCRIPT: list[Step] = [
    think("let me think", ttft=0.001, tps=2000),
    say("Hello ", ping(), "there, you", tps=2000),
    call("f", {"a": "b"}),
]


def client_of(api: ScriptedAPI, **options: Any) -> ts.Client:
    return ts.Client(api_key="test", transport=api, **{"max_retries": 0, **options})


async def test_in_memory(autojump_clock: trio.testing.MockClock) -> None:
    api = ScriptedAPI([say("Hello there, you", ttft=0.2, tps=10), stop("max_tokens")])
    async with client_of(api) as client:
        async with client.messages.stream(**PARAMS) as stream:
            assert trio.current_time() == pytest.approx(0.2)
            texts = [text async for text in stream.text_stream]
        assert texts == ["Hello", " there,", " you"]
        assert stream.message.stop_reason == "max_tokens"
        assert stream.request_id == api.requests[0].request_id
        assert trio.current_time() == pytest.approx(0.4)
    assert api.requests[0].closed_by == "finish"
    api.assert_done()


async def test_thinking_and_tools_go_back_as_they_came() -> None:
    api = ScriptedAPI(SCRIPT, [say("Done.")])
    async with client_of(api) as client:
        async with client.messages.stream(**PARAMS) as stream:
            await stream.until_done()
        tool_use = stream.message.content[2]
        assert isinstance(tool_use, ts.ToolUseBlock)
        messages = [
            *PARAMS["messages"],
            stream.message.to_param(),
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": tool_use.id, "content": "ok"}],
            },
        ]
        message = await client.messages.create(**{**PARAMS, "messages": messages})
    assert message.text == "Done."
    api.assert_done()


@pytest.mark.parametrize(
    ("script", "error", "partial"),
    [
        ([http_error(401)], ts.AuthenticationError, None),
        ([http_error(529)], ts.OverloadedError, None),
        ([fail("overloaded_error")], ts.OverloadedError, None),
        ([say("Hello"), fail("rate_limit_error")], ts.RateLimitError, "Hello"),
        ([say("Hello"), disconnect()], ts.IncompleteStreamError, "Hello"),
        ([say("Hello"), disconnect(clean=True)], ts.IncompleteStreamError, "Hello"),
        ([say("Hello"), disconnect(reset=True)], ts.APIError, "Hello"),
        ([disconnect()], ts.APIConnectionError, None),
        ([say("Hello"), stall()], ts.SilenceTimeoutError, "Hello"),
        ([stall()], ts.FirstEventTimeoutError, None),
    ],
)
async def test_faults(
    script: list[Step], error: type[ts.APIError], partial: str | None, autojump_clock: trio.testing.MockClock
) -> None:
    api = ScriptedAPI(script)
    async with client_of(api) as client:
        with pytest.raises(error) as caught:
            async with client.messages.stream(**PARAMS) as stream:
                await stream.until_done()
    if partial is not None:
        assert caught.value.partial is not None
        assert caught.value.partial.text == partial
    assert api.open_streams == 0
    api.assert_done()


async def test_retries_take_the_next_script(autojump_clock: trio.testing.MockClock) -> None:
    api = ScriptedAPI([http_error(529, retry_after=2)], [fail("overloaded_error")], [say("third time")])
    async with client_of(api, max_retries=2) as client:
        message = await client.messages.create(**PARAMS)
    assert message.text == "third time"
    assert api.requests[1].at - api.requests[0].at == pytest.approx(2)
    api.assert_done()


async def test_strictness_reaches_the_caller() -> None:
    api = ScriptedAPI([say("never")])
    async with client_of(api) as client:
        with pytest.raises(ts.BadRequestError, match=r"messages\.0: ") as caught:
            await client.messages.create(**{**PARAMS, "messages": [{"role": "user", "content": ""}]})
    assert caught.value.type == "invalid_request_error"


async def test_a_stream_left_early_is_closed() -> None:
    api = ScriptedAPI([say("Hello"), stall()])
    async with client_of(api) as client, client.messages.stream(**PARAMS) as stream:
        async for _ in stream:
            break
    assert api.requests[0].closed_by == "close"
    assert api.disconnects == api.requests


async def test_on_a_real_port_and_the_leaving_is_seen() -> None:
    api = ScriptedAPI(SCRIPT, [say("Hello"), stall()])
    async with api.serve() as server, ts.Client(base_url=server.base_url, api_key="test") as client:
        async with client.messages.stream(**PARAMS) as stream:
            assert "".join([text async for text in stream.text_stream]) == "Hello there, you"
        async with client.messages.stream(**PARAMS) as stream:
            async for _ in stream.text_stream:
                break
        left = trio.current_time()
        await until(lambda: api.requests[1].closed_at is not None)
        assert (api.requests[1].closed_at or 0) - left < 0.1
        assert server.accepted == 1


async def test_the_model_over_tls() -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    api = ScriptedAPI(default=scripted_model(ttft=0, tps=None))
    async with (
        api.serve(ssl_context=context) as server,
        ts.Client(base_url=server.base_url, api_key="test", ssl_context=trusting) as client,
    ):
        for _ in range(2):
            async with client.messages.stream(**PARAMS) as stream:
                await stream.until_done()
            assert stream.message.stop_reason == "end_turn"
        assert server.accepted == 1


async def test_cancelled_everywhere_in_memory(autojump_clock: trio.testing.MockClock) -> None:
    api = ScriptedAPI(default=SCRIPT)
    client = client_of(api)

    async def fn() -> None:
        async with client.messages.stream(**PARAMS) as stream:
            await stream.until_done()

    async def check() -> None:
        assert api.open_streams == 0
        assert (await client.messages.create(**PARAMS)).stop_reason == "tool_use"

    async with client:
        assert await cancel_everywhere(fn, check) > 10


async def test_cancelled_everywhere_on_a_real_port() -> None:
    api = ScriptedAPI(default=[say("Hello there", tps=1000)])
    async with api.serve() as server, ts.Client(base_url=server.base_url, api_key="test") as client:

        async def fn() -> None:
            async with client.messages.stream(**PARAMS) as stream:
                await stream.until_done()

        async def check() -> None:
            await until(lambda: not api.open_streams and server.connections <= 1)
            assert client.statistics().active == 0

        assert await cancel_everywhere(fn, check) > 10


FOUND: dict[str, Any] = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}


@pytest.mark.parametrize("stream", [True, False])
async def test_a_paused_reply_goes_on(*, stream: bool) -> None:
    """Sent back as it is, the API's call is answered at the beginning of the next reply; with a question it is a 400."""
    api = ScriptedAPI(
        [say("Wait."), server_tool("web_search", id="s1"), stop("pause_turn")], [block(FOUND), say("No.")]
    )
    messages = list(PARAMS["messages"])

    async def ask() -> ts.Message:
        params: Any = {**PARAMS, "messages": messages}
        if not stream:
            return await client.messages.create(**params)
        async with client.messages.stream(**params) as answer:
            return await answer.get_final_message()

    async with client_of(api) as client:
        paused = await ask()
        assert paused.stop_reason == "pause_turn"
        messages += [paused, {"role": "user", "content": "Well?"}]
        with pytest.raises(ts.BadRequestError, match="`web_search` tool use with id `s1` was found without"):
            await ask()
        messages.pop()
        messages.append(await ask())
        assert messages[-1].text == "No."
        messages.append({"role": "user", "content": "Well?"})
        api.add([say("That is all.")])
        assert (await ask()).text == "That is all."


async def test_a_program_that_calls_a_tool() -> None:
    """Its container comes with the reply, and the request with its results has to name that."""
    program = {"type": "code_execution_20260120", "tool_id": "s1"}
    api = ScriptedAPI(
        [
            server_tool("code_execution", {"code": "f()"}, id="s1"),
            call("f", id="t1", caller=program),
            stop(container="c1"),
        ],
        [block({"type": "code_execution_tool_result", "tool_use_id": "s1", "content": {}}), say("Done.")],
    )
    async with client_of(api) as client:
        first = await client.messages.create(**PARAMS)
        assert first.container is not None
        history = [*PARAMS["messages"], *first.as_history({"t1": "7"})]
        with pytest.raises(ts.BadRequestError, match="container_id is required"):
            await client.messages.create(**{**PARAMS, "messages": history})
        answer = await client.messages.create(**{**PARAMS, "messages": history}, container=first.container.id)
        assert answer.text == "Done."


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model", ["a script", "the scripted model"])
async def test_a_conversation_is_summarized_and_goes_on(model: str, *, stream: bool) -> None:
    """The summary stands at the beginning, in place of what it is of, and is taken back there alone and unchanged."""
    api = ScriptedAPI([compact("They said hello.")]) if model == "a script" else ScriptedAPI()
    api.add(scripted_model(ttft=0, tps=None), scripted_model(ttft=0, tps=None))
    history: list[Any] = [*PARAMS["messages"], {"role": "assistant", "content": "Hello."}]
    async with client_of(api) as client:
        params: Any = {**PARAMS, "messages": history, "betas": ["compact-2026-09-01"]}
        config: Any = {"type": "summarize"}
        if stream:
            async with client.beta.messages.stream(**params, compaction=config) as answer:
                summary = await answer.get_final_message()
        else:
            summary = await client.beta.messages.create(**params, compaction=config)
        assert summary.stop_reason == "compaction"
        assert [block.type for block in summary.content] == ["compaction"]
        asked = {"role": "user", "content": "And now?"}
        assert (await client.beta.messages.create(**{**params, "messages": [summary, asked]})).text
        with pytest.raises(ts.BadRequestError, match="must be the first block of the conversation"):
            await client.beta.messages.create(**{**params, "messages": [asked, summary, asked]})
        (block_of_it,) = summary.content
        changed = {"role": "assistant", "content": [{**block_of_it.to_dict(), "content": "Nothing."}]}
        with pytest.raises(ts.BadRequestError, match="differs from the text its `signature` recorded"):
            await client.beta.messages.create(**{**params, "messages": [changed, asked]})
