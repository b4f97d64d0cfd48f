"""The command line of ``trio-stream web``: names, options, help.

What belongs here: reading this command line. What does not: what it does (`_web`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import click

from trio_stream.cli._arguments import Finite, name, read_thinking, text
from trio_stream.cli._batch_options import MODEL

_HELP = """Serve a page to talk to a model, on this machine.

The model is a script, unless you ask for a real one with --real: that needs a key (ANTHROPIC_API_KEY), and costs money.
The page says which it is. The key never gets there.

An answer goes on while you reload the page, and for --grace seconds after you closed it. Several tabs show the same
conversations. They are kept until the program ends.

\b
  trio-stream web
  trio-stream web --real --model claude-sonnet-5-5 --thinking
  trio-stream web --real --tool tools.py:search --mcp "npx -y @modelcontextprotocol/server-filesystem ."

Tools are as in `trio-stream chat`: the page asks before each call, unless --yes is given or a tool made with `@ts.tool`
says that it need not be asked about.

Ctrl-C or SIGTERM stops it, with exit status 0. 1 if the port is taken; 2 if it cannot do what was asked.
"""


@click.command(help=_HELP)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8788, show_default=True, help="The port; 0 takes a free one."
)
@click.option(
    "--allow-remote",
    is_flag=True,
    help="Allow a host that other machines can reach. Whoever reaches it can use it, and your key with --real.",
)
@click.option("--real", is_flag=True, help="Talk to the API, with the key of ANTHROPIC_API_KEY. Costs money.")
@click.option(
    "--model",
    "-m",
    type=name,
    envvar="ANTHROPIC_MODEL",
    default=MODEL,
    show_default=True,
    metavar="NAME",
    help="The model; ANTHROPIC_MODEL changes the default.",
)
@click.option("--system", "-s", type=text, metavar="TEXT", help="The system prompt.")
@click.option(
    "--max-tokens", type=click.IntRange(min=1), default=4096, show_default=True, help="The most tokens of one answer."
)
@click.option(
    "--thinking",
    is_flag=False,
    flag_value="adaptive",
    callback=read_thinking,
    metavar="[TOKENS]",
    help="Let the model think first: as much as it likes, or up to TOKENS.",
)
@click.option(
    "--tool", "tools", multiple=True, metavar="MODULE:FUNCTION", help="Give the model a function. May be repeated."
)
@click.option(
    "--mcp", multiple=True, metavar="COMMAND", help="Give the model the tools of an MCP server. May be repeated."
)
@click.option("--yes", is_flag=True, help="Allow every call of a tool without asking.")
@click.option(
    "--grace",
    type=Finite(min=0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long an answer goes on that no tab reads.",
)
@click.option(
    "--ttft",
    type=Finite(min=0),
    default=0.3,
    show_default=True,
    help="The script's seconds to the first token.",
)
@click.option(
    "--tps",
    type=Finite(min=0),
    default=40.0,
    show_default=True,
    help="The script's tokens per second; 0 for all at once.",
)
@click.option("--base-url", metavar="URL", help="With --real: use another server. Default: ANTHROPIC_BASE_URL.")
@click.option(
    "--timeout",
    type=Finite(min=0, min_open=True),
    metavar="SECONDS",
    help="Give up when nothing arrives for this time. Default: 10 to connect, 600 to the first event, then 300.",
)
def web(
    *,
    host: str,
    port: int,
    allow_remote: bool,
    real: bool,
    model: str,
    system: str | None,
    max_tokens: int,
    thinking: dict[str, object] | None,
    tools: tuple[str, ...],
    mcp: tuple[str, ...],
    yes: bool,
    grace: float,
    ttft: float,
    tps: float,
    base_url: str | None,
    timeout: float | None,
) -> NoReturn:
    """Serve a page to talk to a model, on this machine."""
    from trio_stream.cli._web import WebOptions, run  # noqa: PLC0415 - the other commands need not load it

    sys.path.insert(0, str(Path.cwd()))  # as for `python -m`: tools stand in the directory one works in
    sys.exit(
        run(
            WebOptions(
                host=host,
                port=port,
                allow_remote=allow_remote,
                real=real,
                model=model,
                system=system,
                max_tokens=max_tokens,
                thinking=thinking,
                tools=tools,
                mcp=mcp,
                yes=yes,
                grace=grace,
                ttft=ttft,
                tps=tps or None,
                base_url=base_url,
                timeout=timeout,
            )
        )
    )
