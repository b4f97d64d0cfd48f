"""The official SDK on Trio against one fault after another: a program, run by the interpreter of the SDK's environment.

What belongs here: doing with the SDK what the matrix does with this library, and reporting everything that can be seen
from inside its process. What does not: the faults (`scripts`) and what must follow (`sdk_verdicts`). Imports neither
trio_stream nor pytest: the environment it runs in has neither.

One JSON object per line comes in, the job; one goes out, the report.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import resource
import socket
import ssl
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import trio
import trio.testing

KEY = "sk-fault-key-that-nobody-may-see"
PROMPT = "a prompt that nobody may see"
PARAMS: dict[str, Any] = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 256,
    "messages": [{"role": "user", "content": PROMPT}],
}

MOST_EVENTS_KEPT = 40
LONGEST_SENTENCE = 4096
MOST_MEMORY = 3 << 30
"""Bytes of address space: what has no limit of its own has this one."""


def client_for(job: dict[str, Any]) -> anthropic.AsyncAnthropic:
    """A client with the job's options, and as many connections as it says."""
    verify: Any = True
    if job.get("ca"):
        verify = ssl.create_default_context(cafile=job["ca"])
    pool = job.get("pool", 1)
    limits = httpx2.Limits(max_connections=pool, max_keepalive_connections=pool)
    return anthropic.AsyncAnthropic(
        api_key=job.get("key", KEY),
        base_url=job["url"],
        timeout=job.get("timeout", 2.0),
        max_retries=job.get("retries", 0),
        http_client=anthropic.DefaultAsyncHttpxClient(limits=limits, verify=verify),
    )


def params_of(job: dict[str, Any]) -> dict[str, Any]:
    """A request of the size that the job asks for."""
    if "megabytes" not in job:
        return PARAMS
    return {**PARAMS, "messages": [{"role": "user", "content": "x" * (job["megabytes"] * 1_000_000)}]}


def told(error: BaseException) -> dict[str, Any]:
    """What can be said of an error."""
    chain: list[BaseException] = []
    item: BaseException | None = error
    while item is not None and item not in chain:
        chain.append(item)
        item = item.__cause__ or item.__context__
    response = getattr(error, "response", None)
    sentence = str(error)
    return {
        "class": type(error).__name__,
        "own": isinstance(error, anthropic.AnthropicError),
        "module": type(error).__module__,
        "sentence": sentence[:LONGEST_SENTENCE],
        "sentence_bytes": len(sentence.encode("utf-8", "replace")),
        "status": getattr(error, "status_code", None),
        "type": getattr(error, "type", None),
        "request_id": getattr(error, "request_id", None),
        "retry_after": None if response is None else response.headers.get("retry-after"),
        "causes": [type(link).__name__ for link in chain[1:]],
        "secret_in_sentence": any(KEY in str(link) or KEY in repr(link) for link in chain),
    }


async def stream_once(client: anthropic.AsyncAnthropic, params: dict[str, Any]) -> dict[str, Any]:
    """Stream one message to its end, or to its error."""
    report: dict[str, Any] = {"error": None, "text": None, "events": 0, "seen": [], "message": None}
    stream: Any = None
    began = time.monotonic()
    try:
        async with client.messages.stream(**params) as stream:
            async for event in stream:
                report["events"] += 1
                if report["events"] <= MOST_EVENTS_KEPT:
                    report["seen"].append(dumped(event))
    except Exception as error:  # noqa: BLE001 - whatever comes out is reported
        report["error"] = told(error)
        error.__traceback__ = None
    report["ended_at"] = time.monotonic()
    report["seconds"] = report["ended_at"] - began
    if stream is not None:
        try:
            snapshot = stream.current_message_snapshot
        except AssertionError:
            pass
        else:
            report["text"] = "".join(block.text for block in snapshot.content if block.type == "text" and block.text)
            if len(report["text"]) > 10_000:
                report["text_length"] = len(report["text"])
                report["text"] = None
            else:
                report["message"] = dumped(snapshot)
            report["stop_reason"] = snapshot.stop_reason
    return report


def dumped(value: Any) -> Any:
    """A pydantic model as JSON-able data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return value.to_dict(mode="json")
        except Exception as error:  # noqa: BLE001 - an event that cannot be dumped is no failure of the stream
            return {"not dumped": type(error).__name__, "repr": repr(value)[:1000]}


def resident(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        field, _, value = line.partition(":")
        if field == name:
            return int(value.split()[0]) * 1024
    raise LookupError(name)


def clear_peak() -> None:
    """Begin anew with the peak of the resident set."""
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): "Reset the peak resident set size"


def sockets_to(port: int) -> int:
    """How many sockets of this process are connected to a port."""
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if not str(entry.readlink()).startswith("socket:"):
                continue
            copy = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:
            continue
        with copy:
            try:
                count += copy.getpeername()[1] == port
            except (OSError, IndexError):
                continue
    return count


def open_sockets() -> int:
    """How many sockets this process has."""
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            count += str(entry.readlink()).startswith("socket:")
        except OSError:
            continue
    return count


# Jobs.


async def do_stream(job: dict[str, Any]) -> dict[str, Any]:
    """Stream, and stream again on the same client."""
    client = client_for(job)
    if job.get("warm"):
        await stream_once(client, PARAMS)
        gc.collect()
        clear_peak()
        before = resident("VmRSS")
    report = await stream_once(client, params_of(job))
    if job.get("warm"):
        report["grown"] = resident("VmHWM") - before
    report["left"] = sockets_to(job["port"])
    if job.get("then", True):
        await trio.sleep(job.get("between", 0.0))
        with trio.move_on_after(3) as scope:
            report["then"] = await stream_once(client, PARAMS)
        if scope.cancelled_caught:
            report["then"] = {"error": {"class": "nothing within 3 s"}, "text": None}
    await client.close()
    return report


async def do_client(job: dict[str, Any]) -> dict[str, Any]:
    """Make a client with a strange key, and use it if that works."""
    try:
        client = client_for(job)
    except Exception as error:  # noqa: BLE001 - whatever comes out is reported
        return {"made": False, **told(error), "error": told(error), "seconds": 0.0}
    report = await stream_once(client, PARAMS)
    await client.close()
    return {"made": True, **report}


async def do_count(job: dict[str, Any]) -> dict[str, Any]:
    """Count the tokens of a request."""
    client = client_for(job)
    report: dict[str, Any] = {"error": None, "seconds": 0.0}
    try:
        counted = await client.messages.count_tokens(model=PARAMS["model"], messages=PARAMS["messages"])
        report["input_tokens"] = counted.input_tokens
    except Exception as error:  # noqa: BLE001 - whatever comes out is reported
        report["error"] = told(error)
    await client.close()
    return report


async def do_cancel(job: dict[str, Any]) -> dict[str, Any]:
    """Cancel a stream some seconds after it began, from a sibling; then use the client again."""
    client = client_for(job)
    before = open_sockets()
    scope = trio.CancelScope()
    report: dict[str, Any] = {"error": None}

    async def use() -> None:
        with scope:
            try:
                await stream_to_end(client, params_of(job))
            except Exception as error:  # noqa: BLE001 - whatever comes out is reported
                report["error"] = told(error)
        report["ended_at"] = time.monotonic()
        report["sockets"] = open_sockets() - before

    async with trio.open_nursery() as nursery:
        nursery.start_soon(use)
        await trio.sleep(job["after"])
        scope.cancel()
        cancelled_at = time.monotonic()
    report["seconds"] = report["ended_at"] - cancelled_at
    report["caught"] = scope.cancelled_caught
    await look_again(client, job, report)
    return report


async def look_again(client: anthropic.AsyncAnthropic, job: dict[str, Any], report: dict[str, Any]) -> None:
    """Whether the same client works."""
    if job.get("then", True):
        report["then"] = {"error": {"class": "nothing within 3 s"}, "text": None}
        with trio.move_on_after(3):
            report["then"] = await stream_once(client, PARAMS)
    with trio.move_on_after(1):
        await client.close()


async def stream_to_end(client: anthropic.AsyncAnthropic, params: dict[str, Any] = PARAMS) -> None:
    async with client.messages.stream(**params) as stream:
        async for _ in stream:
            pass


class LeaveError(Exception):
    """Of the program."""


async def do_leave(job: dict[str, Any]) -> dict[str, Any]:
    """Leave the block in the job's way."""
    client = client_for(job)
    report: dict[str, Any] = {"error": None, "itself": None}
    how = job["how"]
    error = LeaveError("of the program")
    with trio.CancelScope() as scope:
        try:
            async with client.messages.stream(**PARAMS) as stream:
                if how == "return":
                    pass
                else:
                    async for _ in stream:
                        break
                if how == "cancelled":
                    scope.cancel()
                elif how == "past":
                    scope.deadline = float("-inf")
                elif how == "exception":
                    raise error
        except BaseException as exc:
            report["itself"] = exc is error
            if not isinstance(exc, LeaveError):
                raise
    report["ended_at"] = time.monotonic()
    report["sockets"] = sockets_to(job["port"])
    report["seconds"] = 0.0
    await look_again(client, job, report)
    return report


async def do_siblings(job: dict[str, Any]) -> dict[str, Any]:
    """Cancel a hundred streams at once."""
    client = client_for(job)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(stream_to_end, client)
            await trio.sleep(job["after"])
            scope.cancel()
            cancelled_at = time.monotonic()
    report = {"error": None, "cancelled_at": cancelled_at, "ended_at": time.monotonic()}
    report["sockets"] = sockets_to(job["port"])
    report["seconds"] = time.monotonic() - cancelled_at
    await look_again(client, job, report)
    return report


async def do_rounds(job: dict[str, Any]) -> dict[str, Any]:
    """Fifty rounds of twenty siblings, cancelled a little later each time."""
    client = client_for(job)
    for number in range(50):
        with trio.move_on_after(number * 0.0004 * job.get("slower", 1)):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(stream_to_end, client)
        then: dict[str, Any] = {"error": {"class": "nothing within 3 s"}, "text": None}
        with trio.move_on_after(3):
            then = await stream_once(client, PARAMS)
        if then["error"] is not None:
            return {"error": None, "then": then, "round": number, "seconds": 0.0}
    await client.close()
    return {"error": None, "then": then, "round": 50, "seconds": 0.0}


async def do_churn(job: dict[str, Any]) -> dict[str, Any]:
    """Random cancels for some seconds."""
    import random

    client = client_for(job)
    cancels = 0
    until = time.monotonic() + job["seconds"]

    async def work() -> None:
        nonlocal cancels
        while time.monotonic() < until:
            with trio.move_on_after(random.uniform(0, 0.012)) as scope:
                with contextlib.suppress(anthropic.AnthropicError):
                    await stream_to_end(client)
            cancels += scope.cancelled_caught

    with trio.move_on_after(job["seconds"] + 5):
        async with trio.open_nursery() as nursery:
            for _ in range(job["workers"]):
                nursery.start_soon(work)
    report: dict[str, Any] = {"error": None, "cancels": cancels, "seconds": 0.0}
    report["sockets"] = sockets_to(job["port"])
    report["kept"] = job["pool"]
    await look_again(client, job, report)
    return report


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope before or after the nth step of a task."""

    def __init__(self, scope: trio.CancelScope, step: int, *, before: bool) -> None:
        self.scope, self.left, self.before = scope, step, before
        self.task: Any = None

    def _count(self, task: Any, now: bool) -> None:
        if task is self.task and now:
            self.left -= 1
            if self.left == 0:
                self.scope.cancel()

    def before_task_step(self, task: Any) -> None:
        self._count(task, self.before)

    def after_task_step(self, task: Any) -> None:
        self._count(task, not self.before)


async def do_steps(job: dict[str, Any]) -> dict[str, Any]:
    """Cancel at every scheduler step of one message, on one connection."""
    client = client_for(job)
    report: dict[str, Any] = {"error": None, "seconds": 0.0, "step": 0, "sockets": 0}
    for step in range(1, 500):
        done = False
        for before in (True, False):
            if not job["keep"]:
                client = client_for(job)
            scope = trio.CancelScope()
            instrument = CancelAtStep(scope, step, before=before)

            async def use(scope: Any = scope, instrument: Any = instrument, client: Any = client) -> None:
                instrument.task = trio.lowlevel.current_task()
                with scope:
                    try:
                        await stream_to_end(client)
                    except anthropic.AnthropicError as error:
                        report["error"] = told(error)

            trio.lowlevel.add_instrument(instrument)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(use)
            trio.lowlevel.remove_instrument(instrument)
            done = not scope.cancel_called
            report["step"] = step
            report["then"] = {"error": {"class": "nothing within 3 s"}, "text": None}
            with trio.move_on_after(3):
                report["then"] = await stream_once(client, PARAMS)
            if not job["keep"]:
                await client.close()
                report["sockets"] = sockets_to(job["port"])
            gc.collect()
            if report["then"]["error"] or report["error"] or report["sockets"] or WARNED:
                return report
        if done:
            break
    await client.close()
    report["sockets"] = sockets_to(job["port"])
    return report


async def do_slot(job: dict[str, Any]) -> dict[str, Any]:
    """Two tasks wait for the one connection; one is cancelled; the other must get it."""
    client = client_for(job)
    report: dict[str, Any] = {"error": None}
    texts: list[Any] = []

    async def use() -> None:
        texts.append((await stream_once(client, PARAMS))["text"])

    scope = trio.CancelScope()

    async def cancelled() -> None:
        with scope:
            await stream_to_end(client)
        report["ended_at"] = time.monotonic()

    with trio.move_on_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(use)
            await trio.sleep(0.1)
            nursery.start_soon(cancelled)
            nursery.start_soon(use)
            await trio.sleep(0.1)
            scope.cancel()
            cancelled_at = time.monotonic()
    report["seconds"] = report.get("ended_at", cancelled_at + 9) - cancelled_at
    report["texts"] = texts
    await look_again(client, job, report)
    return report


async def do_open_stream(job: dict[str, Any]) -> dict[str, Any]:
    """Drop what ``create(stream=True)`` returns."""
    client = client_for(job)
    stream: Any = await client.messages.create(**PARAMS, stream=True)
    await trio.sleep(0.05)
    report: dict[str, Any] = {"error": None, "seconds": 0.0, "open": sockets_to(job["port"])}
    del stream
    gc.collect()
    await trio.sleep(0.05)
    report["sockets"] = sockets_to(job["port"])
    await client.close()
    return report


async def do_never_entered(job: dict[str, Any]) -> dict[str, Any]:
    """Make a manager, and drop it."""
    client = client_for(job)
    client.messages.stream(**PARAMS)
    gc.collect()
    await trio.sleep(0.05)
    await client.close()
    return {"error": None, "seconds": 0.0}


async def do_checkpoints(job: dict[str, Any]) -> dict[str, Any]:
    """Which public async functions are no checkpoints, and whether reading a buffered event notices a cancel."""
    client = client_for(job)
    missing: list[str] = []

    async def check(name: str, function: Any) -> Any:
        try:
            with trio.testing.assert_checkpoints():
                return await function()
        except AssertionError:
            missing.append(name)
            return None

    opened = await check("messages.create", lambda: client.messages.create(**PARAMS, stream=True))
    if opened is not None:
        await opened.close()
    async with client.messages.stream(**PARAMS) as stream:
        await stream.__anext__()
        await trio.sleep(0.1)
        with trio.CancelScope() as scope:
            scope.cancel()
            await stream.__anext__()
            missing.append("__anext__ of a buffered event")
    manager = client.messages.stream(**PARAMS)
    async with manager as stream:
        await check("until_done", stream.until_done)
        await check("get_final_message", stream.get_final_message)
        await check("stream.close", stream.close)
    await check("client.close", client.close)
    return {"error": None, "seconds": 0.0, "missing": missing}


async def do_interrupted(job: dict[str, Any]) -> dict[str, Any]:
    """Stream until Ctrl-C comes."""
    client = client_for(job)
    async with client.messages.stream(**PARAMS) as stream:
        first = True
        async for _ in stream:
            if first:
                print("ready", flush=True)
                first = False
    return {}


JOBS = {name.removeprefix("do_"): function for name, function in list(globals().items()) if name.startswith("do_")}

WARNED: list[str] = []


class Lines(logging.Handler):
    """Notes whether a secret was logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines = 0
        self.secret = False

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{record.getMessage()} {record.args!r}"
        self.lines += 1
        self.secret = self.secret or KEY in line


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job, and look what is left."""
    WARNED.clear()
    lines = Lines()
    if job.get("logs"):
        logging.basicConfig(level=logging.DEBUG, handlers=[lines], force=True)
    # Of proxies: an address may have the port of the fault server.
    variables = {name: value.replace("{port}", str(job["port"])) for name, value in job.get("env", {}).items()}
    job["url"] = job["url"].replace("{port}", str(job["port"]))
    os.environ.update(variables)
    try:
        report: dict[str, Any] = trio.run(JOBS[job["do"]], job)
    except Exception as error:  # noqa: BLE001 - whatever comes out is reported
        report = {"error": told(error), "broken": True, "seconds": 0.0}
    for name in variables:
        del os.environ[name]
    gc.collect()
    gc.collect()
    report["warned"] = list(dict.fromkeys(WARNED))[:5]
    if job.get("logs"):
        logging.getLogger().handlers.clear()
        report["lines"], report["secret_logged"] = lines.lines, lines.secret
    return report


def note_warning(message: Any, category: Any, *_: Any, **__: Any) -> None:
    WARNED.append(f"{category.__name__}: {message}"[:200])


def note_unraisable(unraisable: Any) -> None:
    WARNED.append(f"unraisable {type(unraisable.exc_value).__name__}: {unraisable.exc_value}"[:200])


def main() -> None:
    """Do jobs until there are no more."""
    if len(sys.argv) > 1:
        trio.run(do_interrupted, json.loads(sys.argv[1]))
        return
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    warnings.simplefilter("always")
    warnings.simplefilter("ignore", DeprecationWarning)
    warnings.showwarning = note_warning
    sys.unraisablehook = note_unraisable
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
