"""Asking whether a call may run: who is asked, in which order, and what an answer means."""

from __future__ import annotations

import pytest
import trio

from tests.agent.replies import Events, called, errors, message, sleeper, texts
from trio_stream.agent import ApprovalEvent, NestedEvent, Tool, ToolCall, ToolContext, ToolRunner, ToolStopEvent

NOBODY = "not started: it needs approval, and nobody is there to give it."


def questions(events: Events) -> list[ApprovalEvent]:
    return [event for event in events if isinstance(event, ApprovalEvent)]


async def test_nobody_is_there(autojump_clock):
    """Then a call that needs approval is denied, and no other."""
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a", approve=True), sleeper("b")], nursery)
        calls.start_all(message(called("a"), called("b")))
        await calls.join()
    assert texts(calls) == [NOBODY, "done"]
    assert errors(calls) == [True, False]


async def test_nobody_reads_the_events(autojump_clock):
    """Then there is nobody to be asked either, by this runner or by an agent within a tool."""

    async def has_it_asked(ctx: ToolContext) -> str:
        answers: list[str | None] = []
        ctx.bubble(NestedEvent(id="x", name="x", event=asking(answers)))
        return str(answers)

    tools = [sleeper("a", approve=True), Tool(has_it_asked, name="b")]
    async with trio.open_nursery() as nursery:
        calls = ToolRunner(tools, nursery, approve="ask")
        calls.start_all(message(called("a"), called("b")))
        await calls.join()
    assert texts(calls) == [NOBODY, "['it needs approval, and nobody is there to give it']"]


def asking(answers: list[str | None]) -> ApprovalEvent:
    return ApprovalEvent(id="y", name="y", input={}, answer=answers.append)


async def test_the_tool_says_which_calls_need_it(autojump_clock, caplog):
    """If that cannot be found out, the call needs it."""

    def risky(call: ToolCall) -> bool:
        return call.input["amount"] > 10

    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("pay", approve=risky)], nursery)
        amounts = [{"amount": 5}, {"amount": 50}, {}]
        calls.start_all(message(*[called("pay", given, id=str(number)) for number, given in enumerate(amounts)]))
        await calls.join()
    assert texts(calls) == ["done", NOBODY, NOBODY]
    assert "whether pay needs approval could not be found out" in caplog.text


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (True, "done"),
        (False, "not started: it was not approved."),
        (None, "not started: it was not approved."),
        ("yes", "not started: yes."),
        ("It is too late.", "not started: It is too late."),
        ("", "not started: no reason was given."),
    ],
)
async def test_a_function_answers(autojump_clock, answer, told):
    """True alone is a yes; a text is the reason for a no."""

    async def approve(call: ToolCall) -> bool | str:
        return answer

    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a", approve=True)], nursery, approve=approve)
        calls.start_all(message(called("a")))
        await calls.join()
    assert texts(calls) == [told]


async def test_a_function_fails(autojump_clock, caplog):
    """An error is no permission. It is logged, and nothing else is touched."""

    async def approve(call: ToolCall) -> bool:
        raise OSError("no terminal")

    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a", approve=True), sleeper("b")], nursery, approve=approve)
        calls.start_all(message(called("a"), called("b")))
        await calls.join()
    assert texts(calls) == ["not started: asking for approval failed.", "done"]
    assert "no terminal" in caplog.text


async def test_a_function_is_asked_one_by_one(autojump_clock):
    """In the order of the reply, as behind it is often a person at one terminal; other calls go on meanwhile."""
    log: list[str] = []

    async def approve(call: ToolCall) -> bool:
        log.append(f"{call.id} asked {trio.current_time():g}")
        await trio.sleep(2)
        return True

    tools = [sleeper("a", log=log, approve=True), sleeper("b", log=log)]
    async with trio.open_nursery() as nursery:
        calls = ToolRunner(tools, nursery, approve=approve, max_concurrent_tools=1)
        calls.start_all(message(called("a", id="1"), called("a", id="2"), called("b", id="3")))
        await calls.join()
    assert sorted(log) == sorted(
        [
            *("1 asked 0", "1 starts 2", "1 ends 3"),
            *("2 asked 2", "2 starts 4", "2 ends 5"),
            *("3 starts 0", "3 ends 1"),
        ]
    )


async def test_a_call_is_cancelled_while_a_function_is_asked(autojump_clock):
    """The function is cancelled, and the next call is asked about."""
    log: list[str] = []

    async def approve(call: ToolCall) -> bool:
        log.append(call.id)
        try:
            await trio.sleep(5)
        except trio.Cancelled:
            log.append(f"{call.id} cancelled")
            raise
        return True

    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a", approve=True)], nursery, approve=approve)
        calls.start_all(message(called("a", id="1"), called("a", id="2"), called("a", id="3")))
        await trio.sleep(1)
        calls.calls["2"].cancel("not needed")
        calls.calls["1"].cancel("nor this")
        await calls.join()
    assert log == ["1", "1 cancelled", "3"]
    assert texts(calls) == ["not started: nor this.", "not started: not needed.", "done"]
    assert trio.current_time() == 7


async def test_a_function_takes_too_long(autojump_clock):
    """The bound is for each call by itself."""

    async def approve(call: ToolCall) -> bool:
        await trio.sleep(6 if call.id == "1" else 4)
        return True

    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a", approve=True)], nursery, approve=approve, approval_timeout=5)
        calls.start_all(message(called("a", id="1"), called("a", id="2")))
        await calls.join()
    assert texts(calls) == ["not started: it was not approved within 5 seconds.", "done"]


async def test_events_ask_in_the_order_of_the_reply(autojump_clock):
    """All at once, to be answered in any order; each call runs as soon as it may."""
    events = Events()
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a", approve=True)], nursery, approve="ask", emit=events.append)
        calls.start_all(message(*[called("a", {"n": n}, id=str(n)) for n in range(3)]))
        first, second, third = questions(events)
        assert [(event.id, event.name, event.input) for event in (first, second, third)] == [
            (str(n), "a", {"n": n}) for n in range(3)
        ]
        third.allow()
        await trio.sleep(2)
        assert calls.calls["2"].has_ended
        assert not calls.calls["0"].has_ended
        second.deny("not that one")
        first.deny()
        await calls.join()
    assert texts(calls) == ["not started: the user said no.", "not started: not that one.", "done"]


async def test_a_question_is_answered_once(autojump_clock):
    """A second answer is an error of the program; one that comes too late does nothing."""
    events = Events()
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([sleeper("a", approve=True)], nursery, approve="ask", emit=events.append)
        calls.start_all(message(called("a", id="1"), called("a", id="2")))
        first, second = questions(events)
        first.allow()
        with pytest.raises(RuntimeError, match="answered already"):
            first.deny()
        calls.calls["2"].cancel("not needed")
        second.allow()
        await calls.join()
    second_answer = pytest.raises(RuntimeError, match="answered already")
    with second_answer:
        second.deny()
    assert texts(calls) == ["done", "not started: not needed."]


async def test_nobody_answers(autojump_clock):
    """After the bound, that is a no for all that are open."""
    events = Events()
    async with trio.open_nursery() as nursery:
        calls = ToolRunner(
            [sleeper("a", 30, approve=True)], nursery, approve="ask", approval_timeout=10, emit=events.append
        )
        calls.start_all(message(called("a", id="1"), called("a", id="2"), called("a", id="3")))
        await trio.sleep(5)
        questions(events)[1].allow()
        await calls.join()
    late = "not started: it was not approved within 10 seconds."
    assert texts(calls) == [late, "done", late]
    assert [event.id for event in events if isinstance(event, ToolStopEvent)] == ["1", "3", "2"]


async def test_an_exclusive_call_that_is_asked_about_keeps_back_its_kind_only(autojump_clock):
    """Later exclusive calls wait for the answer, as they run in the order of the reply; all others go on."""
    events = Events()
    log: list[str] = []
    tools = [
        sleeper("x", log=log, exclusive=True, approve=lambda call: call.id == "1"),
        sleeper("g", log=log, exclusive="g", approve=lambda call: call.id == "3"),
        sleeper("a", log=log),
    ]
    blocks = [called(name, id=str(n)) for n, name in enumerate(("x", "x", "g", "g", "a"), start=1)]
    async with trio.open_nursery() as nursery:
        calls = ToolRunner(tools, nursery, approve="ask", emit=events.append)
        calls.start_all(message(*blocks))
        await trio.sleep(10)
        assert log == ["5 starts 0", "5 ends 1"]
        first, third = questions(events)
        third.deny("no")
        await trio.sleep(5)
        assert log == ["5 starts 0", "5 ends 1"]
        first.allow()
        await calls.join()
    assert log[2:] == ["1 starts 15", "1 ends 16", "2 starts 16", "2 ends 17"]
    assert texts(calls)[2:4] == ["not started: no.", "not started: an earlier call of its group, g, failed."]
