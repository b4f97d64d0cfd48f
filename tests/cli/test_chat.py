"""`trio-stream chat`, as a process of its own, in a terminal and through pipes, against a scripted API on a real port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import final

import pytest
import trio

from tests.processes import PYTHON
from trio_stream.cli._chat_tools import ToolNameError, load_tools, mcp_servers
from trio_stream.testing import ScriptedAPI, Server, Step, call, fail, http_error, say, stall, stop, think, usage

from .running import SECONDS, SECRET, Running, environment, program, run_cli, without_styles

EDITING = "\x1b[?2004h"
"""What a terminal gets when a line begins to be edited: from here on pasted text is marked."""

TOOLS = '''
import trio
import trio_stream as ts

@ts.tool
async def helper(ctx: ts.ToolContext) -> str:
    """Ask as an agent within a tool does."""
    answers, answered = [], trio.Event()

    def answer(reason: str | None) -> None:
        answers.append(reason)
        answered.set()

    ctx.bubble(ts.ApprovalEvent(id="inner", name="inner", input={}, answer=answer))
    await answered.wait()
    return f"answered {answers}"

async def weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"

@ts.tool
async def time(zone: str) -> str:
    """The time."""
    return "noon"

number = 3

class Tools:
    @staticmethod
    async def nested(x: int) -> int:
        """Nested."""
        return x

def untyped(*args: int) -> int:
    return 0
'''


@pytest.fixture
def tools_file(tmp_path: Path) -> Path:
    file = tmp_path / "my_tools.py"
    file.write_text(TOOLS)
    return file


def conversation_of(body: object) -> list[tuple[str, str]]:
    """Role and text of each message of a request."""
    assert isinstance(body, dict)
    found: list[tuple[str, str]] = []
    for message in body["messages"]:
        content = message["content"]
        text = content if isinstance(content, str) else " ".join(str(block.get("text", block)) for block in content)
        found.append((message["role"], text))
    return found


async def test_piped_lines_are_answered_one_after_the_other() -> None:
    """Only the model's text goes to a pipe, and each request has the conversation so far."""
    api = ScriptedAPI([say("Good day.")], [think("Hm."), say("Bye.")])
    async with api.serve() as server:
        done = await run_cli("chat", "-s", "Be brief.", stdin=b"Hello\r\n\n\nBye", base_url=server.base_url)
    assert (done.code, done.out, done.err) == (0, "Good day.\nBye.\n", "")
    assert conversation_of(api.requests[1].body) == [("user", "Hello"), ("assistant", "Good day."), ("user", "Bye")]
    assert api.requests[1].body["system"] == "Be brief."
    assert SECRET not in repr(done)


async def test_commands_work_in_a_pipe(tmp_path: Path) -> None:
    """`/undo` takes back the last exchange, `/save` writes what `--load` reads; what is unknown is no message."""
    api = ScriptedAPI([say("One.")], [say("Two.")], [say("Three.")])
    file = tmp_path / "talk.json"
    typed = f"first\nsecond\n/undo\n/nothing\n/tools\n/cost\n/help\n/save {file}\nthird\n/quit\nnever sent\n"
    async with api.serve() as server:
        done = await run_cli("chat", stdin=typed.encode(), base_url=server.base_url)
        assert (done.code, done.out, done.err) == (0, "One.\nTwo.\nThree.\n", "")
        assert [text for _, text in conversation_of(api.requests[2].body)] == ["first", "One.", "third"]
        assert file.stat().st_mode & 0o077 == 0
        assert os.listdir(tmp_path) == ["talk.json"]  # noqa: PTH208 - `iterdir` is async in async functions
        api.add([say("Four.")])
        done = await run_cli("chat", "--load", str(file), stdin=b"fourth\n/undo\n/undo\n", base_url=server.base_url)
    assert (done.code, done.out) == (0, "Four.\n")
    said = [text for _, text in conversation_of(api.requests[3].body)]
    assert said == ["first", "One.", "third", "Three.", "fourth"]
    assert b"fourth" not in file.read_bytes()  # it was taken back, in the file too


async def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """The conversation goes on."""
    api = ScriptedAPI([say("One.")])
    async with api.serve() as server:
        done = await run_cli("chat", stdin=f"/save {tmp_path}/none/x\nhi\n".encode(), base_url=server.base_url)
    assert (done.code, done.out) == (0, "One.\n")
    assert "cannot write" in done.err
    assert "No such file" in done.err


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot read"), (b"{}", "talk.json"), (b"\xff\xfe", "talk.json"), (b"[1]", "talk.json")],
)
async def test_a_file_that_is_no_conversation_is_one_line(tmp_path: Path, content: bytes | None, words: str) -> None:
    """It is said before anything is sent."""
    file = tmp_path / "talk.json"
    if content is not None:
        file.write_bytes(content)
    done = await run_cli("chat", "--load", str(file), base_url="http://127.0.0.1:9")
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert done.err.count("\n") == 1


async def test_nobody_can_be_asked_through_a_pipe(tools_file: Path) -> None:
    """A plain function needs to be allowed, so it is denied; a tool says for itself; `--yes` allows all."""
    script: list[Step] = [call("weather", {"city": "Lisbon"}), call("time", {"zone": "utc"}), stop("tool_use")]
    options = ("--tool", f"{tools_file}:weather", "--tool", f"{tools_file}:time")
    for more, told in (((), "not started: it needs approval"), (("--yes",), "sunny in Lisbon")):
        api = ScriptedAPI(script, [say("Done.")])
        async with api.serve() as server:
            done = await run_cli("chat", *options, *more, stdin=b"hi\n", base_url=server.base_url)
        assert (done.code, done.out, done.err) == (0, "Done.\n", "")
        results = json.dumps(api.requests[1].body["messages"][-1])
        assert told in results
        assert "noon" in results


async def test_agents_within_tools_ask_too(tools_file: Path) -> None:
    """Through a pipe they are denied, `--yes` allows them, and somebody at a terminal is asked."""
    script: list[Step] = [call("helper"), stop("tool_use")]
    options = ("--tool", f"{tools_file}:helper")
    for more, told in (((), "nobody is there"), (("--yes",), "answered [None]")):
        api = ScriptedAPI(script, [say("Done.")])
        async with api.serve() as server:
            done = await run_cli("chat", *options, *more, stdin=b"hi\n", base_url=server.base_url)
        assert (done.code, done.out, done.err) == (0, "Done.\n", "")
        assert told in json.dumps(api.requests[1].body["messages"][-1])
    api = ScriptedAPI(script, [say("Done.")])
    async with api.serve() as server, in_terminal(server, tools_file, *options) as chat:
        typist = Typist(chat)
        for keys in (b"hi\r", b"too late\r", b"\x04"):
            await typist.type(keys)
        assert await chat.finish() == 0
    assert "too late" in json.dumps(api.requests[1].body["messages"][-1])


async def test_bytes_that_are_no_text(tools_file: Path) -> None:
    """They do not end the program, and what can be read of them is sent. What is taken back was paid for."""
    api = ScriptedAPI([usage(input_tokens=123), say("Done.")])
    async with api.serve() as server, in_terminal(server, tools_file) as chat:
        typist = Typist(chat)
        for keys in (b"caf\xe9!\r", b"/undo\r", b"/cost\r", b"\x04"):
            await typist.type(keys)
        assert await chat.finish() == 0
    assert conversation_of(api.requests[0].body) == [("user", "caf?!")]
    assert "123 tokens in" in without_styles(chat.out)


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ([say("Half"), stop("max_tokens")], 0, "cut at --max-tokens"),
        ([say("No"), stop("refusal")], 0, "refused to answer"),
        ([http_error(400, "invalid_request_error", "too odd")], 1, "too odd"),
        ([say("Ha"), fail("api_error")], 0, "asking again"),
    ],
)
async def test_an_answer_that_is_not_whole_says_so_and_the_conversation_goes_on(
    script: list[Step], code: int, words: str
) -> None:
    """The exit status is that of the last answer."""
    api = ScriptedAPI(script, default=[say("Fine.")])
    async with api.serve() as server:
        done = await run_cli("chat", stdin=b"one\n", base_url=server.base_url)
        assert (done.code, done.err.count("\n")) == (code, 1), done
        assert words in done.err
        done = await run_cli("chat", stdin=b"one\ntwo\n", base_url=server.base_url)
    assert (done.code, done.out) == (0, "Fine.\nFine.\n")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--tool", "nothing"], "write MODULE:FUNCTION"),
        (["--tool", "no_such_module_anywhere:f"], "cannot import no_such_module_anywhere"),
        (["--mcp", " "], "write the command"),
        (["--mcp", "'open"], "No closing quotation"),
        (["--base-url", "ftp://x"], "ftp://x"),
        (["--price", "cheap"], "is not two prices"),
        (["--price", "1/inf"], "is not two prices"),
    ],
)
async def test_what_cannot_work_is_said_at_once(args: list[str], words: str) -> None:
    """Exit status 2, and not a request."""
    done = await run_cli("chat", *args, stdin=b"hi\n", base_url="http://127.0.0.1:9")
    assert done.code == 2
    assert words in done.err


def test_names_of_tools(tools_file: Path) -> None:
    """Functions and tools are found by module and name; what is wrong with a name is said."""
    found = load_tools([f"{tools_file}:weather", f"{tools_file}:time", f"{tools_file}:Tools.nested"])
    assert [tool.name for tool in found] == ["weather", "time", "nested"]
    for name, words in (
        (f"{tools_file}:absent", "has no absent"),
        (f"{tools_file}:number", "is no function"),
        (f"{tools_file}:untyped", "untyped"),
        (f"{tools_file}/no.py:f", "cannot import"),
        (":f", "write MODULE:FUNCTION"),
        ("f:", "write MODULE:FUNCTION"),
    ):
        with pytest.raises(ToolNameError, match=words):
            load_tools([name])
    servers = mcp_servers(["npx -y 'a b'", "/usr/bin/npx x", "./a.b.c"], approve=True)
    assert [server.name for server in servers] == ["npx", "npx2", "a_b"]
    assert all(server.approve is True for server in servers)


@final
class Typist:
    """Whoever types in a terminal: each line when it is asked for."""

    def __init__(self, chat: Running) -> None:
        self._chat = chat
        self._asked = 0

    async def type(self, text: bytes) -> None:
        """Wait until a line can be edited, and type something."""
        self._asked += 1
        with trio.fail_after(SECONDS):
            while self._chat.out.count(EDITING) < self._asked:
                await self._chat.read_more()
        await self._chat.type(text)


def in_terminal(server: Server, tools_file: Path, *args: str) -> Running:
    """The command in a terminal, with one tool that has to be allowed."""
    return Running(
        program("chat", "--tool", f"{tools_file}:weather", *args),
        terminal=(100, 40),
        ANTHROPIC_BASE_URL=server.base_url,
        ANTHROPIC_API_KEY=SECRET,
        PROMPT_TOOLKIT_NO_CPR="1",  # this terminal does not say where its cursor is
    )


async def test_ctrl_c_interrupts_the_answer_and_not_the_program(tools_file: Path) -> None:
    """An interrupted answer stays, each call is asked for, and what is typed in place of yes is the reason."""
    api = ScriptedAPI(
        [say("Once upon a time"), stall()],
        [call("weather", {"city": "Rome"}), call("weather", {"city": "Oslo"}), stop("tool_use")],
        [think("Hm."), say("It is sunny.")],
    )
    async with api.serve() as server, in_terminal(server, tools_file, "--price", "3/15") as chat:
        typist = Typist(chat)
        await typist.type(b"tell me a story\r")
        await chat.read_until("Once upon a time")
        chat.interrupt()
        await typist.type(b"is it sunny?\r")
        await typist.type(b"y\r")
        await typist.type(b"too far\r")
        await typist.type(b"/cost\r")
        await typist.type(b"\x03")
        await typist.type(b"\x03")
        assert await chat.finish() == 0
    shown = without_styles(chat.out)
    for words in ("interrupted", 'weather(city="Rome")', "weather: done", "It is sunny.", "$0.0", "again leaves"):
        assert words in shown
    assert shown.count('weather(city="Oslo")') == 1
    assert "not started: the user said: too far" in shown
    assert SECRET not in shown
    second = conversation_of(api.requests[1].body)
    assert second[1] == ("assistant", "Once upon a time")
    assert "interrupted" in second[2][1]
    results = json.dumps(api.requests[2].body["messages"][-1])
    assert "sunny in Rome" in results
    assert "too far" in results


async def test_ctrl_c_at_a_question_interrupts(tools_file: Path) -> None:
    """The call is not run, and Ctrl-D leaves."""
    api = ScriptedAPI([call("weather", {"city": "Rome"}), stop("tool_use")])
    async with api.serve() as server, in_terminal(server, tools_file) as chat:
        typist = Typist(chat)
        for keys in (b"hi\r", b"\x03", b"\x04"):
            await typist.type(keys)
        assert await chat.finish() == 0
    assert "interrupted" in chat.out
    assert len(api.requests) == 1


async def test_ctrl_c_ends_a_program_that_reads_a_pipe() -> None:
    """While it waits for a line nobody is answered, so there is nothing to interrupt but the program."""
    api = ScriptedAPI([say("Good day.")])
    async with api.serve() as server:
        process = await trio.lowlevel.open_process(
            [PYTHON, "-W", "error", *program("chat")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(ANTHROPIC_BASE_URL=server.base_url, ANTHROPIC_API_KEY=SECRET),
        )
        assert process.stdin is not None
        assert process.stdout is not None
        await process.stdin.send_all(b"hi\n")
        out = b""
        with trio.fail_after(60):
            while b"Good day.\n" not in out:
                out += await process.stdout.receive_some()
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130
        await process.stdin.aclose()
        await process.stdout.aclose()
