"""`trio-stream demo`: it runs, shows what it says it shows, and leaves the terminal as it was."""

from __future__ import annotations

import io

import pytest
import trio
from rich.console import Console

from tests.forked import SECONDS
from trio_stream.cli._demo_progress import Card, Progress
from trio_stream.cli._demo_scenes import make_scenes
from trio_stream.cli._demo_views import Panels
from trio_stream.testing import ScriptedAPI

from .running import SECRET, Running, program, run_cli, without_styles


async def test_plain_lines_and_report() -> None:
    """Everything the demonstration promises: a cancelled stream, a tool, thinking, texts, timings, what next."""
    done = await run_cli("demo", "--fast")
    assert (done.code, done.err) == (0, ""), done
    assert "\x1b" not in done.out
    live, _, report = done.out.rpartition("What is a nursery?  complete\n")
    for line in (
        "asked: What is backpressure?",
        "thinks: Two questions hide",
        "tool: get_weather(city='Lisbon')",
        "tool: → 18 °C",
        "-- cancelled: the reader has heard enough",
        "-- complete, 59 tokens",
    ):
        assert line in live
    for words in (
        "Tasks are started inside, and nobody leaves",
        "turned its wheel all…",
        "It is 18 °C and sunny in Lisbon",
        "6 requests over 5 connections",
        "none of them is still open",
        "export ANTHROPIC_API_KEY=",
        "trio-stream ask",
    ):
        assert words in " ".join(report.split())
    assert "paper boats" not in done.out  # the river was cancelled before them
    assert max(map(len, done.out.splitlines())) <= 80
    assert not any(line != line.rstrip() for line in live.splitlines())


@pytest.mark.parametrize(("streams", "requests"), [(1, 1), (3, 4), (40, 41)])
async def test_as_many_streams_as_wanted(streams: int, requests: int) -> None:
    done = await run_cli("demo", "--fast", "--streams", str(streams))
    assert done.code == 0, done
    assert f"{requests} requests over {streams} connections" in done.out
    assert done.out.count("-- complete") == streams - (streams > 1)


async def test_it_needs_no_network_and_leaks_no_key() -> None:
    """Proxies, custom headers and the caller's key are none of its business."""
    done = await run_cli(
        "demo",
        "--fast",
        HTTP_PROXY="http://127.0.0.1:9",
        ALL_PROXY="http://127.0.0.1:9",
        ANTHROPIC_API_KEY=SECRET,
        ANTHROPIC_BASE_URL="http://127.0.0.1:9",
        ANTHROPIC_CUSTOM_HEADERS="Authorization: Bearer x",
    )
    assert done.code == 0, done
    assert SECRET not in done.out
    assert "export ANTHROPIC_API_KEY" not in done.out


async def test_on_a_terminal() -> None:
    """Panels on the other screen, the report on the first one, the cursor visible again."""
    async with Running(program("demo", "--fast"), terminal=(80, 24)) as running:
        assert await running.finish() == 0
    panels, _, report = running.out.partition("\x1b[?1049l")
    assert "\x1b[?1049h" in panels
    assert "╭─ What is a nursery? ─" in without_styles(panels)
    assert "6 requests over 5 connections" in report
    assert running.out.rindex("\x1b[?25h") > running.out.rindex("\x1b[?25l")


async def test_ctrl_c() -> None:
    async with Running(program("demo"), terminal=(80, 24)) as running:
        await running.read_until("hills")
        await running.type(b"\x03")
        assert await running.finish() == 130
    _, _, report = running.out.partition("\x1b[?1049l")
    assert "Interrupted after" in report
    assert "5 were cut" in " ".join(report.split())
    assert "Traceback" not in running.out
    assert running.out.rindex("\x1b[?25h") > running.out.rindex("\x1b[?25l")


async def test_a_reader_that_goes_away_is_no_error() -> None:
    async with Running(program("demo")) as running:
        await running.read_until("asked")
        await running.close_stdout()
        with trio.fail_after(SECONDS):
            assert await running.process.wait() == 141
            assert running.process.stderr is not None
            assert await running.process.stderr.receive_some() == b""


@pytest.mark.parametrize("count", [1, 5, 12, 200])
@pytest.mark.parametrize(("width", "height"), [(100, 30), (80, 24), (40, 10), (20, 3), (200, 60)])
async def test_a_frame_fits_on_the_screen(count: int, width: int, height: int) -> None:
    """Whatever the streams have said and however many there are: no line too long, none too many."""
    file = io.StringIO()
    console = Console(file=file, width=width, height=height, force_terminal=True, color_system=None)
    async with ScriptedAPI().serve() as server:
        cards = [Card(scene.name, scene.prompt) for scene in make_scenes(count, fast=True)]
        for number, card in enumerate(cards):
            card.hear("thinking", "Hm. " * 40)
            card.hear("text", "Wide 寿司 characters, and\x1b[2J more 😀 " * (number % 9))
            if number % 3 == 0:
                card.end("cancelled", "the reader has heard enough, and says so at some length")
        console.print(Panels(Progress(cards=cards, server=server), console).frame())
    lines = file.getvalue().splitlines()
    assert len(lines) <= height
    assert max(map(console_width, lines)) <= width
    assert "\x1b" not in file.getvalue()


def console_width(line: str) -> int:
    from rich.cells import cell_len

    return cell_len(line)
