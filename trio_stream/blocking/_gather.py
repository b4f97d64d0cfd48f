"""Many requests at once, from a thread.

What belongs here: `gather_texts` and `gather_outcomes`. What does not: how they work (`batch`), and `fan_out`, which is
for asynchronous programs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, Unpack

import trio_stream as ts
from trio_stream._schemas import OutputType
from trio_stream.batch import GatherCall, Items, Outcome

from ._client import Client

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    TagT = TypeVarWithDefault("TagT", default=Any)
    ValueT = TypeVarWithDefault("ValueT", default=Any)
else:
    TagT = TypeVar("TagT")
    ValueT = TypeVar("ValueT")


def gather_texts(client: Client, items: Items[TagT], **options: Unpack[GatherCall]) -> list[str]:
    """Send all items, and return the texts of their answers in the order of the items.

    As `trio_stream.gather_texts`, in a thread. An interrupt cancels everything that is under way.

    Args:
      client: Sends the requests.
      items: Prompts, parameters or `Item`: a list, or any iterable, which is iterated over in the thread of the client.
      **options: The options of `fan_out` except ``on_error``, and the parameters that all requests share. What they
        call, such as ``on_event``, is called in the thread of the client.

    Returns:
      One text for each item.

    Raises:
      APIError: The error of the first item that failed.
      FanOutStoppedError: The budget was used up.
      Exception: Whatever the iterable of items, the journal or ``on_event`` raised.
      RuntimeError: In a task of Trio.
    """
    loop, found = client.in_loop()
    return loop.call(lambda: ts.gather_texts(found, items, **options))


def gather_outcomes(
    client: Client,
    items: Items[TagT],
    *,
    output: type[ValueT] | OutputType[ValueT] | None = None,
    **options: Unpack[GatherCall],
) -> list[Outcome[TagT, ValueT]]:
    """Send all items, and return their outcomes in the order of the items.

    As `trio_stream.gather_outcomes`, in a thread. An interrupt cancels everything that is under way.

    Args:
      client: Sends the requests.
      items: As for `gather_texts`.
      output: A type to ask the answers for: outcomes that are ``ok`` have a ``value`` of it.
      **options: As for `gather_texts`.

    Returns:
      One outcome for each item.

    Raises:
      Exception: Whatever the iterable of items, the journal or ``on_event`` raised.
      RuntimeError: In a task of Trio.
    """
    loop, found = client.in_loop()
    return loop.call(lambda: ts.gather_outcomes(found, items, output=output, **options))
