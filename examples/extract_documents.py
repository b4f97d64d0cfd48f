"""Extract 500 documents into objects, and keep a journal: stop it at any moment, and start it again.

Each answer is a value of a type. An answer that is none is asked for once more.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-haiku-4-5")

DOCUMENTS = 500
JOURNAL = "invoices.journal"


class Line(msgspec.Struct):
    """One line of an invoice."""

    item: str
    quantity: int
    price: float


class Invoice(msgspec.Struct):
    """An invoice, as the document says."""

    number: str
    currency: Annotated[Literal["EUR", "USD"], msgspec.Meta(description="USD where the document has a dollar sign.")]
    lines: list[Line]
    due: Annotated[str | None, msgspec.Meta(description="The date, as in 2026-11-28.")] = None

    @property
    def total(self) -> float:
        return sum(line.quantity * line.price for line in self.lines)


def documents() -> Iterator[ts.Item[int]]:
    for number in range(DOCUMENTS):
        text = f"Invoice {number}. {number % 7 + 1} boxes of tea at $4.50 each. Please pay by the end of the month."
        yield ts.Item(f"Extract the invoice:\n\n{text}", id=f"document-{number}", tag=number)


async def main() -> None:
    statuses = Counter[str]()
    totals = dict[int, float]()
    request: ts.SharedCall = {"model": MODEL, "max_tokens": 1024}
    limit = ts.Adaptive(4, 16, 64)
    async with (
        ts.Client() as client,
        ts.fan_out(
            client, documents(), output=Invoice, retry_invalid=1, limit=limit, journal=JOURNAL, **request
        ) as results,
    ):
        async for outcome in results:
            statuses[outcome.status] += 1
            if outcome.finished:
                totals[outcome.tag] = outcome.value.total
            else:
                print(f"{outcome.id}: {outcome.status}: {outcome.error}")
    print(", ".join(f"{count} {status}" for status, count in sorted(statuses.items())))
    print(f"{len(totals)} invoices over {sum(totals.values()):.2f}, {results.stats.output_tokens} output tokens")
    print(f"run it again: {JOURNAL} has the answers, and no request is made")


if __name__ == "__main__":
    trio.run(main)
