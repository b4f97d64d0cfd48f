"""`trio-stream ask`, as a process of its own, against a scripted API on a real port."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.processes import PYTHON
from trio_stream.testing import (
    ScriptedAPI,
    Step,
    call,
    disconnect,
    fail,
    http_error,
    pause,
    say,
    stall,
    stop,
    think,
)

from .running import SECONDS, SECRET, Finished, Running, environment, program, run_cli, without_styles


async def ask(*args: str, script: list[Step] | None = None, stdin: bytes = b"", **env: str) -> tuple[Finished, Any]:
    """Run `ask` against one script; the process, and the request it made."""
    api = ScriptedAPI(default=script or [say("Hello there.")])
    async with api.serve() as server:
        done = await run_cli("ask", *args, stdin=stdin, base_url=server.base_url, **env)
    assert SECRET not in done.out + done.err
    return done, api.requests[0].body if api.requests else None


async def test_the_answer_is_printed_and_its_line_ended() -> None:
    done, body = await ask("What", "is", "this?")
    assert (done.code, done.out, done.err) == (0, "Hello there.\n", "")
    assert body["messages"] == [{"role": "user", "content": "What is this?"}]
    assert body["max_tokens"] == 4096
    assert body["model"] == "claude-sonnet-5-5"
    assert "system" not in body
    assert "thinking" not in body


@pytest.mark.parametrize(
    ("args", "stdin", "prompt"),
    [
        ([], b"From the pipe.\n", "From the pipe."),
        (["-"], b"From the pipe.\n", "From the pipe."),
        (["Sum", "it", "up."], b"A long\ndocument.\n\n", "A long\ndocument.\n\nSum it up."),
        (["Sum it up.", "-"], b"A document.", "A document.\n\nSum it up."),
        (["Typed."], b"", "Typed."),
        ([], "caf\xe9 ".encode("latin-1") + "naïve".encode(), "caf\ufffd naïve"),
        (["--", "--json"], b"", "--json"),
    ],
)
async def test_where_the_prompt_comes_from(args: list[str], stdin: bytes, prompt: str) -> None:
    done, body = await ask(*args, stdin=stdin)
    assert done.code == 0, done
    assert body["messages"][0]["content"] == prompt


@pytest.mark.parametrize(
    ("args", "fields"),
    [
        (["--system", "Be brief.", "hi"], {"system": "Be brief."}),
        (["--model", "claude-opus-5-5", "hi"], {"model": "claude-opus-5-5"}),
        (["--max-tokens", "7", "hi"], {"max_tokens": 7}),
        (
            ["--thinking=adaptive", "hi"],
            {"thinking": {"type": "adaptive", "display": "summarized"}, "max_tokens": 4096},
        ),
        (["hi", "--thinking"], {"thinking": {"type": "adaptive", "display": "summarized"}}),
        (
            # The default model takes no budget.
            ["--model", "claude-sonnet-4-5", "--thinking", "2000", "hi"],
            {
                "thinking": {"type": "enabled", "budget_tokens": 2000, "display": "summarized"},
                "max_tokens": 6096,
            },
        ),
    ],
)
async def test_options_become_parameters(args: list[str], fields: dict[str, object]) -> None:
    done, body = await ask(*args)
    assert done.code == 0, done
    assert {name: body[name] for name in fields} == fields


@pytest.mark.parametrize(("args", "model"), [([], "from-env"), (["--model", "typed"], "typed")])
async def test_the_environment_names_a_model(args: list[str], model: str) -> None:
    _, body = await ask(*args, "hi", ANTHROPIC_MODEL="from-env")
    assert body["model"] == model


async def test_json_is_one_event_a_line() -> None:
    done, _ = await ask("hi", "--json", script=[think("Hm.", ttft=0.0), say("Hé", "llo\n"), call("look", {"a": 1})])
    assert done.code == 0, done
    events = [json.loads(line) for line in done.out.splitlines()]
    assert [event["type"] for event in events if event["type"] != "content_block_delta"] == [
        "message_start",
        *["content_block_start", "content_block_stop"] * 3,
        "message_delta",
        "message_stop",
    ]
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(delta.get("text", "") for delta in deltas) == "Héllo\n"
    assert "".join(delta.get("partial_json", "") for delta in deltas) == '{"a":1}'
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


async def test_json_is_utf_8_whatever_the_locale() -> None:
    done, _ = await ask("hi", "--json", script=[say("Ωmega")], PYTHONIOENCODING="ascii")
    assert "Ωmega" in done.out


async def test_a_character_the_locale_lacks_does_not_end_the_answer() -> None:
    done, _ = await ask("hi", script=[say("Ωmega")], PYTHONIOENCODING="ascii")
    assert (done.code, done.out, done.err) == (0, "?mega\n", "")


async def test_usage_goes_to_standard_error() -> None:
    done, _ = await ask("hi", "--usage", script=[say("Hello ", pause(0.05), "there.")])
    assert done.out == "Hello there.\n"
    line = done.err.removesuffix("\n")
    assert "\n" not in line
    for fact in ("tokens in", "3 out", "first text after 0.", " s in all", "tokens/s", "end_turn", "req_"):
        assert fact in line


async def test_thinking_is_not_part_of_piped_output() -> None:
    done, _ = await ask("hi", "--thinking", script=[think("Secret thoughts."), say("Answer.")])
    assert (done.out, done.err) == ("Answer.\n", "")


@pytest.mark.parametrize(
    ("end", "note"),
    [(stop("max_tokens"), "cut at --max-tokens"), (stop("refusal"), "refused"), (stop("end_turn"), "")],
)
async def test_an_answer_that_is_not_whole_says_so(end: Step, note: str) -> None:
    done, _ = await ask("hi", script=[say("Half an"), end])
    assert (done.code, done.out) == (0, "Half an\n")
    assert note in done.err
    assert done.err.count("\n") == (1 if note else 0)


@pytest.mark.parametrize(
    ("script", "out", "words"),
    [
        ([http_error(401, message="invalid x-api-key")], "", "invalid x-api-key"),
        ([http_error(404, message="model: nothing")], "", "model: nothing"),
        ([http_error(400, body=b"<html>\n<body>no\x1b[2J</body>")], "", "400"),
        ([say("Half"), fail("overloaded_error")], "Half\n", "verloaded"),
        ([say("Half"), disconnect()], "Half\n", "cut"),
    ],
)
async def test_an_error_is_one_line(script: list[Step], out: str, words: str) -> None:
    done, _ = await ask("hi", script=script)
    assert (done.code, done.out) == (1, out), done
    assert done.err.startswith("trio-stream ask: ")
    assert words in done.err
    assert done.err.count("\n") == 1
    assert "\x1b" not in done.err


@pytest.mark.parametrize(("base_url", "code"), [("http://127.0.0.1:9", 1), ("ftp://nowhere", 2), ("127.0.0.1:9", 2)])
async def test_a_server_that_cannot_be_reached_is_one_line(base_url: str, code: int) -> None:
    """An address that is none is a mistake of the command line."""
    done = await run_cli("ask", "hi", "--base-url", base_url, base_url="http://127.0.0.1:1")
    assert (done.code, done.out) == (code, "")
    assert done.err.count("\n") == 1


async def test_the_timeout_is_the_clients() -> None:
    done, _ = await ask("hi", "--timeout", "0.3", script=[say("Half", stall())])
    assert (done.code, done.out) == (1, "Half\n"), done
    assert "0.3 s" in done.err


@pytest.mark.parametrize(
    ("args", "env", "words"),
    [
        (["hi"], {}, "export ANTHROPIC_API_KEY="),
        (["hi"], {"ANTHROPIC_API_KEY": ""}, "trio-stream ask: "),
        (["hi"], {"ANTHROPIC_API_KEY": "secret\nkey"}, "trio-stream ask: "),
        ([], {"ANTHROPIC_API_KEY": "key"}, "no prompt"),
        ([" "], {"ANTHROPIC_API_KEY": "key"}, "no prompt"),
    ],
)
async def test_what_cannot_work_is_one_line(args: list[str], env: dict[str, str], words: str) -> None:
    done = await run_cli("ask", *args, stdin=b"", base_url=None, **env)
    assert (done.code, done.out) == (2, ""), done
    assert words in done.err
    assert "secret" not in done.err
    assert done.err.count("\n") == 1


async def test_thinking_that_is_neither_says_what_it_takes() -> None:
    done = await run_cli("ask", "--thinking", "What is this?")
    assert done.code == 2
    assert "--thinking=adaptive" in " ".join(done.err.split())


async def test_text_is_printed_as_it_arrives() -> None:
    api = ScriptedAPI([say("First, ", stall())])
    async with (
        api.serve() as server,
        Running(program("ask", "hi"), ANTHROPIC_BASE_URL=server.base_url, ANTHROPIC_API_KEY=SECRET) as running,
    ):
        await running.read_until("First, ")


async def test_a_reader_that_goes_away_is_no_error() -> None:
    api = ScriptedAPI([say("First, ", pause(0.2), "second, ", pause(0.2), "third.", stall())])
    async with (
        api.serve() as server,
        Running(program("ask", "hi"), ANTHROPIC_BASE_URL=server.base_url, ANTHROPIC_API_KEY=SECRET) as running,
    ):
        await running.read_until("First, ")
        await running.close_stdout()
        with trio.fail_after(SECONDS):
            assert await running.process.wait() == 141
            assert running.process.stderr is not None
            assert await running.process.stderr.receive_some() == b""
    assert api.disconnects


async def test_an_error_after_the_reader_went_away_is_one_line() -> None:
    api = ScriptedAPI([say("Half", pause(0.3), fail("overloaded_error"))])
    async with (
        api.serve() as server,
        Running(program("ask", "hi"), ANTHROPIC_BASE_URL=server.base_url, ANTHROPIC_API_KEY=SECRET) as running,
    ):
        await running.read_until("Half")
        await running.close_stdout()
        with trio.fail_after(SECONDS):
            assert await running.process.wait() == 1
            assert running.process.stderr is not None
            said = await running.process.stderr.receive_some()
    assert said.startswith(b"trio-stream ask: ")
    assert said.count(b"\n") == 1


async def test_ctrl_c_keeps_what_has_arrived() -> None:
    """A real Ctrl-C at a real terminal: the text stays, the line is ended, the connection is closed."""
    api = ScriptedAPI([say("Once upon a time", stall())])
    async with (
        api.serve() as server,
        Running(
            program("ask", "--usage", "hi"),
            terminal=(80, 24),
            ANTHROPIC_BASE_URL=server.base_url,
            ANTHROPIC_API_KEY=SECRET,
        ) as running,
    ):
        await running.read_until("Once upon a time")
        await running.type(b"\x03")
        code = await running.finish()
    assert code == 130
    shown = without_styles(running.out)
    assert shown.startswith("Once upon a time^C\n")
    assert shown.endswith("trio-stream ask: interrupted\n")
    assert "not complete" in shown
    assert "Traceback" not in shown
    assert len(api.disconnects) == 1


async def test_ctrl_c_before_the_answer() -> None:
    api = ScriptedAPI([pause(60), say("Late.")])
    async with (
        api.serve() as server,
        Running(program("ask", "hi"), ANTHROPIC_BASE_URL=server.base_url, ANTHROPIC_API_KEY=SECRET) as running,
    ):
        with trio.fail_after(SECONDS):
            while not api.requests:
                await trio.sleep(0.01)
        running.interrupt()
        assert await running.finish() == 130
    assert (running.out, running.err) == ("", "trio-stream ask: interrupted\n")


async def test_a_terminal_shows_thinking_and_is_not_steered() -> None:
    """Thinking is dimmed; escape sequences of the model are shown, not obeyed."""
    api = ScriptedAPI([think("Hm."), say("Red \x1b[31malert\x07\x9b2J", "\rgone?\n\tend")])
    async with (
        api.serve() as server,
        Running(
            program("ask", "hi"),
            terminal=(80, 24),
            ANTHROPIC_BASE_URL=server.base_url,
            ANTHROPIC_API_KEY=SECRET,
        ) as running,
    ):
        assert await running.finish() == 0
    assert "\x1b[2mHm.\x1b[22m" in running.out
    assert "Red ␛[31malert␇\ufffd2Jgone?" in running.out
    assert "\x1b[31m" not in running.out
    assert without_styles(running.out).startswith("Hm.\n\nRed")


async def test_a_pipe_gets_the_text_as_it_is() -> None:
    done, _ = await ask("hi", script=[say("Red \x1b[31malert\r\n")])
    assert done.out == "Red \x1b[31malert\r\n"


async def test_the_prompt_can_be_typed() -> None:
    """At a terminal without arguments it says how to end the prompt; Ctrl-D ends it."""
    api = ScriptedAPI([say("Hello.")])
    async with (
        api.serve() as server,
        Running(
            program("ask"), terminal=(80, 24), ANTHROPIC_BASE_URL=server.base_url, ANTHROPIC_API_KEY=SECRET
        ) as running,
    ):
        await running.read_until("Ctrl-D")
        await running.type(b"Hello?\n\x04")
        assert await running.finish() == 0
    assert api.requests[0].messages[0]["content"] == "Hello?"


@pytest.mark.parametrize(
    ("redirection", "code", "words"),
    [
        ("<&-", 2, "no prompt"),
        (">&- </dev/null", 2, "no prompt"),
        (">/dev/full", 1, "cannot write: No space left on device"),
    ],
)
async def test_unusual_redirections(redirection: str, code: int, words: str) -> None:
    prompt = ["hi"] if "full" in redirection else []
    api = ScriptedAPI(default=[say("Hello.")])
    async with api.serve() as server:
        done = await trio.run_process(
            ["sh", "-c", f"exec {shlex.join([PYTHON, *program('ask', *prompt)])} {redirection}"],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment(ANTHROPIC_API_KEY="key", ANTHROPIC_BASE_URL=server.base_url),
        )
    assert done.returncode == code
    assert words in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


CLOSED = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


async def test_an_answer_by_a_schema(tmp_path: Path) -> None:
    """The schema is sent, and the answer is JSON."""
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(CLOSED))
    done, body = await ask("--schema", str(path), "What?", script=[think("Hm."), say('{"n": 5}')])
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == {"n": 5}
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": CLOSED}}


@pytest.mark.parametrize(
    ("script", "err"),
    [
        ([say('{"n": '), stop("max_tokens")], "the answer was cut at --max-tokens\n"),
        ([say("No."), stop("refusal")], "the model refused to answer\n"),
        ([say("Sure!")], ""),
    ],
)
@pytest.mark.parametrize("how", [[], ["--json"]])
async def test_an_answer_that_is_no_json(script: list[Step], err: str, how: list[str], tmp_path: Path) -> None:
    """It is told by the exit status."""
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(CLOSED))
    done, _ = await ask("--schema", str(path), *how, "What?", script=script)
    assert done.code == 1
    assert err in done.err
    assert "the answer is not whole JSON\n" in done.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"type": "object"}', 'the API does not take the schema in {path}: $: an object needs "additionalProperties"'),
        ("{", "{path} is not JSON: "),
        ("[]", "a JSON Schema is an object"),
        (None, "cannot read {path}"),
    ],
)
async def test_a_schema_that_is_none(text: str | None, says: str, tmp_path: Path) -> None:
    """It is said before anything is sent."""
    path = tmp_path / "schema.json"
    if text is None:
        path = Path("/proc/self/mem")
    else:
        path.write_text(text)
    done, body = await ask("--schema", str(path), "What?")
    assert done.code == 2
    assert body is None
    assert says.format(path=path) in done.err if "{path}" in says else says in done.err
