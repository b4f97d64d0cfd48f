"""`gather_texts` and `gather_outcomes`: all answers at once, in the order of their items.

What belongs here: collecting the outcomes of a fan-out. What does not: the fan-out (`_fan_out`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Unpack, cast

from trio_stream._client import Client
from trio_stream._schemas import OutputType

from ._fan_out import FanOut
from ._items import Items
from ._options import FanOutOptions, GatherCall
from ._records import Outcome, TagT, ValueT


async def gather_texts(client: Client, items: Items[TagT], **options: Unpack[GatherCall]) -> list[str]:
    """Send all items, and return the texts of their answers in the order of the items.

    ::

        texts = await gather_texts(client, ["What is 2+2?", "And 3+3?"], model=..., max_tokens=...)

    The first item that fails cancels all others, and its own error is raised. The error's ``outcomes`` are those of the
    items that had ended by then.

    A checkpoint. Cancelling it cancels everything that is under way.

    Args:
      client: Sends the requests.
      items: Prompts, parameters or `Item`, as for `fan_out`.
      **options: The options of `fan_out` except ``on_error``, and the parameters that all requests share.

    Returns:
      One text for each item.

    Raises:
      APIError: The error of the first item that failed.
      FanOutStoppedError: The budget was used up.
      Exception: Whatever the iterable of items, the journal or ``on_event`` raised.
    """
    if "output" in options:
        raise TypeError("output is not an option here: gather_texts returns texts, and gather_outcomes has the values")
    outcomes = await _gather(client, items, "raise", options)
    # A journal may also give an outcome that is no answer, such as the error of an earlier run.
    return [outcome.unwrap() for outcome in outcomes]


async def gather_outcomes(
    client: Client,
    items: Items[TagT],
    *,
    output: type[ValueT] | OutputType[ValueT] | None = None,
    **options: Unpack[GatherCall],
) -> list[Outcome[TagT, ValueT]]:
    """Send all items, and return their outcomes in the order of the items.

    An item that fails does not make this raise: its ``outcome.status`` tells.

    A checkpoint. Cancelling it cancels everything that is under way.

    Args:
      client: Sends the requests.
      items: Prompts, parameters or `Item`, as for `fan_out`.
      output: A type to ask the answers for, as for `fan_out`: outcomes that are ``ok`` have a ``value`` of it.
      **options: The options of `fan_out` except ``on_error``, and the parameters that all requests share.

    Returns:
      One outcome for each item.

    Raises:
      Exception: Whatever the iterable of items, the journal or ``on_event`` raised.
    """
    return await _gather(client, items, "capture", {**options, "output": output})


async def _gather(
    client: Client, items: Items[TagT], on_error: Literal["capture", "raise"], options: Mapping[str, Any]
) -> list[Outcome[TagT]]:
    if "on_error" in options:
        raise TypeError("on_error is not an option here: gather_texts raises, gather_outcomes captures")
    # Every item gets an outcome, also where a limit stops the job: otherwise the list would have holes.
    results = FanOut(client, items, FanOutOptions.of({**options, "on_error": on_error}), skip_rest=True)
    outcomes: list[Outcome[TagT]] = []
    try:
        async with results:
            async for outcome in results:
                outcomes.append(outcome)  # noqa: PERF401 - what had come by the time of an error is kept
    except Exception as error:
        cast("Any", error).outcomes = tuple(sorted((*outcomes, *results.unread), key=_index))
        raise
    return sorted(outcomes, key=_index)


def _index(outcome: Outcome) -> int:
    return outcome.index
