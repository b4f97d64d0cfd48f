"""In which lane a call waits for which neither itself nor its client says one: in that of the work it is a part of.

What belongs here: which lane the work of a task is in. What does not: what a lane means (`_lanes`).

A tool that asks the model while a nightly run works in the batch lane must not overtake people, and what an item of a
fan-out calls is work of that fan-out. It is a context variable, because the tools of others are in between.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from ._interface import Lane

working_lane: Final[ContextVar[Lane]] = ContextVar("trio_stream_lane", default="interactive")
"""The lane of what this task does; set in the tasks of runs and of a fan-out's items, and held by those they start."""
