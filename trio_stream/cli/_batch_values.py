"""The notations of the options of ``trio-stream batch``: numbers with a meaning, prices, durations, names.

What belongs here: making a value of what was typed, or saying what is wrong with it. What does not: which options there
are (`_batch_commands`).
"""

from __future__ import annotations

import os
import re
from typing import Any, Final

import click

from trio_stream._money import Prices


def read_concurrency(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, int, int] | None:
    """Read minimum, start and maximum from ``N`` or ``MIN-START-MAX``; None for ``auto``."""
    if value == "auto":
        return None
    numbers = value.split("-")
    if all(number.isascii() and number.isdigit() and len(number) < 7 for number in numbers):
        counts = [int(number) for number in numbers]
        if len(counts) == 1 and counts[0] > 0:
            return (counts[0], counts[0], counts[0])
        if len(counts) == 3 and 0 < counts[0] <= counts[1] <= counts[2]:
            return (counts[0], counts[1], counts[2])
    raise click.BadParameter(f"{value!r} is neither 'auto' nor a number nor MIN-START-MAX as in 2-8-100", ctx, param)


def read_shard(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    from trio_stream.cli._batch_part import parse_shard, shard_of_job_array  # noqa: PLC0415
    from trio_stream.cli._input_text import InputError  # noqa: PLC0415

    try:
        return shard_of_job_array(os.environ) if value is None else parse_shard(value)
    except InputError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def read_max_errors(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, bool] | None:
    """Read a number of errors (then the second value is False) or a percentage (True)."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(%?)", value.strip())
    if match is None or (not match[2] and "." in match[1]) or (match[2] and float(match[1]) > 100):
        raise click.BadParameter(f"{value!r} is neither a number nor a percentage", ctx, param)
    return (float(match[1]), bool(match[2]))


def read_prices(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, Prices], ...]:
    """Read prices from ``[MODEL=]INPUT/OUTPUT[/READ]``. Those without a model are for all models."""
    return tuple(_read_price(ctx, param, value) for value in values)


def _read_price(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, Prices]:
    model, _, figures = value.rpartition("=")
    try:
        numbers = [float(number) for number in figures.split("/")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or not all(0 <= number <= 1e6 for number in numbers):
        raise click.BadParameter(
            f"{value!r} is not INPUT/OUTPUT or INPUT/OUTPUT/READ, dollars per million tokens, as in 3/15, perhaps with "
            "the model before it, as in MODEL=3/15",
            ctx,
            param,
        )
    read = numbers[2] if len(numbers) == 3 else None
    return model, Prices(input=numbers[0], output=numbers[1], cache_read=read, model=model)


_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


def read_duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Read a duration such as ``2h``; a number alone is seconds."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smh]?)", value.strip())
    seconds = 0.0 if match is None else float(match[1]) * _UNITS[match[2] or "s"]
    if not seconds > 0:
        raise click.BadParameter(f"{value!r} is not a duration, as in 90m or 2h", ctx, param)
    return seconds


def read_params(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """Read parameters of requests from ``KEY=VALUE``."""
    from trio_stream.cli import _batch_params  # noqa: PLC0415 - the other commands need not load it

    try:
        return _batch_params.read_params(values)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def read_failures(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Read names of failures."""
    from trio_stream.cli._batch_again import check_name  # noqa: PLC0415

    for value in values:
        wrong = check_name(value)
        if wrong is not None:
            raise click.BadParameter(wrong, ctx, param)
    return values


def read_models(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Take the names of models, each once."""
    if not values:  # a blank environment variable
        raise click.BadParameter("it is blank", ctx, param)
    for place, value in enumerate(values):
        if value in values[:place]:
            raise click.BadParameter(f"{value!r} is given twice (--repeat asks a model again)", ctx, param)
    return values
