"""The pages of docs/web-clients.md talk with the server of docs/web-clients.md, through Hypercorn."""

from __future__ import annotations

import json
import re
import shutil
from typing import Any

import pytest
import trio

from tests.test_docs import ROOT, Block, blocks, compiled, snippet_names
from tests.web.hosts import hypercorn
from tests.web.test_clients import HERE, node_modules
from trio_stream.testing import ScriptedAPI, say, think

PAGE = ROOT / "docs" / "web-clients.md"

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="no node"),
    pytest.mark.skipif(node_modules() is None, reason="no clients of pages: make sdk, where npm is"),
]


def server() -> Block:
    """The first block of Python on the page."""
    return next(block for block in blocks() if block.page == PAGE)


async def test_every_page_shows_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block of JavaScript logs the text of the model, and has shown it."""
    pages = re.findall(r"^```js\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(pages) == 4
    monkeypatch.setenv("ANTHROPIC_API_KEY", "test")
    names = snippet_names(ScriptedAPI(default=[think("Hm."), say("Hello, ", "page.")]))
    exec(compiled(server()), names)
    async with hypercorn(names["app"]) as port:
        with trio.fail_after(60):
            done = await trio.run_process(
                ["node", str(HERE / "node" / "page.mjs"), str(node_modules()), f"http://127.0.0.1:{port}"],
                stdin=json.dumps(pages).encode(),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
    assert done.returncode == 0, done.stderr.decode()
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    for page, answer in zip(pages, answers, strict=True):
        assert "error" not in answer, (page, answer["error"])
        assert answer["logged"][-1].endswith("Hello, page."), page
        assert answer["shown"].endswith("Hello, page.") or "document" not in page
