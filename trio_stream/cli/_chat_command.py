"""The command line of ``trio-stream chat``: names, options, help.

What belongs here: reading this command line. What does not: the options as a value (`_chat_options`), and the
conversation (`_chat`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import click

from trio_stream.cli._batch_options import MODEL
from trio_stream.cli._chat_options import ChatOptions

_HELP = """Have a conversation in the terminal.

Type, and the answer is printed as it arrives. Ctrl-C interrupts the answer, not the program: what has been said stays,
and you go on. Where a tool may be used only if you allow it, you are asked.

\b
  /undo         take back your last message and what was answered
  /save [FILE]  write the conversation to a file, and again after every turn
  /cost         tokens and dollars
  /tools        the tools that the model has
  /help, /quit  (or Ctrl-D)

\b
  trio-stream chat --tool tools.py:search --tool mypackage.tools:read_file
  trio-stream chat --mcp "npx -y @modelcontextprotocol/server-filesystem ."
  trio-stream chat --load talk.json

Functions given with --tool and the tools of MCP servers are used only after you allow each call; a tool made with
`@ts.tool` says itself whether you are asked. --yes allows all of them.

Input that is piped in is answered line by line; nobody can be asked then, so what needs to be allowed is denied.

Exit status: 0; 1 if the last answer failed; 2 if it cannot do what was asked; 141 if the reader of a pipe went away.
"""


def read_price(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, float] | None:
    """Read ``IN/OUT``, in dollars for a million tokens."""
    if value is None:
        return None
    try:
        numbers = [float(part) for part in value.split("/")]
    except ValueError:
        numbers = []
    if len(numbers) != 2 or not all(0 <= number < float("inf") for number in numbers):
        raise click.BadParameter(f"{value!r} is not two prices as in 3/15", ctx, param)
    return (numbers[0], numbers[1])


@click.command(help=_HELP)
@click.option(
    "--model",
    "-m",
    envvar="ANTHROPIC_MODEL",
    default=MODEL,
    show_default=True,
    metavar="NAME",
    help="The model; ANTHROPIC_MODEL changes the default.",
)
@click.option("--system", "-s", metavar="TEXT", help="The system prompt.")
@click.option(
    "--max-tokens", type=click.IntRange(min=1), default=4096, show_default=True, help="The most tokens of one answer."
)
@click.option(
    "--tool", "tools", multiple=True, metavar="MODULE:FUNCTION", help="Give the model a function. May be repeated."
)
@click.option(
    "--mcp", multiple=True, metavar="COMMAND", help="Give the model the tools of an MCP server. May be repeated."
)
@click.option("--yes", is_flag=True, help="Allow every call of a tool without asking.")
@click.option("--load", metavar="FILE", help="Go on with a conversation that was saved; saved there again.")
@click.option(
    "--price",
    callback=read_price,
    metavar="IN/OUT",
    help="Dollars for a million tokens, for /cost. Default: the built-in prices.",
)
@click.option("--base-url", metavar="URL", help="Use another server. Default: ANTHROPIC_BASE_URL.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Give up when nothing arrives for this time. Default: 10 to connect, 600 to the first event, then 300.",
)
def chat(
    *,
    model: str,
    system: str | None,
    max_tokens: int,
    tools: tuple[str, ...],
    mcp: tuple[str, ...],
    yes: bool,
    load: str | None,
    price: tuple[float, float] | None,
    base_url: str | None,
    timeout: float | None,
) -> NoReturn:
    """Have a conversation in the terminal."""
    from trio_stream.cli._chat import run  # noqa: PLC0415 - the other commands need not load it

    sys.path.insert(0, str(Path.cwd()))  # as for `python -m`: tools stand in the directory one works in
    sys.exit(
        run(
            ChatOptions(
                model=model,
                system=system,
                max_tokens=max_tokens,
                tools=tools,
                mcp=mcp,
                yes=yes,
                load=load,
                price=price,
                base_url=base_url,
                timeout=timeout,
            )
        )
    )
