"""`Client` of this room: what a blocking program holds.

What belongs here: making, copying and closing it. What does not: its calls (`_messages`), and the thread behind it
(`_home`, `_loop`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, final

import trio_stream as ts
from trio_stream._instruments import Instruments

from ._home import Copy, Home, Options, Source
from ._loop import Loop
from ._messages import Beta, Messages

P = ParamSpec("P")
SelfT = TypeVar("SelfT")
ResultT = TypeVar("ResultT")


def _takes_what(
    other: Callable[Concatenate[Any, P], Any],
) -> Callable[[Callable[..., ResultT]], Callable[Concatenate[Any, P], ResultT]]:
    """Give a method the parameters of another one."""

    def decorate(method: Callable[..., ResultT]) -> Callable[Concatenate[Any, P], ResultT]:
        method.__signature__ = inspect.signature(other)  # type: ignore[attr-defined]
        return method

    return decorate


@final
class Client:
    """A client of the Messages API for programs that block: scripts, threads, notebooks, WSGI.

    ::

        with trio_stream.blocking.Client() as client:
            with client.messages.stream(model=..., max_tokens=1024, messages=[...]) as stream:
                for text in stream.text_stream:
                    print(text, end="", flush=True)

    It takes the arguments of `trio_stream.Client`, and has its calls without ``await``. A thread of its own, from the
    first call on, runs Trio; any number of threads may use one client. Functions that it was given, such as instruments
    and ``api_key``, are called in that thread.

    ``KeyboardInterrupt`` ends the wait that it comes in, and loses nothing: where it is caught, reading can go on.

    Leaving ``with`` closes every stream and every connection; so do the end of the program, and dropping the client and
    all its streams. After a fork the child has a thread and connections of its own; the parent's streams are not its.

    Args:
      **options: As for `trio_stream.Client`.

    Raises:
      Exception: As `trio_stream.Client`.
    """

    messages: Messages
    beta: Beta

    @_takes_what(ts.Client.__init__)
    def __init__(self, **options: Any) -> None:
        hidden = Options(options)
        del options  # as in the asynchronous client: from here on no frame has keys and tokens in it
        self._set_up(Home(hidden))

    def _set_up(self, source: Source) -> None:
        self._source = source
        self.messages = Messages(source)
        self.beta = Beta(source)

    def __repr__(self) -> str:
        source: Source | None = getattr(self, "_source", None)
        if source is None:  # it is shown in the traceback of its own `__init__`
            return "<trio_stream.blocking.Client>"
        return repr(source.client(source.home.last_loop)).replace(
            "trio_stream.Client", "trio_stream.blocking.Client", 1
        )

    @_takes_what(ts.Client.with_options)
    def with_options(self, **options: Any) -> Client:
        """Copy this client with other options, as `trio_stream.Client.with_options`.

        The copy shares the thread and the connections, so closing one closes both.

        Args:
          **options: The options, in place of the present ones.
        """
        hidden = Options(options)
        del options
        copy: Client = object.__new__(Client)
        copy._set_up(Copy(self._source, hidden))
        return copy

    @property
    def instruments(self) -> Instruments:
        """The instruments of this client."""
        return self._source.client(self._source.home.last_loop).instruments

    @property
    def anthropic_version(self) -> str:
        """The version of the API that requests name."""
        return self._source.client(self._source.home.last_loop).anthropic_version

    @property
    def limiter(self) -> ts.RateLimiter | None:
        """The limiter of this client, or None."""
        return self._source.client(self._source.home.last_loop).limiter

    @property
    def lane(self) -> ts.Lane | None:
        """The lane that was given to this client, or None."""
        return self._source.client(self._source.home.last_loop).lane

    def statistics(self) -> ts.ConnectionStatistics:
        """How many connections are active and idle, and how many requests wait for one."""
        return self._source.client(self._source.home.last_loop).statistics()

    def in_loop(self) -> tuple[Loop, ts.Client]:
        """The loop of this client, and the asynchronous client in it: for what is built on this client.

        Raises:
          trio.ClosedResourceError: This client is closed.
        """
        loop = self._source.home.loop()
        return loop, self._source.client(loop)

    def __enter__(self) -> Self:
        """Return this client.

        Raises:
          trio.ClosedResourceError: It has been closed.
        """
        self._source.home.loop()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """As `close`."""
        self.close()

    def close(self) -> None:
        """Close every stream that is still open, and every connection, and end the thread.

        A thread that waits for this client gets `trio.ClosedResourceError`, and so does every call made afterwards.
        Never waits on a peer, and not longer than a few seconds for the thread.
        """
        self._source.home.close()
