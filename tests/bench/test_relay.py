"""The servers of ``python -m tests.bench.relay``, in memory: each hands on every event."""

from __future__ import annotations

import pytest

import trio_stream as ts
from tests.bench import report
from tests.bench.relay import __main__ as bench
from tests.bench.relay.serving import WAYS
from tests.web.host import Peer
from tests.web.reading import names, text
from trio_stream import web
from trio_stream.testing import ScriptedAPI, say


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_hands_on_every_event(way: str) -> None:
    if way == "sse-starlette":
        pytest.importorskip("sse_starlette")
    client = ts.Client(api_key="test", transport=ScriptedAPI([say("Hello there")]))
    peer = Peer()
    async with web.Hub(keep=0) as hub:
        await peer.run(WAYS[way](client, hub))
    body = peer.body.replace(b"\r\n", b"\n")
    assert text(body) == "Hello there"
    assert names(body)[-1] == "message_stop"


def test_the_section_of_the_page() -> None:
    """It is put between its marks, and found there when the rest of the page is written anew."""
    figures = {(load, way): 10.0 for load in bench.LOADS for way in WAYS}
    written = report.with_section(report.PAGE, "relay", bench.table(figures))
    assert "| 10.0 (1.00) |" in report.section_of(written, "relay")
    assert report.with_section(report.PAGE, "relay", report.section_of(written, "relay")) == written
    assert report.section_of("a page from before", "relay") == ""
    with pytest.raises(SystemExit, match="marks"):
        report.with_section("a page from before", "relay", "")
