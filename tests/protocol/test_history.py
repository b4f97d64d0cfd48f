"""What of a reply may stand in ``messages``: rule by rule, and for every recorded stream, wherever it is cut."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tests.corpora import DUPLICATE_START, Recorded, parametrized
from trio_stream import InvalidToolInputError, Message
from trio_stream._protocol import (
    EventStreamParser,
    MessageAccumulator,
    Reply,
    build_body,
    decode_event,
    replies_as_history,
)
from trio_stream.testing._signing import sign
from trio_stream.testing._strict import find_fault

JSON = dict[str, Any]

ASKED: JSON = {"role": "user", "content": "What is the weather?"}
NEXT: JSON = {"role": "user", "content": "And now?"}


def request(*turns: Any) -> JSON:
    return {"model": "claude-opus-5-5", "max_tokens": 64, "messages": [ASKED, *turns, NEXT]}


def text(value: str = "Hello", **fields: Any) -> JSON:
    return {"type": "text", "text": value, **fields}


def think(signature: str = "signed", **fields: Any) -> JSON:
    return {"type": "thinking", "thinking": "hm", "signature": signature, **fields}


def call(name: str = "t1", value: Any = None, **fields: Any) -> JSON:
    return {"type": "tool_use", "id": name, "name": "f", "input": {"a": 1} if value is None else value, **fields}


def malformed(name: str = "t1", raw: str = '{"a": oops}', **fields: Any) -> JSON:
    block = call(name, **fields)
    del block["input"]
    return {**block, "input_json": raw}


def server_call(name: str = "s1", **fields: Any) -> JSON:
    return {"type": "server_tool_use", "id": name, "name": "web_search", "input": {}, **fields}


def server_result(name: str = "s1", **fields: Any) -> JSON:
    return {"type": "web_search_tool_result", "tool_use_id": name, "content": [], **fields}


def code_call(name: str = "s1") -> JSON:
    return {**server_call(name), "name": "code_execution"}


def by_program(name: str = "s1") -> JSON:
    return {"type": "code_execution_20260120", "tool_id": name}


CUT: JSON = {"incomplete": True}


def message(*content: JSON, stop_reason: str | None = "end_turn") -> Message:
    return Message.from_dict({"content": list(content), "stop_reason": stop_reason})


def kept(*content: JSON, stop_reason: str | None = "end_turn") -> list[JSON]:
    """The blocks of the assistant's turn."""
    history: Any = message(*content, stop_reason=stop_reason).as_history()
    return history[0]["content"] if history else []


def said(name: str, reason: str) -> JSON:
    return {"type": "tool_result", "tool_use_id": name, "content": reason, "is_error": True}


NOT_STARTED = said("t1", "not started: the reply was cut.")


@pytest.mark.parametrize(
    ("content", "stop_reason", "stays"),
    [
        pytest.param([text()], "end_turn", [text()], id="whole"),
        pytest.param([text(**CUT)], None, [text()], id="unfinished text"),
        pytest.param([], "end_turn", [], id="empty"),
        pytest.param([text("")], "end_turn", [], id="empty text"),
        pytest.param([text(" \n")], "end_turn", [], id="blank text"),
        pytest.param([text(""), text()], "end_turn", [text()], id="empty text before text"),
        pytest.param([text("\n\n"), think(), text()], "end_turn", [text("\n\n"), think(), text()], id="blank between"),
        pytest.param([text(), think(), text("\n")], "end_turn", [text()], id="blank and thinking at the end"),
        pytest.param([think()], "max_tokens", [], id="thinking only"),
        pytest.param([think("", **CUT)], None, [], id="unfinished thinking"),
        pytest.param([think(""), text()], "end_turn", [text()], id="unsigned thinking"),
        pytest.param(
            [{"type": "redacted_thinking", "data": "x"}, text()],
            "end_turn",
            [{"type": "redacted_thinking", "data": "x"}, text()],
            id="redacted thinking",
        ),
        pytest.param(
            [text(), {"type": "redacted_thinking", "data": "x"}], "end_turn", [text()], id="redacted at the end"
        ),
        pytest.param([text(), call(**CUT)], "max_tokens", [text()], id="cut call"),
        pytest.param([malformed(**CUT)], "max_tokens", [], id="nothing but a cut call"),
        pytest.param([call(), call("t2", **CUT)], None, [call()], id="a whole call before a cut one"),
        pytest.param([think(""), think(), text()], "end_turn", [text()], id="thinking after a gap"),
        pytest.param([call(""), text()], "end_turn", [text()], id="a call that cannot be answered"),
        pytest.param([server_call(), text()], None, [text()], id="a cut reply: the API's call without its result"),
        pytest.param([server_call(), think(), text()], "max_tokens", [text()], id="and thinking after it"),
        pytest.param([server_call(**CUT), text()], None, [text()], id="the API's call, cut"),
        pytest.param([text(), server_call(), server_result(**CUT)], None, [text()], id="the API's result, cut"),
        pytest.param(
            [server_call(), server_result(), text(**CUT)],
            None,
            [server_call(), server_result(), text()],
            id="a cut reply: the API's call with its result",
        ),
        pytest.param([server_call(), text()], "pause_turn", [server_call(), text()], id="a paused reply"),
        pytest.param([text(), server_call()], "refusal", [text()], id="a refused one"),
        pytest.param([text(), server_call()], "end_turn", [text()], id="a call of the API's that nothing will answer"),
        pytest.param(
            [server_result("s0"), text()], None, [server_result("s0"), text()], id="a result of the turn before"
        ),
        pytest.param(
            [code_call(), call(caller=by_program()), text(**CUT)],
            None,
            [code_call(), call(caller=by_program()), text()],
            id="a call that the API's call made",
        ),
        pytest.param(
            [code_call("s0"), {**code_call(), "caller": by_program("s0")}, call(caller=by_program()), text(**CUT)],
            None,
            [code_call("s0"), {**code_call(), "caller": by_program("s0")}, call(caller=by_program()), text()],
            id="and one that made that",
        ),
        pytest.param(
            [code_call(), call(caller={"type": "code_execution_2030", "tool_id": "s1"}), text(**CUT)],
            None,
            [code_call(), call(caller={"type": "code_execution_2030", "tool_id": "s1"}), text()],
            id="made by a kind of call that this version does not know",
        ),
        pytest.param(
            [code_call(), call(caller=by_program(), **CUT)], None, [], id="a call that the API's call made, cut"
        ),
        pytest.param([call(), call(), text()], "tool_use", [call(), text()], id="an id twice"),
        pytest.param(
            [{"type": "brand_new", "x": 1}, text()], None, [{"type": "brand_new", "x": 1}, text()], id="unknown"
        ),
        pytest.param([malformed()], "tool_use", [call(value={"INVALID_JSON": '{"a": oops}'})], id="malformed"),
        pytest.param([malformed(raw="[1]")], "tool_use", [call(value={"INVALID_JSON": "[1]"})], id="not an object"),
        pytest.param(
            [malformed(), think(), call("t2")],
            "tool_use",
            [call(value={"INVALID_JSON": '{"a": oops}'}), call("t2")],
            id="thinking after a malformed call",
        ),
    ],
)
def test_what_stays(content: list[JSON], stop_reason: str | None, stays: list[JSON]) -> None:
    assert kept(*content, stop_reason=stop_reason) == stays


def test_nothing_left_is_no_message() -> None:
    assert message(text(""), call(**CUT), stop_reason="max_tokens").as_history() == []
    assert Message().as_history() == []


@pytest.mark.parametrize(
    "results",
    [
        [{"type": "tool_result", "tool_use_id": name, "content": name} for name in ("t2", "t1")],
        iter([{"type": "tool_result", "tool_use_id": name, "content": name} for name in ("t2", "t1")]),
        {"t2": "t2", "t1": "t1"},
    ],
    ids=["blocks", "an iterator", "a mapping"],
)
def test_results_come_in_the_order_of_the_calls(results: Any) -> None:
    history = message(call(), call("t2"), stop_reason="tool_use").as_history(results)
    assert history[1:] == [
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": name, "content": name} for name in ("t1", "t2")],
        }
    ]


def test_each_call_has_a_result() -> None:
    whole: Any = message(call(), malformed("t2"), call("t3"), stop_reason="tool_use").as_history({"t3": "done"})
    assert whole[1]["content"] == [
        said("t1", "not started: no result was given."),
        said("t2", "not started: its input is not a JSON object."),
        {"type": "tool_result", "tool_use_id": "t3", "content": "done"},
    ]
    cut: Any = message(call(), text(**CUT), stop_reason=None).as_history()
    assert cut[1]["content"] == [NOT_STARTED]


def test_results_of_cut_calls_go_with_them() -> None:
    cut = message(call(), call("t2", **CUT), stop_reason=None)
    history: Any = cut.as_history({"t1": "one", "t2": "two"})
    assert [block["tool_use_id"] for block in history[1]["content"]] == ["t1"]


def test_results_name_the_toolset_of_their_call() -> None:
    calls = message(call(toolset_name="browser"), call("t2", toolset_name="browser"), stop_reason="tool_use")
    named = {"type": "tool_result", "tool_use_id": "t2", "content": "x", "toolset_name": "mine"}
    history: Any = calls.as_history([named])  # type: ignore[list-item]
    assert [block["toolset_name"] for block in history[1]["content"]] == ["browser", "mine"]


@pytest.mark.parametrize(
    ("results", "error", "says"),
    [
        ({"t9": "x"}, ValueError, "'t9'"),
        ([{"type": "tool_result", "tool_use_id": "t1"}] * 2, ValueError, "two results for the call 't1'"),
        ({"type": "tool_result", "tool_use_id": "t1"}, TypeError, "not one of them"),
        (["done"], TypeError, "tool_result blocks"),
        ([{"type": "text", "text": "x"}], TypeError, "tool_result blocks"),
    ],
)
def test_what_is_no_result_is_told(results: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        message(call(), stop_reason="tool_use").as_history(results)


def test_thinking_that_is_sent_back_still_fits() -> None:
    """Where the API checks what came before thinking, nothing that stays is bound to what went."""
    body = request()
    body["messages"] = [ASKED]
    first: JSON = {**think(), "signature": sign(body, [text("\n")], "hm")}
    later: JSON = {**think(), "signature": sign(body, [text("\n"), first, server_call()], "hm")}
    reply = message(text("\n"), first, server_call(), later, text(), stop_reason="max_tokens")
    assert [
        block["type"] for block in kept(text("\n"), first, server_call(), later, text(), stop_reason="max_tokens")
    ] == [
        "text",
        "thinking",
        "text",
    ]
    assert find_fault(request(*reply.as_history())) is None


@pytest.mark.parametrize("block", [malformed(**CUT), malformed()], ids=["cut", "malformed"])
def test_a_plain_append_says_what_to_do(block: JSON) -> None:
    reply = message(text(), block, stop_reason="max_tokens")
    for messages in ([ASKED, reply, NEXT], [ASKED, {"role": "assistant", "content": reply.content}, NEXT]):
        with pytest.raises(InvalidToolInputError, match=r"^messages\[1\]\.content\[1\]: .*as_history\(\)") as caught:
            build_body({"model": "m", "max_tokens": 1, "messages": messages}, stream=True)
        assert caught.value.input_json == '{"a": oops}'
        assert caught.value.incomplete is block.get("incomplete", False)
        assert "oops" not in str(caught.value)
    with pytest.raises(InvalidToolInputError, match=r"^content\[1\]: .*as_history\(\)"):
        reply.to_param()
    build_body({"model": "m", "max_tokens": 1, "messages": [ASKED, *reply.as_history(), NEXT]}, stream=True)


def is_by_program(block: JSON) -> bool:
    return block["type"] == "tool_use" and block.get("caller", {}).get("type", "direct") != "direct"


def snapshots(data: bytes) -> list[Message]:
    """The message after each event of a stream that may end anywhere."""
    parser, accumulator = EventStreamParser(), MessageAccumulator()
    found: list[Message] = []
    for raw in parser.feed(data):
        accumulator.add(decode_event(raw))
        snapshot = accumulator.snapshot()
        if snapshot is not None:
            found.append(snapshot)
    return found


@parametrized(but=(DUPLICATE_START,))
def test_every_recorded_stream_cut_anywhere_goes_back(stream: Recorded) -> None:
    """Cut after every event, and at 200 bytes of it, the API takes the reply back, and a turn of the user after it.

    After calls of the model's programs only their results may follow, and no turn of the user.
    """
    replies = snapshots(stream.whole)
    assert replies
    for cut in random.Random(stream.name).choices(range(len(stream.whole)), k=200):
        replies += snapshots(stream.whole[:cut])[-1:]
    for reply in replies:
        history: Any = reply.as_history()
        answers_a_program = len(history) == 2 and any(map(is_by_program, history[0]["content"]))
        body = {**request(*history), "container": "c1"}
        if answers_a_program:
            del body["messages"][-1]
        assert find_fault(json.loads(build_body(body, stream=True)), beta=True) is None


# Replies that go on from one another.


def together(*replies: tuple[list[JSON], str | None], goes_on: bool = False, **options: Any) -> list[JSON]:
    parts = [Reply(message(*content, stop_reason=reason).content, reason) for content, reason in replies]
    turns: Any = replies_as_history(parts, goes_on=goes_on, **options)
    return turns


PAUSED: tuple[list[JSON], str] = ([think(), server_call()], "pause_turn")


def test_a_paused_reply_goes_back_as_it_came() -> None:
    """To be gone on from; and with the reply that answers its call."""
    assert together(PAUSED, goes_on=True) == [{"role": "assistant", "content": PAUSED[0]}]
    answered = together(PAUSED, ([server_result(), text()], "end_turn"))
    assert [turn["content"] for turn in answered] == [PAUSED[0], [server_result(), text()]]


def test_a_paused_reply_that_nothing_goes_on_from_is_cut() -> None:
    """Its open call goes, and thinking that was signed over it, also in the reply after it."""
    assert together(PAUSED) == []
    assert together(PAUSED, ([text(), think(), text()], None)) == [
        {"role": "assistant", "content": [text(), text()]},
    ]


def test_a_call_beside_ours_is_answered_after_our_results() -> None:
    """It stays if it is, and goes if it is not."""
    beside: tuple[list[JSON], str] = ([server_call(), call()], "tool_use")
    answered = together(beside, ([server_result(), text()], "end_turn"))
    assert [turn["role"] for turn in answered] == ["assistant", "user", "assistant"]
    assert answered[0]["content"] == beside[0]
    assert together(beside, ([text()], None))[0]["content"] == [call()]


def test_a_program_waits_for_the_whole_reply() -> None:
    """What is cut of the reply that was to go on from its results cannot stay, unless it has more calls."""
    asked: tuple[list[JSON], str] = ([code_call(), program_call("t1")], "tool_use")
    assert [turn["role"] for turn in together(asked, ([text()], None))] == ["assistant", "user"]
    assert len(together(asked, ([text(), program_call("t2")], None))) == 4
    assert together(([text()], None), waiting={"s1"}) == []
    assert len(together(([text()], "end_turn"), waiting={"s1"})) == 1
    assert len(together(([server_result(), text()], None), waiting={"s1"})) == 1


def test_a_cut_call_by_a_program_needs_a_known_container() -> None:
    """Otherwise its result could not be sent, and it goes with the call of its program."""
    blocks = [text(), code_call(), program_call("t1")]
    assert together((blocks, None), container_known=False) == [{"role": "assistant", "content": [text()]}]
    assert len(together((blocks, None), container_known=True)) == 2
    assert len(together((blocks, "tool_use"), container_known=False)) == 2


def program_call(name: str) -> JSON:
    return call(name, caller={"type": "code_execution_20260120", "tool_id": "s1"})
