"""Every answer, cut after every event, with every ending: what pages know then is right, and never more than that."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.corpora import Recorded, parametrized
from tests.soak.form import LONG
from trio_stream.types import MCPToolUseBlock, ServerToolUseBlock, ToolUseBlock
from trio_stream.web import AGUI, AISDK, RelayedEvent

from .answers import OVERLOADED, condensed, encoded, end, recorded_events
from .pages import AGUIPage, AISDKPage
from .zoo import ANSWERS

ENDINGS = ("end", "error", "abort")

zoo = pytest.mark.parametrize("name", ANSWERS)
recordings = parametrized(but=())


def cuts(events: list[RelayedEvent], sample: int) -> list[int]:
    """The numbers of events after which to cut: all, or some where there are many."""
    places = range(len(events) + 1)
    if LONG or len(places) <= sample:
        return list(places)
    return sorted({0, 1, *random.Random(len(events)).sample(places, sample - 4), *places[-2:]})


def whole_calls(events: list[RelayedEvent]) -> dict[str, Any]:
    """The inputs of the calls in the messages of an answer, as far as they are JSON objects."""
    inputs: dict[str, Any] = {}
    for event in events:
        block = getattr(event, "content_block", None)
        if event.type == "content_block_stop" and isinstance(block, ToolUseBlock):
            try:
                inputs[block.id] = json.loads(block.input_json or "{}")
            except ValueError:
                continue
    return inputs


def check_ai_sdk(events: list[RelayedEvent], cut: int) -> None:
    """Cut an answer there, for a page of the AI SDK."""
    for ending in ENDINGS:
        encoder = AISDK()
        page = AISDKPage(encoded(encoder, events[:cut], None))
        assert not page.done, "an answer that is cut ends as if it were complete"
        assert page.ending is None
        page.read(end(encoder, ending))
        assert page.done
        unfinished = any(
            call["state"] in ("input-streaming", *(["input-available"] if call.get("providerExecuted") else []))
            for call in page.calls.values()
        )
        if ending == "end":
            assert (page.aborted is None) == (page.ending != "interrupted")
        else:
            assert page.ending == {"error": "error", "abort": "interrupted"}[ending]
            assert page.errors == ([OVERLOADED.message] if ending == "error" else [])
            assert page.aborted == ("the user pressed Stop" if ending == "abort" else None)
            assert not unfinished
        known = whole_calls(events[:cut])
        for name, given in page.ran.items():
            assert known.get(name.partition("~")[0], given) == given


def check_ag_ui(events: list[RelayedEvent], cut: int) -> None:
    """Cut an answer there, for a page of AG-UI."""
    for ending in ENDINGS:
        encoder = AGUI("thread", "run")
        page = AGUIPage(encoded(encoder, events[:cut], None))
        assert page.last is None, "an answer that is cut ends as if it were complete"
        page.read(end(encoder, ending))
        assert page.last is not None
        if ending == "error":
            assert page.last["type"] == "RUN_ERROR"
            assert (page.last["message"], page.last["code"]) == (OVERLOADED.message, OVERLOADED.type)
        else:
            assert page.last["type"] == "RUN_FINISHED"
            outcome = page.last["outcome"]
            assert outcome["type"] != "success" if ending == "abort" else True
            if outcome["type"] == "success":
                # The client takes every call without a result for one that the page has to run.
                # The API's own calls go on in the next reply.
                assert set(outcome["pendingToolCallIds"]) == page.pending.keys() - calls_of_the_api(events)
        known = whole_calls(events[:cut])
        for name, arguments in page.pending.items():
            given = json.loads(arguments)
            assert known.get(name.partition("~")[0], given) == given


def calls_of_the_api(events: list[RelayedEvent]) -> set[str]:
    """The identifiers of the calls that are not the page's."""
    blocks = [getattr(event, "content_block", None) for event in events]
    return {block.id for block in blocks if isinstance(block, ServerToolUseBlock | MCPToolUseBlock)}


CHECKS: dict[str, Callable[[list[RelayedEvent], int], None]] = {"ai-sdk": check_ai_sdk, "ag-ui": check_ag_ui}


@pytest.mark.parametrize("protocol", CHECKS)
@zoo
def test_an_answer_of_each_kind(protocol: str, name: str) -> None:
    """Wherever it is cut, and whatever ends it then, the frames keep the rules of the protocol."""
    events = ANSWERS[name]
    for cut in cuts(events, 40):
        CHECKS[protocol](events, cut)


@recordings
def test_a_recorded_answer(stream: Recorded) -> None:
    """The same, of answers that the API has really given; and the text is exactly theirs."""
    events = recorded_events(stream.whole)
    whole = events and events[-1].type == "message_stop"
    for cut in cuts(events, 8):
        check_ai_sdk(events, cut)
        check_ag_ui(events, cut)
    text = "".join(block.get("text", "") for block in stream.message["content"])
    page = AISDKPage(encoded(AISDK(), events))
    assert page.text == text
    assert page.id == stream.message["id"]
    assert (page.ending != "interrupted") == whole
    assert AGUIPage(encoded(AGUI("thread", "run"), events)).text == text


def same_ai_sdk(events: list[RelayedEvent], cut: int) -> None:
    """The page that reloads there has the same message in the end."""
    encoder, page = AISDK(), AISDKPage()
    page.read(encoded(encoder, events[:cut], None))
    late = AISDKPage(condensed(encoder, events[:cut]))
    assert late.parts == page.parts
    rest = [frame for event in events[cut:] for frame in encoder.event(event, None)] + end(encoder)
    page.read(rest)
    late.read(rest)
    assert (late.parts, late.id, late.metadata, late.ran) == (page.parts, page.id, page.metadata, page.ran)


def same_ag_ui(events: list[RelayedEvent], cut: int) -> None:
    """The page that reloads there has the same messages in the end."""
    encoder, page = AGUI("thread", "run"), AGUIPage()
    page.read(encoded(encoder, events[:cut], None))
    late = AGUIPage(condensed(encoder, events[:cut]))
    assert late.messages == page.messages
    rest = [frame for event in events[cut:] for frame in encoder.event(event, None)] + end(encoder)
    page.read(rest)
    late.read(rest)
    assert (late.messages, late.last, late.calls) == (page.messages, page.last, page.calls)


@zoo
def test_a_page_that_comes_late(name: str) -> None:
    """A new encoder is told the answer in a shorter form, and the first one goes on from there: nothing differs."""
    events = ANSWERS[name]
    for cut in cuts(events, 40):
        same_ai_sdk(events, cut)
        same_ag_ui(events, cut)


@recordings
def test_a_page_that_comes_late_to_a_recorded_answer(stream: Recorded) -> None:
    """The same, of answers that the API has really given."""
    events = recorded_events(stream.whole)
    for cut in cuts(events, 8):
        same_ai_sdk(events, cut)
        same_ag_ui(events, cut)
