"""``python -m tests.bench.agents [--rounds N] [--turns N]``: run it, and write the table into ``docs/agents.md``.

What belongs here: the order of things, and the table. What does not: the tasks (`tasks`) and the clients.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import trio

import trio_stream as ts
from tests.bench.agents import tasks
from tests.bench.running import ROOT, say
from trio_stream.testing import ScriptedAPI

HERE: Final = Path(__file__).parent
PAGE: Final = ROOT / "docs/agents.md"
GO_ON: Final = {"role": "user", "content": "Where were we?"}


class Contender(NamedTuple):
    """One way to run an agent."""

    name: str
    command: Sequence[str]
    way: Sequence[str]

    def program(self, base_url: str, task: str, *rest: str) -> list[str]:
        """Its command line."""
        return [*self.command, base_url, task, *self.way, *rest]


async def ask(contender: Contender, api: ScriptedAPI, task: str, *rest: str) -> tuple[dict[str, Any], int]:
    """Run a contender at a task: what it printed, and how many answers were open then."""
    async with api.serve() as server:
        process = await trio.lowlevel.open_process(
            contender.program(server.base_url, task, *rest),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1"},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        printed = b""
        with trio.fail_after(300):
            while b"\n" not in printed:
                data = await process.stdout.receive_some()
                if not data:
                    raise SystemExit(f"{contender.name} ended without a result")
                printed += data
            await trio.sleep(0.3)
            left_open = api.open_streams
            with contextlib.suppress(trio.BrokenResourceError):  # most tasks end without being told to
                await process.stdin.send_all(b"\n")
            await process.wait()
        await process.stdin.aclose()
        await process.stdout.aclose()
    return json.loads(printed), left_open


async def becomes_of(messages: list[Any], phase: str) -> str:
    """What can be said of a history after a cancellation in a phase, by sending it with another text."""
    async with ts.Client(transport=ScriptedAPI(tasks.LAST), api_key="test", max_retries=0) as client:
        try:
            await client.messages.create(
                model="claude-sonnet-5-5", max_tokens=100, messages=[*messages, GO_ON], tools=DEFINITIONS
            )
        except ts.APIStatusError as error:
            return f"refused: {error.message[:60]}"
    history = json.dumps(messages)
    lost = [what for what, words in tasks.HAS_ARRIVED[phase].items() if words not in history]
    return f"valid, but without {' and '.join(lost)}" if lost else "valid, with all that had arrived"


DEFINITIONS: Final[Any] = [
    {"name": name, "input_schema": {"type": "object", "properties": {"number": {"type": "integer"}}}}
    for name in ("slow", "quick")
]


async def measure(contenders: Sequence[Contender], rounds: int, turns: int) -> str:
    """Do all of it, in turn, and return the page's part."""
    lines = [
        f"| | {' | '.join(contender.name for contender in contenders)} |",
        f"|---{'|---' * len(contenders)}|",
    ]
    seconds = [[] for _ in contenders]
    cpu: list[list[float]] = [[] for _ in contenders]
    by_hand: list[list[float]] = [[] for _ in contenders]
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for place, contender in enumerate(contenders):
            result, _ = await ask(contender, ScriptedAPI(*tasks.THREE_TOOLS), "three tools")
            seconds[place].append(result["seconds"])
            result, _ = await ask(contender, ScriptedAPI(default=tasks.endless), "turns", str(turns))
            cpu[place].append(result["cpu"])
            result, _ = await ask(contender, ScriptedAPI(default=tasks.endless), "by hand", str(turns))
            by_hand[place].append(result["cpu"])
    lines.append(_row("three tools of a second, asked for within 0.9 s", [f"{_median(s):.2f} s" for s in seconds]))
    open_answers = [0] * len(contenders)
    for phase, scripts in tasks.PHASES.items():
        cells: list[str] = []
        for place, contender in enumerate(contenders):
            result, left_open = await ask(contender, ScriptedAPI(*scripts), "cancelled")
            open_answers[place] += left_open
            cells.append(await becomes_of(result["messages"], phase))
        lines.append(_row(f"history after a cancel {phase}", cells))
    lines.append(_row("answers left open after these cancels", [str(number) for number in open_answers]))
    lines.append(
        _row(
            f"CPU of a turn with one call, {turns} of them, beside the same loop by hand",
            [
                f"{_median(ours) * 1e6:.0f} us, by hand {_median(hand) * 1e6:.0f} us"
                for ours, hand in zip(cpu, by_hand, strict=True)
            ],
        )
    )
    return "\n".join(lines)


def _row(what: str, cells: Sequence[str]) -> str:
    return f"| {what} | {' | '.join(cells)} |"


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.agents")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turns", type=int, default=60, help="requests of the run whose CPU is measured")
    parser.add_argument("--sdk-python", default=str(ROOT / ".venv-sdk/bin/python"), help="where the official SDK is")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page whose table is replaced; - for none")
    options = parser.parse_args()
    sdk = [options.sdk_python, str(HERE / "client_sdk.py")]
    contenders = [
        Contender("official tool runner", sdk, ["default"]),
        Contender("official, `run_tools_eagerly`", sdk, ["eager"]),
        Contender("`Conversation`", [sys.executable, str(HERE / "client_ours.py")], []),
    ]
    table = trio.run(measure, contenders, options.rounds, options.turns)
    say(table)
    if str(options.page) != "-":
        write(options.page, table)


def write(page: Path, table: str) -> None:
    """Put the table between its marks on the page."""
    begin, end = "<!-- make agents: begin -->", "<!-- make agents: end -->"
    text = page.read_text(encoding="utf-8")
    new, found = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}\n{table}\n{end}", text, flags=re.DOTALL)
    if found != 1:
        raise SystemExit(f"{page} does not have the marks {begin} and {end}")
    page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
