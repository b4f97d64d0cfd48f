"""Tools beside a stream, stopped at every step: the history can be sent to the API at every instant, and goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, final

import pytest
import trio

import trio_stream as ts
from tests.agent.replies import a_tool, sleeper
from tests.soak.form import LONG
from trio_stream.agent import ApprovalEvent, CallState, RunEvent, StopRun, ToolCall, ToolError, ToolRunner
from trio_stream.testing import ScriptedAPI, call, cancel_everywhere, pause, say, think
from trio_stream.testing._strict import find_fault

pytestmark = pytest.mark.no_cover

PARAMS: dict[str, Any] = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 2048,
    "thinking": {"type": "enabled", "budget_tokens": 1024},
}


async def fails() -> None:
    await trio.sleep(0.1)
    raise ValueError("no such thing")


async def fails_in_its_clean_up() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep, 0.3)
        try:
            await trio.sleep(0.3)
        except trio.Cancelled:
            raise OSError("the clean-up failed") from None


async def ends_the_run() -> None:
    raise StopRun("enough")


TOOLS = [
    sleeper("quick", 0.05),
    sleeper("slow", 0.4),
    sleeper("finish", 0.2, timeout=1, on_cancel="finish", grace=0.5),
    sleeper("alone", 0.1, exclusive=True),
    sleeper("write", 0.1, exclusive="files"),
    sleeper("bad_write", 0.1, exclusive="files", result=ToolError("full")),
    sleeper("ask", 0.1, approve=True),
    sleeper("late", 5, timeout=0.2),
    a_tool("fails", fails),
    a_tool("fails_in_its_clean_up", fails_in_its_clean_up),
    a_tool("ends_the_run", ends_the_run),
]

NOT_BEGUN = (CallState.WAITING, CallState.ASKING, CallState.READY)
BEGUN = (CallState.STARTING, CallState.RUNNING)


@final
class ByHand:
    """A loop over replies, as a program writes it without a `Conversation`."""

    def __init__(self, *scripts: list[Any], approve: Any = "ask") -> None:
        self.api = ScriptedAPI(*scripts, default=[say("Go on.")])
        self.client = ts.Client(api_key="test-key", transport=self.api, max_retries=0)
        self.messages: list[Any] = [{"role": "user", "content": "Begin."}]
        self.stream: ts.MessageStream | None = None
        self.calls: ToolRunner | None = None
        self.checked = ""
        self._approve = approve

    def history(self) -> list[Any]:
        """What can be sent now."""
        partial = None if self.stream is None else self.stream.partial
        if partial is None or self.calls is None:
            return self.messages
        return [*self.messages, *partial.as_history(self.calls.results())]

    async def loop(self) -> None:
        while True:
            tools = [tool.definition for tool in TOOLS]
            async with self.client.messages.stream(**PARAMS, tools=tools, messages=self.messages) as stream:
                self.calls = ToolRunner(TOOLS, stream.nursery, emit=self.answer, approve=self._approve)
                self.stream = stream
                async for event in stream:
                    self.calls.feed(event)
                self.calls.start_all(stream.message)
                await self.calls.join()
            self.messages, self.stream = self.history(), None
            if stream.message.stop_reason != "tool_use" or self.calls.ends_run:
                return

    def answer(self, event: RunEvent) -> None:
        if isinstance(event, ApprovalEvent):
            event.deny() if event.id.endswith("no") else event.allow()

    def watch(self) -> None:
        """The history is right at this instant, and says of each call what is known."""
        messages = self.history()
        for one in () if self.calls is None else self.calls.calls.values():
            content = str(one.result()["content"])
            assert content.startswith("not started: ") is (one.state in NOT_BEGUN) or one.has_ended, one
            assert content.startswith("stopped while it was running: ") is (one.state in BEGUN) or one.has_ended, one
        as_text = json.dumps(messages)
        if as_text == self.checked:
            return
        self.checked = as_text
        last = messages[-1]
        more = messages if last["role"] == "user" else [*messages, {"role": "user", "content": "Go on."}]
        fault = find_fault({**PARAMS, "messages": more}, beta=False, counting=False)
        assert fault is None, fault

    async def go_on(self) -> None:
        """The API takes what is left, and answers."""
        more = [*self.history(), {"role": "user", "content": "Never mind."}]
        await self.client.messages.create(**PARAMS, messages=more)
        await self.client.aclose()


def scripts() -> tuple[list[Any], ...]:
    return (
        [
            think("Let me see."),
            call("quick", id="q1"),
            pause(0.1),
            call("fails", id="f"),
            call("finish", {"why": "because of this"}, id="fi", tps=30),
            say("One moment, please: there is more.", tps=20),
            call("alone", id="al"),
            call("write", id="w1"),
            call("bad_write", id="w2"),
            call("write", id="w3"),
            call("ask", id="a_yes"),
            call("ask", id="a_no"),
            call("nothing", id="n"),
            call("quick", '{"x": ', id="bad"),
            pause(0.1),
            call("fails_in_its_clean_up", id="cl"),
            call("late", id="la"),
        ],
        [say("Now."), call("slow", id="s"), call("ends_the_run", id="e")],
    )


async def test_without_a_cancellation(autojump_clock):
    """Two replies with calls of every kind, run as far as they can be."""
    by_hand = ByHand(*scripts())
    await by_hand.loop()
    first, second = by_hand.messages[2], by_hand.messages[4]
    assert {block["tool_use_id"]: block["content"] for block in [*first["content"], *second["content"]]} == {
        "q1": "done",
        "f": "ValueError: no such thing",
        "fi": "done",
        "al": "done",
        "w1": "done",
        "w2": "full",
        "w3": "not started: an earlier call of its group, bad_write, failed.",
        "a_yes": "done",
        "a_no": "not started: the user said no.",
        "n": "there is no tool 'nothing'.",
        "bad": "not started: its input is not a JSON object.",
        "cl": "",
        "la": "stopped: it had not ended after 0.2 seconds. Whether it had effects is not known.",
        "s": "done",
        "e": "enough",
    }
    await by_hand.go_on()


async def approve(asked: ToolCall) -> bool | str:
    await trio.sleep(0.05)
    return not asked.id.endswith("no") or "no"


@pytest.mark.parametrize("asking", ["ask", approve], ids=["events", "function"])
async def test_cancelled_at_every_step(autojump_clock, caplog, asking):
    """The history is right after every step, and the API goes on from it after every cancellation."""
    caplog.set_level("CRITICAL")
    await sweep(asking, action=None)


@pytest.mark.parametrize("how", ["stop", "cancel one"])
async def test_stopped_at_every_step(autojump_clock, caplog, how):
    """Of the calls, one or all are stopped while the reply goes on."""

    caplog.set_level("CRITICAL")

    def action(by_hand: ByHand) -> None:
        calls = by_hand.calls
        if calls is None:
            return
        if how == "stop":
            calls.stop("the user pressed Esc")
            return
        running = [one for one in calls.calls.values() if not one.has_ended]
        for one in running[:1]:
            one.cancel("the user pressed Esc")

    await sweep("ask", action=action)


async def sweep(asking: Any, action: Callable[[ByHand], None] | None) -> None:
    by_hand = ByHand()

    async def fn() -> None:
        nonlocal by_hand
        by_hand = ByHand(*scripts()[: None if action is None else 1], approve=asking)
        await by_hand.loop()

    async def check() -> None:
        calls = by_hand.calls
        if calls is not None and by_hand.stream is None:
            assert all(one.has_ended for one in calls.calls.values())
        await by_hand.go_on()

    count = await cancel_everywhere(
        fn,
        check,
        watch=lambda: by_hand.watch(),  # noqa: PLW0108 - each run has its own
        action=None if action is None else lambda: action(by_hand),
        when="both" if action is None else "after",
        every=1 if LONG else 11,
    )
    assert count > (40 if LONG else 3)
