"""The options of a run, and how a run may end.

What belongs here: their values and their checks. What does not: acting on them (`_turn_loop`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from trio_stream._schemas import OutputType, ask_for_output
from trio_stream.agent._approval import Approve, check_approve
from trio_stream.agent._meter import Meter
from trio_stream.agent._schedule import check_slots

RunOutcome: TypeAlias = Literal[
    "completed", "interrupted", "cancelled", "failed", "truncated", "refused", "max_turns", "budget"
]
"""How a run ended."""

DEFAULT_CONCURRENT_TOOLS: Final = 10

_FIXED: Final = ("messages", "system", "tools", "stream", "cache_control")


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is made with. See `Conversation.run`."""

    max_turns: int | None
    max_concurrent_tools: int
    approve: Approve | Literal["ask"] | None
    approval_timeout: float | None
    turn_retries: int
    meter: Meter
    save: Callable[[], Awaitable[object]] | None
    output: OutputType[Any] | None
    params: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.max_turns is not None and self.max_turns < 1:
            raise ValueError(f"max_turns must be 1 or more: {self.max_turns!r}")
        check_slots(self.max_concurrent_tools)
        check_approve(self.approve, self.approval_timeout)
        if self.turn_retries < 0:
            raise ValueError(f"turn_retries must not be negative: {self.turn_retries!r}")
        for name in _FIXED:
            if name in self.params:
                raise TypeError(
                    f"{name} belongs to the conversation, not to a run: changing it would make the prompt cache "
                    "worthless"
                    if name in ("system", "tools")
                    else f"{name} is not a parameter of a run"
                )

    def request_params(self) -> dict[str, Any]:
        """The parameters of the API for the requests of this run alone."""
        return dict(self.params) if self.output is None else ask_for_output(self.params, self.output)
