"""What an encoder is: it turns what happens to one answer into the frames of one response.

What belongs here: the protocol between the encoders and those who send frames, and the events that it speaks of. What
does not: any encoder (`_anthropic`, `_json_lines`), and when frames are sent (`_relay`, `_hub`).

Writing an encoder
------------------

An encoder is made for one answer, and everything that it is told happens to this answer, in this order::

    start                 once, before anything else
    event, data           as often as the answer has something to say
    end | error | abort   once at most; nothing is asked of the encoder after it

`Encoder.renew` may be called at any time in between, and `Encoder.refusal` in place of all of them.

* Each method returns *frames*. A frame is what a client takes as a whole: one event of an event stream with its blank
  line, or one line of JSON with its line end. Nothing within a frame is ever sent alone, and a hub numbers each of
  them, so two events must never be in one frame. Returning no frame (``()``) is fine.
* Encoders do not wait, do not know the time, and never fail because of what a model has said.
* Whoever reads the response must see in its last frames how the answer ended: clients take a response that just ends
  for a complete one. So `end`, `error` and `abort` first close what is open in the protocol, then say which of the
  three it was. Where the program cuts a response (a bug, a shutdown) none of them is called.
* `end` may come in the middle of a message, because the program left its stream early. That is no complete message.
* **State must depend on the events alone**: an encoder that `renew` returned and that is given the same events makes
  the same frames, identifiers included. A hub gives a new encoder the whole of what was said so far in a shorter form:
  of each block one ``content_block_start``, for each kind of delta one (or, of citations, each), and its
  ``content_block_stop`` if it is complete. The frames of the first encoder then go on where those of the second one
  end. So derive identifiers from what is in the events (the id of the message, the index of the block), or count
  messages and blocks; never count deltas. An identifier that is drawn at random is drawn in `__init__`, and `renew`
  hands it on.

The events of a message arrive as a `MessageStream` delivers them, except that the helper events (``text``,
``thinking``, ``input_json``...), each of which repeats the delta before it, are left out, and so is ``ping``. The
events of runs (`trio_stream.AgentEvent`) arrive as a `Run` delivers them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from trio_stream._protocol import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    UnknownEvent,
)
from trio_stream.agent import AgentEvent

from ._failure import Failure

RelayedEvent: TypeAlias = (
    MessageStartEvent
    | ContentBlockStartEvent
    | ContentBlockDeltaEvent
    | ContentBlockStopEvent
    | MessageDeltaEvent
    | MessageStopEvent
    | UnknownEvent
    | AgentEvent
)
"""Any event that an encoder is given."""

Frames: TypeAlias = Sequence[bytes]
"""Frames in their order."""


class Encoder(Protocol):
    """Turns what happens to one answer into the frames of one response. Each is for one answer."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the response that belong to the protocol, under lower-case names; ``content-type`` is one."""
        ...

    @property
    def numbered(self) -> bool:
        """Whether a hub can put an ``id:`` line before each frame: whether the frames are those of an event stream."""
        ...

    @property
    def wants_data(self) -> bool:
        """Whether `event` makes use of ``data``, so that it is worth keeping."""
        ...

    @property
    def heartbeat(self) -> bytes:
        """A frame that says nothing, which is sent while there is nothing to say."""
        ...

    def start(self) -> Frames:
        """The response begins. Its head may be sent before the model has said anything."""
        ...

    def event(self, event: RelayedEvent, data: bytes | None) -> Frames:
        """Something was said.

        Args:
          event: The event.
          data: The JSON of the event as the API sent it, on one line, for protocols that hand it on unchanged; None
            where it was not kept, or where the event is not one of the API's.
        """
        ...

    def data(self, value: Mapping[str, Any]) -> Frames:
        """The program says something of its own.

        Args:
          value: A JSON object with a ``type``, which is a text. What it means is between the program and its page.

        Raises:
          ValueError: The protocol has no way to say it.
          TypeError: It is not JSON.
        """
        ...

    def end(self) -> Frames:
        """The answer has ended as the program wanted it to."""
        ...

    def error(self, failure: Failure) -> Frames:
        """The answer has failed after it had begun."""
        ...

    def abort(self, reason: str) -> Frames:
        """The answer was stopped.

        Args:
          reason: Why, in words that may be shown.
        """
        ...

    def refusal(self, failure: Failure) -> tuple[str, bytes]:
        """The answer has failed before the response began, so that the response is an error.

        Returns:
          The ``content-type`` and the body of the response. Its status is that of the failure.
        """
        ...

    def renew(self) -> Encoder:
        """A new encoder with the arguments of this one, to which nothing has happened yet."""
        ...
