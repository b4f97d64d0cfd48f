"""``trio-stream chat``: a conversation in the terminal.

What belongs here: the loop from line to answer, its commands, Ctrl-C, and the exit code. What does not: reading lines
(`_chat_input`), showing events (`_chat_view`), loading tools (`_chat_tools`), the conversation itself
(`trio_stream.agent`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal, final

import trio

import trio_stream as ts
from trio_stream.cli._chat_input import Key, Lines, open_lines
from trio_stream.cli._chat_options import ChatOptions
from trio_stream.cli._chat_tools import ToolNameError, load_tools, mcp_servers
from trio_stream.cli._chat_view import ChatView
from trio_stream.cli._client import make_client
from trio_stream.cli._terminal import (
    BROKEN_PIPE,
    FAILED,
    INTERRUPTED,
    USAGE,
    Output,
    complain,
    forget_stdout,
    is_broken_pipe,
)

_DEFAULT_FILE = "chat.json"
_COMMANDS = "/undo  /save [FILE]  /cost  /tools  /help  /quit   (Ctrl-C interrupts an answer, Ctrl-D leaves)"


def run(options: ChatOptions) -> int:
    """Run the command, and return its exit code."""
    client = make_client("chat", base_url=options.base_url, timeout=options.timeout)
    if client is None:
        return USAGE
    try:
        tools = load_tools(options.tools)
        servers = mcp_servers(options.mcp, approve=not options.yes)
    except ToolNameError as error:
        complain("chat", str(error))
        return USAGE
    try:
        with open_lines() as lines:
            return trio.run(_run, options, client, tools, servers, lines)
    except KeyboardInterrupt:
        return INTERRUPTED  # before or after Ctrl-C is received as an event
    except (OSError, BaseExceptionGroup) as error:
        if is_broken_pipe(error):
            forget_stdout()
            return BROKEN_PIPE
        raise


async def _run(
    options: ChatOptions, client: ts.Client, tools: list[ts.Tool], servers: list[ts.mcp.Server], lines: Lines
) -> int:
    async with contextlib.AsyncExitStack() as stack:
        signals = stack.enter_context(trio.open_signal_receiver(signal.SIGINT))
        await stack.enter_async_context(client)
        if servers:
            try:
                tools = [*tools, *await stack.enter_async_context(ts.mcp.servers(*servers))]
            except ts.mcp.ServerUnreachableError as error:
                complain("chat", str(error))
                return USAGE
        try:
            chat = _Chat(options, client, tools, lines)
        except _UnusableFileError as error:
            complain("chat", str(error))
            return USAGE
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.receive_signals, signals)
            await chat.talk()
            nursery.cancel_scope.cancel(reason="the conversation is over")
        return chat.exit_code
    raise AssertionError("nothing in the stack suppresses exceptions")


class _UnusableFileError(Exception):
    """The file of ``--load`` cannot be read, or is no conversation."""


@final
class _Chat:
    """One conversation with whoever types.

    Attributes:
      exit_code: What the command ends with; that of the last answer.
    """

    def __init__(self, options: ChatOptions, client: ts.Client, tools: list[ts.Tool], lines: Lines) -> None:
        self._options = options
        self._tools = tools
        self._lines = lines
        self._view = ChatView(Output(sys.stdout))
        self._file: Path | None = None
        self._starts: list[int] = []  # where in the messages each run began, for /undo
        self._run: ts.Run | None = None
        self._leaving = trio.CancelScope()
        self.exit_code = 0
        prices = None if options.price is None else ts.Prices(input=options.price[0], output=options.price[1])
        self._meter = ts.Meter(prices=prices)
        if options.load is None:
            params: dict[str, Any] = {} if options.system is None else {"system": options.system}
            self._conversation = ts.Conversation(
                client, model=options.model, max_tokens=options.max_tokens, tools=tools, **params
            )
        else:
            self._file = Path(options.load)
            self._conversation = _load(self._file, client, tools)

    async def receive_signals(self, signals: Any) -> None:
        """Let Ctrl-C interrupt the answer that is under way, or else end the program."""
        async for _ in signals:
            if self._run is not None:
                self._run.interrupt("the user pressed Ctrl-C")
            else:
                self.exit_code = INTERRUPTED
                self._leaving.cancel(reason="Ctrl-C, and no answer is under way")

    async def talk(self) -> None:
        """Take lines until there are no more."""
        if self._lines.somebody_is_there:
            self._view.note(f"{self._options.model}. {_COMMANDS}")
        about_to_leave = False
        with self._leaving:
            while True:
                typed = await self._lines.read("> ")
                if typed is Key.END or (typed is Key.INTERRUPT and about_to_leave):
                    return
                about_to_leave = typed is Key.INTERRUPT
                if isinstance(typed, Key):
                    self._view.note("Ctrl-C again leaves; so do Ctrl-D and /quit.")
                    continue
                line = typed.strip()
                if line in {"/quit", "/exit"}:
                    return
                if line.startswith("/"):
                    self._obey(line)
                elif line:
                    await self._answer(line)

    async def _answer(self, text: str) -> None:
        view = self._view
        approve: Any = _allow if self._options.yes else "ask" if self._lines.somebody_is_there else None
        save = None if self._file is None else self._save_after_a_turn
        try:
            async with self._conversation.run(text, approve=approve, meter=self._meter, save=save) as run:
                self._run = run
                self._starts.append(run.first_message)
                async for event in run:
                    if (question := _question_in(event)) is None:
                        view.show(event)
                    else:
                        await self._ask(question, run)
        except (ts.APIError, OSError) as error:
            if is_broken_pipe(error):
                raise
            view.end()
            complain("chat", str(error))
            self.exit_code = FAILED
        else:
            self.exit_code = 0
            view.end()
            view.say_how_it_ended(run)
        finally:
            self._run = None

    async def _ask(self, event: ts.ApprovalEvent, run: ts.Run) -> None:
        """Ask whether a call may run. What is typed beside yes and no is the reason that the model is told."""
        if self._options.yes:  # one of an agent within a tool, which asks in its own way
            event.allow()
            return
        if not self._lines.somebody_is_there:
            event.deny("it needs approval, and nobody is there to give it")
            return
        self._view.call(event)
        typed = await self._lines.read("allow it? [y/N, or why not] ")
        if typed is Key.INTERRUPT:
            run.interrupt("the user pressed Ctrl-C")
        elif isinstance(typed, Key) or typed.strip().lower() in {"", "n", "no"}:
            event.deny()
        elif typed.strip().lower() in {"y", "yes"}:
            event.allow()
        else:
            event.deny(f"the user said: {typed.strip()}")

    def _obey(self, line: str) -> None:
        command, _, argument = line.partition(" ")
        match command:
            case "/undo":
                self._undo()
            case "/save":
                self._save(argument.strip())
            case "/cost":
                self._view.note(self._cost())
            case "/tools":
                self._view.note(
                    ", ".join(tool.name or "a toolset" for tool in self._tools) or "no tools: see --tool and --mcp"
                )
            case "/help":
                self._view.note(_COMMANDS)
            case _:
                self._view.note(f"there is no {command}. {_COMMANDS}")

    def _undo(self) -> None:
        if not self._starts:
            self._view.note("there is nothing to undo")
            return
        self._conversation = self._conversation.fork(self._starts.pop())
        if self._file is not None:
            self._write()
        self._view.note("taken back")

    def _save(self, name: str) -> None:
        self._file = Path(name) if name else self._file or Path(_DEFAULT_FILE)
        if self._write():
            self._view.note(f"saved in {self._file}, and again after every turn")

    async def _save_after_a_turn(self, conversation: ts.Conversation) -> None:
        _write_whole(self._file or Path(_DEFAULT_FILE), conversation.to_json())

    def _write(self) -> bool:
        file = self._file or Path(_DEFAULT_FILE)
        try:
            _write_whole(file, self._conversation.to_json())
        except OSError as error:
            complain("chat", f"cannot write {file}: {error.strerror or error}")
            self._file = None
            return False
        return True

    def _cost(self) -> str:
        meter = self._meter  # what was taken back has been paid for all the same
        tokens = f"{meter.input_tokens} tokens in, {meter.output_tokens} out, {meter.requests} requests"
        cost = meter.cost
        return f"{tokens}; dollars with --price IN/OUT" if cost is None else f"{tokens}, ${cost:.4f}"


def _question_in(event: ts.RunEvent) -> ts.ApprovalEvent | None:
    """The question that an event asks, also from within a tool."""
    while isinstance(event, ts.NestedEvent):
        event = event.event
    return event if isinstance(event, ts.ApprovalEvent) else None


async def _allow(call: ts.ToolCall) -> Literal[True]:  # noqa: ARG001 - each call alike
    await trio.lowlevel.checkpoint()
    return True


def _load(file: Path, client: ts.Client, tools: list[ts.Tool]) -> ts.Conversation:
    try:
        return ts.Conversation.from_json(client, file.read_bytes(), tools=tools)
    except OSError as error:
        raise _UnusableFileError(f"cannot read {file}: {error.strerror or error}") from error
    except (TypeError, ValueError) as error:
        raise _UnusableFileError(f"{file}: {error}") from error


def _write_whole(file: Path, data: bytes) -> None:
    """Replace a file in one step, so that it is whole at every instant. Nobody else may read it."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as temporary:
            temporary.write(data)
        Path(name).replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
