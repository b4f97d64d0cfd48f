"""Asking whether a call may run.

What belongs here: who is asked, in which order, and what an answer means. What does not: what follows from the answer
(`_tool_runner`).

Asking takes no slot, and calls that need no approval go on meanwhile.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Literal, TypeAlias, final

import trio

from trio_stream.agent._agent_events import ApprovalEvent, NestedEvent, RunEvent
from trio_stream.agent._tool_call import ToolCall
from trio_stream.agent._tool_context import Emit

_log = logging.getLogger("trio_stream")

Approve: TypeAlias = Callable[[ToolCall], Awaitable[bool | str]]
"""Says of a call whether it may run: True, or the reason why not."""

_NOBODY: Final = "it needs approval, and nobody is there to give it"
_NO: Final = "it was not approved"
_FAILED: Final = "asking for approval failed"


def check_approve(approve: object, timeout: float | None) -> None:
    """Refuse what nobody could be asked by.

    Raises:
      TypeError: ``approve`` is neither a function, nor ``"ask"``, nor None.
      ValueError: The seconds for an answer are not above 0.
    """
    if approve is not None and approve != "ask" and not callable(approve):
        raise TypeError(
            f'approve is an asynchronous function, "ask" or None, not {approve!r}: to allow every call, give a '
            "function that returns True"
        )
    if timeout is not None and not timeout > 0:
        raise ValueError(f"approval_timeout must be seconds above 0, or None, not {timeout!r}")


def needs_approval(call: ToolCall) -> bool:
    """Whether somebody has to allow a call. If the function of the tool that says so fails: yes."""
    rule = False if call.tool is None else call.tool.approve
    if isinstance(rule, bool):
        return rule
    try:
        return bool(rule(call))
    except Exception:  # noqa: BLE001 - what cannot be judged is asked about
        _log.warning("whether %s needs approval could not be found out", call.name, exc_info=True)
        return True


def deny_approvals(event: RunEvent) -> None:
    """Take an event that nobody will read: if it waits for an answer, that is a no."""
    while isinstance(event, NestedEvent):
        event = event.event
    if isinstance(event, ApprovalEvent):
        event.deny(_NOBODY)


@final
class Approvals:
    """The questions about the calls of one reply.

    Args:
      approve: Whom to ask: an asynchronous function, or ``"ask"``, for whoever reads the events; None: nobody.
      timeout: Seconds after which no answer is a no.
      emit: Takes the events.
      decided: Called with each call and the reason against it; None: it may run.

    Raises:
      TypeError: As `check_approve`.
      ValueError: As `check_approve`.
    """

    __slots__ = ("_answered", "_approve", "_asked", "_decided", "_emit", "_none_left", "_scope", "_timeout")

    def __init__(
        self,
        approve: Approve | Literal["ask"] | None,
        timeout: float | None,
        *,
        emit: Emit,
        decided: Callable[[ToolCall, str | None], None],
    ) -> None:
        check_approve(approve, timeout)
        self._approve = approve
        self._timeout = math.inf if timeout is None else timeout
        self._emit = emit
        self._decided = decided
        self._asked: list[ToolCall] = []  # those without an answer
        self._answered: set[str] = set()
        self._none_left = trio.Event()
        self._scope: trio.CancelScope | None = None  # of asking about the first of them, with a function

    def begin(self, calls: Sequence[ToolCall]) -> bool:
        """Take the calls that are to be asked about, in the order of the reply.

        Returns:
          Whether `ask` is to be run in a task, because there is anything to wait for.
        """
        self._asked.extend(calls)
        if self._approve == "ask":
            for call in calls:
                self._emit(
                    ApprovalEvent(id=call.id, name=call.name, input=call.input, answer=partial(self.answer, call))
                )
        elif self._approve is None:
            for call in calls:
                self._decide(call, _NOBODY)
        return bool(self._asked)

    def drop(self, call: ToolCall) -> None:
        """A call has ended, so the question about it is void."""
        if call not in self._asked:
            return
        if self._scope is not None and self._asked[0] is call:
            self._scope.cancel(reason="the call that was asked about has ended")
        self._asked.remove(call)
        if not self._asked:
            self._none_left.set()

    async def ask(self) -> None:
        """Ask until there is an answer for each call."""
        if callable(self._approve):
            while self._asked:
                await self._ask_function(self._approve, self._asked[0])
            return
        with trio.move_on_after(self._timeout) as clock:
            await self._none_left.wait()
        if clock.cancelled_caught:
            for call in list(self._asked):
                self._decide(call, self._too_late)

    async def _ask_function(self, approve: Approve, call: ToolCall) -> None:
        """Ask about one call. One after the other, since what is asked is often a person at one terminal."""
        reason: str | None = _NO
        with trio.CancelScope() as self._scope:
            with trio.move_on_after(self._timeout) as clock:
                try:
                    answer = await approve(call)
                except Exception:  # noqa: BLE001 - an error is no permission
                    _log.warning("asking for approval of %s failed", call.name, exc_info=True)
                    answer = _FAILED
                if answer is True:
                    reason = None
                elif isinstance(answer, str):
                    reason = answer
            if clock.cancelled_caught:
                reason = self._too_late
        self._scope = None
        self._decide(call, reason)

    def answer(self, call: ToolCall, reason: str | None) -> None:
        """Take the answer of whoever reads the events.

        Raises:
          RuntimeError: There was one before.
        """
        if call.id in self._answered:
            raise RuntimeError(f"the call {call.id} has been answered already: each question is answered once")
        self._answered.add(call.id)
        self._decide(call, reason)

    def _decide(self, call: ToolCall, reason: str | None) -> None:
        if call in self._asked:
            self.drop(call)
            self._decided(call, reason)

    @property
    def _too_late(self) -> str:
        return f"it was not approved within {self._timeout:g} seconds"
