"""Ask what a file of JSON lines says, and keep a journal: stop it at any moment, and start it again.

What the journal has is not asked again. The file may be of any length: lines are read when there is room for them.
Arguments are the input and the journal; without them it makes an input of its own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")


def items(path: Path) -> Iterator[ts.Item]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            yield ts.Item(f"Summarise in a sentence: {row['text']}", id=row["id"], tag=row)


def make_input(path: Path) -> None:
    rows = [{"id": f"text-{number}", "text": f"Text number {number}, on streams."} for number in range(20)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


async def main() -> None:
    source, journal = Path("texts.jsonl"), Path("answers.journal")
    if len(sys.argv) == 3:
        source, journal = map(Path, sys.argv[1:])
    if not await trio.Path(source).exists():
        make_input(source)
    async with (
        ts.Client() as client,
        ts.fan_out(client, items(source), journal=journal, model=MODEL, max_tokens=256) as results,
    ):
        async for outcome in results:
            print(f"{outcome.id}: {outcome.status}, {len(outcome.text)} characters")
    stats = results.stats
    print(f"{stats.ok} answered, {stats.cached} of an earlier run, {stats.errors} errors")

    # The journal has everything, in the order of the input.
    for outcome in ts.read_journal(journal):
        print(f"{outcome.id}: {outcome.text[:60]}")


if __name__ == "__main__":
    trio.run(main)
