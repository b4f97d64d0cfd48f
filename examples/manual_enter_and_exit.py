"""Open a stream where an `async with` block does not fit.

An `AsyncExitStack` opens as many as are wanted, and leaves them in the right order whatever happens. A class that owns
a stream hands its own `__aenter__` and `__aexit__` on, with the exception it is given.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from types import TracebackType

import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")


class Answer:
    """One question, and its answer while the block lasts."""

    def __init__(self, client: ts.Client, question: str) -> None:
        self._manager = client.messages.stream(
            model=MODEL, max_tokens=512, messages=[{"role": "user", "content": question}]
        )

    async def __aenter__(self) -> ts.MessageStream:
        return await self._manager.__aenter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        return await self._manager.__aexit__(exc_type, exc, tb)  # noqa: ASYNC102 - never waits on the peer


async def main() -> None:
    async with ts.Client() as client:
        async with Answer(client, "Who closes the door?") as stream:
            print(f"by hand: {await stream.get_final_text()}")

        async with AsyncExitStack() as stack:
            streams = [
                await stack.enter_async_context(Answer(client, question))
                for question in ("What is an exit stack?", "What is a context manager?")
            ]
            for stream in streams:
                print(f"exit stack: {await stream.get_final_text()}")


if __name__ == "__main__":
    trio.run(main)
