"""The items of a fan-out, taken one at a time from the caller's iterable.

What belongs here: iterating over both kinds of iterables, and closing an async generator. What does not: when the next
item is taken (`_feeder`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence, Sized
from typing import TypeAlias, cast, final

import trio

from ._records import Item, Request, TagT

Items: TypeAlias = Iterable[Request | Item[TagT]] | AsyncIterable[Request | Item[TagT]]
"""Any iterable or async iterable of prompts, parameters and `Item`."""


@final
class Source:
    """Takes an item from the iterable when asked to, and never ahead.

    Attributes:
      finite: Whether the items have a length, so that taking all of them comes to an end.
      sequence: All of the items, where they are a sequence, which may be looked at before any is taken; else None.
    """

    def __init__(self, items: Items) -> None:
        if isinstance(items, (str, Mapping)):
            raise TypeError("items must be an iterable of prompts, not one of them: put it in a list")
        self._sync: Iterator[Request | Item] | None = None
        self._async: AsyncIterator[Request | Item] | None = None
        self.finite: bool = isinstance(items, Sized)
        self.sequence: Sequence[Request | Item] | None = items if isinstance(items, Sequence) else None
        if isinstance(items, AsyncIterable):
            self._async = items.__aiter__()
        else:
            self._sync = iter(items)

    async def take(self) -> tuple[Request | Item] | None:
        """Take the next item. A checkpoint, unless an async iterable has none.

        Returns:
          The item in a tuple, because an item may be anything; None after the last one.

        Raises:
          Exception: Whatever the iterable raised.
        """
        if self._sync is not None:
            await trio.lowlevel.checkpoint()
            for value in self._sync:
                return (value,)
            return None
        assert self._async is not None
        try:
            return (await self._async.__anext__(),)
        except StopAsyncIteration:
            return None

    async def aclose(self) -> None:
        """Close the iterable if it is an async generator: it may hold resources, and nobody else would close it."""
        iterator: object = self._async
        if isinstance(iterator, AsyncGenerator):
            await cast("AsyncGenerator[object, None]", iterator).aclose()
