"""Which call of a reply may start next.

What belongs here: slots, exclusive calls, and the order in which calls get their turn. What does not: starting them
(`_tool_runner`), and whether they may run at all (`_approval`).

The rules:

* a call needs one of ``max_concurrent_tools`` slots; of those that are ready, the earliest in the reply goes first;
* a call with ``exclusive=True`` waits until nothing runs, nothing starts beside it, and nothing goes past it;
* exclusive calls of one kind (``True``, or the name of a group) run in the order of the reply. One that is not ready,
  because somebody is still asked about it, keeps back the later ones of its kind and no others;
* when a call of a named group fails, the later ones of the group are not started.
"""

from __future__ import annotations

import bisect
from collections import deque
from typing import final

from trio_stream.agent._tool_call import ToolCall


def check_slots(slots: int) -> None:
    """Refuse a number of slots with which no call could ever run.

    Raises:
      ValueError: It is below 1.
    """
    if slots < 1:
        raise ValueError(f"max_concurrent_tools must be at least 1, not {slots!r}")


@final
class Schedule:
    """The calls of one reply that have not run yet.

    Args:
      slots: How many calls may run at once.

    Raises:
      ValueError: As `check_slots`.
    """

    __slots__ = ("_alone", "_lines", "_queue", "_running", "_slots")

    def __init__(self, slots: int) -> None:
        check_slots(slots)
        self._slots = slots
        self._running: set[ToolCall] = set()
        self._alone: ToolCall | None = None
        self._queue: list[ToolCall] = []  # those that are ready, in the order of the reply
        self._lines: dict[bool | str, deque[ToolCall]] = {}  # for each kind, its calls that have not ended

    def line_up(self, call: ToolCall) -> None:
        """Take notice of a call that may become ready later, in the order of the reply."""
        kind = _kind(call)
        if kind is not False:
            self._lines.setdefault(kind, deque()).append(call)

    def add(self, call: ToolCall) -> None:
        """A call is ready."""
        bisect.insort(self._queue, call, key=lambda waiting: waiting.index)

    def take(self) -> ToolCall | None:
        """The call whose turn it is, which holds a slot from now on; None if there is none."""
        if self._alone is not None or len(self._running) == self._slots:
            return None
        for place, call in enumerate(self._queue):
            kind = _kind(call)
            if kind is not False and self._lines[kind][0] is not call:
                continue
            if kind is True:
                if self._running:
                    return None
                self._alone = call
            del self._queue[place]
            self._running.add(call)
            return call
        return None

    def remove(self, call: ToolCall) -> list[ToolCall]:
        """A call has ended, whether or not it ran.

        Returns:
          The calls that must not start because this one failed.
        """
        self._running.discard(call)
        if self._alone is call:
            self._alone = None
        if call in self._queue:
            self._queue.remove(call)
        kind = _kind(call)
        line = self._lines.get(kind)
        if line is None or call not in line:
            return []
        if call.is_error and kind is not True:
            place = line.index(call)
            later = list(line)[place + 1 :]
            self._lines[kind] = deque(list(line)[:place])
            self._queue = [waiting for waiting in self._queue if waiting not in later]
            return later
        line.remove(call)
        return []


def _kind(call: ToolCall) -> bool | str:
    return call.tool is not None and call.tool.exclusive
