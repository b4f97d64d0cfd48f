"""The usage of a message: how many tokens it cost.

What belongs here: token counts and their parts. What does not: rate limits (`_rate_limits`), and prices (`_money`).
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias, final

import msgspec

from trio_stream._protocol._values import Extended, Tagged, UnknownObject, set_fields


@final
class CacheCreation(Extended, frozen=True, gc=False, kw_only=True):
    """The tokens that were written to the prompt cache, by the time for which they are kept."""

    ephemeral_1h_input_tokens: int = 0
    ephemeral_5m_input_tokens: int = 0


@final
class OutputTokensDetails(Extended, frozen=True, gc=False, kw_only=True):
    """The parts of the output tokens."""

    thinking_tokens: int = 0


@final
class ServerToolUsage(Extended, frozen=True, gc=False, kw_only=True):
    """The number of calls of the tools that the API runs."""

    web_search_requests: int = 0
    web_fetch_requests: int | None = None  # added later than the other, so not every answer has it


@final
class FallbackCreditRedeemed(Tagged, frozen=True, kw_only=True, tag="redeemed"):
    """The retry is billed as if it had been on the retry model all along. Beta."""

    type: ClassVar[Literal["redeemed"]] = "redeemed"


@final
class FallbackCreditNotApplied(Tagged, frozen=True, kw_only=True, tag="not_applied"):
    """The credit did not apply. Beta."""

    type: ClassVar[Literal["not_applied"]] = "not_applied"
    reason: str = ""
    remove_to_redeem: tuple[str, ...] | None = None


@final
class FallbackCreditUsage(Extended, frozen=True, kw_only=True):
    """Whether a fallback credit was redeemed. Beta."""

    status: FallbackCreditRedeemed | FallbackCreditNotApplied | UnknownObject | None = None


@final
class MessageIterationUsage(Tagged, frozen=True, kw_only=True, tag="message"):
    """The usage of one sampling of the model. Beta."""

    type: ClassVar[Literal["message"]] = "message"
    model: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation: CacheCreation | None = None


@final
class CompactionIterationUsage(Tagged, frozen=True, kw_only=True, tag="compaction"):
    """The usage of one compaction. Beta."""

    type: ClassVar[Literal["compaction"]] = "compaction"
    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation: CacheCreation | None = None


@final
class AdvisorMessageIterationUsage(Tagged, frozen=True, kw_only=True, tag="advisor_message"):
    """The usage of one question to the advisor. Beta."""

    type: ClassVar[Literal["advisor_message"]] = "advisor_message"
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation: CacheCreation | None = None


@final
class FallbackMessageIterationUsage(Tagged, frozen=True, kw_only=True, tag="fallback_message"):
    """The usage of the model that took over. Beta."""

    type: ClassVar[Literal["fallback_message"]] = "fallback_message"
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation: CacheCreation | None = None


Iteration: TypeAlias = (
    MessageIterationUsage
    | CompactionIterationUsage
    | AdvisorMessageIterationUsage
    | FallbackMessageIterationUsage
    | UnknownObject
)
"""The usage of one step of a message that took several steps."""


@final
class Usage(Extended, frozen=True, kw_only=True):
    """The number of tokens that a message cost. Counts that the API did not send are 0 or None."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation: CacheCreation | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    inference_geo: str | None = None
    output_tokens_details: OutputTokensDetails | None = None
    server_tool_use: ServerToolUsage | None = None
    service_tier: str | None = None
    speed: str | None = None
    fallback_credit: FallbackCreditUsage | None = None
    iterations: tuple[Iteration, ...] | None = None

    def updated(self, delta: MessageDeltaUsage) -> Usage:
        """This usage, updated with that of a ``message_delta`` event.

        The API calls the counts of the event "cumulative", so they overwrite; what the event does not have stays.
        """
        changes = set_fields(delta)
        if delta.extra:
            changes["extra"] = {**self.extra, **delta.extra}
        return msgspec.structs.replace(self, **changes)


@final
class MessageDeltaUsage(Extended, frozen=True, kw_only=True):
    """The totals so far, from a ``message_delta`` event. A field is None if it was not sent."""

    output_tokens: int | None = None
    input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    inference_geo: str | None = None
    output_tokens_details: OutputTokensDetails | None = None
    server_tool_use: ServerToolUsage | None = None
    service_tier: str | None = None
    speed: str | None = None
    fallback_credit: FallbackCreditUsage | None = None
    iterations: tuple[Iteration, ...] | None = None
