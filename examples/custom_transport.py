"""Write a transport of your own: this one keeps a log of the wire, with times.

It wraps the library's own transport, and the body of every answer. Nothing it does waits, so all promises hold, and
`trio_stream.testing.check_transport` finds no fault in it.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable

import httpx
import trio

import trio_stream as ts
from trio_stream.transport import BODY_EXTENSION, ResponseBody, Transport

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")


class WireLog(httpx.AsyncBaseTransport):
    """A transport that notes what passes through it."""

    calls_on_sent = True  # the transport inside does

    def __init__(self) -> None:
        self.inner = Transport()
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(f"{trio.current_time():.3f} {line}")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.note(f"-> {request.method} {request.url.path}")
        response = await self.inner.handle_async_request(request)
        self.note(f"<- {response.status_code}")
        response.extensions[BODY_EXTENSION] = LoggedBody(self, response.extensions[BODY_EXTENSION])
        return response

    async def aclose(self) -> None:
        await self.inner.aclose()


class LoggedBody(ResponseBody):
    """The body of an answer, and a note of every piece."""

    def __init__(self, log: WireLog, inner: ResponseBody) -> None:
        self.log = log
        self.inner = inner

    def receive_nowait(self) -> bytes | None:
        data = self.inner.receive_nowait()
        if data is not None:
            self.log.note(f"<- {len(data)} bytes" if data else "<- the end")
        return data

    def wait(self) -> Awaitable[None]:
        return self.inner.wait()

    def close(self) -> None:
        self.log.note("closed")
        self.inner.close()

    def finish(self) -> None:
        self.log.note("finished")
        self.inner.finish()


async def main() -> None:
    log = WireLog()
    async with (
        ts.Client(transport=log) as client,
        client.messages.stream(model=MODEL, max_tokens=512, messages=[{"role": "user", "content": "Hello!"}]) as stream,
    ):
        print(await stream.get_final_text())
    print("\n".join(log.lines))


if __name__ == "__main__":
    trio.run(main)
