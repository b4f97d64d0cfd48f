"""The scripted model answers sensibly, whatever the request."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from trio_stream.testing import ScriptedAPI, scripted_model
from trio_stream.testing._prose import PARAGRAPHS, THOUGHTS

from .answers import BODY, KEY

JSON = dict[str, Any]
TOOL: JSON = {
    "name": "get_weather",
    "input_schema": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "unit": {"type": "string", "enum": ["celsius"]},
            "days": {"type": "integer", "minimum": 2, "maximum": 2},
        },
        "required": ["city", "unit", "days"],
    },
}


async def ask(**fields: Any) -> JSON:
    """One answer, not streamed; the request passes strictness."""
    api = ScriptedAPI(default=scripted_model(ttft=0, tps=None))
    async with httpx.AsyncClient(transport=api, base_url="http://api", headers=KEY) as client:
        answer = await client.post("/v1/messages", json={**BODY, "stream": False, **fields})
    assert answer.status_code == 200, answer.text
    message: JSON = answer.json()
    return message


def prompt(text: str) -> list[JSON]:
    return [{"role": "user", "content": text}]


def test_paragraphs_are_of_a_pleasant_length() -> None:
    for _, paragraph in PARAGRAPHS:
        assert 30 <= len(paragraph.split()) <= 80
    assert len({paragraph for _, paragraph in PARAGRAPHS}) == len(PARAGRAPHS) >= 10


@pytest.mark.parametrize(
    ("question", "word"),
    [("What is a nursery?", "nursery"), ("How do timeouts work in Trio?", "Cancellation"), ("hello", "Hello!")],
)
async def test_answers_are_about_the_question(question: str, word: str) -> None:
    message = await ask(messages=prompt(question))
    assert word in message["content"][0]["text"]
    assert message["stop_reason"] == "end_turn"


async def test_the_same_question_gets_the_same_answer_and_others_another() -> None:
    answers = [(await ask(messages=prompt(f"question {number % 5}")))["content"][0]["text"] for number in range(10)]
    assert answers[:5] == answers[5:]
    assert len(set(answers)) == 5


async def test_a_turn_later_the_answer_is_another() -> None:
    later = [*prompt("tell me"), {"role": "assistant", "content": "I did"}, *prompt("tell me")]
    texts = {(await ask(messages=messages))["content"][0]["text"] for messages in (prompt("tell me"), later)}
    assert len(texts) == 2


@pytest.mark.parametrize(
    ("thinking", "expected"),
    [
        ({"type": "enabled", "budget_tokens": 1024}, True),
        ({"type": "adaptive"}, True),
        ({"type": "adaptive", "display": "omitted"}, False),
        ({"type": "disabled"}, None),
        (None, None),
    ],
)
async def test_thinking(thinking: JSON | None, expected: bool | None) -> None:
    message = await ask(thinking=thinking, max_tokens=4096)
    kinds = [block["type"] for block in message["content"]]
    if expected is None:
        assert kinds == ["text"]
    else:
        assert kinds == ["thinking", "text"]
        assert (message["content"][0]["thinking"] in THOUGHTS) is expected
        assert message["content"][0]["signature"]


async def test_a_tool_is_called_with_plausible_input_and_its_result_is_told() -> None:
    first = await ask(tools=[TOOL])
    assert [block["type"] for block in first["content"]] == ["text", "tool_use"]
    call = first["content"][1]
    assert call["name"] == "get_weather"
    assert call["input"] == {"city": "Lisbon", "unit": "celsius", "days": 2}
    assert first["stop_reason"] == "tool_use"
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": [{"type": "text", "text": "sunny"}]}
    messages = [
        *BODY["messages"],
        {"role": "assistant", "content": first["content"]},
        {"role": "user", "content": [result]},
    ]
    second = await ask(tools=[TOOL], messages=messages)
    assert [block["type"] for block in second["content"]] == ["text"]
    assert second["content"][0]["text"].startswith("The tool says: sunny")


async def test_a_conversation_with_thinking_and_tools_passes_strictness() -> None:
    common: JSON = {"tools": [TOOL], "thinking": {"type": "adaptive"}}
    messages = prompt("weather?")
    for _ in range(3):
        first = await ask(**common, messages=messages)
        call = first["content"][-1]
        assert call["type"] == "tool_use"
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": "sunny"}
        messages = [
            *messages,
            {"role": "assistant", "content": first["content"]},
            {"role": "user", "content": [result]},
        ]
        second = await ask(**common, messages=messages)
        messages = [*messages, {"role": "assistant", "content": second["content"]}, *prompt("and tomorrow?")]


TOOLS: list[JSON] = [TOOL, *({"name": name, "input_schema": {"type": "object"}} for name in ("time", "tides"))]


def calls_of(message: JSON) -> list[JSON]:
    return [block for block in message["content"] if block["type"] == "tool_use"]


def answered(message: JSON) -> list[JSON]:
    """The turn of the assistant, and that of the user with results."""
    results = [
        {"type": "tool_result", "tool_use_id": call["id"], "content": f"result of {call['name']}"}
        for call in calls_of(message)
    ]
    return [{"role": "assistant", "content": message["content"]}, {"role": "user", "content": results}]


async def test_several_tools_are_called_in_parallel_and_then_it_answers() -> None:
    first = await ask(tools=TOOLS)
    assert [call["name"] for call in calls_of(first)] == ["get_weather", "time", "tides"]
    assert len({call["id"] for call in calls_of(first)}) == 3
    second = await ask(tools=TOOLS, messages=[*BODY["messages"], *answered(first)])
    assert calls_of(second) == []
    assert "result of get_weather; result of time; result of tides" in second["content"][0]["text"]
    third = await ask(tools=TOOLS, messages=[*BODY["messages"], *answered(first), *prompt("and tomorrow?")])
    assert len(calls_of(third)) == 3


async def test_without_parallel_tool_use_they_are_called_one_after_another() -> None:
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    messages = prompt("what of it?")
    called = []
    for _ in range(3):
        message = await ask(tools=TOOLS, tool_choice=choice, messages=messages)
        (call,) = calls_of(message)
        called.append(call["name"])
        messages = [*messages, *answered(message)]
    assert called == ["get_weather", "time", "tides"]
    assert calls_of(await ask(tools=TOOLS, tool_choice=choice, messages=messages)) == []


async def test_a_conversation_that_begins_in_the_middle() -> None:
    """Only where strictness is off: results of calls, and nothing that anybody has asked."""
    first = await ask(tools=TOOLS)
    api = ScriptedAPI(default=scripted_model(ttft=0, tps=None), strict=False)
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    body = {**BODY, "stream": False, "tools": TOOLS, "tool_choice": choice, "messages": answered(first)}
    async with httpx.AsyncClient(transport=api, base_url="http://api", headers=KEY) as client:
        answer = await client.post("/v1/messages", json=body)
    assert calls_of(answer.json()) == []


async def test_tools_that_the_model_cannot_call_itself_are_not_called() -> None:
    others = [{**TOOLS[1], "defer_loading": True}, {**TOOLS[2], "allowed_callers": ["code_execution_20260120"]}]
    assert [call["name"] for call in calls_of(await ask(tools=[TOOL, *others]))] == ["get_weather"]
    many = [{"name": f"t{number}", "input_schema": {"type": "object"}} for number in range(20)]
    assert len(calls_of(await ask(tools=many))) == 8
    direct = {**TOOL, "allowed_callers": ["direct", "code_execution_20260120"]}
    assert len(calls_of(await ask(tools=[direct]))) == 1


async def test_tools_first_and_then_an_output_that_fits_its_schema() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    config = {"format": {"type": "json_schema", "schema": {**schema, "additionalProperties": False}}}
    first = await ask(tools=TOOLS, output_config=config)
    assert len(calls_of(first)) == 3
    second = await ask(tools=TOOLS, output_config=config, messages=[*BODY["messages"], *answered(first)])
    assert json.loads(second["content"][0]["text"]) == {"city": "Lisbon"}


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ({"type": "none"}, None),
        ({"type": "tool", "name": "other"}, "other"),
        ({"type": "any"}, "get_weather"),
    ],
)
async def test_tool_choice(choice: JSON, name: str | None) -> None:
    other = {"name": "other", "input_schema": {"type": "object"}}
    server = {"type": "web_search_20260318", "name": "web_search"}
    message = await ask(tools=[server, TOOL, other], tool_choice=choice)
    calls = [block["name"] for block in message["content"] if block["type"] == "tool_use"]
    assert calls == ([name] if name else [])


async def test_limits_are_kept() -> None:
    cut = await ask(max_tokens=5)
    assert cut["stop_reason"] == "max_tokens"
    assert len(cut["content"][0]["text"].split()) <= 5
    stopped = await ask(messages=prompt("What is a nursery?"), stop_sequences=["zzz", "door", ""])
    assert stopped["stop_reason"] == "stop_sequence"
    assert stopped["stop_sequence"] == "door"
    assert stopped["content"][0]["text"].endswith("one ")
    nothing = await ask(max_tokens=0)
    assert nothing["content"] == []


async def test_output_follows_a_json_schema() -> None:
    schema: JSON = {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "when": {"type": "string", "format": "date"},
            "kind": {"const": "note"},
            "level": {"enum": ["low", "high"]},
            "count": {"type": "integer", "minimum": 10},
            "share": {"type": "number", "maximum": 1},
            "done": {"type": "boolean"},
            "nothing": {"type": "null"},
            "maybe": {"type": ["null", "string"]},
            "either": {"anyOf": [{"type": "null"}, {"type": "boolean"}]},
            "given": {"type": "string", "default": "as given"},
            "items": {"type": "array", "items": {"$ref": "#/$defs/item"}, "minItems": 2},
            "free": {},
        },
        "$defs": {
            "item": {
                "type": "object",
                "properties": {"self": {"$ref": "#/$defs/item"}, "path": {}},
                "additionalProperties": False,
            }
        },
        "additionalProperties": False,
    }
    message = await ask(output_config={"format": {"type": "json_schema", "schema": schema}})
    output = json.loads(message["content"][0]["text"])
    assert output["when"] == "2026-11-21"
    assert output["kind"] == "note"
    assert output["level"] in ("low", "high")
    assert output["count"] == 10
    assert output["share"] == 1
    assert output["done"] is True
    assert output["nothing"] is None
    assert isinstance(output["maybe"], str)
    assert output["either"] is True
    assert output["given"] == "as given"
    assert len(output["items"]) == 2
    assert isinstance(output["title"], str)


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": [{"type": "image", "source": {}}]}],
        [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
        [*prompt("x"), {"role": "system", "content": "y"}],
    ],
)
async def test_other_prompts(messages: list[JSON]) -> None:
    assert (await ask(messages=messages))["content"][0]["text"]


async def test_pacing(autojump_clock: trio.testing.MockClock) -> None:
    api = ScriptedAPI(default=scripted_model())
    async with (
        httpx.AsyncClient(transport=api, base_url="http://api", headers=KEY) as client,
        client.stream("POST", "/v1/messages", json=BODY) as response,
    ):
        assert trio.current_time() == pytest.approx(0.3)
        await response.aread()
        assert 1 < trio.current_time() < 3
