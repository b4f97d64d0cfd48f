"""A run of every kind, something done to it at each of its steps, and its history checked after every step.

What belongs here: the scenarios, what is done to them, and the check. What does not: how many of them are run
(`test_sweep`).
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import trio

import trio_stream as ts
from tests.soak.form import LONG
from trio_stream import agent
from trio_stream.testing import (
    ScriptedAPI,
    block,
    call,
    cancel_everywhere,
    disconnect,
    fail as fail_with,
    pause,
    say,
    server_tool,
    stop,
    think,
)
from trio_stream.testing._requests import RecordedRequest
from trio_stream.testing._scripted import Script
from trio_stream.testing._strict import find_fault

MODEL = "claude-sonnet-5-5"
SAMPLE = 11
"""Of so many steps one is in the sample that runs every time: no period of the runs is a multiple of it."""

NEXT_TEXT = {"role": "user", "content": "go on"}

SEARCH_ID = "srvtoolu_1"
SEARCHED = {"type": "web_search_tool_result", "tool_use_id": SEARCH_ID, "content": []}
WEB_SEARCH: Mapping[str, Any] = {"type": "web_search_20260209", "name": "web_search"}
CODE_ID = "srvtoolu_2"
CODE: Mapping[str, Any] = {"type": "code_execution_20260120", "name": "code_execution"}
PROGRAM = {"type": "code_execution_20260120", "tool_id": CODE_ID}
RAN = {
    "type": "code_execution_tool_result",
    "tool_use_id": CODE_ID,
    "content": {"type": "code_execution_result", "stdout": "4", "stderr": "", "return_code": 0, "content": []},
}


@agent.tool
async def look(query: str) -> str:
    """Look something up.

    Args:
      query: What.
    """
    await trio.sleep(0.3)
    return f"found {query}"


@agent.tool
async def glance(query: str) -> str:
    """Look something up quickly."""
    await trio.sleep(0.01)
    return f"found {query}"


@agent.tool
async def fail(query: str) -> str:
    """Fail, after a while."""
    await trio.sleep(0.1)
    raise OSError(f"no {query}")


@agent.tool(timeout=0.2)
async def slow(query: str) -> str:
    """Take longer than it may."""
    await trio.sleep(5)
    return query


@agent.tool(timeout=3, on_cancel="finish", grace=1)
async def pay(amount: int) -> str:
    """Do what must not be left half done."""
    await trio.sleep(0.4)
    return f"paid {amount}"


@agent.tool(exclusive=True)
async def write(text: str) -> str:
    """Write alone."""
    await trio.sleep(0.1)
    return f"wrote {text}"


@agent.tool(exclusive="group")
async def step(text: str) -> str:
    """One by one; fails for "bad"."""
    await trio.sleep(0.1)
    if text == "bad":
        raise agent.ToolError("it is bad")
    return text


@agent.tool(approve=True)
async def remove(path: str) -> str:
    """Needs approval."""
    await trio.sleep(0.1)
    return f"removed {path}"


def resuming(call_id: str, *steps: Any) -> Script:
    """An answer that goes on from a call of the API's own, and another one where that call is not in the request."""

    def script(request: RecordedRequest) -> Sequence[Any]:
        return steps if call_id in str(request.body) else [say("Fine.")]

    return script


def going_on(request: RecordedRequest) -> Sequence[Any]:
    """What the model says when it is asked again: a program's result first, where one waits for it."""
    text = str(request.body)
    waits = CODE_ID in text and "code_execution_tool_result" not in text
    return [block(RAN), say("Fine.")] if waits else [say("Fine.")]


class Case:
    """A scenario.

    Args:
      scripts: The answers of the API.
      tools: The tools of the conversation.
      outcome: How a run ends to which nothing is done, if it is not completed.
      options: Of the run.
    """

    def __init__(
        self, *scripts: Script, tools: Sequence[Any] = (), outcome: agent.RunOutcome | None = None, **options: Any
    ) -> None:
        self.scripts = scripts
        self.outcome = outcome
        self.tools = tools
        self.options = options


def sub_agent(client: ts.Client) -> agent.Tool:
    """A conversation that looks something up, as a tool."""
    inner = agent.Conversation(client, model=MODEL, max_tokens=64, tools=[look])
    return inner.as_tool("helper", "Helps.")


QUICK = Case(
    [say("Both. "), call("glance", {"query": "a"}), call("glance", {"query": "b"}, ttft=0.01)],
    [think("so", ttft=0.01), say("Done.")],
    tools=[glance],
)
"""For a real port, and so for real time."""

CASES: dict[str, Case] = {
    "thinking": Case(
        [think("hm ", ttft=0.1), say("Let me see. ", ttft=0.1), call("look", {"query": "a"}, ttft=0.1)],
        [think("so", ttft=0.1), say("Done.", ttft=0.1)],
        tools=[look],
    ),
    "calls": Case(
        [say("Both. "), call("look", {"query": "a"}), call("look", {"query": "b"}, ttft=0.1)],
        [say("One more. ", ttft=0.1), call("look", {"query": "c"})],
        [say("Done.", ttft=0.1)],
        tools=[look],
    ),
    "pause": Case(
        [think("hm"), server_tool("web_search", {"query": "x"}, id=SEARCH_ID, ttft=0.1), stop("pause_turn")],
        resuming(SEARCH_ID, block(SEARCHED, ttft=0.1), say("So. ", ttft=0.1), call("look", {"query": "a"})),
        [say("Done.", ttft=0.1)],
        tools=[WEB_SEARCH, look],
    ),
    "beside": Case(
        [server_tool("web_search", {"query": "x"}, id=SEARCH_ID, ttft=0.1), call("look", {"query": "a"}, ttft=0.1)],
        resuming(SEARCH_ID, block(SEARCHED, ttft=0.1), say("Done.", ttft=0.1)),
        tools=[WEB_SEARCH, look],
    ),
    "program": Case(
        [
            server_tool("code_execution", {"code": "x"}, id=CODE_ID),
            call("look", {"query": "a"}, caller=PROGRAM, ttft=0.1),
            stop(container="container_1"),
        ],
        resuming(CODE_ID, call("look", {"query": "b"}, caller=PROGRAM, ttft=0.1)),
        resuming(CODE_ID, say("It ran. ", ttft=0.1), block(RAN, ttft=0.1), say("Done.", ttft=0.1)),
        resuming(CODE_ID, block(RAN, ttft=0.1), say("Done after all.", ttft=0.1)),
        tools=[CODE, look],
    ),
    "finish": Case(
        [say("Paying. "), call("pay", {"amount": 3}), call("look", {"query": "a"}, ttft=0.1)],
        [say("Done.", ttft=0.1)],
        tools=[pay, look],
    ),
    "exclusive": Case(
        [
            call("look", {"query": "a"}),
            call("write", {"text": "one"}),
            call("step", {"text": "bad"}),
            call("step", {"text": "late"}),
            call("write", {"text": "two"}),
        ],
        [say("Done.", ttft=0.1)],
        tools=[look, write, step],
    ),
    "failing": Case(
        [
            call("fail", {"query": "a"}, ttft=0.1),
            call("slow", {"query": "b"}),
            call("look", {"query": 5}),
            call("look", "{broken"),
            call("nothing", {}),
        ],
        [say("Done.", ttft=0.1)],
        tools=[fail, slow, look],
    ),
    "approval": Case(
        [call("remove", {"path": "a"}), call("remove", {"path": "b"}), call("look", {"query": "c"}), pause(0.1)],
        [say("Done.", ttft=0.1)],
        tools=[remove, look],
        approve="ask",
    ),
    "cut": Case(
        [think("hm"), say("I ", ttft=0.1), say("am "), disconnect()],
        [say("I am ", ttft=0.1), call("look", {"query": "a"}, ttft=0.1), say("so ", ttft=0.1), fail_with("api_error")],
        tools=[look],
        outcome="failed",
    ),
    "truncated": Case(
        [say("I "), call("look", {"query": "a"}, ttft=0.1), call("look", '{"que', ttft=0.1), stop("max_tokens")],
        tools=[look],
        outcome="truncated",
    ),
    "refused": Case(
        [say("I "), call("look", {"query": "a"}, ttft=0.1), call("pay", {"amount": 1}), stop("refusal")],
        tools=[look, pay],
        outcome="refused",
    ),
    "sub-agents": Case(
        [call("helper", {"prompt": "first"}), call("helper", {"prompt": "second"}, ttft=0.05)],
        [call("look", {"query": "a"}, ttft=0.1)],
        [say("inner", ttft=0.1)],
        [say("inner too", ttft=0.1)],
        [say("Done.", ttft=0.1)],
        tools=["sub-agent"],
    ),
}


class Sweep:
    """One case with one thing done to it: what `cancel_everywhere` needs."""

    def __init__(self, case: Case, action: str) -> None:
        self._case = case
        self.port: str | None = None  # where `api` is served; None: it is called in memory
        self._action = action
        self._scripts: deque[Script] = deque()
        self.api = ScriptedAPI(default=self._script)
        self._scope = trio.CancelScope()
        self._said = False
        self._undisturbed = True  # the first run is
        self.chat: agent.Conversation | None = None
        self.run: agent.Run | None = None

    def begin(self) -> agent.Run:
        """Make the run, which nothing has happened to."""
        self._scripts = deque(self._case.scripts)
        client = ts.Client(api_key="test", base_url=self.port, transport=self.api if self.port is None else None)
        tools = [sub_agent(client) if part == "sub-agent" else part for part in self._case.tools]
        self.chat = agent.Conversation(client, model=MODEL, max_tokens=64, tools=tools, system="Be brief.")
        self.run = self.chat.run("hello", **self._case.options)
        self._scope = trio.CancelScope()
        self._said = False
        return self.run

    async def fn(self) -> None:
        try:
            async with self.begin() as run:
                with self._scope:
                    await answer(run)
        except ts.APIError:
            assert run.outcome == "failed"

    def _script(self, request: RecordedRequest) -> Iterable[Any]:
        script = self._scripts.popleft() if self._scripts else going_on
        return script(request) if callable(script) else script

    def act(self) -> None:
        run = self.run
        if self._action == "leave":
            self._scope.cancel(reason="the test leaves")
        elif run is not None:
            if self._action == "interrupt":
                run.interrupt("the test")
                run.interrupt("twice")
            elif self._action == "call":
                for one in run.calls.values():
                    if not one.has_ended:
                        one.cancel("the test cancels one")
                        break
            elif self._action in ("next", "now", "idle"):
                self._said = run.say("listen", when=self._action)

    def watch(self) -> None:
        if self.chat is not None:
            check(self.chat)
        if self.chat is not None and self.run is not None:
            check_results(self.chat, self.run)

    async def after(self) -> None:
        """The run has ended, however: the conversation goes on, and no request was refused."""
        assert self.chat is not None
        assert self.run is not None
        if self.run.turns:
            assert self.run.outcome is not None
        self.watch()
        if self._undisturbed:
            self._undisturbed = False
            assert self.run.outcome in ("completed", self._case.outcome)
            assert "Done." in str(self.chat.messages[-1]) or self._case.outcome is not None
        # A text is delivered, or in `unsaid`, or `say` was False.
        delivered = sum(1 for message in self.chat.messages if "listen" in str(message))
        assert delivered + self.run.unsaid.count("listen") == int(self._said)
        for fork_at in range(len(self.chat.messages) + 1):
            check(self.chat.fork(fork_at))
        self._scripts.clear()
        again = self.chat.run("go on")
        async with again:
            await again.result()
        assert again.outcome == "completed"
        assert again.unsaid == []
        refused = [request for request in self.api.requests if request.status == 400]
        assert refused == [], refused


def check_results(chat: agent.Conversation, run: agent.Run) -> None:
    """Each call that stays has one result, in the order of the calls, and it is the truth."""
    asked: list[str] = []
    for message in chat.messages[run.first_message :]:
        blocks = [] if isinstance(message["content"], str) else message["content"]
        results = [part for part in blocks if part["type"] == "tool_result"]
        if message["role"] == "assistant":
            asked = [part["id"] for part in blocks if part["type"] == "tool_use"]
        elif results:
            assert [result["tool_use_id"] for result in results] == asked
        for result in results:
            one = run.calls[result["tool_use_id"]]
            if one.has_ended:
                assert result == one.result()
            elif one.state in (agent.CallState.STARTING, agent.CallState.RUNNING):
                assert result["content"].startswith("stopped while it was running: ")
            else:
                assert result["content"].startswith("not started: ")


async def answer(run: agent.Run) -> None:
    """Read the events, and answer those that ask."""
    async for event in run:
        if isinstance(event, agent.ApprovalEvent):
            if event.input["path"] == "a":
                event.allow()
            else:
                event.deny("not b")


def check(chat: agent.Conversation) -> None:
    """The history is valid, and so it is with another text after it."""
    dialogue = chat._dialogue
    messages = chat.messages
    snapshot = dialogue.snapshot()
    assert snapshot.messages() == messages
    if not snapshot.transcript.takes_only_a_reply:
        messages = [*messages, NEXT_TEXT]
    body = {"model": MODEL, "max_tokens": 64, "messages": messages, "stream": True, **dialogue.fixed}
    if snapshot.container is not None:
        body["container"] = snapshot.container
    fault = find_fault(body, beta=True)
    assert fault is None, f"{fault}: {messages}"


async def sweep(name: str, action: str, when: Any) -> int:
    """Do something to a case at each of its steps. Returns at how many."""
    return await everywhere(Sweep(CASES[name], action), action, when)


async def sweep_one_reply(action: str) -> int:
    """Do something to a run of one reply at each of its steps, without gaps. Returns at how many."""
    return await everywhere(Sweep(Case([say("Done.")]), action), action, "both", every=1)


async def sweep_over_a_port(action: str, when: Any) -> int:
    """Do something to a case at each of its steps, over sockets. Returns at how many."""
    one = Sweep(QUICK, action)
    async with one.api.serve() as server:
        one.port = server.base_url
        return await everywhere(one, action, when)


async def everywhere(one: Sweep, action: str, when: Any, *, every: int = 1 if LONG else SAMPLE) -> int:
    act: Callable[[], object] | None = None if action == "cancel" else one.act
    after: Callable[[], Awaitable[None]] = one.after
    return await cancel_everywhere(one.fn, after, action=act, watch=one.watch, when=when, every=every)


BLOCKS: Mapping[str, Sequence[Any]] = {
    "ours": [think("hm"), say("text "), call("look", {"query": "a"}), call("look", '{"que'), say(" ")],
    "broken": [call("look", "{broken"), think("hm"), call("look", {"query": "a"}), say("x ")],
    "theirs": [
        say("text "),
        server_tool("web_search", {"query": "x"}, id=SEARCH_ID),
        think("hm"),
        call("look", {"query": "a"}),
        block(SEARCHED),
        think("so"),
        say("found "),
    ],
    "programs": [
        think("hm"),
        server_tool("code_execution", {"code": "x"}, id=CODE_ID),
        call("look", {"query": "a"}, caller=PROGRAM),
        call("look", {"query": "b"}, caller=PROGRAM),
        say("text"),
    ],
}
"""Replies that end after any of their blocks."""

ENDINGS: Mapping[str, Sequence[Any]] = {
    "cut": [disconnect()],
    "cut cleanly": [disconnect(clean=True)],
    "error": [fail_with("overloaded_error")],
    "refused request": [fail_with("invalid_request_error")],
    "open block": [pause(0.1), stop("max_tokens", close_block=False)],
    "truncated": [stop("max_tokens", container="container_1")],
    "too long": [stop("model_context_window_exceeded", container="container_1")],
    "refusal": [stop("refusal", container="container_1")],
    "end": [stop("end_turn", container="container_1")],
    "calls": [stop("tool_use", container="container_1")],
}


async def end(blocks: Sequence[Any], ending: Sequence[Any]) -> None:
    """Have a reply end in some way, look at the history after every event, and go on."""

    api = ScriptedAPI([*blocks, *ending], default=going_on)
    client = ts.Client(api_key="test", transport=api, max_retries=0)
    chat = agent.Conversation(client, model=MODEL, max_tokens=64, tools=[look, WEB_SEARCH, CODE])
    with contextlib.suppress(ts.APIError):
        async with chat.run("hello", turn_retries=0) as run:
            async for _ in run:
                check(chat)
    check(chat)
    other = agent.Conversation.from_json(client, chat.to_json(), tools=[look])
    assert other.messages == chat.messages
    for one in (chat, other):
        async with one.run("go on") as run:
            assert (await run.result()).text == "Fine."
        check(one)
    refused = [request for request in api.requests if request.status == 400]
    assert refused == []
