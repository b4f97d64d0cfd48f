"""What a run of a hub has said, as frames with numbers, and the positions of tabs in it.

What belongs here: numbers, what is kept, and what a tab lacks. What does not: runs and their lives (`_hub`), and
sending (`_tab`).

The frames are in a chain of parts. Only the last part grows; a tab that comes begins there, with what leads up to it::

    part 1                    part 2                       part 3
    lead: the first frames    lead: a snapshot             lead: a snapshot
    frames 1 to 500       ──▶ frames 501 to 900        ──▶ frames 901...
                                    ▲ a slow tab                 ▲ most tabs

When the last part has more bytes than are to be kept, another one begins, whose lead says the same as everything
before it in a shorter form. Nobody but tabs that are still in them holds on to earlier parts, and when a tab has read
one it goes on with the frames of the next, without its lead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import trio

from ._condensed import Condensed
from ._encoder import Encoder, Frames, RelayedEvent


@final
class Part:
    """Some of the frames of a run.

    Attributes:
      lead: Says everything that came before the frames.
      first: The number of the first of the frames.
      frames: The frames.
      next: The part that follows, once this one grows no more.
    """

    __slots__ = ("bytes", "first", "frames", "lead", "next", "room")

    def __init__(self, lead: list[bytes], *, first: int, keeps: int) -> None:
        self.lead = lead
        self.first = first
        self.frames: list[bytes] = []
        self.next: Part | None = None
        self.bytes = 0
        # A lead may be larger than what is to be kept. The next one is worth making when as much has come again.
        self.room = max(keeps, sum(map(len, lead)))


@final
class RunLog:
    """What a run has said. It is the `Sink` of its answer.

    Args:
      encoder: Encodes it, once for all tabs.
      epoch: The first half of the numbers of this run.
      keeps: Bytes of frames beyond which a snapshot takes their place.

    Attributes:
      encoder: As given.
      said: What has been said, for those who ask for its messages.
      has_ended: Whether nothing will be added.
      was_cut: Whether it has ended without a frame that says how.
    """

    def __init__(self, encoder: Encoder, *, epoch: str, keeps: int) -> None:
        self.encoder = encoder
        self._epoch = epoch
        self._keeps = keeps
        self.wants_data: bool = encoder.wants_data
        self.said = Condensed()
        self._last = Part([*encoder.start()], first=1, keeps=keeps)
        self._tabs = trio.lowlevel.ParkingLot()
        self.has_ended = False
        self.was_cut = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been said."""
        return self._last.first == 1 and not self._last.frames

    # Adding. It never waits for a tab.

    def event(self, event: RelayedEvent, data: bytes | None) -> None:
        """As `Sink.event`."""
        self.said.add(event, data)
        self._add(self.encoder.event(event, data))

    def data(self, value: Mapping[str, Any]) -> None:
        """As `Sink.data`."""
        frames = self.encoder.data(value)
        self.said.add_data(value)
        self._add(frames)

    async def flush(self) -> None:
        """As `Sink.flush`: let the tabs run."""
        await trio.lowlevel.checkpoint()

    def end(self, frames: Frames) -> None:
        """Add the last frames."""
        self._add(frames, last=True)
        self.has_ended = True
        self._tabs.unpark_all()

    def cut(self) -> None:
        """End without saying how."""
        self.has_ended = self.was_cut = True
        self._tabs.unpark_all()

    def _add(self, frames: Frames, *, last: bool = False) -> None:
        part = self._last
        for frame in frames:
            numbered = self._numbered(frame, part.first + len(part.frames))
            part.frames.append(numbered)
            part.bytes += len(numbered)
        if part.bytes > part.room and not last:
            self._begin_part()
        self._tabs.unpark_all()

    def _begin_part(self) -> None:
        before = self._last
        first = before.first + len(before.frames)
        lead = self.said.frames(self.encoder.renew())
        # Whoever has read all of it knows where to go on.
        lead[-1:] = [self._numbered(frame, first - 1) for frame in lead[-1:]]
        self._last = before.next = Part(lead, first=first, keeps=self._keeps)

    def _numbered(self, frame: bytes, number: int) -> bytes:
        return b"id: %b-%d\n%b" % (self._epoch.encode(), number, frame) if self.encoder.numbered else frame

    # Reading.

    def position(self, after: str | None) -> Position:
        """Where a tab begins.

        Args:
          after: The number of the last frame that it has. What is no number of this run is none.
        """
        part = self._last
        epoch, _, number = (after or "").rpartition("-")
        if epoch == self._epoch and number.isascii() and number.isdigit():
            index = int(number[:18]) + 1 - part.first
            if 0 <= index <= len(part.frames):
                return Position(part, index, ())
        return Position(part, 0, part.lead)

    async def wait(self) -> None:
        """Wait until something is added. A checkpoint."""
        await self._tabs.park()


@final
class Position:
    """How far a tab has read.

    Attributes:
      lead: What it gets before anything else.
    """

    __slots__ = ("_index", "_part", "lead")

    def __init__(self, part: Part, index: int, lead: Frames) -> None:
        self._part = part
        self._index = index
        self.lead = lead

    @property
    def is_first(self) -> bool:
        """Whether nothing but the beginning of the answer comes before it."""
        return self._part.first == 1

    @property
    def is_at_end(self) -> bool:
        """Whether the tab has read everything there is."""
        return not self.lead and self._index == len(self._part.frames) and self._part.next is None

    def take(self) -> list[bytes]:
        """Everything that the tab lacks, but for the lead."""
        frames: list[bytes] = []
        while True:
            part = self._part
            frames += part.frames[self._index :] if self._index else part.frames
            if part.next is None:
                self._index = len(part.frames)
                return frames
            self._part, self._index = part.next, 0
