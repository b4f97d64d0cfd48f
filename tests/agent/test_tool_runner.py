"""The calls of one reply: when they start, in which order, how they are stopped, and their results meanwhile."""

from __future__ import annotations

import contextvars
from typing import Any

import pytest
import trio

import trio_stream as ts
from tests.agent.replies import (
    Events,
    a_tool,
    called,
    delta,
    errors,
    feed,
    message,
    sleeper,
    texts,
)
from trio_stream.agent import (
    Meter,
    NestedEvent,
    StopRun,
    Tool,
    ToolCall,
    ToolContext,
    ToolError,
    ToolProgressEvent,
    ToolRunner,
    ToolStartEvent,
    ToolStopEvent,
)
from trio_stream.types import FallbackBlock, ServerToolCaller20260120, TextBlock

UNKNOWN = "Whether it had effects is not known."
NOT_YET = "not started: the program ended."


async def settle() -> None:
    """Let every task come to where it waits."""
    await trio.testing.wait_all_tasks_blocked()


# When a call starts


async def test_a_call_starts_when_the_next_block_begins(autojump_clock):
    """Its own end says nothing: a reply that is cut closes its last block too."""
    log: list[str] = []
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a", log=log)], nursery)
        feed(calls, called("a"))
        await settle()
        assert log == []
        assert texts(calls) == [NOT_YET]
        feed(calls, TextBlock(text="More."))
        await settle()
        assert log == ["a starts 0"]
        assert texts(calls) == [f"stopped while it was running: the program ended. {UNKNOWN}"]
        await calls.join()
        assert texts(calls) == ["done"]
        assert errors(calls) == [False]


async def test_the_last_call_starts_with_the_stop_reason(autojump_clock):
    """With ``tool_use`` in the message delta, before the message has ended."""
    log: list[str] = []
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a", log=log)], nursery)
        feed(calls, called("a"))
        calls.feed(delta("tool_use"))
        await settle()
        assert log == ["a starts 0"]


@pytest.mark.parametrize("reason", ["end_turn", "max_tokens", "refusal", "something_new"])
async def test_the_last_call_does_not_start_with_another_reason(autojump_clock, reason):
    """And is answered with it once the reply is whole, while those that run come to their ends."""
    log: list[str] = []
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a", log=log)], nursery)
        feed(calls, called("a", id="1"), called("a", id="2"))
        calls.feed(delta(reason))
        calls.start_all(message(called("a", id="1"), called("a", id="2"), stop_reason=reason))
        await calls.join()
    assert log == ["1 starts 0", "1 ends 1"]
    assert texts(calls) == ["done", f"not started: the reply ended with '{reason}'."]
    assert errors(calls) == [False, True]


async def test_fallback_starts_nothing(autojump_clock):
    """The call before it may be one that another model left unfinished, and what follows waits for the end."""
    log: list[str] = []
    blocks = (called("a", id="1"), FallbackBlock(), called("a", id="2"), TextBlock(text="And so on."))
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a", log=log)], nursery)
        feed(calls, *blocks)
        calls.feed(delta("tool_use"))
        await settle()
        assert log == []
        calls.start_all(message(*blocks))
        await calls.join()
    assert log == ["2 starts 0", "2 ends 1"]
    assert texts(calls) == ["not started: another model took over, and the call may not have been complete.", "done"]


async def test_fallback_changes_no_result(autojump_clock):
    """A call that has ended before keeps its own, and a reply may begin with the block."""
    blocks = (FallbackBlock(), called("a"), FallbackBlock())
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a")], nursery)
        feed(calls, *blocks[:2])
        calls.calls["toolu_a"].cancel("not needed")
        feed(calls, *blocks[2:])
        calls.start_all(message(*blocks))
    assert texts(calls) == ["not started: not needed."]


@pytest.mark.parametrize("options", [{"eager": False}, {"exclusive": True}, {"exclusive": "files"}, {"approve": True}])
async def test_some_wait_for_the_end_of_the_reply(autojump_clock, options):
    """Calls that are not eager, exclusive ones, and those that need approval."""
    log: list[str] = []

    async def approve(call: ToolCall) -> bool:
        log.append("asked")
        return True

    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a", log=log, **options)], nursery, approve=approve)
        feed(calls, called("a"), TextBlock(text="More."))
        calls.feed(delta("tool_use"))
        await settle()
        assert log == []
        calls.start_all(message(called("a")))
        await calls.join()
    assert log[-2:] == ["a starts 0", "a ends 1"]
    assert texts(calls) == ["done"]


async def test_a_call_of_a_program_waits_for_the_end_of_the_reply(autojump_clock):
    """Its result can be sent only with the container, which the end of the reply tells."""
    log: list[str] = []
    block = called("a", caller=ServerToolCaller20260120(tool_id="srvtoolu_1"))
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a", log=log)], nursery)
        feed(calls, block, TextBlock(text="More."))
        calls.feed(delta("tool_use"))
        await settle()
        assert log == []
        calls.start_all(message(block))
        await calls.join()
    assert texts(calls) == ["done"]


async def test_a_message_needs_no_feeding(autojump_clock):
    """`start_all` takes from it what was not fed, and may be called again."""
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a"), sleeper("b")], nursery)
        whole = message(called("b"), TextBlock(text="Hm."), called("a"))
        calls.start_all(whole)
        calls.start_all(whole)
        await calls.join()
    assert list(calls.calls) == ["toolu_b", "toolu_a"]
    assert texts(calls) == ["done", "done"]


async def test_a_runner_is_for_one_reply():
    """Results of two replies would not fit either."""
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([], nursery)
        calls.start_all(message(called("a")))
        with pytest.raises(RuntimeError, match="make another"):
            calls.start_all(message(called("b")))


async def test_a_cut_call_is_no_call():
    """It has no result, since it does not stay in the history."""
    cut = called("a", '{"x": ', incomplete=True)
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([], nursery)
        feed(calls, cut)
        calls.start_all(message(cut, stop_reason="max_tokens"))
        await calls.join()
    assert calls.results() == []


async def test_two_calls_with_one_id():
    """No result would say which of them it is for."""
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([], nursery)
        feed(calls, called("a", id="1"))
        with pytest.raises(ts.InvalidResponseError, match="two calls with one id"):
            feed(calls, called("b", id="1"))
        calls = ToolRunner([], nursery)
        with pytest.raises(ts.InvalidResponseError, match="two calls with one id"):
            calls.start_all(message(called("a", id="1"), called("b", id="1")))
        calls = ToolRunner([], nursery)
        with pytest.raises(ts.InvalidResponseError, match="without an id"):
            feed(calls, called("a", id=""))


# Order and slots


async def test_slots_go_by_the_order_of_the_reply(autojump_clock):
    """Whatever order Trio runs tasks in."""
    log: list[str] = []
    blocks = [called("a", id=str(number)) for number in range(6)]
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a", log=log)], nursery, max_concurrent_tools=2)
        calls.start_all(message(*blocks))
        await calls.join()
    starts = [line for line in log if "starts" in line]
    assert {*starts[:2]} == {"0 starts 0", "1 starts 0"}
    assert {*starts[2:4]} == {"2 starts 1", "3 starts 1"}
    assert {*starts[4:]} == {"4 starts 2", "5 starts 2"}


async def test_eager_calls_come_before_what_is_ready_later(autojump_clock):
    """A call that has waited for the end of the reply goes before later ones that have waited for a slot."""
    log: list[str] = []
    tools = [sleeper("a", log=log), sleeper("late", log=log, eager=False)]
    blocks = (called("a", id="1"), called("late", id="2"), called("a", id="3"), TextBlock(text="."))
    async with trio.open_nursery() as nursery:
        calls = ToolRunner(tools, nursery, max_concurrent_tools=1)
        feed(calls, *blocks)
        calls.start_all(message(*blocks))
        await calls.join()
    assert log[::2] == ["1 starts 0", "2 starts 1", "3 starts 2"]


async def test_exclusive_calls_are_alone(autojump_clock):
    """They wait for what runs, and nothing goes past them."""
    log: list[str] = []
    tools = [sleeper("a", log=log), sleeper("x", log=log, exclusive=True)]
    blocks = [called("a", id="1"), called("x", id="2"), called("a", id="3"), called("x", id="4")]
    async with trio.open_nursery() as nursery:
        calls = ToolRunner(tools, nursery)
        calls.start_all(message(*blocks))
        await calls.join()
    assert log == [
        *("1 starts 0", "1 ends 1", "2 starts 1", "2 ends 2"),
        *("3 starts 2", "3 ends 3", "4 starts 3", "4 ends 4"),
    ]


async def test_a_group_runs_one_by_one(autojump_clock):
    """In the order of the reply, and beside all other calls."""
    log: list[str] = []
    tools = [
        sleeper("a", log=log),
        sleeper("read", log=log, exclusive="files"),
        sleeper("write", log=log, exclusive="files"),
        sleeper("other", log=log, exclusive="net"),
    ]
    blocks = [called("write", id="1"), called("read", id="2"), called("a", id="3"), called("other", id="4")]
    async with trio.open_nursery() as nursery:
        calls = ToolRunner(tools, nursery)
        calls.start_all(message(*blocks))
        await calls.join()
    starts = [line for line in log if "starts" in line]
    assert sorted(starts) == ["1 starts 0", "2 starts 1", "3 starts 0", "4 starts 0"]


async def test_a_failure_ends_its_group(autojump_clock):
    """The later calls of it are not started; those of other groups and earlier ones are not touched."""
    tools = [
        sleeper("good", exclusive="files"),
        sleeper("bad", exclusive="files", result=ToolError("no space left")),
        sleeper("other", exclusive="net"),
        sleeper("alone", exclusive=True),
    ]
    names = ["good", "bad", "good", "other", "good", "alone"]
    blocks = [called(name, id=str(number)) for number, name in enumerate(names)]
    async with trio.open_nursery() as nursery:
        calls = ToolRunner(tools, nursery)
        calls.start_all(message(*blocks))
        await calls.join()
    not_started = "not started: an earlier call of its group, bad, failed."
    assert texts(calls) == ["done", "no space left", not_started, "done", not_started, "done"]
    assert trio.current_time() == 3


async def test_a_call_that_cannot_be_made_ends_its_group_too(autojump_clock):
    """Here its input is no JSON object."""
    blocks = [called("a", "[]", id="1"), called("a", id="2")]
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a", exclusive="files")], nursery)
        calls.start_all(message(*blocks))
        await calls.join()
    assert texts(calls) == [
        "not started: its input is not a JSON object.",
        "not started: an earlier call of its group, a, failed.",
    ]


# Timeouts


async def test_a_timeout_counts_from_the_start(autojump_clock):
    """Neither waiting for approval nor waiting for a slot counts."""

    async def approve(call: ToolCall) -> bool:
        await trio.sleep(100)
        return True

    blocks = [called("a", id="1"), called("a", id="2")]
    async with trio.open_nursery() as nursery:
        calls = ToolRunner(
            [sleeper("a", seconds=4, timeout=5, approve=True)], nursery, max_concurrent_tools=1, approve=approve
        )
        calls.start_all(message(*blocks))
        await calls.join()
    assert texts(calls) == ["done", "done"]
    assert trio.current_time() == 204


async def test_of_four_calls_one_raises_and_one_is_late(autojump_clock):
    """Four results, two of them errors, after the longest (claude-code#64346)."""
    tools = [
        sleeper("a"),
        sleeper("bad", result=ValueError("no such thing")),
        sleeper("slow", seconds=60, timeout=2),
        sleeper("b", seconds=3),
    ]
    async with trio.open_nursery() as nursery:
        calls = ToolRunner(tools, nursery)
        calls.start_all(message(called("a"), called("bad"), called("slow"), called("b")))
        await calls.join()
    late = f"stopped: it had not ended after 2 seconds. {UNKNOWN}"
    assert texts(calls) == ["done", "ValueError: no such thing", late, "done"]
    assert errors(calls) == [False, True, True, False]
    assert trio.current_time() == 3


# Stopping


async def test_stop_answers_everything(autojump_clock):
    """What runs is stopped, what waits is not started, what has ended keeps its result; the first reason counts."""
    tools = [sleeper("short"), sleeper("long", seconds=100), sleeper("asked", approve=True)]
    blocks = [called("short"), called("long", id="1"), called("long", id="2"), called("asked")]
    async with trio.open_nursery() as nursery:
        calls = ToolRunner(tools, nursery, max_concurrent_tools=2, approve="ask", emit=Events().append)
        calls.start_all(message(*blocks))
        await trio.sleep(0.5)
        assert [call.state.name for call in calls.calls.values()] == ["RUNNING", "RUNNING", "READY", "ASKING"]
        await trio.sleep(1)
        calls.stop("the user pressed Esc")
        calls.stop("something else")
        expected = [
            "done",
            f"stopped while it was running: the user pressed Esc. {UNKNOWN}",
            f"stopped while it was running: the user pressed Esc. {UNKNOWN}",
            "not started: the user pressed Esc.",
        ]
        assert texts(calls) == expected
        await calls.join()
        assert texts(calls) == expected
        assert trio.current_time() == 1.5
        assert [call.state.name for call in calls.calls.values()] == ["DONE", "STOPPED", "STOPPED", "NOT_STARTED"]


async def test_nothing_starts_after_stop(autojump_clock):
    """Calls of which the reply tells afterwards are answered at once."""
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a")], nursery)
        feed(calls, called("a", id="1"))
        calls.stop("enough")
        calls.stop("more than enough")
        feed(calls, called("a", id="2"), TextBlock(text="."))
        calls.start_all(message(called("a", id="1"), called("a", id="2"), called("a", id="3")))
        await calls.join()
    assert texts(calls) == ["not started: enough."] * 3


async def test_one_call_is_cancelled(autojump_clock):
    """The others go on."""
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a", seconds=2), sleeper("b", seconds=3)], nursery, max_concurrent_tools=2)
        calls.start_all(message(called("a"), called("b"), called("a", id="3"), called("b", id="4")))
        await trio.sleep(1)
        calls.calls["toolu_a"].cancel("not needed")
        calls.calls["toolu_a"].cancel("asked twice")
        calls.calls["4"].cancel()
        await calls.join()
        calls.calls["toolu_b"].cancel("too late")
    assert texts(calls) == [
        f"stopped while it was running: not needed. {UNKNOWN}",
        "done",
        "done",
        "not started: the call was cancelled.",
    ]
    assert trio.current_time() == 3


async def test_a_call_is_cancelled_before_its_first_step(autojump_clock):
    """Not one line of the tool runs."""
    log: list[str] = []
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a", log=log)], nursery)
        calls.start_all(message(called("a")))
        calls.stop("at once")
        await calls.join()
    assert log == []
    assert texts(calls) == ["not started: at once."]


async def test_the_nursery_is_cancelled(autojump_clock):
    """Every call has a result with the reason, also those that had no task yet, and the cancellation goes on."""
    async with trio.open_nursery() as outer:
        async with trio.open_nursery() as nursery:
            calls = ToolRunner(
                [sleeper("a"), sleeper("b", approve=True)],
                nursery,
                max_concurrent_tools=1,
                approve="ask",
                emit=Events().append,
            )
            calls.start_all(message(called("a", id="1"), called("a", id="2"), called("b")))
            await trio.sleep(0.5)
            nursery.cancel_scope.cancel(reason="the view was closed")
        assert nursery.cancel_scope.cancelled_caught
        outer.cancel_scope.cancel(reason="the end of this test")
    assert texts(calls) == [
        f"stopped while it was running: the view was closed. {UNKNOWN}",
        "not started: the view was closed.",
        "not started: the view was closed.",
    ]


async def test_words_of_trio_go_to_nobody(autojump_clock):
    """They hold the exception of another task, which may be anything, and the address of the task."""

    async def fail() -> None:
        await trio.sleep(0.5)
        raise RuntimeError("a secret")

    with pytest.raises(ExceptionGroup):
        async with trio.open_nursery() as nursery:
            calls = ToolRunner([sleeper("a"), sleeper("b", on_cancel="finish", timeout=9, grace=0.1)], nursery)
            calls.start_all(message(called("a"), called("b")))
            nursery.start_soon(fail)
    assert texts(calls) == [f"stopped while it was running: it was cancelled. {UNKNOWN}"] * 2


async def test_a_finishing_call_holds_no_result_back(autojump_clock):
    """In its grace the others are told why they were not started."""
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([finisher([], 3)], nursery, max_concurrent_tools=1)
        calls.start_all(message(called("a", id="1"), called("a", id="2")))
        nursery.start_soon(check_soon := Checks(calls, 2))
        await trio.sleep(1)
        nursery.cancel_scope.cancel(reason="Esc")
    assert check_soon.seen == [f"stopped while it was running: Esc. {UNKNOWN}", "not started: Esc."]
    assert texts(calls) == ["done", "not started: Esc."]


class Checks:
    """Looks at the results at a time, whatever is cancelled."""

    def __init__(self, calls: ToolRunner, at: float) -> None:
        self.calls = calls
        self.at = at
        self.seen: list[Any] = []

    async def __call__(self) -> None:
        with trio.CancelScope(shield=True, deadline=self.at):
            await trio.sleep_forever()
        self.seen = texts(self.calls)


async def test_a_call_begins_with_the_context_of_the_runner(autojump_clock):
    """Not with that of the call whose end made room for it."""
    variable = contextvars.ContextVar("variable", default="of the runner")
    seen: list[str] = []

    async def function() -> None:
        seen.append(variable.get())
        variable.set("of a call")

    async with trio.open_nursery() as nursery:
        calls = ToolRunner([a_tool("x", function)], nursery, max_concurrent_tools=1)
        calls.start_all(message(*[called("x", id=str(number)) for number in range(3)]))
        await calls.join()
    assert seen == ["of the runner"] * 3


async def test_a_cancellation_finds_only_a_question(autojump_clock):
    """With no call running, whoever waits for the answer tells of it."""
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("b", approve=True)], nursery, approve="ask", emit=Events().append)
        calls.start_all(message(called("b")))
        await settle()
        nursery.cancel_scope.cancel()
    assert texts(calls) == ["not started: it was cancelled."]


async def test_join_is_cancelled(autojump_clock):
    """The calls go on."""
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a", seconds=5)], nursery)
        calls.start_all(message(called("a")))
        with trio.move_on_after(1) as scope:
            await calls.join()
        assert scope.cancelled_caught
        await calls.join()
    assert texts(calls) == ["done"]


# Finishing


def finisher(log: list[str], seconds: float, **options: Any) -> Tool:
    return sleeper("a", seconds, log=log, on_cancel="finish", **{"timeout": 60, **options})


@pytest.mark.parametrize("by", ["stop", "call", "nursery"])
async def test_a_call_finishes(autojump_clock, by):
    """It goes on, shielded, for its grace, and its real result is kept."""
    log: list[str] = []
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([finisher(log, 4), sleeper("b", seconds=50)], nursery)
        calls.start_all(message(called("a"), called("b")))
        await trio.sleep(1)
        if by == "stop":
            calls.stop("Esc")
        elif by == "call":
            calls.calls["toolu_a"].cancel("Esc")
            calls.calls["toolu_b"].cancel("Esc")
        else:
            nursery.cancel_scope.cancel(reason="Esc")
        if by != "nursery":
            await settle()
            assert texts(calls) == [f"stopped while it was running: Esc. {UNKNOWN}"] * 2
    assert log == ["a starts 0", "a ends 4"]
    assert texts(calls) == ["done", f"stopped while it was running: Esc. {UNKNOWN}"]


@pytest.mark.parametrize(("options", "end"), [({}, 6), ({"grace": 2}, 3), ({"timeout": 4}, 4)])
@pytest.mark.parametrize("by", ["stop", "nursery"])
async def test_a_call_does_not_finish_in_its_grace(autojump_clock, by, options, end):
    """Then it is stopped like any other; its timeout holds too."""
    log: list[str] = []
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([finisher(log, 50, **options)], nursery)
        calls.start_all(message(called("a")))
        await trio.sleep(1)
        if by == "stop":
            calls.stop("Esc")
        else:
            nursery.cancel_scope.cancel(reason="Esc")
    assert trio.current_time() == end
    assert texts(calls) == [f"stopped while it was running: Esc. {UNKNOWN}"]


async def test_a_call_that_may_finish_is_late(autojump_clock):
    """Without a cancellation there is its timeout only."""
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([finisher([], 50, timeout=3)], nursery)
        calls.start_all(message(called("a")))
        await calls.join()
    assert texts(calls) == [f"stopped: it had not ended after 3 seconds. {UNKNOWN}"]
    assert trio.current_time() == 3


async def test_a_call_that_may_finish_fails(autojump_clock):
    """The failure is its real result, in the grace too."""
    tool = sleeper("a", 2, result=ValueError("no"), on_cancel="finish", timeout=60)
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([tool], nursery)
        calls.start_all(message(called("a", id="1"), called("a", id="2")))
        await trio.sleep(1)
        calls.calls["1"].cancel("Esc")
        await calls.join()
    assert texts(calls) == ["ValueError: no"] * 2


# What tools raise


async def test_nothing_that_a_tool_raises_touches_its_siblings(autojump_clock, caplog):
    """A group of one is what is in it."""

    async def bad() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worse)

    async def worse() -> None:
        raise KeyError("in a nursery")

    async with trio.open_nursery() as nursery:
        calls = ToolRunner([a_tool("bad", bad), sleeper("a")], nursery)
        calls.start_all(message(called("bad"), called("a")))
        await calls.join()
    assert texts(calls) == ["KeyError: 'in a nursery'", "done"]
    assert "the tool bad failed (call toolu_bad)" in caplog.text


async def test_a_tool_raises_a_cancelled_of_its_own(autojump_clock):
    """Its scope has ended, so nobody is there to catch it: it is a failure like any other."""

    async def strange() -> None:
        kept: list[BaseException] = []
        with trio.CancelScope() as scope:
            scope.cancel(reason="to have one")
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled as exc:
                kept.append(exc)
                raise
        raise kept[0]

    async def in_a_group() -> None:
        try:
            await strange()
        except trio.Cancelled as exc:
            raise BaseExceptionGroup("two", [exc, ValueError("beside it")]) from None

    async def only_in_a_group() -> None:
        try:
            await strange()
        except trio.Cancelled as exc:
            raise BaseExceptionGroup("one", [exc]) from None

    async with trio.open_nursery() as nursery:
        tools = [a_tool("x", strange), a_tool("y", in_a_group), a_tool("z", only_in_a_group), sleeper("a")]
        calls = ToolRunner(tools, nursery)
        calls.start_all(message(called("x"), called("y"), called("z"), called("a")))
        await calls.join()
    first, second, third, fourth = texts(calls)
    assert first.startswith("Cancelled: ")
    assert second == "ValueError: beside it"
    assert third.startswith("Cancelled: ")
    assert fourth == "done"


@pytest.mark.parametrize("by", ["call", "nursery", "timeout"])
@pytest.mark.parametrize("grouped", [True, False])
async def test_a_tool_fails_while_it_is_cancelled(autojump_clock, caplog, by, grouped):
    """The failure is logged, and only the cancellation goes on: nobody takes it for a failure of the program."""

    async def fail() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("the clean-up failed")

    async def bad() -> None:
        if not grouped:
            await fail()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            nursery.start_soon(trio.sleep_forever)

    timeout = 1 if by == "timeout" else None
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([a_tool("bad", bad, timeout=timeout), sleeper("a", 2)], nursery)
        calls.start_all(message(called("bad"), called("a")))
        await trio.sleep(1)
        if by == "call":
            calls.calls["toolu_bad"].cancel("Esc")
        elif by == "nursery":
            nursery.cancel_scope.cancel(reason="Esc")
    expected = {
        "timeout": [f"stopped: it had not ended after 1 seconds. {UNKNOWN}", "done"],
        "call": [f"stopped while it was running: Esc. {UNKNOWN}", "done"],
        "nursery": [f"stopped while it was running: Esc. {UNKNOWN}"] * 2,
    }
    assert texts(calls) == expected[by]
    assert "the tool bad failed while it was being cancelled" in caplog.text
    assert "the clean-up failed" in caplog.text


async def test_a_tool_is_cancelled_in_many_places(autojump_clock, caplog):
    """A group of nothing but `Cancelled` is a cancellation like any other."""

    async def twice() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as exc:
            raise BaseExceptionGroup("two", [BaseExceptionGroup("one", [exc]), exc]) from None

    async with trio.open_nursery() as nursery:
        calls = ToolRunner([a_tool("x", twice)], nursery)
        calls.start_all(message(called("x")))
        await trio.sleep(1)
        calls.stop("Esc")
        await calls.join()
    assert texts(calls) == [f"stopped while it was running: Esc. {UNKNOWN}"]
    assert caplog.text == ""


async def test_what_a_tool_says_while_it_is_stopped_counts(autojump_clock):
    """A result, or a `ToolError`, that comes all the same is its own."""

    async def returns() -> str:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
            await trio.sleep(3)
        return "it could not be interrupted"

    async def raises() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise ToolError("rolled back") from None

    async with trio.open_nursery() as nursery:
        calls = ToolRunner([a_tool("x", raises), a_tool("y", returns)], nursery)
        calls.start_all(message(called("x"), called("y")))
        await trio.sleep(1)
        calls.stop("Esc")
        await calls.join()
    assert texts(calls) == ["rolled back", "it could not be interrupted"]
    assert errors(calls) == [True, False]


async def test_an_interrupt_of_the_program_goes_on(autojump_clock):
    """`KeyboardInterrupt` is no result of a tool, alone or in a group."""

    async def interrupted() -> None:
        raise KeyboardInterrupt

    async def in_a_group() -> None:
        raise BaseExceptionGroup("two", [KeyboardInterrupt(), ValueError()])

    for function in (interrupted, in_a_group):
        with pytest.raises(BaseExceptionGroup) as caught:
            async with trio.open_nursery() as nursery:
                calls = ToolRunner([a_tool("x", function)], nursery)
                calls.start_all(message(called("x")))
        assert caught.value.split(KeyboardInterrupt)[0] is not None
        name = "KeyboardInterrupt" if function is interrupted else "BaseExceptionGroup"
        assert texts(calls) == [f"stopped while it was running: {name}. {UNKNOWN}"]


async def test_a_tool_ends_the_run(autojump_clock):
    """The result is its own, the calls beside it run to their ends, and the runner says so."""

    async def final() -> None:
        raise StopRun({"answer": 42})

    async with trio.open_nursery() as nursery:
        calls = ToolRunner([a_tool("final", final), sleeper("a")], nursery)
        calls.start_all(message(called("final"), called("a")))
        assert not calls.ends_run
        await calls.join()
    assert texts(calls) == ['{"answer":42}', "done"]
    assert errors(calls) == [False, False]
    assert calls.ends_run


# Before a call starts


async def test_what_comes_before_a_call(autojump_clock):
    """It is awaited when it is the call's turn, and meanwhile the call is told of as one that runs."""
    seen: list[Any] = []

    async def before(call: ToolCall) -> str | None:
        await trio.sleep(1)
        seen.append((call.id, call.state.name, texts(calls)[call.index]))
        return "the budget is used up" if call.id == "2" else None

    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a")], nursery, max_concurrent_tools=1, before_start=before)
        calls.start_all(message(called("a", id="1"), called("a", id="2"), called("a", id="3")))
        await trio.sleep(3.5)
        calls.stop("Esc")
        await calls.join()
    assert seen == [
        (call_id, "STARTING", f"stopped while it was running: the program ended. {UNKNOWN}") for call_id in ("1", "2")
    ]
    assert texts(calls) == ["done", "not started: the budget is used up.", "not started: Esc."]


async def test_what_comes_before_a_call_stops_it(autojump_clock):
    """Not one line of the tool runs after that, though nothing has waited since."""
    log: list[str] = []

    async def before(call: ToolCall) -> None:
        call.cancel("on second thoughts")

    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a", log=log)], nursery, before_start=before)
        calls.start_all(message(called("a")))
        await calls.join()
    assert log == []
    assert texts(calls) == ["not started: on second thoughts."]


async def test_what_comes_before_a_call_fails(autojump_clock):
    """The call is not started, and the failure goes on: it is the program's."""

    async def before(call: ToolCall) -> None:
        raise OSError("the disk is full")

    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            calls = ToolRunner([sleeper("a")], nursery, max_concurrent_tools=1, before_start=before)
            calls.start_all(message(called("a", id="1"), called("a", id="2")))
    assert isinstance(caught.value.exceptions[0], OSError)
    assert texts(calls) == ["not started: what has to come before it failed.", "not started: it was cancelled."]


async def test_a_thousand_calls_beyond_the_limit(autojump_clock):
    """They are answered one after the other, and not each within the one before."""
    blocks = [called("a", id=str(number)) for number in range(2_000)]
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a")], nursery, meter=Meter(tool_calls=2), max_concurrent_tools=1)
        calls.start_all(message(*blocks))
        await calls.join()
    assert texts(calls) == ["done"] * 2 + ["not started: the budget is used up: 2 of 2 tool calls."] * 1_998


async def test_a_nursery_that_is_closed():
    """A call cannot start there. That is a mistake of the program, and the call is told of as not started."""
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a")], nursery)
    with pytest.raises(RuntimeError, match="closed"):
        calls.start_all(message(called("a")))
    assert texts(calls) == [NOT_YET]


# Events


async def test_events(autojump_clock):
    """A start and a stop for each call that runs, a stop for each that does not, and what the tools tell."""
    events, meter = Events(), Meter()

    async def call(arguments: dict[str, Any], ctx: ToolContext) -> str:
        assert (ctx.name, ctx.meter) == ("a", meter)
        ctx.progress(0.5)
        ctx.bubble(events[0])
        return "done"

    tool = Tool(definition={"name": "a", "input_schema": {}}, call=call)
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([tool], nursery, emit=events.append, meter=meter)
        calls.start_all(message(called("a", {"x": 1}), called("b")))
        await calls.join()
    assert events.told() == ["tool_stop b", "tool_start a", "tool_progress a", "nested a", "tool_stop a"]
    unknown, start, progress, nested, stop = events
    assert isinstance(unknown, ToolStopEvent)
    assert unknown.is_error
    assert unknown.result["content"] == "there is no tool 'b'."
    assert isinstance(start, ToolStartEvent)
    assert start.input == {"x": 1}
    assert isinstance(progress, ToolProgressEvent)
    assert progress.progress == 0.5
    assert isinstance(nested, NestedEvent)
    assert nested.event is unknown
    assert isinstance(stop, ToolStopEvent)
    assert not stop.is_error
    assert stop.result == {"type": "tool_result", "tool_use_id": "toolu_a", "content": "done"}


@pytest.mark.parametrize(
    "options", [{"max_concurrent_tools": 0}, {"approval_timeout": 0}, {"approval_timeout": float("nan")}]
)
async def test_options_out_of_range(options):
    """Said at once."""
    async with trio.open_nursery() as nursery:
        with pytest.raises(ValueError, match=next(iter(options))):
            ToolRunner([], nursery, **options)
