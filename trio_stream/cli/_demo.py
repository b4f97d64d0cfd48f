"""``trio-stream demo``: several streams at once, over real sockets, against a scripted API in this process.

What belongs here: the run itself: serving, streaming, cancelling, using the tool. What does not: the prompts and
answers (`_demo_scenes`), how it looks (`_demo_views`), and the report at the end (`_demo_results`).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final, final

import trio
from rich.console import Console

import trio_stream as ts
from trio_stream.cli._demo_progress import Card, Kind, Progress
from trio_stream.cli._demo_results import print_interrupted, print_results
from trio_stream.cli._demo_scenes import WEATHER_TOOL, Scene, make_scenes, model_of
from trio_stream.cli._demo_views import Lines, Panels, View
from trio_stream.cli._terminal import (
    BROKEN_PIPE,
    FAILED,
    INTERRUPTED,
    complain,
    forget_stdout,
    is_broken_pipe,
    is_terminal,
    one_line,
)
from trio_stream.testing import ScriptedAPI, Server

_MODEL: Final = "claude-sonnet-5-5"
_TOOL_SECONDS = 0.8
_LAST_LOOK = 1.0
"""How many seconds the finished panels stay."""

_CLOSING = 0.5
"""Within how many seconds the server should have noticed that the connections are closed."""

_ANSWER_WIDTH = 100


def run(*, streams: int, fast: bool) -> int:
    """Run the demonstration, and return the exit code."""
    # The demonstration talks only to its own process, so neither a proxy nor headers for the real API may play a part.
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = "127.0.0.1"
    os.environ.pop("ANTHROPIC_CUSTOM_HEADERS", None)
    try:
        return trio.run(partial(_demo, streams=streams, fast=fast))
    except KeyboardInterrupt:
        return INTERRUPTED  # before or after signals are received as events
    except (OSError, BaseExceptionGroup) as error:
        if is_broken_pipe(error):
            forget_stdout()
            return BROKEN_PIPE
        if isinstance(error, BaseExceptionGroup):
            raise
        complain("demo", f"no port could be opened: {error.strerror or error}")
        return FAILED


async def _demo(*, streams: int, fast: bool) -> int:
    scenes = make_scenes(streams, fast=fast)
    api = ScriptedAPI(default=model_of(scenes, fast=fast))
    code = FAILED
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with api.serve() as server:
            progress = Progress(cards=[Card(scene.name, scene.prompt) for scene in scenes], server=server)
            await _show(scenes, progress, signals, fast=fast)
            left_open = await _connections_left(server)
            code = _report(progress, requests=len(api.requests), left_open=left_open)
    return code


async def _show(scenes: list[Scene], progress: Progress, signals: AsyncIterator[int], *, fast: bool) -> None:
    view: View = Panels(progress, Console()) if is_terminal(sys.stdout) else Lines(progress)
    with view:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch_for_interruption, signals, nursery.cancel_scope, progress)
            nursery.start_soon(view.run)
            await _Play(progress, view, fast=fast).run(scenes)
            progress.stop_clock()
            if view.lingers and not fast:
                await trio.sleep(_LAST_LOOK)
            nursery.cancel_scope.cancel(reason="the demonstration is over")


def _report(progress: Progress, *, requests: int, left_open: int) -> int:
    console = Console()
    if console.width > _ANSWER_WIDTH:
        console.width = _ANSWER_WIDTH
    if progress.interrupted:
        print_interrupted(progress, console)
        return INTERRUPTED
    print_results(progress, console, requests=requests, left_open=left_open)
    return FAILED if progress.count_of("failed") else 0


async def _watch_for_interruption(signals: AsyncIterator[int], scope: trio.CancelScope, progress: Progress) -> None:
    async for _ in signals:
        progress.interrupted = True
        scope.cancel(reason="interrupted")
        break


async def _connections_left(server: Server) -> int:
    with trio.move_on_after(_CLOSING):
        while server.connections:  # noqa: ASYNC110 - the server has no event for this
            await trio.sleep(0.01)
    return server.connections


@final
class _Play:
    """The streams, each in a task of its own."""

    def __init__(self, progress: Progress, view: View, *, fast: bool) -> None:
        self._progress = progress
        self._view = view
        self._tool_seconds = 0.0 if fast else _TOOL_SECONDS

    async def run(self, scenes: list[Scene]) -> None:
        """Run all scenes at once, until the last of them has ended."""
        base_url = self._progress.server.base_url
        async with ts.Client(api_key="demo", base_url=base_url) as client:
            self._progress.client = client
            async with trio.open_nursery() as nursery:
                for scene, card in zip(scenes, self._progress.cards, strict=True):
                    nursery.start_soon(self._run_scene, client, scene, card)

    async def _run_scene(self, client: ts.Client, scene: Scene, card: Card) -> None:
        params: dict[str, Any] = {
            "model": _MODEL,
            "max_tokens": 1024,
            "messages": [{"role": "user", "content": scene.prompt}],
        }
        if scene.thinks:
            params["thinking"] = {"type": "adaptive", "display": "summarized"}
        if scene.calls:
            params["tools"] = [WEATHER_TOOL]
        try:
            while await self._run_turn(client, scene, card, params):
                pass
        except ts.APIError as error:
            card.end("failed", one_line(str(error)))
        except BaseException:
            card.end("cancelled", "interrupted")
            raise
        self._view.ended(card)

    async def _run_turn(self, client: ts.Client, scene: Scene, card: Card, params: dict[str, Any]) -> bool:
        """Stream one answer; return True if another one has to follow, because a tool was used."""
        async with client.messages.stream(**params) as stream:
            async for event in stream:
                if event.type == "text":
                    self._hear(card, "text", event.text)
                    if scene.enough is not None and card.characters >= scene.enough:
                        stream.cancel("the reader has heard enough")
                elif event.type == "thinking":
                    self._hear(card, "thinking", event.thinking)
        if stream.cancel_reason is not None:
            card.end("cancelled", stream.cancel_reason)
            return False
        message = stream.message
        card.count(message.usage)
        if message.stop_reason != "tool_use":
            card.end("complete")
            return False
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": await self._use_tool(card, block)}
            for block in message.content
            if block.type == "tool_use"
        ]
        params["messages"] += [message.to_param(), {"role": "user", "content": results}]
        return True

    async def _use_tool(self, card: Card, block: ts.ToolUseBlock) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in block.input.items())
        self._hear(card, "tool", f"{block.name}({arguments})")
        await trio.sleep(self._tool_seconds)
        result = "18 °C, sunny, light breeze"
        self._hear(card, "tool", f"\n→ {result}")
        return result

    def _hear(self, card: Card, kind: Kind, piece: str) -> None:
        card.hear(kind, piece)
        self._view.heard(card, kind, piece)
