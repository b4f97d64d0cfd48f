"""The items of a fan-out, taken one at a time, from whatever holds them.

What belongs here: iterating over both kinds of iterables, and closing what has to be closed. What does not: when
the next is taken (`_fan_out`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sized
from typing import TypeAlias, cast, final

import trio

from ._records import Item, Request

Items: TypeAlias = Iterable[Request | Item] | AsyncIterable[Request | Item]
"""What a fan-out takes: prompts, parameters and items, from any iterable or async iterable."""


@final
class Source:
    """Takes items when asked to, and not before."""

    def __init__(self, items: Items) -> None:
        if isinstance(items, (str, Mapping)):
            raise TypeError("items must be an iterable of prompts, not one of them: put it in a list")
        self._sync: Iterator[Request | Item] | None = None
        self._async: AsyncIterator[Request | Item] | None = None
        self.finite: bool = isinstance(items, Sized)
        if isinstance(items, AsyncIterable):
            self._async = items.__aiter__()
        else:
            self._sync = iter(items)

    async def take(self) -> tuple[Request | Item] | None:
        """The next item, in a tuple; None after the last. A checkpoint.

        Raises:
          Exception: The iterable raised it.
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
        """Close an async generator, which nobody else would: it may hold what has to be let go of."""
        iterator: object = self._async
        if isinstance(iterator, AsyncGenerator):
            await cast("AsyncGenerator[object, None]", iterator).aclose()
