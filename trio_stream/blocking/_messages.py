"""The calls of a blocking client: ``client.messages`` and ``client.beta.messages``.

What belongs here: signatures, and handing calls on to the asynchronous client in the loop. What does not: batches
(`_batches`), and reading streams (`_streams`).
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar, Unpack, final, overload

from trio_stream._client import BetaCountCall, BetaMessageCall, CountCall, MessageCall
from trio_stream._schemas import OutputType
from trio_stream.types import Message, MessageTokensCount

from ._batches import Batches, BetaBatches
from ._home import Source
from ._reading import Reading
from ._streams import EventStream, MessageStreamManager

T = TypeVar("T")


@final
class Messages:
    """``client.messages`` of a blocking client. The calls and their parameters are those of `trio_stream.Client`.

    Attributes:
      batches: Message batches: many messages at half the price, within a day.
    """

    batches: Batches

    def __init__(self, source: Source) -> None:
        self._source = source
        self.batches = Batches(source)

    @overload
    def stream(self, *, output: None = None, **params: Unpack[MessageCall]) -> MessageStreamManager: ...
    @overload
    def stream(self, *, output: type[T] | OutputType[T], **params: Unpack[MessageCall]) -> MessageStreamManager[T]: ...
    def stream(
        self, *, output: type[Any] | OutputType[Any] | None = None, **params: Unpack[MessageCall]
    ) -> MessageStreamManager[Any]:
        """Stream a message: ``with client.messages.stream(...) as stream``.

        Nothing is sent before the block is entered. The parameters are read now: changing ``messages`` later
        changes nothing.

        Args:
          output: A type to ask the answer for: `MessageStream.parse` returns a value of it.
          **params: The parameters of the API, and the options every call takes.

        Raises:
          TypeError: A parameter is missing, or is not JSON; or there is no schema for ``output``.
          ValueError: A parameter this ``anthropic-version`` has removed, or a header that cannot be sent.
        """
        loop = self._source.home.loop()
        messages = self._source.client(loop).messages
        manager = messages.stream(**params) if output is None else messages.stream(output=output, **params)
        return MessageStreamManager(self._source.home, loop, manager)

    @overload
    def create(self, *, stream: Literal[False] = False, **params: Unpack[MessageCall]) -> Message: ...
    @overload
    def create(self, *, stream: Literal[True], **params: Unpack[MessageCall]) -> EventStream: ...
    @overload
    def create(self, *, stream: bool, **params: Unpack[MessageCall]) -> Message | EventStream: ...
    def create(self, *, stream: bool = False, **params: Unpack[MessageCall]) -> Message | EventStream:
        """Create a message and wait for all of it; or, with ``stream=True``, get its raw events.

        The message is streamed underneath, so that a long answer meets no idle limit on its way. When it is
        interrupted, the connection closes.

        Args:
          stream: True gives an `EventStream`; its request goes out when it is entered, or at its first event.
          **params: The parameters of the API, and the options every call takes.

        Raises:
          APIError: The request failed, or its answer did.
          TypeError: A parameter is missing, or is not JSON.
          ValueError: A parameter this ``anthropic-version`` has removed, or a header that cannot be sent.
          RuntimeError: In a task of Trio.
        """
        loop = self._source.home.loop()
        messages = self._source.client(loop).messages
        answer = loop.call(lambda: messages.create(stream=stream, **params))
        if isinstance(answer, Message):
            return answer
        return EventStream(Reading(self._source.home, loop, answer, of_message=True))

    def parse(self, *, output: type[T] | OutputType[T], **params: Unpack[MessageCall]) -> T:
        """Ask for a value of a type, and wait for all of it.

        Args:
          output: The type, as for `trio_stream.Client`.
          **params: The parameters of the API, and the options every call takes.

        Returns:
          The value.

        Raises:
          OutputParseError: The answer was cut or refused, or does not fit the type. The error has the text.
          APIError: As `create`.
          TypeError: A parameter is missing, or is not JSON; or there is no schema for ``output``.
          ValueError: As `create`.
          RuntimeError: In a task of Trio.
        """
        loop = self._source.home.loop()
        messages = self._source.client(loop).messages
        return loop.call(lambda: messages.parse(output=output, **params))

    def count_tokens(self, **params: Unpack[CountCall]) -> MessageTokensCount:
        """Count the input tokens of a request without making it.

        Args:
          **params: The parameters of the API (https://docs.claude.com/en/api/messages-count-tokens), and the
            options every call takes.

        Raises:
          APIError: The request failed.
          TypeError: A parameter is missing, or is not JSON.
          RuntimeError: In a task of Trio.
        """
        loop = self._source.home.loop()
        messages = self._source.client(loop).messages
        return loop.call(lambda: messages.count_tokens(**params))


@final
class BetaMessages:
    """``client.beta.messages`` of a blocking client: as `Messages`, with the parameters in beta and ``betas=[...]``.

    Attributes:
      batches: As ``client.messages.batches``, with ``betas=[...]``.
    """

    batches: BetaBatches

    def __init__(self, source: Source) -> None:
        self._source = source
        self.batches = BetaBatches(source)

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
        loop = self._source.home.loop()
        messages = self._source.client(loop).beta.messages
        manager = messages.stream(**params) if output is None else messages.stream(output=output, **params)
        return MessageStreamManager(self._source.home, loop, manager)

    @overload
    def create(self, *, stream: Literal[False] = False, **params: Unpack[BetaMessageCall]) -> Message: ...
    @overload
    def create(self, *, stream: Literal[True], **params: Unpack[BetaMessageCall]) -> EventStream: ...
    @overload
    def create(self, *, stream: bool, **params: Unpack[BetaMessageCall]) -> Message | EventStream: ...
    def create(self, *, stream: bool = False, **params: Unpack[BetaMessageCall]) -> Message | EventStream:
        """As `Messages.create`.

        Args:
          stream: True gives an `EventStream`.
          **params: The parameters of the API, ``betas``, and the options every call takes.
        """
        loop = self._source.home.loop()
        messages = self._source.client(loop).beta.messages
        answer = loop.call(lambda: messages.create(stream=stream, **params))
        if isinstance(answer, Message):
            return answer
        return EventStream(Reading(self._source.home, loop, answer, of_message=True))

    def parse(self, *, output: type[T] | OutputType[T], **params: Unpack[BetaMessageCall]) -> T:
        """As `Messages.parse`.

        Args:
          output: The type.
          **params: The parameters of the API, ``betas``, and the options every call takes.
        """
        loop = self._source.home.loop()
        messages = self._source.client(loop).beta.messages
        return loop.call(lambda: messages.parse(output=output, **params))

    def count_tokens(self, **params: Unpack[BetaCountCall]) -> MessageTokensCount:
        """As `Messages.count_tokens`.

        Args:
          **params: The parameters of the API, ``betas``, and the options every call takes.
        """
        loop = self._source.home.loop()
        messages = self._source.client(loop).beta.messages
        return loop.call(lambda: messages.count_tokens(**params))


@final
class Beta:
    """``client.beta`` of a blocking client: what the API offers behind an ``anthropic-beta`` header."""

    messages: BetaMessages

    def __init__(self, source: Source) -> None:
        self.messages = BetaMessages(source)
