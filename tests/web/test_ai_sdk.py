"""What the encoder for the AI SDK says, chunk by chunk."""

from __future__ import annotations

from typing import Any

import pytest

from trio_stream import ToolProgressEvent, TurnStartEvent
from trio_stream.types import UnknownEvent
from trio_stream.web import AISDK

from .answers import OVERLOADED, call, encoded, reply, result, started, stopped, text
from .pages import AISDKPage, chunks
from .zoo import ANSWERS, EVERY_BLOCK, PAGE


def kinds(frames: list[bytes]) -> list[str]:
    """The types of the chunks."""
    return [chunk["type"] for chunk in chunks(frames)]


def page_of(name: str, ending: str | None = "end") -> AISDKPage:
    return AISDKPage(encoded(AISDK(), ANSWERS[name], ending))


def test_head_and_heartbeat() -> None:
    """The protocol is named in the head, and a heartbeat is a comment, which no client reads."""
    encoder = AISDK()
    assert encoder.headers == {
        "content-type": "text/event-stream; charset=utf-8",
        "x-vercel-ai-ui-message-stream": "v1",
    }
    assert encoder.heartbeat.startswith(b":")
    assert encoder.heartbeat.endswith(b"\n\n")
    assert encoder.numbered
    assert not encoder.wants_data


def test_a_text() -> None:
    """A text is a part within a step, and the stream ends with ``finish`` and ``[DONE]``."""
    frames = encoded(AISDK(), ANSWERS["text"])
    assert frames[-1] == b"data: [DONE]\n\n"
    usage = {
        "inputTokens": 17,
        "inputTokenDetails": {"noCacheTokens": 10, "cacheReadTokens": 5, "cacheWriteTokens": 2},
        "outputTokens": 9,
        "outputTokenDetails": {},
        "totalTokens": 26,
    }
    assert chunks(frames) == [
        {"type": "start", "messageId": "msg_1"},
        {"type": "start-step"},
        {"type": "text-start", "id": "1"},
        {"type": "text-delta", "id": "1", "delta": "Hell"},
        {"type": "text-delta", "id": "1", "delta": "o, w"},
        {"type": "text-delta", "id": "1", "delta": "orld"},
        {"type": "text-end", "id": "1"},
        {"type": "finish-step"},
        {
            "type": "finish",
            "finishReason": "stop",
            "messageMetadata": {"usage": usage, "model": "claude-test", "stopReason": "end_turn"},
        },
    ]


def test_the_name_of_the_message_may_be_given() -> None:
    """Then the first chunk does not wait for the model."""
    encoder = AISDK("mine")
    assert chunks(encoder.start()) == [{"type": "start", "messageId": "mine"}]
    assert AISDKPage(encoded(encoder.renew(), ANSWERS["text"])).id == "mine"
    assert AISDK().start() == []


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content-filter"),
        ("tool_use", "tool-calls"),
        ("pause_turn", "other"),
        ("compaction", "other"),
        ("solar_flare", "other"),
        (None, "other"),
    ],
)
def test_finish_reasons(stop_reason: str | None, finish_reason: str) -> None:
    """Every stop reason has one of the protocol's, as it would be refused otherwise."""
    page = AISDKPage(encoded(AISDK(), reply(text("So."), stop_reason=stop_reason)))
    assert page.ending == finish_reason
    assert page.metadata.get("stopReason") == stop_reason


def test_thinking() -> None:
    """Thinking is reasoning, with its signature; encrypted thinking is a part without text."""
    thinking, redacted, _ = page_of("thinking").parts[1:]
    assert (thinking["type"], thinking["text"]) == ("reasoning", "Hm, let me see")
    assert thinking["providerMetadata"] == {"anthropic": {"signature": "c2ln"}}
    assert (redacted["type"], redacted["text"]) == ("reasoning", "")
    assert redacted["providerMetadata"] == {"anthropic": {"redactedData": "ZGF0YQ=="}}


def step_by_step(events: list[Any], kind: str) -> list[str]:
    """The types of the events that made a chunk of a kind."""
    encoder = AISDK()
    encoder.start()
    return [event.type for event in events if kind in kinds(list(encoder.event(event, None)))]


def test_a_call_is_available_when_the_reply_goes_past_it() -> None:
    """Not at the end of its block: the next block says that it is whole, or the stop reason."""
    events = reply(call("a", x=1), call("b", y=2), stop_reason="tool_use")
    assert step_by_step(events, "tool-input-available") == ["content_block_start", "message_delta"]


@pytest.mark.parametrize("stop_reason", ["max_tokens", "refusal", "end_turn", "model_context_window_exceeded", None])
def test_a_call_that_may_be_cut_is_never_available(stop_reason: str | None) -> None:
    """Any other stop reason makes it an error, so that the page does not run it."""
    page = AISDKPage(encoded(AISDK(), reply(call("a", x=1), call("b", y=2), stop_reason=stop_reason)))
    assert page.ran == {"a": {"x": 1}}
    assert page.calls["b"]["state"] == "output-error"
    assert page.calls["b"]["input"] == {"y": 2}
    assert page.calls["b"]["errorText"]


def test_a_call_that_is_cut_in_its_input() -> None:
    """Its error has the input as far as it came, as text where it is no JSON."""
    events = reply(call("a", query="rain in Lisbon"))[:5]
    page = AISDKPage(encoded(AISDK(), events, "abort"))
    assert page.calls["a"]["input"] == '{"query":"ra'
    assert page.calls["a"]["state"] == "output-error"
    assert page.ran == {}


def test_tools_are_dynamic() -> None:
    """The page need not know them; those of the API, and of MCP, are run by the provider."""
    starts = [
        chunk
        for name in ("a call", "a search", "MCP")
        for chunk in chunks(encoded(AISDK(), ANSWERS[name]))
        if chunk["type"].startswith("tool-input-") and "toolName" in chunk
    ]
    assert all(chunk["dynamic"] is True for chunk in starts)
    executed = {chunk["toolName"]: chunk.get("providerExecuted") for chunk in starts}
    assert executed == {"search": None, "web_search": True, "echo": True}
    assert starts[-2]["providerMetadata"] == {"anthropic": {"type": "mcp-tool-use", "serverName": "files"}}


def test_results_of_the_api() -> None:
    """Each is the output of its call, and an error of the tool is one."""
    found = page_of("a search").calls["srv"]
    assert (found["state"], found["output"][0]["url"]) == ("output-available", "https://weather.test/")
    failed = page_of("a search that failed").calls["srv"]
    assert (failed["state"], failed["errorText"]) == ("output-error", "max_uses_exceeded")
    mcp = page_of("MCP").calls["m"]
    assert (mcp["state"], mcp["errorText"]) == ("output-error", "no such file")


def test_an_error_without_a_code() -> None:
    """Its kind stands for it."""
    events = reply(call("s", "web_fetch", "server_tool_use"), result("s", {"type": "web_fetch_tool_result_error"}))
    assert AISDKPage(encoded(AISDK(), events)).calls["s"]["errorText"] == "web_fetch_tool_result_error"
    assert AISDKPage(encoded(AISDK(), reply(result("s", None), result("t", "text")))).calls["s"]["output"] == ""


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (None, ""),
        ("text", "text"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ([{"type": "text", "text": "a"}, {"type": "image"}], [{"type": "text", "text": "a"}, {"type": "image"}]),
        ([{"type": "text"}], [{"type": "text"}]),
        (["a"], ["a"]),
        ({"type": "code_execution_result", "stdout": "1"}, {"type": "code_execution_result", "stdout": "1"}),
        (5, 5),
    ],
)
def test_results_of_every_form(content: object, shown: object) -> None:
    """What is nothing but text is a text; anything else is its JSON."""
    events = [*reply(call("a"), stop_reason="tool_use"), started("a"), stopped(content, "a")]
    assert AISDKPage(encoded(AISDK(), events)).calls["a"]["output"] == shown


def test_a_result_whose_call_is_not_here() -> None:
    """A reply that goes on with an earlier one begins with a result; the client refuses one without a call."""
    found = page_of("a result of an earlier reply").calls["srv"]
    assert (found["toolName"], found["state"], found["providerExecuted"]) == ("web_search", "output-available", True)


def test_sources() -> None:
    """A page that is cited is a source once, and the texts have all their citations."""
    page = page_of("a search")
    sources = [part for part in page.parts if part["type"].startswith("source-")]
    assert sources == [{"type": "source-url", "sourceId": PAGE["url"], "url": PAGE["url"], "title": "Weather"}]
    cited = [part["citations"] for part in page.parts if "citations" in part]
    source = {"type": "source", "sourceType": "url", "id": PAGE["url"], "url": PAGE["url"], "title": "Weather"}
    assert cited == [[{"source": source, "citedText": "It rains."}]] * 2


def test_sources_that_are_no_pages() -> None:
    """Documents are ``source-document``; an address that a browser must not open is no source."""
    found = {**PAGE, "type": "search_result_location", "source": "handbook, page 3", "title": None}
    events = reply(
        text("a", {**PAGE, "url": "javascript:alert(1)"}),
        text("b", {"type": "char_location", "document_index": 1, "document_title": None}),
        text("c", {"type": "page_location", "document_index": 0, "document_title": "a.pdf"}),
        text("d", found, {**found, "source": "http://intra.test"}, {"type": "new_location"}),
    )
    sources = [part for part in AISDKPage(encoded(AISDK(), events)).parts if part["type"].startswith("source-")]
    assert [(part["sourceId"], part.get("mediaType"), part.get("title")) for part in sources] == [
        ("document 2", "text/plain", "document 2"),
        ("document 1", "application/pdf", "a.pdf"),
        ("handbook, page 3", "text/plain", "handbook, page 3"),
        ("http://intra.test", None, None),
    ]


def test_no_block_is_lost() -> None:
    """What the protocol has no part for is a custom part with all that it holds; unknown kinds too."""
    parts = page_of("every block").parts
    custom = {part["kind"]: part["providerMetadata"]["anthropic"] for part in parts if part["type"] == "custom"}
    shown = {"text", "thinking", "redacted_thinking"}
    others = [
        block for block in EVERY_BLOCK if block["type"] not in shown and not {"tool_use_id", "input"} & block.keys()
    ]
    assert list(custom) == [f"anthropic.{block['type']}" for block in others]
    assert "anthropic.new_block" in custom
    assert custom["anthropic.container_upload"]["file_id"]


def test_an_unknown_event_is_shown_and_not_kept() -> None:
    """It goes out as data that the page may look at."""
    page = AISDKPage(encoded(AISDK(), [UnknownEvent(raw={"type": "weather", "x": 1})]))
    assert page.transient == [{"type": "data-anthropic", "data": {"type": "weather", "x": 1}, "transient": True}]


def test_a_run() -> None:
    """Each reply is a step, results are outputs, progress is preliminary, what was said meanwhile is shown."""
    frames = encoded(AISDK(), ANSWERS["a run"])
    order = [kind for kind in kinds(frames) if "delta" not in kind]
    assert order == [
        *("start", "start-step", "text-start", "text-end", "tool-input-start", "tool-input-available"),
        *("tool-output-available", "tool-output-available", "tool-output-available", "finish-step"),
        *("steering-message", "start-step", "text-start", "text-end", "finish-step", "finish"),
    ]
    page = AISDKPage(frames)
    assert page.calls["toolu_1"]["output"] == "It rains."
    assert page.metadata["usage"]["totalTokens"] == 2 * 26
    progress = [chunk["output"] for chunk in chunks(frames) if chunk.get("preliminary")]
    assert progress[0] == {"percent": 50}
    assert progress[1].startswith("<object object")


def test_a_call_whose_input_was_dropped() -> None:
    """A run that is told to leave a reply drops its events; the call has its input from the event of the tool."""
    events = reply(call("a", x=1), stop_reason="tool_use")
    page = AISDKPage(encoded(AISDK(), [*events[:3], started("a", x=1), *events[3:]]))
    assert page.ran == {"a": {"x": 1}}


def test_failing_tools_of_a_run() -> None:
    """The words of the error are shown; a call that never started is one more error."""
    page = page_of("a run with failing tools")
    assert page.calls["a"]["errorText"] == "ValueError: no"
    assert page.calls["b"]["errorText"] == "The tool failed."
    assert page.calls["c"]["output"] == [{"type": "image", "source": {}}]
    assert page_of("a run whose reply is cut").calls["a"]["state"] == "output-error"


def test_approvals() -> None:
    """A request names its call; the answer, where one is known, is told to pages that come later."""
    page = page_of("approvals")
    assert page.calls["a"]["approval"] == {"id": "a", "approved": True}
    assert (page.calls["a"]["state"], page.calls["a"]["output"]) == ("output-available", "done")
    assert page.calls["b"]["approval"] == {"id": "b", "approved": False, "reason": "the user said no"}
    assert page.calls["b"]["state"] == "output-denied"
    assert page.calls["c"]["state"] == "approval-requested"
    assert page_of("approvals", "abort").calls["c"]["state"] == "output-denied"


def test_a_reply_that_begins_again() -> None:
    """The step is reset, so nothing of the void reply stays; nor is the step before it touched."""
    page = page_of("a reply that begins again")
    assert page.text == "It rains.Indeed."
    assert [part["type"] for part in page.parts].count("step-start") == 2
    assert page.ran == {"a~2": {"query": "rain"}}
    again = page_of("a reply that fails at once")
    assert again.text == "One.Two."


def test_a_run_within_a_call() -> None:
    """Its chunks go out as transient data, wrapped once for each call that they are in."""
    page = page_of("a run within a call")
    frames = [chunk["data"]["chunk"] for chunk in page.transient if chunk["data"]["toolCallId"] == "toolu_1"]
    assert {"type": "start", "messageId": "msg_i"} in frames
    assert "".join(frame.get("delta", "") for frame in frames) == "Looking."
    assert page.calls["toolu_1"]["output"] == "all of it"


def test_approvals_within_a_call() -> None:
    """They are asked of the same person, so they are parts of the message itself."""
    page = page_of("a run within a call that asks")
    assert page.calls["d"]["approval"] == {"id": "d", "approved": True}
    assert page.calls["d"]["output"] == "gone"
    assert page.calls["e"]["state"] == "output-denied"
    assert page.calls["toolu_1"]["errorText"] == "failed"


def test_data_of_the_program() -> None:
    """It is a data part: as it is, or under the name of its type; it may come before the model says anything."""
    encoder = AISDK()
    frames = [
        *encoder.start(),
        *encoder.data({"type": "weather", "sun": True}),
        *encoder.data({"type": "data-weather", "id": "1", "data": {"sun": False}}),
    ]
    assert chunks(frames) == [
        {"type": "start"},
        {"type": "data-weather", "data": {"sun": True}},
        {"type": "data-weather", "id": "1", "data": {"sun": False}},
    ]


@pytest.mark.parametrize("value", [{}, {"type": ""}, {"type": 5}, {"type": "a\nb"}])
def test_data_without_a_name(value: dict[str, Any]) -> None:
    """Nothing can be made of it."""
    with pytest.raises(ValueError, match="type"):
        AISDK().data(value)


def test_data_that_is_no_json() -> None:
    """That is a mistake of the program's, not of a model's."""
    with pytest.raises(TypeError):
        AISDK().data({"type": "weather", "sun": object()})


def test_refusal() -> None:
    """``useChat`` takes the body for the text of its error, so it is a sentence."""
    assert AISDK().refusal(OVERLOADED) == ("text/plain; charset=utf-8", b"The model is overloaded.")


def test_an_end_that_nothing_came_before() -> None:
    """A function that has said nothing has ended all the same."""
    page = AISDKPage([*AISDK().end()])
    assert (page.ending, page.metadata) == ("stop", None)
    failed = AISDKPage([*AISDK().error(OVERLOADED)])
    assert (failed.ending, failed.errors) == ("error", [OVERLOADED.message])


def test_results_after_the_end_of_a_call_change_nothing() -> None:
    """Progress, a second result, a second start: a page has the first result."""
    events = [*reply(call("a"), stop_reason="tool_use"), started("a"), stopped("one", "a"), stopped("two", "a")]
    page = AISDKPage(encoded(AISDK(), [*events, ANSWERS["a run"][-1], TurnStartEvent(turn=1)]))
    assert page.calls["a"]["output"] == "one"


class Odd:
    """An object that has no text."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (Odd(), "Odd"),
        ({1: [None, 2.5, ("a", Odd())]}, {"1": [None, 2.5, ["a", "Odd"]]}),
        ("\ud800", "?"),
        (b"\x00", "AA=="),
    ],
)
def test_progress_of_any_kind(told: object, shown: object) -> None:
    """A tool may tell anything, and no answer fails for it."""
    progress = ToolProgressEvent(id="a", name="search", progress=told)
    encoder = AISDK()
    frames = encoded(encoder, [*reply(call("a"), stop_reason="tool_use"), started("a")], None)
    (chunk,) = chunks(list(encoder.event(progress, None)))
    assert frames
    assert chunk["output"] == shown


def test_progress_that_is_nested_without_end() -> None:
    """It is cut."""
    endless: list[Any] = []
    endless.append(endless)
    encoder = AISDK()
    encoded(encoder, [*reply(call("a"), stop_reason="tool_use"), started("a")], None)
    (chunk,) = chunks(list(encoder.event(ToolProgressEvent(id="a", name="search", progress=endless), None)))
    assert "..." in str(chunk["output"])
