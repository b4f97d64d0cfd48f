"""What the encoder for AG-UI says, event by event."""

from __future__ import annotations

from typing import Any

import pytest

from trio_stream import TurnStartEvent
from trio_stream.types import UnknownEvent
from trio_stream.web import AGUI, RelayedEvent

from .answers import OVERLOADED, call, encoded, end, reply, started, text
from .pages import AGUIPage, chunks
from .zoo import ANSWERS, EVERY_BLOCK, PAGE


def said(events: list[RelayedEvent], ending: str | None = "end") -> list[dict[str, Any]]:
    """The events of the protocol, for an answer."""
    return chunks(encoded(AGUI("thread", "run"), events, ending))


def page_of(name: str, ending: str | None = "end") -> AGUIPage:
    return AGUIPage(encoded(AGUI("thread", "run"), ANSWERS[name], ending))


def test_head_and_refusal() -> None:
    """An event stream; an error before it is in the shape of the API's, which the client shows as it is."""
    encoder = AGUI("thread", "run")
    assert encoder.headers == {"content-type": "text/event-stream; charset=utf-8"}
    kind, body = encoder.refusal(OVERLOADED)
    assert kind == "application/json"
    assert body == b'{"type":"error","error":{"type":"overloaded_error","message":"The model is overloaded."}}'


def test_a_text() -> None:
    """A text is a message of the assistant, by the id of the model's; ``RUN_FINISHED`` has the usage."""
    usage = {
        "provider": "anthropic",
        "model": "claude-test",
        "inputTokens": 17,
        "outputTokens": 9,
        "totalTokens": 26,
        "cachedInputTokens": 5,
        "cacheWriteInputTokens": 2,
    }
    assert said(ANSWERS["text"]) == [
        {"type": "RUN_STARTED", "threadId": "thread", "runId": "run"},
        {"type": "TEXT_MESSAGE_START", "messageId": "msg_1", "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "msg_1", "delta": "Hell"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "msg_1", "delta": "o, w"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "msg_1", "delta": "orld"},
        {"type": "TEXT_MESSAGE_END", "messageId": "msg_1"},
        {
            "type": "RUN_FINISHED",
            "threadId": "thread",
            "runId": "run",
            "metadata": {"stopReason": "end_turn"},
            "outcome": {"type": "success", "pendingToolCallIds": []},
            "usage": [usage],
        },
    ]


def test_thinking() -> None:
    """The signature of thinking is its encrypted value, and so is thinking that is encrypted altogether."""
    thinking, redacted, answer = page_of("thinking").messages
    assert (thinking["role"], thinking["content"], thinking["encryptedValue"]) == (
        "reasoning",
        "Hm, let me see",
        "c2ln",
    )
    assert (redacted["role"], redacted["content"], redacted["encryptedValue"]) == ("reasoning", "", "ZGF0YQ==")
    assert answer["content"] == "Well."


def test_a_parent_is_named_only_if_it_exists() -> None:
    """Calls after text belong to it, and calls without text to nothing: the client would warn."""
    (start,) = (event for event in said(ANSWERS["a call"]) if event["type"] == "TOOL_CALL_START")
    assert start["parentMessageId"] == "msg_1"
    starts = [event for event in said(ANSWERS["calls without text"]) if event["type"] == "TOOL_CALL_START"]
    assert [event.get("parentMessageId") for event in starts] == [None, None]
    second = [
        event for event in said([*ANSWERS["text"], *reply(call("b"), message_id="msg_2")]) if "toolCallName" in event
    ]
    assert "parentMessageId" not in second[0]


def test_texts_of_one_reply() -> None:
    """Cited text, which comes in many blocks, is one message; what a call parts are two."""
    first, found, answer = page_of("a search").messages
    assert (first["id"], first["content"]) == ("msg_1", "I look. ")
    assert found["role"] == "tool"
    assert answer["content"] == "It rains, says one."
    assert answer["id"] != "msg_1"


def test_a_call_ends_when_the_reply_goes_past_it() -> None:
    """Pages look at a call when it ends."""
    encoder = AGUI("thread", "run")
    ends = [
        event.type
        for event in reply(call("a", x=1), call("b", y=2), stop_reason="tool_use")
        if any(chunk["type"] == "TOOL_CALL_END" for chunk in chunks(encoder.event(event, None)))
    ]
    assert ends == ["content_block_start", "message_delta"]


def test_the_calls_of_the_page_are_pending() -> None:
    """They are named; those of the API and those that a run has answered are not."""
    assert page_of("calls without text").last["outcome"]["pendingToolCallIds"] == ["a", "b"]  # type: ignore[index]
    assert page_of("a search").last["outcome"]["pendingToolCallIds"] == []  # type: ignore[index]
    assert page_of("a run").last["outcome"]["pendingToolCallIds"] == []  # type: ignore[index]


@pytest.mark.parametrize("stop_reason", ["max_tokens", "refusal", "end_turn", None])
def test_a_call_that_may_be_cut_gets_a_result(stop_reason: str | None) -> None:
    """Any call without one counts as pending, and a page would run it."""
    page = AGUIPage(encoded(AGUI("thread", "run"), reply(call("a", x=1), call("b", y=2), stop_reason=stop_reason)))
    assert page.pending == {"a": '{"x":1}'}
    (answer,) = (message for message in page.messages if message["role"] == "tool")
    assert (answer["toolCallId"], answer["isError"]) == ("b", True)
    assert page.last
    assert page.last["metadata"].get("stopReason") == stop_reason if stop_reason else "metadata" not in page.last


def test_an_error_leaves_calls_open() -> None:
    """The end of a call is what pages act upon; ``RUN_ERROR`` may come at any time."""
    events = said(ANSWERS["a cut call"][:-4], "error")
    assert [event["toolCallId"] for event in events if event["type"] == "TOOL_CALL_END"] == ["a"]
    assert events[-1]["type"] == "RUN_ERROR"
    assert events[-1]["message"] == OVERLOADED.message
    assert events[-1]["code"] == "overloaded_error"
    assert events[-1]["usage"][0]["outputTokens"] == 7


def test_a_stop_closes_what_is_open() -> None:
    """The outcome is ``cancelled``, with the reason; nothing waits for the page."""
    page = page_of("a cut call")
    stopped = AGUIPage(encoded(AGUI("thread", "run"), ANSWERS["a cut call"][:-4], "abort"))
    assert stopped.last
    assert stopped.last["outcome"] == {"type": "cancelled"}
    assert stopped.last["metadata"] == {"reason": "the user pressed Stop"}
    assert stopped.pending == page.pending == {"a": '{"x":1}'}


def test_citations() -> None:
    """They are events of their own, which name the message."""
    page = page_of("a search")
    assert [name for name, _ in page.custom] == ["citation", "citation"]
    value = page.custom[0][1]
    assert value["citation"] == PAGE
    assert value["messageId"] == page.messages[-1]["id"]


def test_no_block_is_lost() -> None:
    """What AG-UI has no event for goes out raw; unknown kinds and events too."""
    shown = {"text", "thinking", "redacted_thinking"}
    others = [
        block for block in EVERY_BLOCK if block["type"] not in shown and not {"tool_use_id", "input"} & block.keys()
    ]
    assert [raw["type"] for raw in page_of("every block").raw] == [block["type"] for block in others]
    assert page_of("an unknown event").raw == [{"type": "weather", "x": None}]


def test_a_run() -> None:
    """Turns are steps, results are messages, progress is an activity, what was said is a message of the user."""
    page = page_of("a run")
    assert [(message["role"], message["content"]) for message in page.messages if message["role"] != "activity"] == [
        ("assistant", "I look."),
        ("tool", "It rains."),
        ("user", "In Porto, I mean."),
        ("assistant", "It rains in Porto."),
    ]
    (activity,) = (message for message in page.messages if message["role"] == "activity")
    assert activity["content"]["progress"].startswith("<object object"), "the latest replaces the one before"
    steps = [event for event in said(ANSWERS["a run"]) if event["type"].startswith("STEP_")]
    assert [(event["type"], event["stepName"]) for event in steps] == [
        ("STEP_STARTED", "turn 1"),
        ("STEP_FINISHED", "turn 1"),
        ("STEP_STARTED", "turn 2"),
        ("STEP_FINISHED", "turn 2"),
    ]
    assert page.last
    assert page.last["usage"][0]["totalTokens"] == 2 * 26


def test_a_call_whose_input_was_dropped() -> None:
    """What has been said of it stays, and it ends once."""
    events = reply(call("a", x=1), stop_reason="tool_use")
    page = AGUIPage(encoded(AGUI("thread", "run"), [*events[:3], started("a", x=1), *events[3:]]))
    assert page.calls["a"]["arguments"] == '{"x"'


def test_results_that_are_no_text() -> None:
    """They are JSON, as content is text here."""
    page = page_of("a run with failing tools")
    results = {message["toolCallId"]: message for message in page.messages if message["role"] == "tool"}
    assert results["a"]["content"] == "ValueError: no"
    assert results["b"]["content"] == "The tool failed."
    assert results["c"]["content"] == '[{"type":"image","source":{}}]'
    assert [results[name]["isError"] for name in "abc"] == [True, True, False]


def test_approvals() -> None:
    """Each is announced; one that waits at the end makes the end an interrupt."""
    page = page_of("approvals")
    assert page.custom[0] == ("approval", {"id": "a", "toolCallId": "a", "toolCallName": "search", "input": {}})
    assert ("approval_response", {"id": "a", "approved": True}) in page.custom
    assert page.last
    (interrupt,) = page.last["outcome"]["interrupts"]
    assert (interrupt["id"], interrupt["toolCallId"], interrupt["reason"]) == ("c", "c", "tool_call")
    assert interrupt["responseSchema"]["required"] == ["approved"]
    aborted = page_of("approvals", "abort")
    assert aborted.last
    assert aborted.last["outcome"] == {"type": "cancelled"}


def test_a_reply_that_begins_again() -> None:
    """AG-UI cannot take back what was said, so the page is told which messages are void."""
    page = page_of("a reply that begins again")
    void = dict(page.custom)["turn_restart"]["messageIds"]
    assert page.custom[0] == ("turn_restart", {"messageIds": ["msg_1"]})
    assert void == []
    assert page.pending == {}


def test_a_run_within_a_call() -> None:
    """It is a subagent: its events have its name on them, and it ends before the result of the call."""
    events = said(ANSWERS["a run within a call"])
    inner = [event for event in events if event.get("subagentRunId") == "toolu_1"]
    assert inner[0] == {
        "type": "SUBAGENT_STARTED",
        "subagentRunId": "toolu_1",
        "name": "research",
        "parentToolCallId": "toolu_1",
    }
    assert inner[-1] == {"type": "SUBAGENT_FINISHED", "subagentRunId": "toolu_1"}
    assert "TEXT_MESSAGE_CONTENT" in [event["type"] for event in inner]
    (within,) = (event for event in events if event.get("parentSubagentRunId"))
    assert (within["subagentRunId"], within["parentSubagentRunId"]) == ("toolu_i", "toolu_1")
    failed = said(ANSWERS["a run within a call that asks"])
    assert {"type": "SUBAGENT_ERROR", "subagentRunId": "toolu_1", "message": "failed"} in failed


def test_data_of_the_program() -> None:
    """It is a custom event under its type."""
    encoder = AGUI("thread", "run")
    (event,) = chunks(encoder.data({"type": "weather", "sun": True}))
    assert event == {"type": "CUSTOM", "name": "weather", "value": {"sun": True}}


def test_a_new_encoder_is_for_the_same_run() -> None:
    """A page that comes late hears of the same thread and run."""
    assert chunks(AGUI("t", "r").renew().start()) == [{"type": "RUN_STARTED", "threadId": "t", "runId": "r"}]


def test_an_end_that_nothing_came_before() -> None:
    """A function that has said nothing has ended all the same."""
    encoder = AGUI("thread", "run")
    page = AGUIPage([*encoder.start(), *end(encoder)])
    assert page.last
    assert page.last["usage"] == []


def test_turns_that_do_not_end() -> None:
    """A run that is left early leaves its step open, and the next one closes it."""
    events = [TurnStartEvent(turn=1), *reply(text("One."), call("a"), stop_reason="tool_use"), started("a")]
    page = AGUIPage(
        encoded(AGUI("thread", "run"), [*events, TurnStartEvent(turn=1), *reply(text("Two."), message_id="m2")])
    )
    assert page.text == "One.Two."
    assert page.pending == {}


def test_unknown_events_alone() -> None:
    """They need no message."""
    page = AGUIPage(encoded(AGUI("thread", "run"), [UnknownEvent(raw={"type": "weather"})]))
    assert page.raw == [{"type": "weather"}]
