"""Chromium without a window, driven by Selenium, and the page of `trio-stream web` in it.

What belongs here: starting both, and what tests ask of them. What does not: what the page should do (the tests).
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Self, TypeVar

import trio
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

import trio_stream as ts
from trio_stream import web
from trio_stream.cli._web import serve
from trio_stream.cli._web_app import WebApp
from trio_stream.cli._web_chats import Chats
from trio_stream.cli._web_guard import Guard
from trio_stream.testing import RecordedRequest, ScriptedAPI

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")

PATIENCE = 20.0
"""Seconds after which something has not happened."""

T = TypeVar("T")


class PageServer:
    """The server of the page in a thread of its own, and the scripted API that it talks to.

    Attributes:
      address: Of the page.
      road: The same, by a way that can be cut off.
      api: The API.
    """

    def __init__(self, api: ScriptedAPI, *, tools: Sequence[ts.Tool] = (), grace: float = 30.0) -> None:
        self.api = api
        self.address = self.road = ""
        self._is_cut = False
        self._carried: set[trio.CancelScope] = set()
        self._tools = tools
        self._grace = grace
        self._ready = threading.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._stop: trio.Event | None = None
        self._thread = threading.Thread(target=lambda: trio.run(self._main))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._stop is not None
        trio.from_thread.run_sync(self._stop.set, trio_token=self._token)
        self._thread.join()

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._stop = trio.Event()
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with (
            self.api.serve() as server,
            ts.Client(api_key="test", base_url=server.base_url, max_retries=0) as client,
            web.Hub(grace=self._grace, max_delay=0.02) as hub,
        ):
            thinking = {"type": "adaptive", "display": "summarized"}
            conversation = partial(
                ts.Conversation,
                client,
                model="claude-sonnet-5-5",
                max_tokens=4096,
                tools=self._tools,
                thinking=thinking,
            )
            chats = Chats(hub, conversation, approve="ask", tells_cost=False)
            names = [tool.name for tool in self._tools]
            about = {"model": "claude-sonnet-5-5", "real": False, "tools": names}
            app = WebApp(chats, Guard("127.0.0.1", is_remote=False), about)
            self.address = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/"
            async with trio.open_nursery() as self._nursery:
                await self._serve_road()
                self._ready.set()
                await serve(app, listeners, self._signals())
                self._nursery.cancel_scope.cancel()

    async def _signals(self) -> Any:
        assert self._stop is not None
        await self._stop.wait()
        yield

    # The network between browser and server: a second port, which can be cut off.

    async def _serve_road(self) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.road = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/"
        self._nursery.start_soon(trio.serve_listeners, self._carry, listeners)

    async def _carry(self, near: trio.SocketStream) -> None:
        if self._is_cut:
            await near.aclose()
            return
        far = await trio.open_tcp_stream("127.0.0.1", int(self.address.rstrip("/").rpartition(":")[2]))
        with trio.CancelScope() as scope, contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            self._carried.add(scope)
            async with near, far, trio.open_nursery() as nursery:
                nursery.start_soon(_copy, near, far)
                nursery.start_soon(_copy, far, near)
        self._carried.discard(scope)

    def cut_road(self) -> None:
        """End every connection of the road, and take no new one."""

        def cut() -> None:
            self._is_cut = True
            for scope in self._carried:
                scope.cancel()

        trio.from_thread.run_sync(cut, trio_token=self._token)

    def mend_road(self) -> None:
        """Take connections again."""
        self._is_cut = False

    def now(self) -> float:
        """The time by the clock of the API's requests."""
        return trio.from_thread.run_sync(trio.current_time, trio_token=self._token)

    def request(self, number: int = 1) -> RecordedRequest:
        """A request to the API, once it was made."""
        return until(lambda: next((found for found in self.api.requests if found.number == number), None))


async def _copy(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async for data in source:
            await sink.send_all(data)
        await sink.send_eof()


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with nothing in it."""
    profile = tempfile.mkdtemp(prefix="chromium-")
    options = Options()
    options.binary_location = CHROMIUM or ""
    for flag in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1280,900",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)


class Browser:
    """What tests do with a browser."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        """The first such element, once there is one."""
        return until(lambda: next(iter(self.all(selector)), None))

    def js(self, script: str, *args: Any) -> Any:
        return self.driver.execute_script(script, *args)

    def text(self, selector: str) -> str:
        """The text of all such elements, as it is in the page, whether or not it can be seen."""
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent).join('')"
        return self.js(script, selector)

    def cdp(self, command: str, **options: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, options)

    def open(self, address: str) -> None:
        """Open the page, and wait until it can be used."""
        self.driver.get(address)
        self.is_ready()

    def is_ready(self) -> None:
        until(lambda: self.text("#model"))

    def ask(self, words: str) -> None:
        """Write a message, press Enter, and wait until the question is shown."""
        before = len(self.all(".turn"))
        self.one("#words").send_keys(words, "\n")
        until(lambda: len(self.all(".turn")) > before)

    def answer_is(self, state: str) -> None:
        """Wait until the last answer is in a state: `waits`, `writes`, `away`, `complete`, `stopped`, `failed`."""
        script = "return [...document.querySelectorAll('.answer')].at(-1)?.dataset.state"
        until(lambda: self.js(script) == state)

    def size(self, width: int, height: int) -> None:
        """Show the page as a screen of this size would."""
        self.cdp(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def scheme(self, name: str) -> None:
        """Prefer light or dark."""
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def complaints(self) -> list[str]:
        """What the browser's console says of mistakes in the page."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


def until(found: Callable[[], T | None]) -> T:
    """Wait until something is there."""
    by = time.monotonic() + PATIENCE
    while time.monotonic() < by:
        value = found()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError("it did not happen")
