"""``python -m tests.bench.relay.closing [--times N]``: how soon the request to the API ends when a tab does.

What belongs here: the scenarios, on Hypercorn and real sockets, and their times. What does not: whether they end at
all, which `tests/web/test_hypercorn.py` tests in every run.

The API is in this process, so that what is measured is from the tab's deed to the close of the request.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

import trio_stream as ts
from tests.bench import report
from tests.bench.relay.serving import REQUEST
from tests.bench.running import say
from tests.web.hosts import Tab, hypercorn
from trio_stream import web
from trio_stream.testing import ScriptedAPI, Step, say as says, stall

WORDS: Final = [says(*["word "] * 2000)] * 100


class Site:
    """A server with one answer, and the API behind it."""

    def __init__(self, *script: Step, hub: web.Hub | None = None, **options: Any) -> None:
        self.api = ScriptedAPI(list(script))
        self.client = ts.Client(api_key="bench", transport=self.api)
        self.hub = hub
        self.options = options

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        answer = self.client.messages.stream(**REQUEST)
        if self.hub is None:
            await web.Relay(answer, web.Anthropic(), **self.options)(scope, receive, send)
        else:
            self.hub.start("chat", answer, web.Anthropic())
            await self.hub.attach("chat")(scope, receive, send)

    async def closed_after(self, began_at: float) -> float:
        """Wait until the request has been closed, and say how long that took."""
        with trio.fail_after(20):
            while not self.api.requests or (closed_at := self.api.requests[0].closed_at) is None:
                await trio.sleep(0.0005)
        return closed_at - began_at


async def streaming() -> float:
    site = Site(says("Hello ", stall()))
    async with hypercorn(site) as port:
        tab = await Tab.open(port)
        await tab.until(b"Hello")
        began_at = trio.current_time()
        tab.close()
        return await site.closed_after(began_at)


async def before_the_first_event() -> float:
    site = Site(stall())
    async with hypercorn(site) as port:
        tab = await Tab.open(port)
        while not site.api.requests:
            await trio.sleep(0.001)
        began_at = trio.current_time()
        tab.close()
        return await site.closed_after(began_at)


async def send_blocked() -> float:
    site = Site(*WORDS)
    async with hypercorn(site) as port:
        tab = await Tab.open(port, window=4096)
        await tab.until(b"word")
        await trio.sleep(0.3)
        began_at = trio.current_time()
        tab.close()
        return await site.closed_after(began_at)


async def reads_nothing() -> float:
    site = Site(*WORDS, send_timeout=3)
    async with hypercorn(site) as port:
        tab = await Tab.open(port, window=4096)
        await tab.until(b"word")
        took = await site.closed_after(trio.current_time())
        tab.close()
        return took


async def stop() -> float:
    async with web.Hub() as hub:
        site = Site(says("Hello ", stall()), hub=hub)
        async with hypercorn(site) as port:
            tab = await Tab.open(port)
            await tab.until(b"Hello")
            began_at = trio.current_time()
            hub.stop("chat", "Stop")
            await tab.to_end()
            took = trio.current_time() - began_at
            tab.close()
            return took


async def gone() -> float:
    async with web.Hub(grace=2) as hub:
        site = Site(says("Hello ", stall()), hub=hub)
        async with hypercorn(site) as port:
            tab = await Tab.open(port)
            await tab.until(b"Hello")
            began_at = trio.current_time()
            tab.close()
            return await site.closed_after(began_at)


SCENARIOS: Final[dict[str, tuple[Callable[[], Awaitable[float]], bool]]] = {
    "tab closed while text arrives": (streaming, True),
    "tab closed before the first event": (before_the_first_event, True),
    "tab closed while a `send` is blocked": (send_blocked, True),
    "tab reads nothing, `send_timeout=3`": (reads_nothing, False),
    "Stop, until the tab has been told": (stop, True),
    "tab gone, `grace=2`": (gone, False),
}


async def measure(times: int) -> str:
    """Each scenario, so many times; once, where it takes seconds."""
    rows = []
    for name, (scenario, is_quick) in SCENARIOS.items():
        took = [await scenario() * 1000 for _ in range(times if is_quick else 1)]
        rows.append([name, report.number(statistics.median(took)), report.number(max(took))])
        say(f"{name}: {rows[-1][1]} ms", end="\n")
    return report.table(["from the tab's deed to the end of the request to the API, ms", "median", "longest"], rows)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.relay.closing")
    parser.add_argument("--times", type=int, default=30)
    print(trio.run(measure, parser.parse_args().times))


if __name__ == "__main__":
    main()
