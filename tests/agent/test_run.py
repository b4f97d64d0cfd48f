"""One run: how it ends, what is said to it, and which exception leaves its block."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import trio

import trio_stream as ts
from tests.agent.talking import conversation, of_type, read, results_in, sent, wait
from trio_stream import agent
from trio_stream.testing import ScriptedAPI, block, call, disconnect, fail, http_error, pause, say, server_tool, stop

SEARCHED = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
WEB_SEARCH = {"type": "web_search_20260209", "name": "web_search"}


async def test_events_of_a_run_in_their_order(autojump_clock):
    """Turns are around their streams, and calls are told with their results."""
    api = ScriptedAPI([say("Now. "), call("wait", {"seconds": 1}, id="a")], [say("Done.")])
    chat = conversation(api, wait)
    async with chat.run("go") as run:
        events = await read(run)
    kinds = [event.type for event in events if isinstance(event, agent.AgentEvent)]
    assert kinds == ["turn_start", "tool_start", "tool_stop", "turn_stop", "turn_start", "turn_stop"]
    start, stopped = of_type(events, agent.ToolStartEvent)[0], of_type(events, agent.ToolStopEvent)[0]
    assert (start.id, start.name, start.input) == ("a", "wait", {"seconds": 1})
    assert (stopped.is_error, stopped.result["content"]) == (False, "waited 1")
    first, last = of_type(events, agent.TurnStopEvent)
    assert first.results == [stopped.result]
    assert last.message.text == "Done."
    assert run.message is last.message
    assert (run.outcome, run.reason, run.turns, run.first_message) == ("completed", None, 2, 0)
    assert repr(run) == "<Run: completed, 2 turns>"
    assert "".join(event.text for event in of_type(events, ts.TextEvent)) == "Now. Done."


async def test_idle_text_waits_until_no_call_is_left(autojump_clock):
    """ "next" goes with the next request, "idle" begins a turn of its own."""
    api = ScriptedAPI([call("wait", {"seconds": 1})], [say("Done.")], [say("Fine.")])
    chat = conversation(api, wait)
    async with chat.run("go") as run:
        async for event in run:
            if isinstance(event, agent.ToolStartEvent):
                assert run.say("later", when="idle")
                assert run.unsaid == ["later"]
                assert run.say("soon")
    assert [message["content"] for message in sent(api, 1)[3:]] == ["soon"]
    assert [message["content"] for message in sent(api, 2)[5:]] == ["later"]
    assert run.unsaid == []


async def test_now_stops_the_reply_and_its_calls(autojump_clock):
    """What is kept is kept, stream events that nobody took are gone, and the model goes on with the text."""
    api = ScriptedAPI(
        [say("A long "), call("wait", {"seconds": 9}), say("story ", ttft=1), pause(60), say("more")], [say("Fine.")]
    )
    chat = conversation(api, wait)
    async with chat.run("go") as run:
        await trio.sleep(2)
        run.say("stop that", when="now")
        events = await read(run)
    assert run.outcome == "completed"
    assert trio.current_time() == 2
    texts = [event.text for event in of_type(events, ts.TextEvent)]
    assert texts == ["Fine."]
    _, reply, results, text, _ = chat.messages
    assert [part["type"] for part in reply["content"]] == ["text", "tool_use", "text"]
    assert results_in(results) == [
        "stopped while it was running: the user said something. Whether it had effects is not known."
    ]
    assert text["content"] == "stop that"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"type": "text", "text": object()}, TypeError),
        ("a\ud800b", ValueError),
        ({"type": "text", "text": " "}, ValueError),
        ({"type": "tool_result", "tool_use_id": "x", "content": ""}, ValueError),
    ],
)
async def test_what_cannot_be_sent_cannot_be_said(autojump_clock, content, error):
    """It is refused at once, and neither the run nor what else was said is lost by it."""
    chat = conversation(ScriptedAPI([call("wait", {"seconds": 1})], [say("Done.")]), wait)
    with pytest.raises(error):
        chat.run(content)
    async with chat.run("go") as run:
        await trio.sleep(0.5)
        with pytest.raises(error):
            run.say(content)
        assert run.say("and hurry")
        await run.result()
    assert (run.outcome, chat.messages[3]["content"]) == ("completed", "and hurry")


async def test_what_was_said_is_nobody_elses(autojump_clock):
    """A block that the caller changes later was said as it was."""
    chat = conversation(ScriptedAPI([call("wait", {"seconds": 1})], [say("Done.")]), wait)
    block_of_text = {"type": "text", "text": "one"}
    async with chat.run("go") as run:
        await trio.sleep(0.5)
        run.say(block_of_text)
        block_of_text["text"] = "two"
        await run.result()
    assert chat.messages[3]["content"] == [{"type": "text", "text": "one"}]


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ({"approve": True}, TypeError),
        ({"approve": "always"}, TypeError),
        ({"approval_timeout": 0}, ValueError),
        ({"max_concurrent_tools": 0}, ValueError),
    ],
    ids=str,
)
async def test_options_are_looked_at_at_once(autojump_clock, option, error):
    """Rather than in the midst of a run: a run with ``approve=True`` would wait for an answer for ever."""
    chat = conversation(ScriptedAPI([say("Done.")]))
    with pytest.raises(error):
        chat.run("go", **option)
    async with trio.open_nursery() as nursery:
        with pytest.raises(error):
            agent.ToolRunner([], nursery, **option)
    assert chat.messages == []


def test_whom_a_sub_agent_asks_is_looked_at_at_once():
    """Rather than in its first call."""
    chat = conversation(ScriptedAPI())
    wrong: Any = True
    with pytest.raises(TypeError, match="approve"):
        chat.as_tool("helper", "Helps.", approve=wrong)


async def test_now_between_two_turns(autojump_clock):
    """Nothing is there to stop, and it goes with the next request; a second interrupt changes nothing."""

    async def save(chat: agent.Conversation) -> None:
        if run.turns == 1 and len(chat.messages) == 3 and not run.unsaid and chat._dialogue.turn is None:
            assert run.say("hurry", when="now")

    api = ScriptedAPI([call("wait", {"seconds": 1})], [say("Done.")])
    chat = conversation(api, wait)
    async with chat.run("go", save=save) as run:
        await run.result()
        run.interrupt("no effect")
    assert [message["role"] for message in sent(api, 1)] == ["user", "assistant", "user", "user"]
    assert run.outcome == "completed"


async def test_interrupt_between_two_turns(autojump_clock):
    """There is no other request."""

    async def save(chat: agent.Conversation) -> None:
        if len(chat.messages) == 3 and chat._dialogue.turn is None:
            run.interrupt("enough")

    chat = conversation(ScriptedAPI([call("wait", {"seconds": 1})]), wait)
    async with chat.run("go", save=save) as run:
        await read(run)
    assert (run.outcome, run.reason) == ("interrupted", "enough")
    assert results_in(chat.messages[2]) == ["waited 1"]


async def test_now_after_a_paused_reply(autojump_clock):
    """It is not resumed: its open call goes."""
    saving: list[Any] = []

    async def save(chat: agent.Conversation) -> None:
        if run.turns == 1 and not saving:
            saving.append(run.say("never mind", when="now"))

    api = ScriptedAPI([say("I look. "), server_tool("web_search", {"q": 1}), stop("pause_turn")], [say("Fine.")])
    chat = conversation(api, WEB_SEARCH)
    async with chat.run("go", save=save) as run:
        await run.result()
    assert chat.messages[1]["content"] == [{"type": "text", "text": "I look. "}]
    assert chat.messages[2]["content"] == "(The reply before this was interrupted.)\n\nnever mind"


async def test_a_paused_reply_is_sent_back_as_it_came(autojump_clock):
    """Nothing stands after it, and what was said waits for the next boundary."""
    api = ScriptedAPI(
        [server_tool("web_search", {"q": 1}, id="srvtoolu_1"), stop("pause_turn")],
        [block(SEARCHED), say("Found.", ttft=1)],
        [say("Fine.")],
    )
    chat = conversation(api, WEB_SEARCH)
    async with chat.run("go") as run:
        async for event in run:
            if isinstance(event, ts.MessageStopEvent) and event.message.stop_reason == "pause_turn":
                assert run.say("hurry")
    assert [message["role"] for message in sent(api, 1)] == ["user", "assistant"]
    assert sent(api, 1)[1]["content"] == [
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"q": 1}}
    ]
    assert [message["role"] for message in sent(api, 2)] == ["user", "assistant", "assistant", "user"]
    assert chat.messages[:4] == sent(api, 2)


async def test_resuming_that_is_refused(autojump_clock):
    """The paused reply counts as cut."""
    api = ScriptedAPI([say("I look. "), server_tool("web_search", {"q": 1}), stop("pause_turn")], [http_error(400)])
    chat = conversation(api, WEB_SEARCH)
    with pytest.raises(ts.BadRequestError):
        async with chat.run("go") as run:
            await read(run)
    assert chat.messages[1]["content"] == [{"type": "text", "text": "I look. "}]
    api.add([say("Fine.")])
    assert await chat.ask("go on") == "Fine."


async def test_what_is_said_too_late(autojump_clock):
    """Outside of the block, and after the end, `say` is False; what waits at an interrupt is in `unsaid`."""
    api = ScriptedAPI([call("wait", {"seconds": 1})])
    chat = conversation(api, wait)
    run = chat.run("go")
    assert not run.say("too early")
    async with run:
        await trio.sleep(0.5)
        assert run.say("soon")
        run.interrupt()
        assert not run.say("too late")
        await read(run)
    assert run.unsaid == ["soon"]
    assert not run.say("much too late")
    run.interrupt("no effect")
    assert run.reason == "interrupted"


@pytest.mark.parametrize(("content", "error"), [((), ValueError), ((" ",), ValueError), ((3,), TypeError)])
async def test_what_cannot_be_said(content, error, autojump_clock):
    """It is refused where it is said."""
    chat = conversation(ScriptedAPI())
    run = chat.run("go")
    with pytest.raises(error):
        run.say(*content)
    with pytest.raises(ValueError, match="when is"):
        run.say("x", when="never")  # type: ignore[arg-type]


async def test_blocks_can_be_said(autojump_clock):
    """Texts and blocks together are one message; the note stands before them."""
    api = ScriptedAPI([say("I am "), pause(9)], [say("Fine.")])
    chat = conversation(api)
    async with chat.run("go", {"type": "text", "text": "please"}) as run:
        await trio.sleep(1)
        run.interrupt()
    assert [part["text"] for part in chat.messages[0]["content"]] == ["go", "please"]
    await chat.ask("one", {"type": "text", "text": "two"})
    assert [part["text"] for part in chat.messages[2]["content"]] == [
        "(The reply before this was interrupted.)",
        "one",
        "two",
    ]


async def test_no_note(autojump_clock):
    """`interrupt_note=None` leaves the text as it is."""
    api = ScriptedAPI([say("I am "), pause(9)], [say("Fine.")])
    chat = conversation(api, interrupt_note=None)
    async with chat.run("go"):
        await trio.sleep(1)
    await chat.ask("go on")
    assert chat.messages[2]["content"] == "go on"


async def test_a_turn_that_fails_in_passing_is_asked_for_again(autojump_clock):
    """What it said is void, its usage is unknown, and its input is counted."""
    api = ScriptedAPI([say("I am "), disconnect()], [say("Done.")])
    chat = conversation(api)
    async with chat.run("go") as run:
        events = await read(run)
    assert [event.type for event in events if isinstance(event, agent.AgentEvent)] == [
        "turn_start",
        "turn_restart",
        "turn_stop",
    ]
    assert (run.outcome, run.turns, run.meter.requests) == ("completed", 1, 2)
    assert chat.messages[1:] == [{"role": "assistant", "content": [{"type": "text", "text": "Done."}]}]
    assert (chat.usage.replies, chat.usage.unknown_replies) == (1, 1)
    assert run.meter.output_tokens == chat.usage.output_tokens == 2


async def test_a_turn_with_a_whole_call_is_not_asked_for_again(autojump_clock):
    """The call may have had effects."""
    api = ScriptedAPI([call("wait", {"seconds": 9}), say("and "), pause(1), fail("overloaded_error")])
    chat = conversation(api, wait)
    with pytest.raises(ts.OverloadedError):
        async with chat.run("go") as run:
            await read(run)
    assert run.outcome == "failed"
    assert results_in(chat.messages[2]) == [
        "stopped while it was running: the reply was cut. Whether it had effects is not known."
    ]


async def test_interrupt_while_a_turn_waits_to_be_asked_for_again(autojump_clock):
    """The wait ends at once."""
    api = ScriptedAPI([say("I am "), disconnect()])
    chat = conversation(api)
    async with chat.run("go") as run:
        async for event in run:
            if isinstance(event, agent.TurnRestartEvent):
                run.interrupt()
    assert trio.current_time() == 0
    assert chat.messages == [{"role": "user", "content": "go"}]
    assert run.message is None


async def test_no_request_is_left_for_asking_again(autojump_clock):
    """The meter is looked at before that, too."""
    api = ScriptedAPI([say("I am "), disconnect()])
    chat = conversation(api)
    async with chat.run("go", meter=agent.Meter(requests=1)) as run:
        await read(run)
    assert run.outcome == "budget"


async def test_max_turns(autojump_clock):
    """The results of the last turn are kept, and the next run answers them."""
    api = ScriptedAPI([call("wait", {"seconds": 1})], [say("Done.")])
    chat = conversation(api, wait)
    async with chat.run("go", max_turns=1) as run:
        await read(run)
    assert (run.outcome, run.reason) == ("max_turns", "max_turns=1 was reached")
    assert results_in(chat.messages[2]) == ["waited 1"]
    async with chat.run() as run:
        assert (await run.result()).text == "Done."
    assert run.first_message == 3


async def test_a_budget_ends_runs_that_share_it(autojump_clock):
    """Requests are counted over all of them."""
    api = ScriptedAPI([say("Done.")])
    meter = agent.Meter(requests=1)
    chat = conversation(api)
    assert await chat.ask("go", meter=meter) == "Done."
    with pytest.raises(agent.RunStoppedError, match="budget") as caught:
        await chat.ask("more", meter=meter)
    assert caught.value.run.reason == "the budget is used up: 1 of 1 requests"


async def test_a_budget_of_calls(autojump_clock):
    """What is over it is not started, and the run ends with the results."""
    api = ScriptedAPI([call("wait", {"seconds": 1}), call("wait", {"seconds": 1})])
    chat = conversation(api, wait)
    async with chat.run("go", meter=agent.Meter(tool_calls=1)) as run:
        await read(run)
    assert run.outcome == "budget"
    assert results_in(chat.messages[2]) == [
        "waited 1",
        "not started: the budget is used up: 1 of 1 tool calls.",
    ]


async def test_a_refusal(autojump_clock):
    """Calls are stopped; the API wants the turn gone, and `fork` takes it away."""
    api = ScriptedAPI([say("Hello.")], [say("No. "), call("wait", {"seconds": 9}), stop("refusal")], [say("Fine.")])
    chat = conversation(api, wait)
    await chat.ask("hello")
    async with chat.run("something bad") as run:
        await read(run)
    assert (run.outcome, run.reason) == ("refused", "the model refused to go on")
    assert results_in(chat.messages[-1]) == ["not started: the model refused to go on."]
    chat = chat.fork(run.first_message)
    assert len(chat.messages) == 2
    assert await chat.ask("something good") == "Fine."


async def test_calls_that_run_end_when_the_reply_is_truncated(autojump_clock):
    """Others are not started."""
    api = ScriptedAPI(
        [call("wait", {"seconds": 3}), call("wait", {"seconds": 1}), say("x"), pause(1), stop("max_tokens")]
    )
    chat = conversation(api, wait)
    async with chat.run("go", max_concurrent_tools=1) as run:
        await read(run)
    assert run.outcome == "truncated"
    assert results_in(chat.messages[2]) == ["waited 3", "waited 1"]


async def test_stop_run(autojump_clock):
    """A tool ends the run after the results of its turn."""

    @agent.tool
    async def finish() -> str:
        """Finish."""
        raise agent.StopRun("finished")

    api = ScriptedAPI([call("finish"), call("wait", {"seconds": 1})])
    chat = conversation(api, wait, finish)
    async with chat.run("go") as run:
        await read(run)
    assert (run.outcome, run.reason) == ("completed", "a tool ended the run")
    assert results_in(chat.messages[2]) == ["finished", "waited 1"]


async def test_one_call_is_cancelled(autojump_clock):
    """Its siblings go on."""
    api = ScriptedAPI([call("wait", {"seconds": 1}, id="a"), call("wait", {"seconds": 2}, id="b")], [say("Done.")])
    chat = conversation(api, wait)
    async with chat.run("go") as run:
        async for event in run:
            if isinstance(event, agent.ToolStartEvent) and event.id == "a":
                run.calls["a"].cancel("not needed")
    assert results_in(chat.messages[2]) == [
        "stopped while it was running: not needed. Whether it had effects is not known.",
        "waited 2",
    ]
    assert set(run.calls) == {"a", "b"}


async def test_approval_is_denied_where_nobody_is(autojump_clock):
    """In `result`, also of events that wait, and within sub-agents."""

    @agent.tool(approve=True)
    async def remove(path: str) -> str:
        """Remove a file."""
        return f"removed {path}"

    denied = "not started: it needs approval, and nobody is there to give it."
    asks = [call("remove", {"path": "a"})]
    api = ScriptedAPI(asks, [say("Done.")], asks, [say("Done.")], [call("helper", {"prompt": "x"})], asks, [say("In.")])
    chat = conversation(api, remove)
    async with chat.run("go", approve="ask") as run:
        await run.result()
    assert results_in(chat.messages[2]) == [denied]
    async with chat.run("go", approve="ask") as run:
        await trio.sleep(1)  # the question waits in the queue
        assert await run.text() == "Done."
    assert results_in(chat.messages[6]) == [denied]
    api.add([say("Out.")])
    outer = conversation(api, chat.fork(0).as_tool("helper", "Helps."))
    assert await outer.ask("go", approve="ask") == "Out."
    assert denied in str(api.requests[-2].body)


async def test_a_child_fails(autojump_clock):
    """Its exception leaves the block, and what was under way is kept."""

    async def child() -> None:
        await trio.sleep(1)
        raise ValueError("child")

    api = ScriptedAPI([call("wait", {"seconds": 9})])
    chat = conversation(api, wait)
    with pytest.raises(ValueError, match="child"):
        async with chat.run("go") as run:
            run.nursery.start_soon(child)
            await read(run)
    assert (run.outcome, run.reason) == ("interrupted", "the block of the run was left with ValueError")
    (result,) = results_in(chat.messages[2])
    assert result.startswith("stopped while it was running: ")
    assert "child" not in result


async def test_the_body_fails(autojump_clock):
    """The same object leaves, and the tasks of the nursery are cancelled."""
    error = KeyError("body")
    api = ScriptedAPI([say("I am "), pause(9)])
    chat = conversation(api)
    with pytest.raises(KeyError) as caught:
        async with chat.run("go") as run:
            run.nursery.start_soon(trio.sleep_forever)
            await trio.sleep(1)
            raise error
    assert caught.value is error
    assert run.outcome == "interrupted"
    assert chat.messages[1]["content"] == [{"type": "text", "text": "I am "}]


async def test_both_fail(autojump_clock):
    """One group, the body's first."""

    async def child() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("child")

    chat = conversation(ScriptedAPI([say("I am "), pause(9)]))
    with pytest.RaisesGroup(KeyError, ValueError):
        async with chat.run("go") as run:
            run.nursery.start_soon(child)
            await trio.sleep(1)
            raise KeyError("body")


async def test_cancelled_from_outside(autojump_clock):
    """The outcome says so, and the next text goes on from what is kept."""
    api = ScriptedAPI([say("I am "), call("wait", {"seconds": 9}), say("not ")], [say("Fine.")])
    chat = conversation(api, wait)
    with trio.move_on_after(1) as scope:
        async with chat.run("go") as run:
            await read(run)
    assert scope.cancelled_caught
    assert run.outcome == "cancelled"
    assert len(results_in(chat.messages[2])) == 1
    assert await chat.ask("go on") == "Fine."


async def test_leaving_gives_a_tool_its_grace(autojump_clock):
    """Its real result is kept."""

    @agent.tool(timeout=9, on_cancel="finish", grace=5)
    async def pay() -> str:
        """Pay."""
        await trio.sleep(3)
        return "paid"

    chat = conversation(ScriptedAPI([call("pay")]), pay)
    async with chat.run("go") as run:
        await trio.sleep(1)
    assert trio.current_time() == 3
    assert run.outcome == "interrupted"
    assert results_in(chat.messages[2]) == ["paid"]


async def test_reading_waits_for_a_slow_reader(autojump_clock):
    """At most about 1,000 events wait."""
    api = ScriptedAPI([say("word " * 3000, tps=1000)])
    chat = conversation(api)
    async with chat.run("go") as run:
        await trio.sleep(60)
        assert len(run._queue._events) <= 1_002
        assert run.outcome is None
        texts = of_type(await read(run), ts.TextEvent)
    assert "".join(event.text for event in texts) == "word " * 3000


async def test_a_cancelled_anext_loses_nothing(autojump_clock):
    """Polling sees every event once."""
    api = ScriptedAPI([say("one two three four five", tps=1)])
    chat = conversation(api)
    events: list[Any] = []
    async with chat.run("go") as run:
        while True:
            with trio.move_on_after(0.3):
                try:
                    events.append(await anext(run))
                except StopAsyncIteration:
                    break
    assert "".join(event.text for event in of_type(events, ts.TextEvent)) == "one two three four five"


async def test_two_readers(autojump_clock):
    """The second one is refused."""
    chat = conversation(ScriptedAPI([pause(9), say("x")]))
    async with chat.run("go") as run:
        await anext(run)
        run.nursery.start_soon(run.__anext__)
        await trio.sleep(1)
        with pytest.raises(trio.BusyResourceError):
            await anext(run)


async def test_misuse(autojump_clock):
    """A run is entered once, and read within its block."""
    chat = conversation(ScriptedAPI([say("Done.")]))
    run = chat.run("go")
    with pytest.raises(RuntimeError, match="entered"):
        await anext(run)
    with pytest.raises(RuntimeError, match="entered"):
        await run.result()
    with pytest.raises(RuntimeError, match="entered"):
        _ = run.nursery
    with pytest.raises(RuntimeError, match="never entered"):
        await run.__aexit__(None, None, None)
    assert repr(run) == "<Run: not entered, 0 turns>"
    other = chat.run("go")
    async with run:
        with pytest.raises(RuntimeError, match="under way"):
            await other.__aenter__()
        with pytest.raises(RuntimeError, match="under way"):
            chat.run("more")
        await run.result()
    with pytest.raises(RuntimeError, match="entered before"):
        await run.__aenter__()


async def test_left_out_of_order(autojump_clock):
    """It is refused as for any nursery, and what the run had under way is stopped all the same."""
    chat = conversation(ScriptedAPI([say("I am "), pause(9)]))
    run = chat.run("go")
    await run.__aenter__()
    async with trio.open_nursery():
        await trio.sleep(1)
        with pytest.raises(RuntimeError, match="reverse order"):
            await run.__aexit__(None, None, None)
    await run.__aexit__(None, None, None)
    assert run.outcome == "interrupted"


async def test_a_request_that_cannot_be_made(autojump_clock):
    """Its error is raised where the events are read."""
    chat = conversation(ScriptedAPI(), temperature=1)
    with pytest.raises(ValueError, match="temperature"):
        async with chat.run("go") as run:
            await read(run)
    assert run.outcome == "failed"


async def test_two_calls_with_one_id(autojump_clock):
    """No results would fit them."""
    api = ScriptedAPI([call("wait", {"seconds": 1}, id="a"), call("wait", {"seconds": 1}, id="a")])
    chat = conversation(api, wait)
    with pytest.raises(ts.InvalidResponseError):
        async with chat.run("go") as run:
            await read(run)
    assert len(results_in(chat.messages[2])) == 1


async def test_a_forced_choice_goes_with_the_first_request(autojump_clock):
    """Otherwise the model would call tools for ever; the container goes with all later ones."""
    api = ScriptedAPI([call("wait", {"seconds": 1}), stop(container="c1")], [say("Done.")], [say("Fine.")])
    chat = conversation(api, wait, model="claude-sonnet-4-5")
    await chat.ask("go", tool_choice={"type": "any"}, container={"skills": []})
    bodies = [request.body for request in api.requests]
    assert [body.get("tool_choice") for body in bodies] == [{"type": "any"}, None]
    assert [body["container"] for body in bodies] == [{"skills": []}, {"id": "c1", "skills": []}]
    await chat.ask("more")
    assert api.requests[2].body["container"] == "c1"


async def test_calls_stay_one_by_one_after_a_forced_choice(autojump_clock):
    """The choice goes, and what it said of calls at once stays."""
    api = ScriptedAPI([call("wait", {"seconds": 1})], [say("Done.")])
    chat = conversation(api, wait, model="claude-sonnet-4-5")
    await chat.ask("go", tool_choice={"type": "any", "disable_parallel_tool_use": True})
    assert api.requests[1].body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


async def test_nothing_is_left_behind(autojump_clock):
    """No stream of the API is open after any end."""
    api = ScriptedAPI([say("I am "), call("wait", {"seconds": 9}), pause(60)])
    chat = conversation(api, wait)
    async with chat.run("go"):
        await trio.sleep(1)
    assert api.open_streams == 0
    gc.collect()


async def test_three_tools_beside_the_stream(autojump_clock):
    """Asked for within 0.9 s, each takes 1 s: all is done after 1.9 s, and not after 3.9."""
    calls = [call("wait", {"seconds": 1}, ttft=0.3) for _ in range(3)]
    api = ScriptedAPI(calls, [say("Done.")])
    assert await conversation(api, wait).ask("go") == "Done."
    assert trio.current_time() == pytest.approx(1.9)


async def test_interrupt_with_five_calls(autojump_clock):
    """It takes no time, whatever they do."""
    calls = [call("wait", {"seconds": 60}) for _ in range(5)]
    chat = conversation(ScriptedAPI([*calls, say("and")]), wait)
    async with chat.run("go") as run:
        await trio.sleep(1)
        run.interrupt()
        await read(run)
    assert trio.current_time() == 1
    assert len(results_in(chat.messages[2])) == 5
