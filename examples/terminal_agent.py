"""An agent in the terminal: Ctrl-C interrupts the answer, tools ask before they act, and it says what it cost.

`trio-stream chat` is the same with more: files, undo, tools by name. Lines come from standard input; Ctrl-D ends it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")
PRICES = ts.Prices(input=3, output=15)


@ts.tool(timeout=10)
async def list_files(folder: str = ".") -> list[str]:
    """List the files of a folder."""
    return sorted(path.name for path in await trio.Path(folder).iterdir())


@ts.tool(timeout=10, approve=True)
async def read_file(path: str) -> str:
    """Read a text file."""
    return await trio.Path(path).read_text(encoding="utf-8")


async def line_from_terminal(prompt: str) -> str:
    print(prompt, end="", flush=True)
    return await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)


async def interrupt_by_ctrl_c(signals: AsyncIterator[int], run: ts.Run) -> None:
    async for _ in signals:
        run.interrupt("the user pressed Ctrl-C")


async def answer(chat: ts.Conversation, text: str, meter: ts.Meter) -> None:
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        async with chat.run(text, approve="ask", meter=meter, max_turns=30) as run:
            run.nursery.start_soon(interrupt_by_ctrl_c, signals, run)
            async for event in run:
                match event:
                    case ts.TextEvent(text=piece):
                        print(piece, end="", flush=True)
                    case ts.ToolStartEvent(name=name, input=given):
                        print(f"\n[{name} {dict(given)}]")
                    case ts.ApprovalEvent(name=name, input=given):
                        said = await line_from_terminal(f"\nMay it {name} {dict(given)}? [y/N] ")
                        event.allow() if said.strip().lower() == "y" else event.deny()
                    case _:
                        pass
    note = "" if run.outcome == "completed" else f"{run.outcome}: {run.reason}; "
    print(f"\n({note}${meter.cost:.4f} so far)")


async def main() -> None:
    meter = ts.Meter(prices=PRICES)
    async with ts.Client() as client:
        system = f"You help with the files in {Path.cwd()}."
        chat = ts.Conversation(client, model=MODEL, max_tokens=4096, system=system, tools=[list_files, read_file])
        while line := await line_from_terminal("> "):
            try:
                await answer(chat, line.strip() or "Go on.", meter)
            except ts.APIError as error:
                print(f"\n{error}")  # the conversation is as it was before: ask again


if __name__ == "__main__":
    trio.run(main)
