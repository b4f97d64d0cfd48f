"""One run of a hub while it lives, and what is told of it when it has ended.

What belongs here: who reads it, and until when it may go on. What does not: what it says (`_run_log`), and its course
(`_hub`).
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, final

import msgspec
import trio

from trio_stream._protocol import Message

from ._failure import Failure
from ._run_log import RunLog

HubOutcome: TypeAlias = Literal["complete", "stopped", "abandoned", "closed"] | Exception
"""How a run of a hub ended."""


@final
class HubRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run of a `Hub` that has ended, for the function that is called then.

    Attributes:
      key: The key under which it was started.
      outcome: How it ended: ``"complete"``; ``"stopped"``, by `Hub.stop`, `MessageStream.cancel` or `Run.interrupt`;
        ``"abandoned"``: nobody read it for ``grace`` seconds; ``"closed"``: the hub was closed; the `APIError` with
        which it failed; or another exception, a mistake of the program.
      reason: Why it was stopped, in words; None if it was not.
      messages: The messages that were said, each as far as it came.
    """

    key: str
    outcome: HubOutcome
    reason: str | None
    messages: list[Message]

    @property
    def partial(self) -> Message | None:
        """The last message that was said, as far as it came; None if there was none."""
        return self.messages[-1] if self.messages else None


@final
class LiveRun:
    """A run of a hub.

    Args:
      key: Its key.
      log: What it says.
      grace: Seconds that it goes on without a tab.

    Attributes:
      scope: Ends the answer. Its deadline is the end of the grace, while there is no tab.
      reason: Why it was stopped; None if it was not.
      outcome: How the answer ended; None while it has not.
      failure: What it failed with, if it had said nothing by then.
      done_scope: That of the function that is called at the end, once it is.
    """

    __slots__ = ("_grace", "_tabs", "done_scope", "failure", "key", "log", "outcome", "reason", "scope")

    def __init__(self, key: str, log: RunLog, *, grace: float) -> None:
        self.key = key
        self.log = log
        self.scope = trio.CancelScope(deadline=trio.current_time() + grace)
        self.reason: str | None = None
        self.outcome: HubOutcome | None = None
        self.failure: Failure | None = None
        self.done_scope: trio.CancelScope | None = None
        self._grace = grace
        self._tabs = 0

    def attach(self) -> None:
        """A tab reads it."""
        self._tabs += 1
        self.scope.deadline = math.inf

    def detach(self) -> None:
        """A tab has gone."""
        self._tabs -= 1
        if not self._tabs:
            self.scope.deadline = trio.current_time() + self._grace
