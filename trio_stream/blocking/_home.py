"""What a client of this room, its copies and its streams share: how its asynchronous client is made, and its loop.

What belongs here: one loop for each process, made when it is needed and stopped when nobody needs it any more. What
does not: the loop (`_loop`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any, Protocol, final

import trio

import trio_stream as ts
from trio_stream._hidden import Hidden

from ._loop import Loop


@final
class Options(Hidden):
    """The arguments of a client, keys and tokens among them."""

    __slots__ = ("_options",)

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = dict(options)

    def apply(self, function: Callable[..., ts.Client]) -> ts.Client:
        """Call a function that takes them."""
        return function(**self._options)


class Source(Protocol):
    """Where calls get the asynchronous client from."""

    @property
    def home(self) -> Home:
        """What owns the loop."""
        ...

    def client(self, loop: Loop) -> ts.Client:
        """The asynchronous client that is used in a loop."""
        ...


@final
class Home:
    """Owns the loop. Clients, their copies and their streams hold it, and the thread of the loop does not.

    So it is collected when the last of them is, and that stops the loop; so does the end of the program.

    Args:
      options: The arguments of the client.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._closed = False
        self._loop = self._new_loop()

    def _new_loop(self) -> Loop:
        loop = Loop(self._options.apply(ts.Client))
        weakref.finalize(self, loop.stop)
        return loop

    @property
    def home(self) -> Home:
        """As `Source.home`. Not an attribute: a cycle would be collected late, and the loop with it."""
        return self

    @property
    def last_loop(self) -> Loop:
        """The loop that was used last, also when it is closed or another process's."""
        return self._loop

    def client(self, loop: Loop) -> ts.Client:
        """As `Source.client`: the one that the loop was made with."""
        return loop.client

    def loop(self) -> Loop:
        """The loop of this process.

        Raises:
          trio.ClosedResourceError: The client has been closed.
        """
        if self._closed:
            raise trio.ClosedResourceError("this client is closed")
        if not self._loop.is_of_this_process:
            # Nothing of the old one is touched: its connections and its thread are the other process's.
            self._loop = self._new_loop()
        return self._loop

    def close(self) -> None:
        """Stop the loop, for good."""
        self._closed = True
        self._loop.stop()


@final
class Copy:
    """A copy of a client with other options, as `Client.with_options` makes one: in each process anew.

    Args:
      original: What it is a copy of.
      options: The options.
    """

    def __init__(self, original: Source, options: Options) -> None:
        self._original = original
        self._options = options
        self._made: tuple[Loop, ts.Client] | None = None

    @property
    def home(self) -> Home:
        """As `Source.home`."""
        return self._original.home

    def client(self, loop: Loop) -> ts.Client:
        """As `Source.client`."""
        made = self._made
        if made is None or made[0] is not loop:
            self._made = made = loop, self._options.apply(self._original.client(loop).with_options)
        return made[1]
