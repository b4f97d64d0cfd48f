"""What a conversation keeps: copies, files, summaries, and what goes into a request."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio

import trio_stream as ts
from tests.agent.talking import client_of, conversation, read, results_in, sent, wait
from trio_stream import agent
from trio_stream.testing import (
    ScriptedAPI,
    block,
    call,
    disconnect,
    http_error,
    pause,
    raw,
    say,
    server_tool,
    stop,
    think,
    usage,
)

WEB_SEARCH = {"type": "web_search_20260209", "name": "web_search"}


class Report(msgspec.Struct):
    """A report."""

    title: str
    pages: int


async def test_ask_for_a_type(autojump_clock):
    """The last reply becomes a value of it, after the tools."""
    api = ScriptedAPI([call("wait", {"seconds": 1})], [say('{"title": "Trio", "pages": 3}')], [say("no JSON")])
    chat = conversation(api, wait)
    report = await chat.ask("go", output=Report)
    assert report == Report("Trio", 3)
    assert api.requests[1].body["output_config"]["format"]["type"] == "json_schema"
    with pytest.raises(ts.OutputParseError):
        await chat.ask("again", output=Report)
    assert len(chat.messages) == 6


async def test_ask_that_is_not_completed(autojump_clock):
    """The error has the run."""
    chat = conversation(ScriptedAPI([say("A long"), stop("max_tokens")], [http_error(400, message="no")]))
    with pytest.raises(agent.RunStoppedError, match="truncated: the reply was cut at its limit") as caught:
        await chat.ask("go")
    assert caught.value.run.message is not None
    with pytest.raises(agent.RunStoppedError, match="failed: BadRequestError") as caught:
        await chat.ask("go on")
    assert isinstance(caught.value.__cause__, ts.BadRequestError)


async def test_a_run_without_content(autojump_clock):
    """It answers a last message of the user's, and there has to be one."""
    api = ScriptedAPI([http_error(400)], [say("Done.")])
    chat = conversation(api)
    with pytest.raises(ValueError, match="nothing to answer"):
        chat.run()
    with pytest.raises(agent.RunStoppedError):
        await chat.ask("go")
    assert await chat.ask() == "Done."
    assert [message["role"] for message in chat.messages] == ["user", "assistant"]


async def test_messages_are_nobody_elses(autojump_clock):
    """Changing the list, or what was given, changes nothing."""
    definition: dict[str, Any] = {"name": "look", "input_schema": {"type": "object", "properties": {}}}
    chat = conversation(ScriptedAPI([say("Done.")]), definition, system=[{"type": "text", "text": "Be brief."}])
    definition["name"] = "changed"
    await chat.ask("go")
    chat.messages.clear()
    chat.messages[0]["content"] = "changed"
    assert chat.messages[0]["content"] == "go"
    assert repr(chat) == "<Conversation: 2 messages>"


@pytest.mark.parametrize(
    ("options", "error"),
    [({"messages": []}, TypeError), ({"stream": True}, TypeError), ({"cache": "1d"}, ValueError)],
)
def test_parameters_that_are_refused(options, error):
    """Those that a conversation makes itself."""
    with pytest.raises(error):
        conversation(ScriptedAPI(), **options)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"messages": []}, TypeError),
        ({"tools": []}, TypeError),
        ({"system": "x"}, TypeError),
        ({"max_turns": 0}, ValueError),
        ({"turn_retries": -1}, ValueError),
        ({"output": object}, TypeError),
    ],
)
def test_options_of_a_run_that_are_refused(options, error):
    """At once, and not when the run is entered."""
    with pytest.raises(error):
        conversation(ScriptedAPI()).run("go", **options)


async def test_fork_takes_nothing_under_way(autojump_clock):
    """What is under way belongs to the run."""
    api = ScriptedAPI([call("wait", {"seconds": 9})], [say("Fine.")])
    chat = conversation(api, wait)
    async with chat.run("go"):
        await trio.sleep(1)
        assert len(chat.messages) == 3
        fork = chat.fork()
        assert fork.messages == [{"role": "user", "content": "go"}]
        assert await fork.ask() == "Fine."


async def test_fork_does_not_part_a_server_call_from_its_result(autojump_clock):
    """Nor a paused reply from what came of it."""
    api = ScriptedAPI(
        [server_tool("web_search", {}, id="s1"), call("wait", {"seconds": 1})],
        [*searched("s1"), server_tool("web_search", {}, id="s2"), stop("pause_turn")],
        [*searched("s2"), say("Done.")],
    )
    chat = conversation(api, WEB_SEARCH, wait)
    await chat.ask("go")
    assert len(chat.messages) == 5
    assert [len(chat.fork(upto).messages) for upto in range(6)] == [0, 1, 1, 1, 1, 5]


def searched(call_id: str) -> list[Any]:
    return [block({"type": "web_search_tool_result", "tool_use_id": call_id, "content": []})]


async def test_saved_before_each_call_and_after_each_commit(autojump_clock):
    """So a file of any instant tells which calls may have had effects."""
    files: list[Any] = []

    async def save(chat: agent.Conversation) -> None:
        files.append(msgspec.json.decode(chat.to_json())["messages"])
        await trio.sleep(0.1)

    api = ScriptedAPI([call("wait", {"seconds": 1}), call("wait", {"seconds": 1})], [say("Done.")])
    chat = conversation(api, wait)
    async with chat.run("go", save=save, max_concurrent_tools=1) as run:
        await read(run)
    running = "stopped while it was running: the program ended. Whether it had effects is not known."
    assert [len(file) for file in files] == [1, 3, 3, 3, 4]
    assert [results_in(file[2]) for file in files[1:4]] == [
        [running, "not started: the program ended."],
        ["waited 1", running],
        ["waited 1", "waited 1"],
    ]
    assert files[-1] == chat.messages


@pytest.mark.parametrize("for_good", [True, False])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
async def test_saving_fails(number, for_good, autojump_clock):
    """The call is not started, and the run fails with that error."""
    count = 0

    async def save(chat: agent.Conversation) -> None:
        nonlocal count
        count += 1
        if count == number:
            raise OSError("disk full")
        if count > number and for_good:
            raise OSError("disk still full")

    api = ScriptedAPI([call("wait", {"seconds": 1})], [say("Done.")], [say("Fine.")])
    chat = conversation(api, wait)
    with pytest.raises(OSError, match="disk full"):
        async with chat.run("go", save=save) as run:
            await read(run)
    assert run.outcome == "failed"
    if number == 2:
        assert results_in(chat.messages[2]) == ["not started: the conversation could not be saved."]
    assert await chat.ask("go on") in ("Done.", "Fine.", "")


async def test_saved_when_the_block_is_left(autojump_clock):
    """The commit of what was under way is saved, where no exception leaves."""
    files: list[int] = []

    async def save(chat: agent.Conversation) -> None:
        files.append(len(chat.messages))

    chat = conversation(ScriptedAPI([say("I am "), pause(9)]))
    async with chat.run("go", save=save):
        await trio.sleep(1)
    assert files == [1, 2]


async def test_json_there_and_back(autojump_clock):
    """The conversation goes on in another program as it would have in this one."""
    api = ScriptedAPI([think("hm"), call("wait", {"seconds": 1})], [say("I am "), pause(9)], [say("Fine.")])
    chat = conversation(api, wait, WEB_SEARCH, system="Be brief.", cache="1h", timeout=30)
    async with chat.run("go"):
        await trio.sleep(2)
    data = chat.to_json()
    assert b"timeout" not in data
    other = agent.Conversation.from_json(client_of(api), data, tools=[wait])
    assert other.messages == chat.messages
    assert other.usage == chat.usage
    assert await other.ask("go on") == "Fine."
    assert other.messages[4]["content"] == "(The reply before this was interrupted.)\n\ngo on"
    assert {name: value for name, value in api.requests[2].body.items() if name != "messages"} == {
        name: value for name, value in api.requests[1].body.items() if name != "messages"
    }


async def test_json_while_a_run_is_under_way(autojump_clock):
    """It has what would be kept, with the note to come."""
    chat = conversation(ScriptedAPI([say("I am "), pause(9)]))
    async with chat.run("go"):
        await trio.sleep(1)
        saved = msgspec.json.decode(chat.to_json())
    assert saved["messages"][1]["content"] == [{"type": "text", "text": "I am "}]
    assert saved["interrupted"] is True


async def test_tools_of_a_saved_conversation(autojump_clock):
    """An unknown one is refused; one that is missing answers that there is none."""

    @agent.tool
    async def other() -> str:
        """Another one."""
        return ""

    api = ScriptedAPI([call("wait", {"seconds": 1})], [say("Fine.")])
    data = conversation(api, wait).to_json()
    with pytest.raises(ValueError, match="no tool 'other'"):
        agent.Conversation.from_json(client_of(api), data, tools=[other])
    chat = agent.Conversation.from_json(client_of(api), data)
    await chat.ask("go")
    assert results_in(chat.messages[2]) == ["there is no tool 'wait'."]


@pytest.mark.parametrize("data", [b"", b"{}", b'{"version": 9, "params": {}, "fixed": {}, "messages": []}'])
def test_what_is_not_a_saved_conversation(data):
    """It is refused with a sentence."""
    with pytest.raises(ValueError, match="conversation"):
        agent.Conversation.from_json(client_of(ScriptedAPI()), data)


async def test_what_is_saved_before_a_call_is_true_of_the_next(autojump_clock):
    """One that has not begun is told of as not started, for each file might be the last."""
    files: list[list[str]] = []

    async def save(chat: agent.Conversation) -> None:
        await trio.sleep(1)
        messages = msgspec.json.decode(chat.to_json())["messages"]
        if len(messages) == 3:
            files.append([text.split(":")[0] for text in results_in(messages[2])])

    api = ScriptedAPI([call("wait", {"seconds": 9}), call("wait", {"seconds": 5})], [say("Done.")])
    await conversation(api, wait).ask("go", save=save)
    running = "stopped while it was running"
    # Which of two that start at the same time is first, nobody decides.
    assert [sorted(file) for file in files] == [["not started", running], [running, running], ["waited 5", "waited 9"]]


async def test_compact(autojump_clock):
    """A summary stands in the place of everything, but for what the user has said since."""
    api = ScriptedAPI(
        [call("wait", {"seconds": 1})], [say("Done.")], [http_error(400)], [say("It waited.")], [say("Fine.")]
    )
    chat = conversation(api, wait)
    await chat.ask("go")
    with pytest.raises(agent.RunStoppedError):
        await chat.ask("and now?")
    await chat.compact("Keep the seconds.")
    assert chat.messages == [
        {"role": "user", "content": "(What came before is summarised here.)\n\nIt waited."},
        {"role": "user", "content": "and now?"},
    ]
    assert api.requests[3].body["tool_choice"] == {"type": "none"}
    assert "Keep the seconds." in sent(api, 3)[-1]["content"]
    assert await chat.ask() == "Fine."


async def test_compact_is_all_or_nothing(autojump_clock):
    """Whatever goes wrong, the conversation is as it was."""
    api = ScriptedAPI([say("Done.")], [say("A sum"), stop("max_tokens")], [http_error(400)], [say("A sum"), pause(9)])
    chat = conversation(api)
    with pytest.raises(RuntimeError, match="empty"):
        await chat.compact()
    await chat.ask("go")
    before = chat.messages
    with pytest.raises(RuntimeError, match="max_tokens"):
        await chat.compact()
    with pytest.raises(ts.BadRequestError):
        await chat.compact()
    with trio.move_on_after(1):
        await chat.compact()
    assert chat.messages == before
    async with chat.run("go on"):
        with pytest.raises(RuntimeError, match="under way"):
            await chat.compact()


async def test_compact_while_a_program_waits(autojump_clock):
    """Nothing else can be asked."""
    program = {"type": "code_execution_20260120", "tool_id": "s1"}
    calls = [server_tool("code_execution", {}, id="s1"), call("wait", {"seconds": 1}, caller=program)]
    chat = conversation(ScriptedAPI([*calls, stop(container="c1")]), wait)
    async with chat.run("go", max_turns=1) as run:
        await read(run)
    with pytest.raises(RuntimeError, match="waits for results"):
        await chat.compact()
    with pytest.raises(RuntimeError, match="waits for results"):
        chat.append({"role": "system", "content": "x"})


async def test_a_text_waits_for_a_program_across_runs(autojump_clock):
    """The results go alone, and the text at the next boundary."""
    program = {"type": "code_execution_20260120", "tool_id": "s1"}
    ran = {
        "type": "code_execution_tool_result",
        "tool_use_id": "s1",
        "content": {"type": "code_execution_result", "stdout": "", "stderr": "", "return_code": 0, "content": []},
    }
    api = ScriptedAPI(
        [
            server_tool("code_execution", {}, id="s1"),
            call("wait", {"seconds": 1}, caller=program),
            stop(container="c1"),
        ],
        [block(ran), say("It ran.")],
        [say("Fine.")],
    )
    code = {"type": "code_execution_20260120", "name": "code_execution"}
    chat = conversation(api, wait, code)
    async with chat.run("go", max_turns=1) as run:
        await read(run)
    async with chat.run("more") as run:
        assert run.unsaid == ["more"]
        assert await run.text() == "Fine."
    assert len(sent(api, 1)) == 3
    assert sent(api, 2)[-1] == {"role": "user", "content": "more"}


async def test_sub_agents(autojump_clock):
    """Their events are nested, their meter is shared, and they know nothing of one another."""
    api = ScriptedAPI(
        [call("helper", {"prompt": "one"}, id="h1")],
        [say("I say one.")],
        [call("helper", {"prompt": "two"}), call("helper", {"prompt": " "}), call("helper", {"prompt": "three"})],
        [say("I say two.")],
        [say("I"), stop("max_tokens")],
        [say("Done.")],
    )
    inner = conversation(api, wait)
    chat = conversation(api, inner.as_tool("helper", "Helps."))
    meter = agent.Meter()
    async with chat.run("go", meter=meter, max_concurrent_tools=1) as run:
        events = await read(run)
    nested = [event for event in events if isinstance(event, agent.NestedEvent)]
    assert {event.name for event in nested} == {"helper"}
    assert any(event.id == "h1" and isinstance(event.event, ts.TextEvent) for event in nested)
    assert results_in(chat.messages[2]) == ["I say one."]
    assert results_in(chat.messages[4])[:2] == ["I say two.", "prompt must be a text that is not empty"]
    assert results_in(chat.messages[4])[2].startswith("it ended before it was done (truncated: ")
    assert meter.requests == 6
    assert inner.messages == []


async def test_betas(autojump_clock):
    """With them requests are those of `client.beta`."""
    api = ScriptedAPI([say("Done.")])
    chat = conversation(api, betas=["something-2026-01-01"])
    await chat.ask("go")
    assert api.requests[0].betas == ["something-2026-01-01"] or "something-2026-01-01" in api.requests[0].betas


async def test_compact_without_any_reply(autojump_clock):
    """What the user has said stays beside the summary."""
    api = ScriptedAPI([http_error(400)], [say("They said go.")])
    chat = conversation(api)
    with pytest.raises(agent.RunStoppedError):
        await chat.ask("go")
    await chat.compact()
    assert [message["content"][:6] for message in chat.messages] == ["(What ", "go"]
    assert "tool_choice" not in api.requests[1].body


async def test_appended_messages(autojump_clock):
    """Instructions change by a message, and the beginning stays as it is."""
    api = ScriptedAPI([say("Done.")], [say("Fertig.")], [call("wait", {"seconds": 1}), pause(1)])
    chat = conversation(api, wait, system="Be brief.")
    await chat.ask("go")
    chat.append({"role": "system", "content": "Speak German."})
    assert await chat.ask("again") == "Fertig."
    assert [message["role"] for message in sent(api, 1)] == ["user", "assistant", "system", "user"]
    assert api.requests[1].body["system"] == "Be brief."
    with pytest.raises(ValueError, match="replies come from the API"):
        chat.append({"role": "assistant", "content": "I said so."})
    async with chat.run("more"):
        with pytest.raises(RuntimeError, match="under way"):
            chat.append({"role": "system", "content": "x"})


@pytest.mark.parametrize("content", ["", " ", [], [{"type": "text", "text": ""}], None])
async def test_an_empty_message_cannot_be_appended(autojump_clock, content):
    """The API would refuse it in every later request."""
    chat = conversation(ScriptedAPI([say("Done.")]))
    for role in ("user", "system"):
        with pytest.raises((ValueError, TypeError)):
            chat.append({"role": role, "content": content})
    with pytest.raises(ValueError, match="nothing to say"):
        chat.append({"role": "user"})
    assert chat.messages == []


async def test_an_appended_text_says_that_the_reply_was_interrupted(autojump_clock):
    """As one does that is said to a run."""
    chat = conversation(ScriptedAPI([say("A long "), pause(60)], [say("Fine.")]))
    async with chat.run("go"):
        await trio.sleep(1)
    chat.append({"role": "user", "content": "stop"})
    assert chat.messages[2]["content"] == "(The reply before this was interrupted.)\n\nstop"
    assert await chat.ask() == "Fine."


def test_a_system_message_without_content(autojump_clock):
    """It changes parameters alone, and goes as it is."""
    chat = conversation(ScriptedAPI())
    chat.append({"role": "system", "output_config": {"effort": "low"}})
    assert chat.messages == [{"role": "system", "output_config": {"effort": "low"}}]
    assert agent.Conversation.from_json(client_of(ScriptedAPI()), chat.to_json()).messages == chat.messages


async def test_compact_keeps_messages_of_the_system(autojump_clock):
    """A tool that was taken away would be back without them."""
    chat = conversation(ScriptedAPI([say("Done.")], [say("It is done.")], [say("Fine.")]))
    await chat.ask("go")
    chat.append({"role": "system", "content": "Speak German."})
    await chat.compact()
    assert [message["content"] for message in chat.messages] == [
        "(What came before is summarised here.)\n\nIt is done.",
        "Speak German.",
    ]
    assert await chat.ask("again") == "Fine."
    chat.append({"role": "user", "content": "more"})


async def test_a_cut_summary_is_counted(autojump_clock):
    """Its input; its output is not known. One that never began counts nothing."""
    unknown = b'event: brand_new\ndata: {"type":"brand_new"}\n\n'
    api = ScriptedAPI(
        [usage(input_tokens=7), say("Done.")],
        [usage(input_tokens=10), say("A sum"), disconnect()],
        [raw(unknown), disconnect()],
    )
    chat = conversation(api)
    await chat.ask("go")
    for _ in range(2):
        with pytest.raises(ts.IncompleteStreamError):
            await chat.compact()
    assert (chat.usage.input_tokens, chat.usage.unknown_replies) == (17, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"messages": [1]},
        {"messages": [{}]},
        {"messages": [{"role": "user", "content": 5}]},
        {"messages": [{"role": "user", "content": ["x"]}]},
        {"messages": [{"role": "nobody", "content": "x"}]},
        {"fixed": {"tools": [1]}},
        {"fixed": {"tools": 5}},
    ],
    ids=str,
)
def test_what_is_no_conversation_is_told(change):
    """Whatever is wrong with a file, it is one error that says so."""
    client = client_of(ScriptedAPI())
    saved = msgspec.json.decode(agent.Conversation(client, model="m", max_tokens=1).to_json())
    with pytest.raises(ValueError, match="not a saved conversation"):
        agent.Conversation.from_json(client, msgspec.json.encode({**saved, **change}))


async def test_usage_is_added_up(autojump_clock):
    """Over all replies of the conversation."""
    numbers = {"cache_read_input_tokens": 5, "cache_creation_input_tokens": 3}
    api = ScriptedAPI(default=[usage(input_tokens=10, output_tokens=2, **numbers), say("Done.")])
    chat = conversation(api)
    await chat.ask("go")
    await chat.ask("go")
    assert (chat.usage.input_tokens, chat.usage.output_tokens, chat.usage.replies) == (20, 4, 2)
    assert (chat.usage.cache_read_input_tokens, chat.usage.cache_creation_input_tokens) == (10, 6)
