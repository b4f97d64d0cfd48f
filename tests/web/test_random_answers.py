"""Answers that no model gives: random blocks, reused identifiers, events of runs anywhere. Pages take them all."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.protocol.test_blocks import WHOLE
from tests.soak.form import LONG
from trio_stream import SteerEvent, ToolProgressEvent, TurnRestartEvent, TurnStartEvent
from trio_stream._errors import IncompleteStreamError
from trio_stream.web import AGUI, AISDK, RelayedEvent

from .answers import encoded, reply, started, stopped, text, turn
from .pages import AGUIPage, AISDKPage
from .zoo import approval, nested

SEEDS = 5_000 if LONG else 60
REASONS = ("end_turn", "tool_use", "max_tokens", "pause_turn", "refusal", "compaction", "stop_sequence", "x", None)
FREQUENT = [block for block in WHOLE if block["type"] in ("text", "tool_use", "server_tool_use")]


def blocks(dice: random.Random) -> list[dict[str, Any]]:
    """A few blocks, whose identifiers may be those of others."""
    some = [dict(block) for block in dice.choices(WHOLE + 4 * FREQUENT, k=dice.randint(0, 6))]
    for block in some:
        for name in {"id", "tool_use_id"} & block.keys():
            block[name] = f"c{dice.randint(1, 4)}"
    return some


def event_of_a_run(dice: random.Random) -> RelayedEvent:
    """An event about a call that may be under way, or not there at all."""
    call = f"c{dice.randint(1, 5)}"
    within = [
        *reply(text("in"), message_id="msg_in"),
        TurnStartEvent(turn=1),
        started("i" + call),
        approval("i" + call),
        stopped("done", "i" + call),
    ]
    return dice.choice(
        [
            started(call, query="x"),
            stopped("done", call),
            stopped("failed", call, is_error=True),
            approval(call, query="x"),
            ToolProgressEvent(id=call, name="search", progress=1),
            SteerEvent(content="so", when="next"),
            TurnRestartEvent(turn=1, error=IncompleteStreamError("cut"), delay=1),
            *(nested(event, call) for event in within),
        ]
    )


def answer(dice: random.Random) -> list[RelayedEvent]:
    """A few replies, some of them cut, some of them turns, with events of runs in between."""
    events: list[RelayedEvent] = []
    for number in range(1, dice.randint(2, 4)):
        said = reply(
            *blocks(dice),
            stop_reason=dice.choice(REASONS),
            message_id=f"msg_{dice.randint(1, 3)}",
            piece=dice.randint(1, 9),
        )
        if dice.random() < 0.4:
            said = said[: dice.randint(1, len(said))]
        if dice.random() < 0.5:
            said = turn(number, said) if dice.random() < 0.8 else [TurnStartEvent(turn=number), *said]
        for _ in range(dice.randint(0, 5)):
            said.insert(dice.randint(0, len(said)), event_of_a_run(dice))
        events += said
    return events


@pytest.mark.parametrize("ending", ["end", "error", "abort"])
def test_answers_at_random(ending: str) -> None:
    """Whatever comes in whatever order, the frames keep the rules of both protocols, and come to an end."""
    for seed in range(SEEDS):
        dice = random.Random(seed)
        events = answer(dice)
        events = events[: dice.randint(0, 2 * len(events))]
        try:
            assert AISDKPage(encoded(AISDK(), events, ending)).done
            assert AGUIPage(encoded(AGUI("thread", "run"), events, ending)).last
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
