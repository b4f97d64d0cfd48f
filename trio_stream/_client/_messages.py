"""The calls: ``client.messages`` and ``client.beta.messages``.

What belongs here: signatures, and handing parameters on. What does not: batches (`_batches`), preparing a request
(`_requests`), and everything after it was entered (`_stream`).
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar, Unpack, final, overload

from trio_stream._protocol import Message, MessageTokensCount
from trio_stream._schemas import OutputType
from trio_stream._stream import EventStream, MessageStreamManager

from ._batches import Batches, BetaBatches
from ._json_call import call_json
from ._options import BetaCountCall, BetaMessageCall, CountCall, MessageCall
from ._requests import Requests
from ._settings import Connections, Settings

T = TypeVar("T")


@final
class Messages:
    """``client.messages``: the Messages API.

    Every call takes the parameters of the API (https://docs.claude.com/en/api/messages) and, beside them,
    ``timeout`` and ``max_retries`` in place of the client's, and ``extra_headers``, ``extra_query`` and
    ``extra_body`` for what this library does not know.

    Attributes:
      batches: Message batches: many messages at half the price, within a day.
    """

    batches: Batches

    def __init__(self, settings: Settings, connections: Connections) -> None:
        self._requests = Requests(settings, connections, beta=False)
        self.batches = Batches(self._requests)

    @overload
    def stream(self, *, output: None = None, **params: Unpack[MessageCall]) -> MessageStreamManager: ...
    @overload
    def stream(self, *, output: type[T] | OutputType[T], **params: Unpack[MessageCall]) -> MessageStreamManager[T]: ...
    def stream(
        self, *, output: type[Any] | OutputType[Any] | None = None, **params: Unpack[MessageCall]
    ) -> MessageStreamManager[Any]:
        """Stream a message: ``async with client.messages.stream(...) as stream``.

        Nothing is sent before the block is entered. The parameters are read now: changing ``messages`` later
        changes nothing.

        Args:
          output: A type to ask the answer for: `MessageStream.parse` returns a value of it. Its schema is sent as
            ``output_config.format``.
          **params: The parameters of the API, and the options every call takes.

        Raises:
          TypeError: A parameter is missing, or is not JSON; or there is no schema for ``output``.
          ValueError: A parameter this ``anthropic-version`` has removed, or a header that cannot be sent.
        """
        return MessageStreamManager(self._requests.message(params, output))

    @overload
    async def create(self, *, stream: Literal[False] = False, **params: Unpack[MessageCall]) -> Message: ...
    @overload
    async def create(self, *, stream: Literal[True], **params: Unpack[MessageCall]) -> EventStream: ...
    @overload
    async def create(self, *, stream: bool, **params: Unpack[MessageCall]) -> Message | EventStream: ...
    async def create(self, *, stream: bool = False, **params: Unpack[MessageCall]) -> Message | EventStream:
        """Create a message and wait for all of it; or, with ``stream=True``, get its raw events.

        The message is streamed underneath, so that a long answer meets no idle limit on its way. A checkpoint.
        When it is cancelled the connection closes.

        Args:
          stream: True gives an `EventStream`; its request goes out at ``async with``.
          **params: The parameters of the API, and the options every call takes.

        Raises:
          APIError: As `MessageStream.receive`.
          TypeError: A parameter is missing, or is not JSON.
          ValueError: A parameter this ``anthropic-version`` has removed, or a header that cannot be sent.
        """
        return await self._requests.create(params, stream=stream)

    async def parse(self, *, output: type[T] | OutputType[T], **params: Unpack[MessageCall]) -> T:
        """Ask for a value of a type, and wait for all of it.

        ::

            report = await client.messages.parse(output=Report, model=..., max_tokens=1024, messages=[...])

        The message is streamed underneath. Where its tokens, or what has arrived so far, are of interest, use `stream`
        with ``output=``. A checkpoint. When it is cancelled the connection closes.

        Args:
          output: The type: a msgspec Struct, a dataclass, a TypedDict, a NamedTuple, a pydantic model, or what is made
            of such types and of plain ones with lists, unions, Literals and enums. For a type that is not a class
            (``A | B``), type checkers want an `OutputType`.
          **params: The parameters of the API, and the options every call takes.

        Returns:
          The value.

        Raises:
          OutputParseError: The answer was cut or refused, or does not fit the type. The error has the text.
          APIError: As `MessageStream.receive`.
          TypeError: A parameter is missing, or is not JSON; or there is no schema for ``output``.
          ValueError: A parameter this ``anthropic-version`` has removed, or a header that cannot be sent.
        """
        return await self._requests.parse(params, output)

    async def count_tokens(self, **params: Unpack[CountCall]) -> MessageTokensCount:
        """Count the input tokens of a request without making it.

        A checkpoint. ``first_event`` of the clocks bounds the whole answer.

        Args:
          **params: The parameters of the API (https://docs.claude.com/en/api/messages-count-tokens), and the
            options every call takes.

        Raises:
          APIError: The request failed.
          TypeError: A parameter is missing, or is not JSON.
        """
        return (await call_json(self._requests.count(params))).value


@final
class BetaMessages:
    """``client.beta.messages``: as `Messages`, with the parameters that are in beta and ``betas=[...]``.

    Attributes:
      batches: As ``client.messages.batches``, with ``betas=[...]``.
    """

    batches: BetaBatches

    def __init__(self, settings: Settings, connections: Connections) -> None:
        self._requests = Requests(settings, connections, beta=True)
        self.batches = BetaBatches(self._requests)

    @overload
    def stream(self, *, output: None = None, **params: Unpack[BetaMessageCall]) -> MessageStreamManager: ...
    @overload
    def stream(
        self, *, output: type[T] | OutputType[T], **params: Unpack[BetaMessageCall]
    ) -> MessageStreamManager[T]: ...
    def stream(
        self, *, output: type[Any] | OutputType[Any] | None = None, **params: Unpack[BetaMessageCall]
    ) -> MessageStreamManager[Any]:
        """As `Messages.stream`.

        Args:
          output: A type to ask the answer for.
          **params: The parameters of the API, ``betas``, and the options every call takes.
        """
        return MessageStreamManager(self._requests.message(params, output))

    @overload
    async def create(self, *, stream: Literal[False] = False, **params: Unpack[BetaMessageCall]) -> Message: ...
    @overload
    async def create(self, *, stream: Literal[True], **params: Unpack[BetaMessageCall]) -> EventStream: ...
    @overload
    async def create(self, *, stream: bool, **params: Unpack[BetaMessageCall]) -> Message | EventStream: ...
    async def create(self, *, stream: bool = False, **params: Unpack[BetaMessageCall]) -> Message | EventStream:
        """As `Messages.create`.

        Args:
          stream: True gives an `EventStream`; its request goes out at ``async with``.
          **params: The parameters of the API, ``betas``, and the options every call takes.
        """
        return await self._requests.create(params, stream=stream)

    async def parse(self, *, output: type[T] | OutputType[T], **params: Unpack[BetaMessageCall]) -> T:
        """As `Messages.parse`.

        Args:
          output: The type.
          **params: The parameters of the API, ``betas``, and the options every call takes.
        """
        return await self._requests.parse(params, output)

    async def count_tokens(self, **params: Unpack[BetaCountCall]) -> MessageTokensCount:
        """As `Messages.count_tokens`.

        Args:
          **params: The parameters of the API, ``betas``, and the options every call takes.
        """
        return (await call_json(self._requests.count(params))).value


@final
class Beta:
    """``client.beta``: what the API offers behind an ``anthropic-beta`` header."""

    messages: BetaMessages

    def __init__(self, settings: Settings, connections: Connections) -> None:
        self.messages = BetaMessages(settings, connections)
