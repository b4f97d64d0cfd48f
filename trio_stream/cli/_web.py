"""``trio-stream web``: a page to talk to a model, served on this machine.

What belongs here: starting and stopping the server, and the client behind it. What does not: what it answers
(`_web_app`), and the command line (`_web_command`).
"""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
from functools import partial
from importlib import import_module
from typing import Any, Final

import msgspec
import trio

import trio_stream as ts
from trio_stream import web
from trio_stream.cli._chat_tools import ToolNameError, load_tools, mcp_servers
from trio_stream.cli._client import make_client
from trio_stream.cli._serve import is_loopback
from trio_stream.cli._terminal import BROKEN_PIPE, FAILED, USAGE, complain, forget_stdout, is_broken_pipe, one_line
from trio_stream.cli._web_app import WebApp
from trio_stream.cli._web_chats import Chats
from trio_stream.cli._web_guard import Guard
from trio_stream.cli._web_script import SCRIPTED_TOOLS, web_model
from trio_stream.testing import ScriptedAPI

_HOST: Final = "hypercorn.trio"
"""The server. It is an extra, so it is imported where it is needed."""

_KEEP: Final = 24 * 60 * 60.0
"""Seconds for which an answer can be read again."""

_REPLAY_BYTES: Final = 1 << 20
"""Bytes of an answer that are kept piece by piece. Beyond that, a tab gets it in fewer and larger pieces."""

_MAX_DELAY: Final = 0.02
"""Seconds for which pieces of an answer wait for others. The page draws no faster."""

_REMEMBERED: Final = 16
"""Requests to the scripted API that are remembered, where nobody looks at them."""

_ADAPTIVE: Final = {"type": "adaptive", "display": "summarized"}


class WebOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options, named as on the command line, in seconds."""

    host: str
    port: int
    allow_remote: bool
    real: bool
    model: str
    system: str | None
    max_tokens: int
    thinking: dict[str, object] | None
    tools: tuple[str, ...]
    mcp: tuple[str, ...]
    yes: bool
    grace: float
    ttft: float
    tps: float | None
    base_url: str | None
    timeout: float | None


def run(options: WebOptions) -> int:
    """Serve until interrupted, and return the exit code."""
    if not options.allow_remote and not is_loopback(options.host):
        complain("web", f"{options.host} can be reached by other machines: add --allow-remote if that is meant")
        return USAGE
    if options.base_url is not None and not options.real:
        complain("web", "--base-url is for --real: without it the model is a script in this process")
        return USAGE
    try:
        import_module(_HOST)
    except ModuleNotFoundError:
        complain("web", "this needs the extra web: pip install 'trio-stream[cli,web]'")
        return USAGE
    client: ts.Client | None = None
    if options.real:
        client = make_client("web", base_url=options.base_url, timeout=options.timeout)
        if client is None:
            return USAGE
    try:
        tools = load_tools(options.tools)
        servers = mcp_servers(options.mcp, approve=not options.yes)
    except ToolNameError as error:
        complain("web", str(error))
        return USAGE
    try:
        return trio.run(partial(_run, options, client, tools, servers))
    except (OSError, BaseExceptionGroup) as error:
        if is_broken_pipe(error):
            forget_stdout()
            return BROKEN_PIPE
        raise
    except KeyboardInterrupt:
        return 0  # before or after signals are received as events


async def _run(
    options: WebOptions, client: ts.Client | None, tools: list[ts.Tool], servers: list[ts.mcp.Server]
) -> int:
    try:
        listeners = await trio.open_tcp_listeners(options.port, host=options.host)
    except OSError as error:
        complain("web", f"cannot listen on {options.host} port {options.port}: {error.strerror or error}")
        return USAGE if isinstance(error, socket.gaierror) else FAILED  # no such host: a mistake of the command line
    async with contextlib.AsyncExitStack() as stack:
        for listener in listeners:
            stack.push_async_callback(listener.aclose)
        signals = stack.enter_context(trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM))
        if client is None:
            api = ScriptedAPI(default=web_model(ttft=options.ttft, tps=options.tps), keep_requests=_REMEMBERED)
            server = await stack.enter_async_context(api.serve())
            client = ts.Client(api_key="scripted", base_url=server.base_url)
        await stack.enter_async_context(client)
        if servers:
            try:
                tools = [*tools, *await stack.enter_async_context(ts.mcp.servers(*servers))]
            except ts.mcp.ServerUnreachableError as error:
                complain("web", str(error))
                return USAGE
        if not options.real and not tools:
            tools = [*SCRIPTED_TOOLS]
        try:
            new_conversation = partial(_new_conversation, client, options, tools)
            new_conversation()  # so that a mistake in the options is told now
        except (TypeError, ValueError) as error:
            complain("web", str(error))
            return USAGE
        hub = await stack.enter_async_context(
            web.Hub(
                grace=options.grace,
                keep=_KEEP,
                replay_bytes=_REPLAY_BYTES,
                max_delay=_MAX_DELAY,
                # Whoever sits at this machine may read what the API says. It may quote the prompt, so others may not.
                describe=None if options.allow_remote else _describe,
            )
        )
        chats = Chats(hub, new_conversation, approve="all" if options.yes else "ask", tells_cost=options.real)
        guard = Guard(options.host, is_remote=options.allow_remote)
        app = WebApp(chats, guard, {"model": options.model, "real": options.real, "tools": _names(tools)})
        print_address(options, listeners)
        await serve(app, listeners, signals)
    return 0


def _new_conversation(client: ts.Client, options: WebOptions, tools: list[ts.Tool]) -> ts.Conversation:
    params: dict[str, Any] = {} if options.system is None else {"system": options.system}
    thinking = options.thinking or (None if options.real else _ADAPTIVE)
    if thinking is not None:
        params["thinking"] = thinking
    return ts.Conversation(client, model=options.model, max_tokens=options.max_tokens, tools=tools, **params)


def _describe(error: ts.APIError) -> str:
    return one_line(str(error))


def _names(tools: list[ts.Tool]) -> list[str]:
    return [tool.name for tool in tools if tool.name]


async def serve(app: WebApp, listeners: list[trio.SocketListener], signals: Any) -> None:
    """Serve the application until a signal comes. A checkpoint."""
    host: Any = import_module(_HOST)
    config: Any = import_module("hypercorn.config").Config()
    config.bind = [f"fd://{listener.socket.detach()}" for listener in listeners]  # they are Hypercorn's from here on
    config.include_server_header = False
    config.loglevel = "ERROR"
    config.graceful_timeout = 0.2
    config.h11_max_incomplete_size = 16 * 1024

    async def until_signal() -> None:
        async for _ in signals:
            return

    await host.serve(app, config, shutdown_trigger=until_signal, mode="asgi")


def print_address(options: WebOptions, listeners: list[trio.SocketListener]) -> None:
    """Print the address of the page."""
    port = listeners[0].socket.getsockname()[1]
    host = f"[{options.host}]" if ":" in options.host else options.host
    model = f"{options.model}, which costs money" if options.real else "a scripted model: no key, no cost"
    sys.stdout.write(f"Open http://{host}:{port} in a browser, to talk to {model} (Ctrl-C stops it)\n")
    sys.stdout.flush()
