"""Takes the pictures of `docs/web.md` (``make web-pictures``): ``python -m tests.browser.pictures [FOLDER] [--all]``.

What belongs here: a conversation that shows what the page can do, and its sizes. What does not: Chromium (`chromium`).
With ``--all`` every size is taken light and dark, and empty too, for whoever changes the page.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path

from trio_stream.cli._web_script import SCRIPTED_TOOLS, web_model
from trio_stream.testing import ScriptedAPI

from .chromium import Browser, PageServer, chromium, until

PICTURES = [("wide", 1280, 800, "light"), ("middle", 768, 900, "dark"), ("phone", 360, 740, "light")]


def main(folder: Path, *, all_of_them: bool) -> None:
    """Take them, and print what the browser complains about."""
    api = ScriptedAPI(default=web_model(ttft=0.02, tps=400))
    sizes = [(name, width, height) for name, width, height, _ in PICTURES]
    wanted = [(*size, scheme) for size in sizes for scheme in ("light", "dark")] if all_of_them else PICTURES
    with PageServer(api, tools=SCRIPTED_TOOLS) as server, chromium() as browser:
        browser.size(1280, 800)
        browser.open(server.address)
        if all_of_them:
            for name, width, height, scheme in wanted:
                browser.size(width, height)
                browser.scheme(scheme)
                save(browser, folder / f"web-empty-{name}-{scheme}.png")
        browser.ask("What is a nursery?")
        browser.answer_is("complete")
        browser.ask("Show me an example with code.")
        browser.answer_is("complete")
        browser.js("location.hash = ''")
        until(lambda: not browser.all(".turn"))
        browser.ask("What time is it?")
        browser.answer_is("complete")
        browser.ask("Show me an example with code.")
        browser.answer_is("complete")
        browser.ask("Roll the dice for me.")
        until(lambda: browser.all(".question"))
        for name, width, height, scheme in wanted:
            browser.size(width, height)
            browser.scheme(scheme)
            browser.js("const m = document.querySelector('#talk'); m.scrollTop = m.scrollHeight")
            save(browser, folder / f"web-page-{name}{f'-{scheme}' if all_of_them else ''}.png")
        for complaint in browser.complaints():
            print(complaint)


def save(browser: Browser, path: Path) -> None:
    data = browser.cdp("Page.captureScreenshot", format="png")["data"]
    path.write_bytes(base64.b64decode(data))


if __name__ == "__main__":
    folders = [argument for argument in sys.argv[1:] if argument != "--all"]
    main(Path(folders[0] if folders else "docs"), all_of_them="--all" in sys.argv)
