"""The frames of a response, for WSGI: what a blocking stream says, in the protocol of a page.

What belongs here: when what is sent, and every way to end. What does not: the protocols, which are the encoders of
`trio_stream.web`.

A WSGI server asks for one piece of the body after another, and learns that the tab is gone only when it writes. So a
frame that says nothing is given whenever the model has been silent for a while.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from typing import Any, final

import trio

from trio_stream._errors import APIError
from trio_stream.web import Describe, Encoder, failure_of, head_of

from ._batch import HELPERS
from ._reading import Reading

_log = logging.getLogger("trio_stream")


@final
class Frames(Iterator[bytes]):
    """The body of a response, as `MessageStream.frames` makes it: an iterable that a WSGI server can be given.

    Each piece is all that is ready, so a server writes it at once. Closing it, which WSGI servers do however the
    response ends (PEP 3333), leaves the block of the stream and so closes the connection to the model.

    Attributes:
      headers: The headers of the response, under lower-case names.
    """

    def __init__(
        self, reading: Reading[Any], encoder: Encoder, *, heartbeat: float | None, describe: Describe | None
    ) -> None:
        if heartbeat is not None and heartbeat <= 0:
            raise ValueError(f"heartbeat must be a number of seconds or None, not {heartbeat}")
        self.headers: dict[str, str] = head_of(encoder)
        self._reading = reading
        self._encoder = encoder
        self._heartbeat = math.inf if heartbeat is None else heartbeat
        self._describe = describe
        self._begun = False
        self._over = False

    def __iter__(self) -> Frames:
        return self

    def __next__(self) -> bytes:
        """Wait for what comes next: all frames that are ready, or a heartbeat.

        Raises:
          StopIteration: The last frames have been given, which say how the answer ended.
          RuntimeError: In a task of Trio.
        """
        frames: list[bytes] = []
        if not self._begun:
            self._begun = True
            frames += self._encoder.start()
        while not self._over:
            frames += self._wait()
            if frames:  # an encoder may have nothing to say of an event
                return b"".join(frames)
        raise StopIteration

    def _wait(self) -> list[bytes]:
        encoder, reading = self._encoder, self._reading
        frames: list[bytes] = []
        try:
            reading.wait(self._heartbeat)
            events = list(reading.feed.batch.ready)
            for event in events:
                if type(event) not in HELPERS:
                    frames += encoder.event(event, None)
            if reading.end is None:
                return frames if events else [encoder.heartbeat]
            raise reading.end
        except trio.EndOfChannel:
            frames += encoder.end()
        except APIError as error:
            _log.warning("an answer failed that is sent to a browser: %s", error)
            frames += encoder.error(failure_of(error, self._describe))
        except trio.ClosedResourceError:
            frames += encoder.abort("the answer was stopped")
        self.close()
        return frames

    def close(self) -> None:
        """Leave the block of the stream. Nothing more is given."""
        self._over = True
        if not self._reading.left:
            self._reading.leave(None)
