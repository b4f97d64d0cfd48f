"""The code of docs/web.md, served as its readers would serve it: each application is asked on a real port."""

from __future__ import annotations

from typing import Any

import pytest

from tests.test_docs import SNIPPETS, Block, as_module, compiled, snippet_names
from tests.web.hosts import Tab, hypercorn
from tests.web.reading import names, text
from trio_stream.testing import ScriptedAPI, pause, say

APPS = [
    block for block in SNIPPETS if block.page.name == "web.md" and ("app = " in block.source or " app(" in block.source)
]


def asked(path: str, method: str = "POST") -> bytes:
    body = b'{"messages": [{"role": "user", "content": "What is a nursery?"}]}'
    head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def run(block: Block, api: ScriptedAPI, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "test")
    names = snippet_names(api)
    with as_module(names):
        exec(compiled(block), names)
    return names


def test_all_are_here():
    assert len(APPS) == 8


@pytest.mark.parametrize(
    "block", [block for block in APPS if "saved" not in block.source], ids=lambda block: f"line {block.line}"
)
async def test_an_application(block, monkeypatch):
    api = ScriptedAPI([say("A scope for tasks.")])
    defined = run(block, api, monkeypatch)
    async with hypercorn(defined["app"]) as port:
        tab = await Tab.open(port, request=asked("/chat"))
        await tab.to_end()
        assert (tab.status, tab.ended) == (200, True)
        assert text(tab.body) == "A scope for tasks."
        assert names(tab.body)[-1] == ("data-usage" if "data-usage" in block.source else "message_stop")
        await tab.stream.aclose()


async def test_the_hub(monkeypatch):
    """An answer is begun, read again, and stopped; it was saved when the page knows of its end."""
    (block,) = [block for block in APPS if "saved" in block.source]
    api = ScriptedAPI([say("A scope ", pause(0.05), "for tasks."), pause(60)])
    defined = run(block, api, monkeypatch)
    async with defined["hub"], hypercorn(defined["app"]) as port:
        tab = await Tab.open(port, request=asked("/chat/7"))
        await tab.until(b"scope")
        tab.close()
        tab = await Tab.open(port, request=asked("/chat/7", "GET"))
        await tab.until(b"tasks")
        stopped = await Tab.open(port, request=asked("/chat/7/stop"))
        await stopped.until(b"\r\n\r\n")
        await tab.to_end()
        assert names(tab.body)[-1] == "error"
        assert defined["saved"] == {"7": "A scope for tasks."}
        assert stopped.status == 204
        again = await Tab.open(port, request=asked("/chat/7/stop"))
        await again.until(b"\r\n\r\n")
        assert again.status == 404
        for one in (tab, stopped, again):
            await one.stream.aclose()
