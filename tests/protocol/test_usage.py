"""The usage of several messages together."""

from __future__ import annotations

from typing import Any

import pytest

from trio_stream import Usage
from trio_stream.types import (
    CacheCreation,
    CompactionIterationUsage,
    FallbackCreditUsage,
    MessageIterationUsage,
    ServerToolUsage,
)


def read(**fields: Any) -> Usage:
    return Usage.from_wire(fields)


def test_counts_are_added() -> None:
    """At every depth, and what only one of them has is kept."""
    one = read(
        input_tokens=1,
        output_tokens=10,
        cache_creation={"ephemeral_1h_input_tokens": 3, "ephemeral_5m_input_tokens": 4},
        cache_creation_input_tokens=7,
        output_tokens_details={"thinking_tokens": 5},
    )
    other = read(
        input_tokens=2,
        output_tokens=20,
        cache_creation={"ephemeral_5m_input_tokens": 40},
        cache_creation_input_tokens=40,
        cache_read_input_tokens=6,
        server_tool_use={"web_search_requests": 1},
    )
    third = read(server_tool_use={"web_search_requests": 2, "web_fetch_requests": 1})
    total = one + other + third
    assert total.input_tokens == 3
    assert total.output_tokens == 30
    assert total.cache_creation == CacheCreation(ephemeral_1h_input_tokens=3, ephemeral_5m_input_tokens=44)
    assert total.cache_creation_input_tokens == 47
    assert total.cache_read_input_tokens == 6
    assert total.output_tokens_details == one.output_tokens_details
    assert total.server_tool_use == ServerToolUsage(web_search_requests=3, web_fetch_requests=1)
    assert total.iterations is total.service_tier is total.fallback_credit is None
    assert total == sum([one, other, third], Usage())


def test_texts_that_differ_are_all_told() -> None:
    """Each once, in the order in which they came first; so what is added in which order makes no difference."""
    usages = [read(service_tier=tier, speed="fast") for tier in ("standard", "priority", None, "standard")]
    total = sum(usages, Usage())
    assert total.service_tier == "standard, priority"
    assert total.speed == "fast"
    assert total == (usages[0] + usages[1]) + (usages[2] + usages[3])


def test_iterations_are_added_by_kind_and_model() -> None:
    """So the sum of a long conversation has no more of them than there are kinds and models."""
    turn = read(
        iterations=[
            {"type": "compaction", "input_tokens": 1},
            {"type": "message", "model": "a", "input_tokens": 2, "cache_creation": {"ephemeral_5m_input_tokens": 1}},
            {"type": "message", "model": "b", "input_tokens": 4},
            {"type": "new", "model": "a", "tokens": 8, "more": {"x": 1}},
        ]
    )
    total = sum([Usage(), turn, turn, turn], Usage())
    assert total.iterations is not None
    compaction, a, b, new = total.iterations
    assert compaction == CompactionIterationUsage(input_tokens=3)
    assert a == MessageIterationUsage(
        model="a", input_tokens=6, cache_creation=CacheCreation(ephemeral_5m_input_tokens=3)
    )
    assert b == MessageIterationUsage(model="b", input_tokens=12)
    assert new.to_dict() == {"type": "new", "model": "a", "tokens": 24, "more": {"x": 3}}


def test_what_nobody_knows_is_kept() -> None:
    """Numbers are added at any depth; of everything else the later stays."""
    one = read(searches=1, cost=0.5, by={"kind": {"n": 1}, "on": True}, note="a", list=[1], server_tool_use={"new": 1})
    other = read(searches=2, cost=1.0, by={"kind": {"n": 2, "m": 1}, "on": False}, note="b", list=[2, 3], more="c")
    total = one + other + read(server_tool_use={"new": 2})
    assert total.extra == {
        "searches": 3,
        "cost": 1.5,
        "by": {"kind": {"n": 3, "m": 1}, "on": False},
        "note": "b",
        "list": [2, 3],
        "more": "c",
    }
    assert total.server_tool_use is not None
    assert total.server_tool_use.extra == {"new": 3}
    assert one.extra["searches"] == 1  # neither of them has changed
    assert (Usage() + Usage()).extra is Usage().extra


def test_of_a_fallback_credit_the_later_stays() -> None:
    """It says what became of one request, and has no sum."""
    redeemed = read(fallback_credit={"status": {"type": "redeemed"}})
    refused = read(fallback_credit={"status": {"type": "not_applied", "reason": "expired"}})
    assert (redeemed + refused + Usage()).fallback_credit == refused.fallback_credit
    assert isinstance((refused + redeemed).fallback_credit, FallbackCreditUsage)
    assert (refused + redeemed).fallback_credit == redeemed.fallback_credit


def test_nothing_else_can_be_added() -> None:
    """Not even 0, so `sum` needs a start."""
    with pytest.raises(TypeError, match="unsupported operand"):
        Usage() + 0  # type: ignore[operator]
