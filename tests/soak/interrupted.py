"""A program that is interrupted (`python -m tests.soak.interrupted URL ...`), in a process of its own.

What belongs here: what the program does, and what it says of itself. What does not: who interrupts it, and when.

* ``idle``, ``busy`` and ``working`` stream one message, say ``ready``, and wait for a Ctrl-C that comes from outside.
* ``anywhere`` makes requests in a loop, interrupts itself at a random moment, looks what is left, and begins again.
* ``everywhere`` does one thing again and again, interrupted one instruction of the library's later each time.

No library can do anything about an interrupt between the call of a coroutine function and its ``await`` (it "was never
awaited" then) in code that may be interrupted; if the program's block is left by such a call, it is not left at all
(python/cpython#74174). So moments in the program's own code are left out, and so are the tasks of
`trio.open_tcp_stream`.
"""

from __future__ import annotations

import dis
import functools
import gc
import itertools
import json
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import httpx
import trio

import trio_stream as ts
from tests.soak.form import PARAMS, client_at
from tests.wire.sockets import sockets_to

LATEST_SECONDS = 0.03

OURS = str(Path(ts.__file__).parent)


# Interrupted from outside.


async def stream_once(url: str, how: str) -> None:
    async with client_at(url) as client, client.messages.stream(**PARAMS) as stream:
        await stream.receive()
        print("ready", flush=True)
        while how == "working":
            await trio.lowlevel.checkpoint()
        async for _ in stream:
            pass


# What is interrupted from inside.


async def stream(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS) as message_stream:
        await message_stream.until_done()


async def leave_early(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS) as message_stream:
        await message_stream.receive()


async def create(client: ts.Client) -> None:
    await client.messages.create(**PARAMS)


async def count_tokens(client: ts.Client) -> None:
    with suppress(ts.InvalidResponseError):  # the answer is a message
        await client.messages.count_tokens(model=PARAMS["model"], messages=PARAMS["messages"])


USES: dict[str, Callable[[ts.Client], Awaitable[None]]] = {
    use.__name__: use for use in (stream, leave_early, create, count_tokens)
}


async def use_again_and_again(url: str) -> None:
    async with client_at(url) as client:
        while True:
            for use in USES.values():
                await use(client)


async def use_once(url: str, name: str) -> None:
    async with client_at(url) as client:
        await USES[name](client)


# Anywhere.


def interrupt_now_or_soon(_number: int, frame: FrameType | None) -> None:
    """Do what a Ctrl-C does, or come again a little later if this is not the moment."""
    waits = frame is not None and frame.f_code.co_name == "get_events"  # Trio's wait for anything to happen
    ours = False
    while frame is not None:
        ours = ours or frame.f_code.co_filename.startswith(OURS)
        frame = frame.f_back
    trio_takes_it = signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    if trio_takes_it and (waits or ours):
        signal.raise_signal(signal.SIGINT)
    else:
        signal.setitimer(signal.ITIMER_REAL, 0.0002)


def interrupt_anywhere(url: str, runs: int, seed: int) -> dict[str, Any]:
    dice = random.Random(seed)
    signal.signal(signal.SIGALRM, interrupt_now_or_soon)
    interrupted = 0
    left = []
    for run in range(runs):
        signal.setitimer(signal.ITIMER_REAL, dice.uniform(0.0005, LATEST_SECONDS))
        try:
            trio.run(use_again_and_again, url)
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if sockets_to(port_of(url)):
            left.append(run)
        gc.collect()
    return {"interrupted": interrupted, "sockets_left_in": left}


# Everywhere.


@functools.cache
def interruptible(code: CodeType) -> set[int]:
    """Where in a function the interpreter looks for signals: it does so after calls, at loops, and at the beginning."""
    found = set()
    instructions = list(dis.get_instructions(code))
    for before, after in itertools.pairwise(instructions):
        name = before.opname
        # Not when it resumes from an `await`: https://github.com/python/cpython/issues/74174 again.
        begins = name == "RESUME" and before.arg is not None and before.arg & 3 < 2
        if begins or name.startswith("CALL") or name == "JUMP_BACKWARD":
            found.add(after.offset)
    return found


class Tracer:
    """Counts the places at which the library can be interrupted, and interrupts at one."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.passed = 0
        self.place = ""

    def __call__(self, frame: FrameType, event: str, arg: object) -> Any:
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self.local

    def local(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "opcode" and frame.f_lasti in interruptible(frame.f_code):
            self.passed += 1
            if self.passed > self.at:
                self.place = f"{frame.f_code.co_qualname}, line {frame.f_lineno}"
                sys.settrace(None)
                signal.raise_signal(signal.SIGINT)
        return self.local


def interrupt_everywhere(url: str, use: str, first: int, every: int) -> dict[str, Any]:
    port = port_of(url)
    ignored: list[str] = []
    wrong: list[str] = []
    sys.unraisablehook = lambda args: ignored.append(str(args.exc_value))
    trio.run(use_once, url, use)  # what is set up for good
    at = first
    while True:
        tracer = Tracer(at)
        ended = "nothing"
        sys.settrace(tracer)
        try:
            trio.run(use_once, url, use)
        except BaseException as exc:  # noqa: BLE001 - it is reported
            ended = type(exc).__name__
        finally:
            sys.settrace(None)
        if not tracer.place:
            return {"places": at, "wrong": wrong}
        sockets = sockets_to(port)
        gc.collect()
        unexpected = [text for text in ignored if "was never awaited" not in text]
        ignored.clear()
        if ended != "KeyboardInterrupt" or sockets or unexpected:
            wrong.append(f"{tracer.place}: {ended} left, {sockets} sockets, {unexpected}")
        at += every


def port_of(url: str) -> int:
    port = httpx.URL(url).port
    assert port is not None
    return port


if __name__ == "__main__":
    _, _url, _how, *_more = sys.argv
    if _how == "anywhere":
        print(json.dumps(interrupt_anywhere(_url, *map(int, _more))))
    elif _how == "everywhere":
        print(json.dumps(interrupt_everywhere(_url, _more[0], *map(int, _more[1:]))))
    else:
        trio.run(stream_once, _url, _how)
