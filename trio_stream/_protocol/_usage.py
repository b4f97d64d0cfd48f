"""The usage of a message: how many tokens it cost.

What belongs here: token counts and their parts. What does not: rate limits (`_rate_limits`), and prices (`_money`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, TypeAlias, TypeGuard, cast, final

import msgspec

from trio_stream._protocol._values import Extended, ExtendedT, Tagged, UnknownObject, set_fields


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
    """The number of tokens that a message cost. Counts that the API did not send are 0 or None.

    Usages can be added: ``a + b``, or ``sum(usages, Usage())`` for several. All counts are added up, also those that
    this version does not know, which are in ``extra``. What only one of them has is kept. Of ``iterations`` the sum has
    one for each kind and model. Where ``service_tier``, ``speed`` or ``inference_geo`` differ, the sum has every text
    once, joined by commas. Of anything else, such as ``fallback_credit``, it has the later.
    """

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

    def __add__(self, other: Usage) -> Usage:
        """The usage of both together."""
        if not isinstance(other, Usage):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may have no types
            return NotImplemented
        return _add_fields(
            self,
            other,
            inference_geo=_join(self.inference_geo, other.inference_geo),
            service_tier=_join(self.service_tier, other.service_tier),
            speed=_join(self.speed, other.speed),
            iterations=_add_iterations(self.iterations, other.iterations),
        )


def _add(one: object, other: object) -> Any:
    """The sum of two values of a usage: of numbers, or part by part. Of what has no sum it is the later."""
    if one is None or other is None:
        return other if one is None else one
    if _is_number(one) and _is_number(other):
        return one + other
    if isinstance(one, UnknownObject) and isinstance(other, UnknownObject):
        return UnknownObject(raw=_add(one.raw, other.raw))
    if isinstance(one, Extended) and isinstance(other, type(one)):
        return _add_fields(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return _add_members(cast("Mapping[str, object]", one), cast("Mapping[str, object]", other))
    return other


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _add_fields(one: ExtendedT, other: ExtendedT, **done: object) -> ExtendedT:
    """The sum of two values of one class, field by field, but for those that are ``done``."""
    for name in one.__struct_fields__:
        if name not in done:
            done[name] = _add(getattr(one, name), getattr(other, name))
    return msgspec.structs.replace(one, **done)


def _add_members(one: Mapping[str, object], other: Mapping[str, object]) -> Mapping[str, object]:
    if not one or not other:
        return one or other  # nearly always nobody knows anything, and it stays the mapping that all values share
    return {**one, **{name: _add(one.get(name), value) for name, value in other.items()}}


def _join(one: str | None, other: str | None) -> str | None:
    """The texts of both, each of them once."""
    if one is None or other is None:
        return other if one is None else one
    return _COMMA.join(dict.fromkeys([*one.split(_COMMA), *other.split(_COMMA)]))


def _add_iterations(
    one: tuple[Iteration, ...] | None, other: tuple[Iteration, ...] | None
) -> tuple[Iteration, ...] | None:
    """One iteration for each kind and model, so that the sum of a long conversation does not grow with it."""
    if one is None or other is None:
        return other if one is None else one
    sums: dict[object, Iteration] = {}
    for iteration in (*one, *other):
        fields: Mapping[str, object] = iteration.to_dict()
        kind = (fields.get("type"), fields.get("model"))
        sums[kind] = _add(sums.get(kind), iteration)
    return tuple(sums.values())


_COMMA: Final = ", "


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
