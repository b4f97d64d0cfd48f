"""All outcomes, or all texts, in the order of their items.

What belongs here: gathering what a fan-out gives. What does not: the fan-out (`_fan_out`).
"""

from __future__ import annotations

from typing import Any, Literal, cast

from trio_stream._client import Client

from ._fan_out import FanOut
from ._items import Items
from ._options import FanOutOptions
from ._records import Outcome


async def gather_texts(client: Client, items: Items, **options: Any) -> list[str]:
    """Ask everything, and return the texts in the order of the items.

    ::

        texts = await gather_texts(client, ["What is 2+2?", "And 3+3?"], model=..., max_tokens=...)

    The first item that fails cancels all others, and its own error is raised, with what had been finished in the
    error's ``outcomes``. A checkpoint. When it is cancelled, everything under way is.

    Args:
      client: Whom to ask.
      items: As for `fan_out`.
      **options: The options of `fan_out` except ``on_error``, and the parameters that all requests share.

    Returns:
      The texts.

    Raises:
      APIError: The first item that failed.
      FanOutStoppedError: The budget was used up.
      Exception: The iterable of items, the journal or ``on_event`` raised it.
    """
    outcomes = await _gather(client, items, "raise", options)
    # What a journal answers in place of a request may still be no answer.
    return [outcome.unwrap() for outcome in outcomes]


async def gather_outcomes(client: Client, items: Items, **options: Any) -> list[Outcome]:
    """Ask everything, and return the outcomes in the order of the items, one for each.

    No item makes this raise; look at ``outcome.status``. A checkpoint. When it is cancelled, everything under way is.

    Args:
      client: Whom to ask.
      items: As for `fan_out`.
      **options: The options of `fan_out` except ``on_error``, and the parameters that all requests share.

    Returns:
      The outcomes.

    Raises:
      Exception: The iterable of items, the journal or ``on_event`` raised it.
    """
    return await _gather(client, items, "capture", options)


async def _gather(
    client: Client, items: Items, on_error: Literal["capture", "raise"], options: dict[str, Any]
) -> list[Outcome]:
    if "on_error" in options:
        raise TypeError("on_error is not an option here: gather_texts raises, gather_outcomes captures")
    # Every item gets an outcome, also where a limit stops the job: the list would have holes.
    results = FanOut(client, items, FanOutOptions.of({**options, "on_error": on_error}), skip_rest=True)
    outcomes: list[Outcome] = []
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
