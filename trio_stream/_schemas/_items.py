"""The elements of a list that is still arriving, one by one.

What belongs here: telling each element once, as a value of its type. What does not: following the JSON
(`_protocol._partial_json`), and where the text comes from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Generic, TypeVar, final

import msgspec

from trio_stream._errors import OutputParseError
from trio_stream._protocol import PartialJSON
from trio_stream._schemas._codec import codec_for
from trio_stream._schemas._faults import MismatchError
from trio_stream._schemas._output_type import OutputType

T = TypeVar("T")

_encode: Final = msgspec.json.Encoder().encode


@final
class Items(Generic[T]):
    """Gives each element of a list as soon as it is closed, while the rest of the list is still arriving.

    ::

        items = Items(Finding)
        async with client.messages.stream(output=list[Finding], ...) as stream:
            async for text in stream.text_stream:
                for finding in items.feed(text):
                    print(finding)

    The list is the first one in the JSON: the whole of it, or that in ``{"findings": [...]}``. Whether the answer is
    whole is another matter: `MessageStream.parse` tells.

    Args:
      type_: The type of an element, or an `OutputType` of it.

    Attributes:
      count: How many elements have been given.

    Raises:
      TypeError: It is not a type that JSON can be decoded into.
    """

    __slots__ = ("_decode", "_json", "_pieces", "count")

    count: int

    def __init__(self, type_: type[T] | OutputType[T]) -> None:
        self._decode = type_.decode if isinstance(type_, OutputType) else codec_for(type_).decode
        self._json = PartialJSON()
        self._pieces: list[str] = []
        self.count = 0

    def feed(self, text: str) -> Iterator[T]:
        """Take the next piece of the text, which may be cut anywhere, and iterate over the elements that it closes.

        The piece is taken at the call. An element that nobody has iterated over comes with the next call.

        Args:
          text: The piece.

        Returns:
          The elements that are closed and have not been given, each decoded when its turn comes.

        Raises:
          OutputParseError: While iterating: an element does not fit its type, or the text is not JSON. The elements
            before were given; those after come with the next call.
        """
        self._pieces.append(text)
        self._json.feed(text)
        return self._take()

    def _take(self) -> Iterator[T]:
        array, closed = self._json.first_array
        while self.count < closed:
            index = self.count
            self.count += 1
            yield self._value(array[index], index)
        if self._json.fault is not None:
            raise self._error(f"the text is not valid JSON: {self._json.fault}")

    def _value(self, element: Any, index: int) -> T:
        try:
            value: T = self._decode(_encode(element))
        except MismatchError as error:
            below = MismatchError(*(fault.below(f"[{index}]") for fault in error.faults))
            raise self._error(f"an element cannot be used: {below}") from error
        return value

    def _error(self, message: str) -> OutputParseError:
        return OutputParseError(message, text="".join(self._pieces))
