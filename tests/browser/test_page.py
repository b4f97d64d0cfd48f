"""The page of `trio-stream web` in Chromium: what a person sees when tabs close, reload, and lose the network."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import trio

import trio_stream as ts
from trio_stream.testing import ScriptedAPI, call, fail, say, think

pytest.importorskip("selenium", reason="needs Selenium and Chromium: make test-web")

from .chromium import CHROMIUM, DRIVER, Browser, PageServer, chromium, until

pytestmark = pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="needs chromium and chromedriver")

WORDS = " ".join(f"word{number}" for number in range(200))
"""A text in which nothing can be missing, doubled or out of order unseen."""


def slow(text: str = WORDS, tps: float = 100.0) -> list[object]:
    return [think("Let me see.", tps=None), say(text, tps=tps)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(autouse=True)
def one_tab(browser: Browser) -> Iterator[None]:
    """Each test begins with one tab that has nothing in it, and ends without mistakes in the page."""
    browser.complaints()
    yield
    for handle in browser.driver.window_handles[1:]:
        browser.driver.switch_to.window(handle)
        browser.driver.close()
    browser.driver.switch_to.window(browser.driver.window_handles[0])
    browser.driver.get("about:blank")


def serving(*answers: object, tools: tuple[ts.Tool, ...] = (), grace: float = 30.0) -> PageServer:
    """A page whose model gives these answers, the last one for ever."""
    left = list(answers)
    return PageServer(
        ScriptedAPI(default=lambda _request: left.pop(0) if len(left) > 1 else left[0]), tools=tools, grace=grace
    )


def closed_after(server: PageServer, since: float, number: int = 1) -> float:
    """Seconds from a moment to when the model was closed."""
    request = server.request(number)
    until(lambda: request.closed_at is not None)
    assert request.closed_by == "close"
    assert request.closed_at is not None
    return request.closed_at - since


def test_an_answer(browser: Browser) -> None:
    """The page answers, shows what was thought folded, and the conversation goes on."""
    with serving(slow(tps=2000)) as server:
        browser.open(server.address)
        assert "Scripted" in browser.text("#model")
        browser.ask("Hello")
        browser.answer_is("complete")
        assert browser.text(".answer .text") == WORDS
        assert browser.text(".thinking .plain") == "Let me see."
        assert not browser.js("return document.querySelector('.thinking').open")
        assert browser.text(".question-text") == "Hello"
        browser.ask("And now?")
        browser.answer_is("complete")
        assert browser.text(".answer .text") == WORDS * 2
        assert len(server.request(2).messages) == 3
        assert browser.text("#status") == "The answer is complete."
        assert browser.complaints() == []


def test_keys_and_focus(browser: Browser) -> None:
    """Shift and Enter make a line; Enter sends; the focus stays where one writes; Esc stops."""
    with serving(slow()) as server:
        browser.open(server.address)
        words = browser.one("#words")
        assert browser.driver.switch_to.active_element == words
        words.send_keys("one", "\ue008\n\ue008", "two")
        assert words.get_attribute("value") == "one\ntwo"
        browser.ask("")
        assert browser.text(".question-text") == "one\ntwo"
        assert words.get_attribute("value") == ""
        assert browser.driver.switch_to.active_element == words
        until(lambda: "word9" in browser.text(".answer .text"))
        words.send_keys("\ue00c")
        browser.answer_is("stopped")


def test_a_closed_tab(browser: Browser) -> None:
    """The model is closed when the grace is over after the last tab was closed, and not before."""
    with serving(slow(tps=20), grace=1.0) as server:
        browser.driver.switch_to.new_window("tab")
        browser.open(server.address)
        browser.ask("Hello")
        until(lambda: "word3" in browser.text(".answer .text"))
        browser.driver.close()
        since = server.now()
        browser.driver.switch_to.window(browser.driver.window_handles[0])
        assert 0.9 < closed_after(server, since) < 1.6


def test_a_closed_tab_without_grace(browser: Browser) -> None:
    """Without a grace it is closed as soon as Chromium has closed the connection."""
    with serving(slow(tps=20), grace=0.2) as server:
        browser.driver.switch_to.new_window("tab")
        browser.open(server.address)
        browser.ask("Hello")
        until(lambda: "word3" in browser.text(".answer .text"))
        before = server.now()
        browser.driver.close()
        browser.driver.switch_to.window(browser.driver.window_handles[0])
        assert closed_after(server, before) < 0.2 + 0.5


def test_a_reload(browser: Browser) -> None:
    """A reload in mid-answer goes on: the text is whole, and the model was asked once."""
    with serving(slow()) as server:
        browser.open(server.address)
        browser.ask("Hello")
        for word in ("word20", "word60", "word120"):
            until(lambda word=word: word in browser.text(".answer .text"))
            browser.driver.refresh()
            browser.is_ready()
        browser.answer_is("complete")
        assert browser.text(".answer .text") == WORDS
        assert browser.text(".question-text") == "Hello"
        assert len(server.api.requests) == 1
        browser.driver.refresh()
        browser.answer_is("complete")
        assert browser.text(".answer .text") == WORDS
        assert browser.complaints() == []


def test_offline(browser: Browser) -> None:
    """After 0.3 seconds without a network the text is whole, nothing came twice, and the page said what was wrong."""
    with serving(slow()) as server:
        browser.open(server.road)
        browser.ask("Hello")
        until(lambda: "word20" in browser.text(".answer .text"))
        server.cut_road()
        browser.answer_is("away")
        assert "The connection is away" in browser.text(".answer .foot")
        time.sleep(0.3)
        server.mend_road()
        browser.answer_is("complete")
        assert browser.text(".answer .text") == WORDS
        asked = browser.js("return performance.getEntriesByType('resource').map((entry) => entry.name)")
        assert len([name for name in asked if name.endswith("/turns/1")]) >= 2
        assert len(server.api.requests) == 1


def test_stop(browser: Browser) -> None:
    """Stop closes the model at once, the page says so, and what was said stays in the conversation."""
    with serving(slow(tps=50), slow("Then this.", tps=None)) as server:
        browser.open(server.address)
        browser.ask("Hello")
        until(lambda: "word9" in browser.text(".answer .text"))
        script = "const done = arguments[0]; document.querySelector('#stop').click(); done(0)"
        since = server.now()
        browser.driver.execute_async_script(script)
        took = closed_after(server, since)
        browser.answer_is("stopped")
        assert took < 0.15  # 8 ms here, Selenium's own way included
        assert "You stopped this answer." in browser.text(".answer .foot")
        assert "stopped" in browser.text("#status")
        text = browser.text(".answer .text")
        assert WORDS.startswith(text.strip())
        browser.driver.refresh()
        browser.answer_is("stopped")
        assert browser.text(".answer .text") == text
        browser.ask("Go on")
        browser.answer_is("complete")
        assert "word9" in str(server.request(2).messages[1])
        print(f"\nStop: the model was closed after {took * 1000:.0f} ms")


def test_two_tabs(browser: Browser) -> None:
    """A second tab shows the same answer while it is written, and what is asked in one is shown in the other."""
    with serving(slow(tps=60)) as server:
        browser.open(server.address)
        browser.ask("Hello")
        first = browser.driver.current_window_handle
        address = until(lambda: "#" in browser.driver.current_url and browser.driver.current_url)
        browser.driver.switch_to.new_window("tab")
        browser.open(address)
        until(lambda: "word20" in browser.text(".answer .text"))
        browser.one("#stop").click()
        browser.answer_is("stopped")
        text = browser.text(".answer .text")
        browser.ask("Again")
        browser.driver.switch_to.window(first)
        until(lambda: len(browser.all(".turn")) == 2)
        assert browser.text(".turn:first-child .answer .text") == text
        browser.answer_is("complete")
        assert browser.text(".turn:last-child .answer .text") == WORDS
        assert len(server.api.requests) == 2
        assert browser.complaints() == []


def test_more_tabs_than_connections(browser: Browser) -> None:
    """A browser opens six connections to one server. With nine tabs on one answer each shows all of it, and Stop works."""
    with serving(slow(tps=20)) as server:
        browser.open(server.address)
        browser.ask("Hello")
        address = until(lambda: "#" in browser.driver.current_url and browser.driver.current_url)
        for _ in range(8):
            browser.driver.switch_to.new_window("tab")
            browser.open(address)
            until(lambda: "word0" in browser.text(".answer .text"))
        browser.one("#stop").click()
        browser.answer_is("stopped")
        text = browser.text(".answer .text")
        for handle in browser.driver.window_handles:
            browser.driver.switch_to.window(handle)
            browser.answer_is("stopped")
            assert browser.text(".answer .text") == text
        assert len(server.api.requests) == 1


HOSTILE = (
    "<img src=x onerror=\"window.owned='img'\"><script>window.owned='script'</script> "
    "[here](javascript:window.owned='link') **<b onclick=alert(1)>bold</b>** `<i>code</i>` "
    "[there](https://example.org/\"onmouseover=\"window.owned='attribute') [good](https://example.org/a?b=c)\n\n"
    "```html\n</code></pre><script>window.owned='code'</script>\n```\n\n"
    "| <u>a</u> | b |\n|---|---|\n| <svg onload=\"window.owned='svg'\"> | [x](data:text/html,hello) |\n"
)


def test_a_hostile_answer(browser: Browser) -> None:
    """Nothing of what a model, a tool or the user says becomes HTML."""

    @ts.tool
    async def look_up() -> str:
        """Look it up."""
        await trio.lowlevel.checkpoint()
        return "<img src=x onerror=\"window.owned='tool'\">"

    answers = [
        [think(HOSTILE, tps=None), say(HOSTILE, tps=None), call("look_up", {})],
        [say("<script>window.owned='end'</script>", tps=None)],
    ]
    with serving(*answers, tools=(look_up,)) as server:
        browser.open(server.address)
        browser.ask("<img src=x onerror=\"window.owned='me'\">")
        browser.answer_is("complete")
        assert browser.js("return window.owned ?? null") is None
        made = "return [...document.querySelectorAll('#turns :is(script, img, svg, b, i, u)')].map((e) => e.outerHTML)"
        assert browser.js(made) == []
        links = browser.js("return [...document.querySelectorAll('#turns a')].map((e) => e.href)")
        assert links == ["https://example.org/a?b=c"]
        listening = "return [...document.querySelectorAll('#turns *')].flatMap((e) => e.getAttributeNames())"
        assert not [name for name in browser.js(listening) if name.startswith("on")]
        assert "<script>window.owned='script'</script>" in browser.text(".answer .text")
        assert browser.js("return document.querySelector('nav a').textContent").startswith("<img")
        assert browser.complaints() == []
        refused = "try { document.body.innerHTML = '<b>no</b>'; return 'taken' } catch (e) { return e.name }"
        assert browser.js(refused) == "TypeError"


def test_another_origin(browser: Browser) -> None:
    """Another page in the same browser can neither read, nor ask, nor post a form, nor show the page in a frame."""
    with serving(slow()) as server, other_page() as address:
        browser.open(server.address)
        token = browser.js("return document.querySelector('meta[name=token]').content")
        browser.driver.get(address)
        tries = """
            const [server, token, done] = arguments;
            const outcome = async (path, options) => {
              try { return (await fetch(server + path, options)).status } catch (e) { return e.name }
            };
            const said = JSON.stringify({messages: [{role: "user", content: "Forged"}]});
            const headers = {"x-trio-stream-token": token, "content-type": "application/json"};
            (async () => done([
              await outcome("api/chats", {}),
              await outcome("api/chats", {headers}),
              await outcome("api/chats", {method: "POST", headers, body: "{}"}),
              await outcome("api/chats", {method: "POST", body: said}),
              await outcome("", {}),
            ]))();
        """
        outcomes = browser.driver.execute_async_script(tries, server.address, token)
        assert outcomes == ["TypeError"] * 5
        opaque = """
            const [server, done] = arguments;
            fetch(server + "api/chats", {method: "POST", mode: "no-cors", body: "{}"}).then(() => done("sent"), () => done("no"));
        """
        browser.driver.execute_async_script(opaque, server.address)
        browser.js(
            "const f = document.createElement('form'); f.method = 'post'; f.action = arguments[0] + 'api/chats';"
            "document.body.append(f); f.submit()",
            server.address,
        )
        until(lambda: "Requests of other pages are not answered" in browser.js("return document.body?.innerText ?? ''"))
        browser.driver.get(address)
        frame = """
            const [server, done] = arguments;
            const frame = document.createElement("iframe");
            frame.onload = () => { try { done(frame.contentDocument === null ? "blocked" : "empty") } catch { done("blocked") } };
            frame.src = server; document.body.append(frame);
        """
        browser.driver.execute_async_script(frame, server.address)
        assert len(browser.driver.find_elements("css selector", "iframe")) == 1
        browser.driver.switch_to.frame(0)
        assert browser.all("#composer") == []
        browser.driver.switch_to.default_content()
        browser.open(server.address)
        assert browser.all("nav li") == []
        assert server.api.requests == []


def other_page() -> OtherPage:
    return OtherPage()


class OtherPage:
    """A server of somebody else's, with a page that has nothing in it."""

    def __enter__(self) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.end_headers()
                self.wfile.write(b"<!doctype html><title>Other</title><body>")

            def log_message(self, *args: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return f"http://localhost:{self._server.server_port}/"

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def test_tools_and_approval(browser: Browser) -> None:
    """A call is shown with its result. Where it must be allowed, two buttons ask, in every tab, also after a reload."""
    ran: list[str] = []

    @ts.tool(approve=True)
    async def tidy(place: str) -> str:
        """Tidy up."""
        await trio.lowlevel.checkpoint()
        ran.append(place)
        return f"tidied {place}"

    asks = [say("Let me.", tps=None), call("tidy", {"place": "desk"})]
    ends = [say("Done.", tps=None)]
    with serving(asks, ends, asks, ends, tools=(tidy,)) as server:
        browser.open(server.address)
        browser.ask("Tidy up")
        browser.one(".question button")
        assert "May tidy run?" in browser.text(".question")
        assert "May tidy run?" in browser.text("#status")
        browser.driver.refresh()
        browser.is_ready()
        browser.one(".question button").click()
        browser.answer_is("complete")
        assert ran == ["desk"]
        assert "tidied desk" in browser.text(".tool")
        assert browser.all(".question") == []
        browser.ask("Again")
        browser.one(".question button.quiet").click()
        browser.answer_is("complete")
        assert ran == ["desk"]
        assert browser.text(".turn:last-child .tool .state") == "failed"


def test_failure_and_another_try(browser: Browser) -> None:
    """A failed answer keeps its text and says a sentence; Try again asks once more, in the place of the first."""
    fails = [say("It begins ", fail("overloaded_error"), tps=None)]
    with serving(fails, fails, fails, [say("It is well.", tps=None)]) as server:
        browser.open(server.address)
        browser.ask("Hello")
        browser.answer_is("failed")
        assert "overloaded" in browser.text(".answer .foot")
        browser.one(".answer .foot button").click()
        until(lambda: "It is well." in browser.text(".answer .text"))
        browser.answer_is("complete")
        assert len(browser.all(".turn")) == 1
        assert len(server.api.requests[-1].messages) == 1


def test_conversations(browser: Browser) -> None:
    """There may be several; each is found again by its name, and by the address of the tab."""
    with serving([say("Here.", tps=None)]) as server:
        browser.open(server.address)
        browser.ask("The first one")
        browser.answer_is("complete")
        address = browser.driver.current_url
        browser.one("#new").click()
        until(lambda: not browser.all(".turn"))
        browser.ask("The second one")
        browser.answer_is("complete")
        until(lambda: {link.text for link in browser.all("nav a")} == {"The first one", "The second one"})
        browser.driver.get(address)
        until(lambda: browser.text(".question-text") == "The first one")
        until(lambda: browser.text("nav a[aria-current]") == "The first one")


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_widths(browser: Browser, width: int) -> None:
    """At no width anything goes beyond the screen, and what one needs is in sight and large enough to touch."""
    wide = (
        "```\n"
        + "x = 1; " * 60
        + "\n```\n\n"
        + "unbroken" * 60
        + "\n\n| a | b |\n|---|---|\n| "
        + "c" * 300
        + " | d |\n"
    )
    with serving([say(wide, tps=None)]) as server:
        browser.size(width, 700)
        try:
            browser.open(server.address)
            browser.ask("Hello " * 40)
            browser.answer_is("complete")
            assert browser.js("return document.documentElement.scrollWidth") == width
            assert browser.js("const m = document.querySelector('main'); return m.scrollWidth <= m.clientWidth")
            for selector in ("#words", "#send", "#model"):
                box = browser.one(selector).rect
                assert box["x"] >= 0
                assert box["x"] + box["width"] <= width, selector
            assert browser.one("#send").rect["height"] >= 36
            assert browser.one("nav").is_displayed() is (width > 820)
            if width <= 820:
                browser.one("#menu").click()
                assert browser.one("nav a").is_displayed()
                browser.one("#words").send_keys("\ue00c")
                assert not browser.one("nav").is_displayed()
        finally:
            browser.cdp("Emulation.clearDeviceMetricsOverride")


def test_light_and_dark(browser: Browser) -> None:
    """The page follows what the system prefers, and can be read in both: 4.5 to 1, the AA of WCAG 2.2."""
    contrast = """
        const light = (color) => {
          const parts = color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
          const [r, g, b] = parts.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const ground = (element) => {
          for (; element; element = element.parentElement) {
            const color = getComputedStyle(element).backgroundColor;
            if (!/, 0\\)$/.test(color)) return color;
          }
          return "rgb(255, 255, 255)";
        };
        return [...document.querySelectorAll("#model, .question-text, .text p, summary, .foot, .hint, nav a, nav button, figcaption span")]
          .map((e) => {
            const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
            return [e.className || e.id || e.tagName, (a + 0.05) / (b + 0.05)];
          });
    """
    with serving([think("Well.", tps=None), say("Text and `code`.\n\n```\ncode\n```\n", tps=None)]) as server:
        browser.open(server.address)
        browser.ask("Hello")
        browser.answer_is("complete")
        grounds: list[str] = []
        for scheme in ("light", "dark"):
            browser.scheme(scheme)
            for name, ratio in browser.js(contrast):
                assert ratio >= 4.5, (scheme, name, ratio)
            grounds.append(browser.js("return getComputedStyle(document.body).backgroundColor"))
        assert grounds[0] != grounds[1]


def test_no_other_host(browser: Browser) -> None:
    """The page asks nobody but its own server for anything."""
    with serving([say("Here.", tps=None)]) as server:
        browser.open(server.address)
        browser.ask("Hello")
        browser.answer_is("complete")
        asked = browser.js("return performance.getEntriesByType('resource').map((entry) => entry.name)")
        assert asked
        assert [name for name in asked if not name.startswith(server.address)] == []
