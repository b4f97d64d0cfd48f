"""Kinds of arguments that click does not have: text that can be sent, and numbers that are numbers.

What belongs here: what one argument or option may be, whichever command it belongs to. What does not: the commands'
own notations (`_commands`, `_batch_commands`).
"""

from __future__ import annotations

import math
from typing import Any, final

import click

from trio_stream.cli._input_text import undecoded


def text(value: str) -> str:
    """Take a text that can be sent, as it is.

    Raises:
      click.BadParameter: It has bytes that are not in the encoding of this system.
    """
    wrong = undecoded(value)
    if wrong is not None:
        raise click.BadParameter(wrong)
    return value


def name(value: str) -> str:
    """Take a text that can be sent and is not blank, as it is.

    Raises:
      click.BadParameter: It is blank, or has bytes that are not in the encoding of this system.
    """
    if not value.strip():
        raise click.BadParameter("it is blank")
    return text(value)


@final
class Finite(click.FloatRange):
    """A number in a range: neither NaN, which is in every range that click knows, nor infinite."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Make a number of a text, or say what is wrong with it."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


def read_thinking(ctx: click.Context, param: click.Parameter, value: str | None) -> dict[str, object] | None:
    """Make the API's ``thinking`` parameter of a number of tokens or the word ``adaptive``."""
    # `display` is needed because newer models do not send their thinking unless they are asked to.
    if value is None:
        return None
    if value == "adaptive":
        return {"type": "adaptive", "display": "summarized"}
    if value.isascii() and value.isdigit():
        return {"type": "enabled", "budget_tokens": int(value), "display": "summarized"}
    raise click.BadParameter(
        f"{value!r} is neither a number of tokens nor 'adaptive'; where the prompt follows, write --thinking=adaptive",
        ctx,
        param,
    )
