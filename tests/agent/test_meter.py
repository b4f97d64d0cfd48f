"""What runs use, and limits on it."""

from __future__ import annotations

import msgspec
import pytest

import trio_stream as ts
from trio_stream import agent


def message(output_tokens: int, text: str = "") -> ts.Message:
    return ts.Message.from_dict(
        {
            "type": "message",
            "content": [{"type": "text", "text": text}],
            "usage": {"input_tokens": 100, "output_tokens": output_tokens},
        }
    )


def test_counts():
    """Requests, tokens and money."""
    meter = agent.Meter(prices=ts.Prices(input=1, output=10))
    assert meter.take_request() is None
    assert meter.take_call() is None
    meter.add(message(50))
    assert (meter.requests, meter.tool_calls, meter.input_tokens, meter.output_tokens) == (1, 1, 100, 50)
    assert meter.cost == pytest.approx(0.0006)
    assert meter.used_up() is None


def test_replies_of_a_gateway_with_names_of_its_own():
    """They are charged by the model that was asked, whole and cut; one without any price has no cost."""
    reply = msgspec.structs.replace(message(50), model="gateway/sonnet")
    meter = agent.Meter(cost=1)
    meter.add(reply, asked="claude-sonnet-5-5")
    meter.add_cut(reply, asked="claude-sonnet-5-5")
    assert meter.cost == pytest.approx((2 * 100 * 2 + 50 * 10) / 1e6)
    assert meter.used_up() is None
    meter.add(reply)
    assert (meter.cost, meter.used_up() is None) == (None, False)


def test_a_cut_reply_is_estimated_for_the_limit_alone():
    """Its output is not known."""
    meter = agent.Meter(output_tokens=50)
    meter.add_cut(message(1, "x" * 400))
    assert (meter.input_tokens, meter.output_tokens) == (100, 0)
    assert meter.used_up() == "the budget is used up: 148 of 50 output tokens"
    assert meter.take_call() == meter.used_up()


def test_calls_are_limited_by_themselves():
    """The model may answer what it has; once it asks for more it is not asked again."""
    meter = agent.Meter(tool_calls=1)
    assert meter.take_call() is None
    assert meter.take_request() is None
    assert meter.take_call() == "the budget is used up: 1 of 1 tool calls"
    assert meter.take_request() == "the budget is used up: 1 of 1 tool calls"
    assert (meter.requests, meter.tool_calls) == (1, 1)


@pytest.mark.parametrize("limits", [{"tool_calls": -1}, {"requests": -1}, {"cost": -1}])
def test_limits_that_are_refused(limits):
    """Where they are given."""
    with pytest.raises(ValueError, match=r"budget|meter"):
        agent.Meter(**limits)


def test_built_in_prices():
    """Without prices of one's own each reply is charged by its model's; one without a price has no cost."""
    meter = agent.Meter(cost=0.001)
    reply = msgspec.structs.replace(message(80), model="claude-sonnet-5-5")
    meter.add(reply)
    assert meter.cost == pytest.approx(0.001)
    assert meter.used_up() == "the budget is used up: 0.001 of 0.001 cost"
    meter = agent.Meter(cost=1)
    meter.add(msgspec.structs.replace(reply, model="mine"))
    assert meter.cost is None
    assert meter.used_up() == "the budget cannot be kept: the prices of 'mine' are not known"
