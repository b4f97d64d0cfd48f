"""The fault matrix against this library and against the official SDK: ``python -m tests.faults.matrix``.

What belongs here: running both columns and writing ``docs/reliability.md``. What does not: what the server does and
what must follow: for this library its own tests, run by pytest and watched by `matrix_plugin`; for the SDK the rows of
`scripts` and its neighbours, done by `sdk_runner` in the SDK's own environment, with the server in this process.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
import trustme

from tests.faults import scripts, scripts_events, scripts_limits, scripts_messages, scripts_proxies
from tests.faults.reliability import Outcome, read_matrix, write_page
from tests.faults.scripts import Row
from tests.faults.scripts_limits import CHURN_SECONDS
from tests.faults.sdk_seen import Seen
from tests.soak.churn import churn
from tests.wire.server import WireServer
from tests.wire.sockets import UnansweringPort
from tests.wire.tls import (
    demanding_certificate,
    expired_certificate,
    good_certificate,
    self_signed_certificate,
    trusting,
)

ROOT = Path(__file__).parents[2]
SDK_PYTHON = ROOT / ".venv-sdk" / "bin" / "python"
RUNNER = Path(__file__).with_name("sdk_runner.py")

TESTS = {
    "Transport": "test_transport.py::test_transport",
    "HTTP": "test_http.py::test_http",
    "Event-stream framing": "test_framing.py::test_framing",
    "JSON and protocol": "test_protocol.py::test_protocol",
    "The event stream": "test_event_stream.py::test_event_stream",
    "API errors and retries": "test_api_errors.py::test_api_errors",
    "Limits": "test_limits.py::test_limits",
    "Secrets and TLS": "test_secrets_and_tls.py::test_secrets_and_tls",
    "Proxies": "test_proxies.py::test_proxies",
    "People": "test_people.py::test_people",
    "Cancellation": "test_cancellation_rows.py::test_cancellation",
}
ROWS: dict[str, dict[str, Any]] = {
    "Transport": scripts.TRANSPORT,
    "HTTP": scripts.HTTP,
    "Event-stream framing": scripts.FRAMING,
    "JSON and protocol": scripts_messages.PROTOCOL,
    "The event stream": scripts_events.EVENTS,
    "API errors and retries": scripts_messages.ERRORS,
    "Limits": scripts_limits.LIMITS,
    "Secrets and TLS": scripts_limits.SECRETS,
    "Proxies": scripts_proxies.PROXIES,
    "Cancellation": scripts_limits.CANCELLATION,
}

CHURN = next(fault for fault in scripts_limits.CANCELLATION if fault.startswith("y churn"))
INTERRUPTS = 10
ENDS_WITHIN = 0.5


def run_ours() -> dict[tuple[str, str], Outcome]:
    """This library's column: its own tests of the rows."""
    with tempfile.TemporaryDirectory() as directory:
        notes = Path(directory) / "rows.jsonl"
        notes.touch()
        command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.faults.matrix_plugin", "-p", "no:cacheprovider"]
        command += [f"tests/faults/{test}" for test in TESTS.values()]
        subprocess.run(command, cwd=ROOT, check=False, env=environment() | {"TRIO_STREAM_MATRIX": str(notes)})
        rows = [json.loads(line) for line in notes.read_text("utf-8").splitlines()]
    found: dict[tuple[str, str], Outcome] = {}
    for row in rows:
        # A test that passed and then left something behind is noted twice; the second note counts.
        found[row["section"], row["fault"]] = Outcome(row["passed"], row["what"])
    if ("Cancellation", CHURN) in found:
        found["Cancellation", CHURN] = churn_ours()
    return found


def churn_ours() -> Outcome:
    """The one row whose test is shorter than it says: for as long as the SDK does it, against the same server."""
    authority = trustme.CA()
    tls = {"server_context": good_certificate(authority), "client_context": trusting(authority)}
    for workers, pool in ((12, 2), (20, 10)):
        for contexts in ({}, tls):
            run = functools.partial(churn, workers=workers, pool=pool, seconds=CHURN_SECONDS, **contexts)
            try:
                trio.run(run)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is why the row is failed
                return Outcome(passed=False, what=f"{type(error).__name__}: {error}")
    return Outcome(passed=True, what=f"as required, four times {CHURN_SECONDS:g} s")


def environment() -> dict[str, str]:
    """The environment without proxies and keys: nothing but the loopback is to be reached."""
    left_out = ("proxy", "anthropic_")
    return {name: value for name, value in os.environ.items() if not any(part in name.lower() for part in left_out)}


class SDK:
    """The official SDK in a process of its own, which is replaced when it hangs, or when a row wants a fresh one."""

    def __init__(self, python: Path, authority: trustme.CA, directory: Path) -> None:
        self._command = [str(python), str(RUNNER)]
        self._process: trio.Process | None = None
        self.ca = directory / "authority.pem"
        authority.cert_pem.write_to_path(str(self.ca))

    async def do(self, job: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """Do a job; None when it has not ended in time."""
        fresh = bool(job.get("warm") or job.get("logs"))
        if fresh:
            await self.aclose()
        if self._process is None:
            self._process = await trio.lowlevel.open_process(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment(),
            )
            seconds += 5  # to start
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        line = b""
        with trio.move_on_after(seconds):
            await stdin.send_all(json.dumps(job).encode() + b"\n")
            while not line.endswith(b"\n"):
                data = await stdout.receive_some()
                if not data:
                    break
                line += data
        if not line.endswith(b"\n"):
            await self.aclose()
            return None
        if fresh:
            await self.aclose()
        report: dict[str, Any] = json.loads(line)
        return report

    async def interrupt(self, job: dict[str, Any]) -> float | str:
        """Have a program streaming, and press Ctrl-C: the seconds until it ended, or what was wrong."""
        process = await trio.lowlevel.open_process(
            [*self._command, json.dumps(job)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with process.stdout, process.stderr:
                with trio.move_on_after(20):
                    await process.stdout.receive_some()
                    await trio.sleep(0.02)
                    process.send_signal(signal.SIGINT)
                    sent_at = trio.current_time()
                    said = b"".join([part async for part in process.stderr]).decode()
                    await process.wait()
                    seconds = trio.current_time() - sent_at
                    if not said.strip().endswith("KeyboardInterrupt") or "Group" in said or "Warning" in said:
                        return f"left as {said.strip().splitlines()[-1][:60] if said.strip() else 'nothing'}"
                    return seconds
            return "does not end"
        finally:
            process.kill()
            await process.wait()

    async def aclose(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                await pipe.aclose()
            await self._process.wait()
            self._process = None


@dataclass
class Place:
    """Where the SDK is sent."""

    url: str
    port: int
    server: WireServer | None
    other: WireServer | None = None


@asynccontextmanager
async def place_of(row: Row, authority: trustme.CA) -> AsyncIterator[Place]:
    """The server of a row, or the port that is none."""
    if "port" in row.server:
        with UnansweringPort(ignores=row.server["port"] == "unanswered") as port:
            yield Place(port.base_url, port.port, None)
        return
    options: dict[str, Any] = {}
    if "scheme" in row.server:
        options["scheme"] = row.server["scheme"]
    match row.server.get("tls"):
        case "good":
            options["tls"] = good_certificate(authority)
        case "expired":
            options["tls"] = expired_certificate(authority)
        case "demanding":
            options["tls"] = demanding_certificate(authority)
        case "selfsigned":
            options["tls"] = self_signed_certificate()
    async with AsyncExitStack() as stack:
        other, connections = None, row.scripts
        if callable(connections):
            other = await stack.enter_async_context(WireServer())
            connections = connections(other.port)
        server = await stack.enter_async_context(WireServer(connections, then=row.then, **options))
        yield Place(server.base_url, server.port, server, other)


async def see(sdk: SDK, row: Row, authority: trustme.CA) -> tuple[Seen, str]:
    """Run one row once; what was seen, and what was wrong with it."""
    async with place_of(row, authority) as place:
        job = {**row.job, "url": row.job.get("base_url", place.url), "port": place.port}
        if place.url.startswith("https"):
            job["ca"] = str(sdk.ca)
        if job["do"] == "interrupt":
            ends = [await sdk.interrupt(job) for _ in range(INTERRUPTS)]
            wrong = [end for end in ends if isinstance(end, str)]
            # As for this library, the best of the times counts: the rest of each is the machine's.
            quickest = min((end for end in ends if not isinstance(end, str)), default=math.inf)
            if not wrong and quickest > ENDS_WITHIN:
                wrong = [f"ended after {quickest:.2f} s at best"]
            seen = Seen({"error": None, "seconds": 0.0}, place.server, None, row.seconds)
            return seen, f"{len(wrong)} of {INTERRUPTS}: {wrong[0]}" if wrong else ""
        report = await sdk.do(job, row.seconds)
        closed_after = None
        if place.server is not None and report is not None and place.server.peers and job["do"] != "slot":
            closed_after = await seconds_to_close(place.server, report, everyone=bool(row.server.get("all")))
        seen = Seen(report, place.server, closed_after, row.seconds, place.other)
        return seen, "hangs" if report is None else row.verdict(seen)


async def seconds_to_close(server: WireServer, report: dict[str, Any], *, everyone: bool) -> float | None:
    """From the end of the block (of all: from the cancel) to the close at the server."""
    since = report.get("cancelled_at" if everyone else "ended_at")
    if since is None:
        return None
    peers = server.peers if everyone else server.peers[:1]
    with trio.move_on_after(1):
        for peer in peers:
            await peer.until_closed()
    times = [peer.closed_at for peer in peers]
    if None in times:
        return None
    # Both processes count from the same start: CLOCK_MONOTONIC.
    ahead = time.monotonic() - trio.current_time()
    return max(0.0, max(at for at in times if at is not None) + ahead - since)


async def outcome_of(sdk: SDK, row: Row, authority: trustme.CA) -> Outcome:
    """One row, the best of its tries."""
    complaint, seen = "", None
    for _ in range(row.tries):
        seen, complaint = await see(sdk, row, authority)
        if not complaint:
            break
    assert seen is not None
    return Outcome(not complaint, seen.told(), complaint if seen.report is not None else "")


async def run_theirs(python: Path, only: str) -> dict[tuple[str, str], Outcome]:
    """The SDK's column."""
    found: dict[tuple[str, str], Outcome] = {}
    authority = trustme.CA()
    with tempfile.TemporaryDirectory() as directory:
        sdk = SDK(python, authority, Path(directory))
        try:
            for section, rows in ROWS.items():
                for fault, row in rows.items():
                    if only in f"{section}: {fault}":
                        outcome = await run_parts(sdk, row, authority)
                        found[section, fault] = outcome
                        why = f" [{outcome.why}]" if outcome.why else ""
                        word = "passed" if outcome.passed else "FAILED"
                        print(f"{word} {fault} | {outcome.what[:100]}{why}", flush=True)
        finally:
            await sdk.aclose()
    return found


async def run_parts(sdk: SDK, row: Row | Sequence[Row], authority: trustme.CA) -> Outcome:
    """A row, or all the runs of one: the first that failed, or the last."""
    outcome = Outcome(passed=False, what="nothing was run")
    for part in [row] if isinstance(row, Row) else row:
        outcome = await outcome_of(sdk, part, authority)
        if not outcome.passed:
            break
    return outcome


def main() -> None:
    """Run both columns and write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.matrix")
    parser.add_argument("--sdk", type=Path, default=SDK_PYTHON, help="the Python of the environment with the SDK")
    parser.add_argument("--only", default="", help="try the SDK's rows whose name holds this text, and write nothing")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "reliability.md")
    options = parser.parse_args()
    if not options.sdk.exists():
        sys.exit(f"{options.sdk} is not there: `make sdk` makes it")
    if options.only:
        trio.run(run_theirs, options.sdk, options.only)
        return
    ours = run_ours()
    theirs = trio.run(run_theirs, options.sdk, "")
    matrix = read_matrix()
    write_page(options.page, matrix, ours, theirs, python=options.sdk)
    failed = [fault for section, rows in matrix.items() for fault in rows if not ours[section, fault].passed]
    if failed:
        sys.exit(f"trio_stream fails {len(failed)} rows: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
