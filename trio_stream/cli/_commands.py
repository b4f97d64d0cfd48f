"""The command lines of ``demo``, ``ask`` and ``serve``: names, options, help.

What belongs here: reading the command line. What does not: what a command does (a module each), and the command lines
of ``batch`` and ``merge`` (`_batch_commands`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import click

from trio_stream._version import __version__
from trio_stream.cli._arguments import Finite, name, read_thinking, text
from trio_stream.cli._batch_commands import batch, merge
from trio_stream.cli._batch_options import MODEL
from trio_stream.cli._chat_command import chat
from trio_stream.cli._journal_commands import compact, report, status
from trio_stream.cli._web_command import web


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="trio-stream %(version)s")
def commands() -> None:
    """Stream LLM messages over Anthropic's Messages API."""


commands.add_command(batch)
for _command in (status, report, merge, compact):
    commands.add_command(_command)
commands.add_command(chat)
commands.add_command(web)


@commands.command()
@click.option("--streams", type=click.IntRange(1, 500), default=5, show_default=True, help="How many streams at once.")
@click.option("--fast", is_flag=True, help="Do not wait between tokens.")
def demo(streams: int, fast: bool) -> NoReturn:  # noqa: FBT001 - click passes it by name
    """Watch several streams at once. Needs no key: a scripted API runs in this process.

    On a terminal each stream has a panel; otherwise each line is printed when it is complete.
    """
    from trio_stream.cli._demo import run  # noqa: PLC0415 - the other commands need not load it

    sys.exit(run(streams=streams, fast=fast))


_ASK_HELP = """Send a prompt, and print the answer as it arrives.

The arguments are the prompt. Without arguments, or if one of them is "-", it is read from standard input. Piped input
is put before the arguments.

\b
  trio-stream ask "Why are nurseries called nurseries?"
  git diff | trio-stream ask "Write a commit message for this."

With --schema the answer is JSON that follows a JSON Schema:

\b
  trio-stream ask --schema invoice.json < letter.txt | jq .total

With --json standard output has one JSON object per line: the events as the API sends them ("message_start",
"content_block_delta", ...), without "ping" and without fields that are null.

Exit status: 0; 1 if the API or the network failed, or if the answer to --schema is not whole JSON; 2 if it cannot do
what was asked (no key, no prompt, a schema that the API does not take); 130 after Ctrl-C (what has arrived stays); 141
if the reader of a pipe went away.
"""


@commands.command(help=_ASK_HELP)
@click.argument("prompt", nargs=-1, type=text)
@click.option("--system", "-s", type=text, metavar="TEXT", help="The system prompt.")
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
@click.option("--max-tokens", type=click.IntRange(min=1), metavar="N", help="Default: 4096, thinking not counted.")
@click.option(
    "--thinking",
    is_flag=False,
    flag_value="adaptive",
    callback=read_thinking,
    metavar="[TOKENS]",
    help="Let the model think first: as much as it likes, or up to TOKENS. Shown dimmed, on terminals only.",
)
@click.option(
    "--schema",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Ask for JSON that follows the JSON Schema in this file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each event of the stream as a line of JSON.")
@click.option("--usage", is_flag=True, help="At the end, print tokens and timings to standard error.")
@click.option(
    "--record",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Add the answer to a recording, for `serve --replay` and bug reports. The prompt and the key stay out of it.",
)
@click.option("--base-url", metavar="URL", help="Use another server. Default: ANTHROPIC_BASE_URL.")
@click.option(
    "--timeout",
    type=Finite(min=0, min_open=True),
    metavar="SECONDS",
    help="Give up when nothing arrives for this time. Default: 10 to connect, 600 to the first event, then 300.",
)
def ask(
    *,
    prompt: tuple[str, ...],
    system: str | None,
    model: str,
    max_tokens: int | None,
    thinking: dict[str, object] | None,
    schema: Path | None,
    as_json: bool,
    usage: bool,
    record: Path | None,
    base_url: str | None,
    timeout: float | None,
) -> NoReturn:
    """Send a prompt, and print the answer as it arrives."""
    from trio_stream.cli._ask import Question, run  # noqa: PLC0415

    question = Question(
        words=prompt,
        system=system,
        model=model,
        max_tokens=max_tokens,
        thinking=thinking,
        schema=schema,
        as_json=as_json,
        usage=usage,
        record=record,
    )
    sys.exit(run(question, base_url=base_url, timeout=timeout))


@commands.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8787, show_default=True, help="The port; 0 takes a free one."
)
@click.option("--ttft", type=Finite(min=0), default=0.3, show_default=True, help="Seconds to the first token.")
@click.option(
    "--tps", type=Finite(min=0), default=40.0, show_default=True, help="Tokens per second; 0 for all at once."
)
@click.option("--rpm", type=click.IntRange(min=1), metavar="N", help="Refuse more requests per minute, with 429.")
@click.option("--itpm", type=click.IntRange(min=1), metavar="N", help="Refuse more input tokens per minute.")
@click.option("--otpm", type=click.IntRange(min=1), metavar="N", help="Refuse more output tokens per minute.")
@click.option(
    "--faults",
    type=Finite(0, 100),
    default=0.0,
    metavar="PERCENT",
    help="The share of answers that fail: overload, a server error, an error or a cut in the middle.",
)
@click.option(
    "--batch-seconds",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="How long a message batch takes.",
)
@click.option(
    "--batch-faults",
    metavar="NAME,...",
    default="",
    help="What goes wrong with message batches, once for each time that it is named: lost_answer, not_found, "
    "queue_full, foreign, errored, expired, results_cut, shuffled, doubled, missing.",
)
@click.option("--lenient", is_flag=True, help="Also answer requests that the API would refuse.")
@click.option(
    "--replay",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Play the recorded answers of a file instead, one after the other, with the pieces and silences they had.",
)
@click.option("--quiet", "-q", is_flag=True, help="Do not print a line for each request.")
@click.option("--allow-remote", is_flag=True, help="Allow a host that other machines can reach.")
def serve(
    *,
    host: str,
    port: int,
    ttft: float,
    tps: float,
    rpm: int | None,
    itpm: int | None,
    otpm: int | None,
    faults: float,
    batch_seconds: float,
    batch_faults: str,
    lenient: bool,
    replay: Path | None,
    quiet: bool,
    allow_remote: bool,
) -> NoReturn:
    """Serve a scripted Messages API, for any client. Needs no key, and accepts any.

    The model is a script: it answers at the pace of a real one, thinks if thinking is on, and calls the first tool it
    is given. Each request is printed as a line: method, path, model, status, duration.

    Ctrl-C or SIGTERM stops it, with exit status 0.
    """
    from trio_stream.cli._serve import run  # noqa: PLC0415

    sys.exit(
        run(
            host=host,
            port=port,
            ttft=ttft,
            tps=tps or None,
            rates=(rpm, itpm, otpm),
            faults=faults / 100,
            batch_seconds=batch_seconds,
            batch_faults=[name.strip() for name in batch_faults.split(",") if name.strip()],
            strict=not lenient,
            recording=replay,
            log=not quiet,
            allow_remote=allow_remote,
            model=MODEL,
        )
    )
