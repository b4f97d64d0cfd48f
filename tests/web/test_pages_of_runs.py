"""Runs of agents as pages see them: real ones, with everything that can be done to a run, through `Relay`."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import trio_stream as ts
from tests.agent.sweeping import CASES, MODEL, Sweep
from tests.agent.talking import conversation
from tests.soak.form import LONG
from tests.web.host import Peer
from trio_stream import web
from trio_stream.testing import ScriptedAPI, call, disconnect, say

from .pages import AGUIPage, AISDKPage

PAGES = {"ai-sdk": (web.AISDK, AISDKPage), "ag-ui": (lambda: web.AGUI("thread", "run"), AGUIPage)}

ACTIONS = ("next", "now", "interrupt", "call")
MOMENTS = (0.05, 0.25, 0.45, 0.65)
"""When something is done to a run, in seconds."""

SWEEP = [(name, action, moment) for name in CASES for action in ACTIONS for moment in MOMENTS]
if not LONG:
    SWEEP = SWEEP[::5]  # each case, each action and each moment is among them


def frames_of(peer: Peer) -> list[bytes]:
    """The frames that a peer got, without the heartbeats and without the numbers of a hub."""
    frames = [frame + b"\n\n" for frame in peer.body.split(b"\n\n")[:-1] if not frame.startswith(b":")]
    return [frame[frame.index(b"data:") :] for frame in frames]


async def say_run(out: web.Output, run: ts.Run) -> None:
    """Say all events of a run, and answer what it asks: yes to one call, no to another."""
    async for event in run:
        await out.emit(event)
        inner: Any = event
        while isinstance(inner, ts.NestedEvent):
            inner = inner.event
        if isinstance(inner, ts.ApprovalEvent):
            if inner.input.get("path") == "a":
                inner.allow()
            else:
                inner.deny("not that one")


async def relayed(name: str, protocol: str, action: str | None = None, moment: float = 0.0) -> tuple[Any, ts.Run]:
    """The page that sees a run, to which something was done at some moment; and the run."""
    sweep = Sweep(CASES[name], action or "")
    make_encoder, make_page = PAGES[protocol]

    async def answer(out: web.Output) -> None:
        async with sweep.begin() as run:
            if action is not None:
                run.nursery.start_soon(act)
            await say_run(out, run)

    async def act() -> None:
        await trio.sleep(moment)
        sweep.act()

    peer = Peer()
    await peer.run(web.Relay(answer, make_encoder()))
    assert peer.failed is None
    assert peer.ended
    assert sweep.run is not None
    return make_page(frames_of(peer)), sweep.run


@pytest.mark.parametrize("protocol", PAGES)
@pytest.mark.parametrize("name", CASES)
async def test_a_run_of_each_kind(autojump_clock, name: str, protocol: str) -> None:
    """The page has the text of all replies, a result for each call, and an end."""
    page, run = await relayed(name, protocol)
    failed = run.outcome == "failed"
    if isinstance(page, AISDKPage):
        assert page.done
        assert (page.ending == "error") == failed
        assert {call["state"] for call in page.calls.values()} <= {"output-available", "output-error", "output-denied"}
        if name == "cut":
            assert page.text.startswith("I am so "), "the first reply was void"
    else:
        assert page.last
        assert (page.last["type"] == "RUN_ERROR") == failed
        assert page.pending == {}
        assert page.custom or name not in ("approval", "cut")
    if run.outcome == "completed":
        assert page.text.endswith("Done.")


@pytest.mark.parametrize("protocol", PAGES)
async def test_a_run_to_which_something_is_done(autojump_clock, protocol: str) -> None:
    """Whatever it is, and whenever, what the page is told keeps the rules of its protocol and comes to an end."""
    for name, action, moment in SWEEP:
        page, run = await relayed(name, protocol, action, moment)
        if isinstance(page, AISDKPage):
            assert page.done
            assert run.outcome != "completed" or page.ending == "stop"
        else:
            assert page.last
            assert run.outcome != "completed" or page.last["outcome"]["type"] == "success"
            # What the API itself was asked for, it answers in the next reply of the conversation.
            assert all(call_id.startswith("srvtoolu_") for call_id in page.pending), (name, action, moment)


@pytest.mark.parametrize("protocol", PAGES)
@pytest.mark.parametrize("name", CASES)
async def test_a_page_that_comes_late_to_a_run(autojump_clock, name: str, protocol: str) -> None:
    """A hub that has given up the old frames tells it all in a shorter form, and the page has the same in the end."""
    sweep = Sweep(CASES[name], "")
    make_encoder, make_page = PAGES[protocol]
    first, late = Peer(), Peer()

    async def answer(out: web.Output) -> None:
        async with sweep.begin() as run:
            await say_run(out, run)

    async with web.Hub(replay_bytes=1) as hub:
        hub.start("run", answer, make_encoder())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first.run, hub.attach("run"))
            await trio.sleep(0.35)
            nursery.start_soon(late.run, hub.attach("run"))
    whole, other = make_page(frames_of(first)), make_page(frames_of(late))
    assert first.ended
    assert late.ended
    assert len(late.body) <= len(first.body)
    if isinstance(whole, AISDKPage):
        assert (other.parts, other.ending, other.metadata) == (whole.parts, whole.ending, whole.metadata)
    else:
        assert (other.messages, other.last, other.pending) == (whole.messages, whole.last, whole.pending)


async def test_a_run_that_is_stopped_in_the_middle_of_its_text(autojump_clock) -> None:
    """A page is told that it was stopped, and by what reason."""
    for protocol, (make_encoder, make_page) in PAGES.items():
        api = ScriptedAPI([say("It ", ttft=0.1), say("rains.", ttft=5)])
        chat = conversation(api)

        async def answer(out: web.Output, chat: ts.Conversation = chat) -> None:
            async with chat.run("How is it?") as run:
                run.nursery.start_soon(stop, run)
                await out.relay(run)

        async def stop(run: ts.Run) -> None:
            await trio.sleep(1)
            run.interrupt("the user pressed Stop")

        peer = Peer()
        relay = web.Relay(answer, make_encoder())
        await peer.run(relay)
        page: Any = make_page(frames_of(peer))
        assert relay.outcome == "stopped"
        assert page.text == "It "
        if protocol == "ai-sdk":
            assert (page.ending, page.aborted) == ("interrupted", "the user pressed Stop")
        else:
            assert page.last["outcome"] == {"type": "cancelled"}


async def test_a_stream_of_a_client(autojump_clock) -> None:
    """No run, but a stream as such: its calls are left to the page, and a cut is told after the text."""
    for protocol, (make_encoder, make_page) in PAGES.items():
        api = ScriptedAPI(
            [say("I look. "), call("look", {"query": "rain"}, id="a")], [say("I lo"), disconnect()], strict=False
        )
        client = ts.Client(api_key="test", transport=api, max_retries=0)
        params: Any = {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]}
        whole, cut = Peer(), Peer()
        await whole.run(web.Relay(client.messages.stream(**params), make_encoder()))
        await cut.run(web.Relay(client.messages.stream(**params), make_encoder()))
        page: Any = make_page(frames_of(whole))
        broken: Any = make_page(frames_of(cut))
        assert (page.text, broken.text) == ("I look. ", "I lo")
        if protocol == "ai-sdk":
            assert page.ran == {"a": {"query": "rain"}}
            assert broken.errors == ["The answer was cut off."]
        else:
            assert page.last["outcome"]["pendingToolCallIds"] == ["a"]
            assert broken.last["type"] == "RUN_ERROR"
