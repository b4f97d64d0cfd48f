"""Structured output of streams: asking with ``output=``, and what comes of the answer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import trio_stream as ts
from trio_stream.testing import ScriptedAPI, Step, disconnect, pause, say, scripted_model, server_tool, stop, think

from .api import PARAMS, client_of


class Answer(msgspec.Struct):
    """What is asked for."""

    number: int
    why: str = "none"


SCHEMA = {
    "title": "Answer",
    "description": "What is asked for.",
    "type": "object",
    "properties": {"number": {"type": "integer"}, "why": {"type": "string", "description": '{default: "none"}'}},
    "required": ["number", "why"],
    "additionalProperties": False,
}
TEXT = '{"number": 42, "why": "because"}'


def config(api: ScriptedAPI) -> Any:
    body: Any = api.requests[-1].body
    return body["output_config"]


@pytest.mark.parametrize("beta", [False, True])
async def test_a_value_of_a_stream(autojump_clock: Any, beta: bool) -> None:
    """The schema is asked for, beside what else there is in the output config, and the whole answer is a value."""
    client, api = client_of([say(TEXT, tps=50)])
    params = {**PARAMS, "output_config": {"effort": "low"}}
    messages = client.beta.messages if beta else client.messages
    async with messages.stream(output=Answer, **params) as stream:
        await stream.until_done()
    assert stream.parse() == Answer(42, "because")
    assert config(api) == {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}
    assert params["output_config"] == {"effort": "low"}


@pytest.mark.parametrize("beta", [False, True])
async def test_a_value_at_once(autojump_clock: Any, beta: bool) -> None:
    """`parse` of the client waits for all of it."""
    client, api = client_of([think("Hm."), say(TEXT, tps=50)])
    messages = client.beta.messages if beta else client.messages
    assert await messages.parse(output=Answer, **PARAMS) == Answer(42, "because")
    assert config(api)["format"]["schema"] == SCHEMA


async def test_a_value_that_nobody_asked_for(autojump_clock: Any) -> None:
    """Any type will do, also one that cannot be asked for; it may be read as several."""
    client, _ = client_of([say(TEXT)])
    async with client.messages.stream(**PARAMS) as stream:
        await stream.until_done()
    assert stream.parse(Answer) == Answer(42, "because")
    assert stream.parse(dict[str, int | str]) == {"number": 42, "why": "because"}
    assert stream.parse(ts.OutputType(Answer)).number == 42
    with pytest.raises(TypeError, match=r"write stream.parse\(T\)"):
        stream.parse()


@pytest.mark.parametrize(
    ("script", "fault", "stop_reason", "text", "says"),
    [
        ([say('{"number": 4'), stop("max_tokens")], "truncated", "max_tokens", '{"number": 4', "cut"),
        ([say(TEXT), stop("model_context_window_exceeded")], "truncated", "model_context_window_exceeded", TEXT, "cut"),
        ([say("I won't."), stop("refusal")], "refused", "refusal", "I won't.", "the model refused to answer"),
        ([say('{"number": "4"}')], "invalid", "end_turn", '{"number": "4"}', "`number`: expected `int`, got `str`"),
        ([say("Sure!")], "invalid", "end_turn", "Sure!", "not valid JSON"),
        ([think("Hm.")], "invalid", "end_turn", "", "it is empty"),
    ],
)
async def test_an_answer_that_cannot_be_used(
    autojump_clock: Any, script: list[Step], fault: str, stop_reason: str, text: str, says: str
) -> None:
    """The error tells why, and has the text and the message."""
    client, _ = client_of(script, script)
    with pytest.raises(ts.OutputParseError) as caught:
        await client.messages.parse(output=Answer, **PARAMS)
    error = caught.value
    assert (error.fault, error.stop_reason, error.text) == (fault, stop_reason, text)
    assert says in str(error)
    assert error.request_id is not None
    assert error.partial is not None
    assert error.partial.stop_reason == stop_reason


async def test_the_output_is_the_last_text(autojump_clock: Any) -> None:
    """What the model says before it uses a tool of the API's is no output."""
    search = server_tool("web_search", {"query": "x"})
    client, _ = client_of([say("Let me look."), search, say(TEXT)])
    async with client.messages.stream(**PARAMS) as stream:
        await stream.until_done()
    assert stream.parse(Answer).number == 42


async def test_before_the_end(autojump_clock: Any) -> None:
    """There is no value while the message is not whole, nor of a stream that failed."""
    client, _ = client_of([say(TEXT, tps=10)], [say(TEXT[:10]), disconnect()])
    async with client.messages.stream(output=Answer, **PARAMS) as stream:
        with pytest.raises(ts.IncompleteStreamError):
            stream.parse()
    async with client.messages.stream(output=Answer, **PARAMS) as stream:
        with pytest.raises(ts.APIError) as failure:
            await stream.until_done()
    with pytest.raises(ts.APIError) as again:
        stream.parse()
    assert again.value is failure.value


async def test_what_has_arrived_of_it(autojump_clock: Any) -> None:
    """Each text event has the value so far, right for its moment also when it is looked at later."""
    client, _ = client_of([say('{"number": 42, "why": "be cause"}', tps=10)])
    async with client.messages.stream(output=Answer, **PARAMS) as stream:
        events = [event async for event in stream if event.type == "text"]
        live = [event.parsed_snapshot() for event in events]
    assert live[-1] == {"number": 42, "why": "be cause"}
    assert {"number": 42, "why": "be"} in live
    assert [event.parsed_snapshot() for event in reversed(events)] == live[::-1]


async def test_elements_while_they_arrive(autojump_clock: Any) -> None:
    """`Items` gives each as its text arrives."""
    client, _ = client_of([say('[{"number": 1}, '), pause(5), say('{"number": 2}]')])
    items = ts.Items(Answer)
    async with client.messages.stream(output=list[Answer], **PARAMS) as stream:
        came = [(found.number, stream.text[-1:]) async for text in stream.text_stream for found in items.feed(text)]
    assert [number for number, _ in came] == [1, 2]
    assert came[0][1] != "]"
    assert stream.parse() == [Answer(1), Answer(2)]


async def test_two_formats(autojump_clock: Any) -> None:
    """Only one may be asked for, and it is said before anything is sent; a format of None is none."""
    client, api = client_of([say(TEXT)])
    wanted: Any = {"format": {"type": "json_schema", "schema": SCHEMA}}
    with pytest.raises(TypeError, match=r"output and output_config.format both"):
        client.messages.stream(output=Answer, output_config=wanted, **PARAMS)
    with pytest.raises(TypeError, match=r"dict\[str, int\] cannot be asked for"):
        client.messages.stream(output=dict[str, int], **PARAMS)
    assert api.requests == []
    assert (await client.messages.parse(output=Answer, output_config={"format": None}, **PARAMS)).number == 42


async def test_the_scripted_model_answers_with_what_is_asked_for(autojump_clock: Any) -> None:
    """So that programs with structured output can be tried without a key."""
    client = ts.Client(api_key="k", transport=ScriptedAPI(default=scripted_model()))
    assert isinstance(await client.messages.parse(output=Answer, **PARAMS), Answer)
    found = await client.messages.parse(output=list[Answer], **PARAMS)
    assert all(isinstance(answer, Answer) for answer in found)
