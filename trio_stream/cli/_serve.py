"""``trio-stream serve``: the scripted API on a port, for any client.

What belongs here: starting and stopping the server, and the line for each request. What does not: its answers
(`trio_stream.testing`).
"""

from __future__ import annotations

import ipaddress
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast, final

import trio

from trio_stream.cli._terminal import BROKEN_PIPE, FAILED, USAGE, complain, forget_stdout, is_broken_pipe, one_line
from trio_stream.testing import (
    Batches,
    BatchFault,
    PromptCache,
    Quota,
    RecordedRequest,
    RecordingError,
    ScriptedAPI,
    Server,
    Step,
    disconnect,
    fail,
    http_error,
    replay,
    say,
    scripted_model,
)

_POLL = 0.05
"""Seconds between two looks at which requests have been answered."""

_BURST = 0.1
"""Minutes of refill that a bucket of a rate limit holds: little, so that short runs meet the limit too."""

_REMEMBERED = 4_096
"""How many requests are remembered until their line is printed: far more than can end between two looks."""


def run(
    *,
    host: str,
    port: int,
    ttft: float,
    tps: float | None,
    rates: tuple[int | None, int | None, int | None],
    faults: float,
    batch_seconds: float,
    batch_faults: list[str],
    strict: bool,
    recording: Path | None,
    log: bool,
    allow_remote: bool,
    model: str,
) -> int:
    """Serve until interrupted, and return the exit code."""
    try:
        batches = Batches(seconds=batch_seconds, faults=cast("list[BatchFault]", batch_faults))
    except ValueError as error:
        complain("serve", str(error))
        return USAGE
    if not allow_remote and not is_loopback(host):
        complain("serve", f"{host} can be reached by other machines: add --allow-remote if that is meant")
        return USAGE
    if recording is None:
        api = _scripted(ttft=ttft, tps=tps, rates=rates, faults=faults, batches=batches, strict=strict)
    else:
        try:
            api = replay(recording, match="order")
        except (OSError, RecordingError) as error:
            complain("serve", str(error))
            return USAGE
    try:
        trio.run(partial(_serve, api, host=host, port=port, model=model, log=log))
    except (OSError, BaseExceptionGroup) as error:
        if is_broken_pipe(error):
            forget_stdout()
            return BROKEN_PIPE
        if isinstance(error, BaseExceptionGroup):
            raise
        complain("serve", f"cannot listen on {host} port {port}: {error.strerror or error}")
        return USAGE if isinstance(error, socket.gaierror) else FAILED  # no such host: a mistake of the command line
    except KeyboardInterrupt:
        pass  # before or after signals are received as events
    return 0


def _scripted(
    *,
    ttft: float,
    tps: float | None,
    rates: tuple[int | None, int | None, int | None],
    faults: float,
    batches: Batches,
    strict: bool,
) -> ScriptedAPI:
    answer = _forgiving(scripted_model(ttft=ttft, tps=tps))
    requests, input_tokens, output_tokens = rates
    quota = Quota(
        requests_per_minute=requests,
        input_tokens_per_minute=input_tokens,
        output_tokens_per_minute=output_tokens,
        burst=_BURST,
    )
    return ScriptedAPI(
        default=with_faults(answer, faults) if faults else answer,
        strict=strict,
        keep_requests=_REMEMBERED,
        quota=quota if any(rates) else None,
        batches=batches,
        prompt_cache=PromptCache(),
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


async def _serve(api: ScriptedAPI, *, host: str, port: int, model: str, log: bool) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with api.serve(host=host, port=port) as server:
            print_address(server, model)
            async with trio.open_nursery() as nursery:
                if log:
                    nursery.start_soon(RequestLog(api).run)
                async for _ in signals:
                    nursery.cancel_scope.cancel(reason="interrupted")
                    break


def print_address(server: Server, model: str) -> None:
    """Print the address of the server, and how to use it."""
    body = f'{{"model":"{model}","max_tokens":256,"stream":true,"messages":[{{"role":"user","content":"Hello!"}}]}}'
    _write(
        f"""\
Serving a scripted Messages API on {server.base_url} (Ctrl-C stops it)

  export ANTHROPIC_BASE_URL={server.base_url} ANTHROPIC_API_KEY=test

  curl -N {server.base_url}/v1/messages -H 'x-api-key: test' -H 'anthropic-version: 2026-10-21' \\
    -H 'content-type: application/json' -d '{body}'

"""
    )


@final
class RequestLog:
    """Prints a line for each request when its answer has ended."""

    def __init__(self, api: ScriptedAPI) -> None:
        self._api = api
        self._seen = 0
        self._open: list[RecordedRequest] = []

    async def run(self) -> None:
        """Print lines until cancelled."""
        try:
            while True:
                await trio.sleep(_POLL)
                self.print_ended()
        finally:
            self.print_ended()

    def print_ended(self) -> None:
        """Print the requests that have ended since the last call."""
        new = [request for request in self._api.requests if request.number > self._seen]
        if new:
            self._seen = new[-1].number
        waiting: list[RecordedRequest] = []
        for request in (*self._open, *new):
            if request.closed_by is None:
                waiting.append(request)
            else:
                _write(f"{_line(request)}\n")
        self._open = waiting


def _line(request: RecordedRequest) -> str:
    """Make the line for a request. It has nothing of the prompt, and no key."""
    seconds = 0.0 if request.closed_at is None else request.closed_at - request.at
    status = "---" if request.status is None else str(request.status)
    facts = [time.strftime("%H:%M:%S"), f"{request.method} {request.path}", request.model or "-", status]
    facts.append(f"{seconds:.2f} s" if request.complete else f"{seconds:.2f} s, then the client went away")
    return "  ".join(one_line(fact) for fact in facts)


def _forgiving(
    model: Callable[[RecordedRequest], list[Step]],
) -> Callable[[RecordedRequest], list[Step]]:
    """Make ``model`` answer with an error of the API where it raises, so that no request ends the server."""

    def answer(request: RecordedRequest) -> list[Step]:
        try:
            return model(request)
        except Exception as error:  # noqa: BLE001 - the client gets it as an error of the API
            return [http_error(500, "api_error", f"the scripted model cannot answer this: {type(error).__name__}")]

    return answer


def with_faults(
    model: Callable[[RecordedRequest], list[Step]], share: float
) -> Callable[[RecordedRequest], list[Step]]:
    """Make ``model`` fail for a share of the requests, by turns in each of the ways that clients have to handle."""
    failed = 0
    asked = 0

    def answer(request: RecordedRequest) -> list[Step]:
        nonlocal asked, failed
        asked += 1
        if asked * share < failed + 1:
            return model(request)
        failed += 1
        steps: list[list[Step]] = [
            [http_error(529)],
            [http_error(500)],
            [say("This answer ", fail("overloaded_error"))],
            [say("This answer is ", disconnect())],
        ]
        return steps[failed % len(steps)]

    return answer


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
