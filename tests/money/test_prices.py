"""What an answer costs: the table and its rules."""

from __future__ import annotations

import datetime

import pytest

import trio_stream as ts
from trio_stream._money import Charge, charges_of, lookup_of
from trio_stream._money._table import AS_OF, TABLE
from trio_stream.types import CacheCreation, ServerToolUsage

MILLION = 1_000_000


def prices_of(model: str) -> ts.Prices:
    prices = ts.Prices.of(model)
    assert prices is not None
    return prices


def test_prices():
    """Tokens of each kind have a price of their own."""
    usage = ts.Usage(
        input_tokens=1_000_000,
        output_tokens=2_000_000,
        cache_creation_input_tokens=1_000_000,
        cache_read_input_tokens=1_000_000,
    )
    assert ts.Prices(input=4, output=10).cost(usage) == pytest.approx(4 + 20 + 5 + 0.4)
    assert ts.Prices(input=4, output=10, cache_write=1, cache_read=2).cost(usage) == pytest.approx(4 + 20 + 1 + 2)


@pytest.mark.parametrize(
    ("model", "input_price", "output", "read"),
    [
        ("claude-sonnet-5-5", 2, 10, 0.1),
        ("claude-sonnet-5-5-20261015", 2, 10, 0.1),
        ("claude-sonnet-5", 2, 10, 0.2),
        ("claude-sonnet-5-20260301", 2, 10, 0.2),
        ("claude-opus-5-latest", 5, 25, 0.5),
        ("claude-fable-5-2", 8, 40, 0.2),
        ("claude-mythos-5-1", 10, 50, 0.25),
        ("claude-haiku-5-5@20261015", 0.1, 0.5, 0.01),
    ],
)
def test_the_table_by_the_longest_beginning(model: str, input_price: float, output: float, read: float):
    """A date or an alias after the name changes nothing."""
    prices = prices_of(model)
    assert (prices.input, prices.output, prices.cache_read) == (input_price, output, read)


@pytest.mark.parametrize(
    "model", ["", "mine", "gpt-5", "claude", "claude-opus-5-7", "claude-opus-5-5-1", "claude-opus-50", "claude-opus-4"]
)
def test_other_models_are_unknown(model: str):
    """The next version of a model may cost anything, so its prices are not those of the last."""
    assert ts.Prices.of(model) is None


def test_the_table_is_dated():
    """Its date is a day, and what a prompt must have to be cached is a whole number of tokens."""
    assert datetime.date.fromisoformat(AS_OF) >= datetime.date(2026, 11, 28)
    assert prices_of("claude-opus-4-7").least_cacheable == 2048
    for name, row in TABLE.items():
        assert name.startswith("claude-")
        assert 0 < row.cache_read < row.input < row.output


def test_cache_writes_by_their_time():
    """5 minutes cost 1.25 times as much as input, an hour twice; what is not told apart is 5 minutes."""
    prices = prices_of("claude-sonnet-5-5")
    parts = CacheCreation(ephemeral_1h_input_tokens=MILLION, ephemeral_5m_input_tokens=MILLION)
    assert prices.cost(ts.Usage(cache_creation_input_tokens=2 * MILLION, cache_creation=parts)) == pytest.approx(6.5)
    assert prices.cost(ts.Usage(cache_creation=parts)) == pytest.approx(6.5)
    assert prices.cost(ts.Usage(cache_creation_input_tokens=MILLION)) == pytest.approx(2.5)
    assert ts.Prices(input=2, output=9, cache_write_1h=3).cost(ts.Usage(cache_creation=parts)) == pytest.approx(5.5)


@pytest.mark.parametrize(
    ("fields", "factor"),
    [
        ({"service_tier": "standard", "speed": "standard", "inference_geo": "global"}, 1),
        ({"service_tier": "batch"}, 0.5),
        ({"speed": "fast"}, 2),
        ({"inference_geo": "us"}, 1.1),
        ({"service_tier": "batch", "inference_geo": "us"}, 0.55),
        ({"speed": "fast", "inference_geo": "us"}, 2.2),
    ],
)
def test_factors_multiply_and_spare_searches(fields: dict[str, str], factor: float):
    """Batch, fast mode and inference in the US stack on all tokens; a search costs a cent whatever they are."""
    usage = ts.Usage(
        input_tokens=MILLION,
        output_tokens=MILLION,
        cache_read_input_tokens=MILLION,
        server_tool_use=ServerToolUsage(web_search_requests=100),
        **fields,  # type: ignore[arg-type]
    )
    assert prices_of("claude-opus-5-5").cost(usage) == pytest.approx((4 + 20 + 0.2) * factor + 1)


@pytest.mark.parametrize(("cached", "factor"), [(99_000, 1), (99_001, 5)])
def test_long_prompts(cached: int, factor: float):
    """Above the limit every token of the request costs more, and cached tokens make a prompt longer."""
    usage = ts.Usage(input_tokens=1_000, output_tokens=1_000, cache_read_input_tokens=cached)
    expected = (0.1 * 1_000 + 0.5 * 1_000 + 0.01 * cached) / MILLION * factor
    assert prices_of("claude-haiku-5-5").cost(usage) == pytest.approx(expected)


def with_iterations(*iterations: dict[str, object]) -> ts.Usage:
    return ts.Usage.from_wire(
        {"input_tokens": 7, "output_tokens": 7, "service_tier": "batch", "iterations": list(iterations)}
        | {"server_tool_use": {"web_search_requests": 1}}
    )


def test_steps_by_the_prices_of_their_own_models():
    """Iterations are charged in place of the totals, which leave some of them out."""
    usage = with_iterations(
        {"type": "message", "input_tokens": MILLION, "output_tokens": MILLION},
        {"type": "compaction", "input_tokens": MILLION, "output_tokens": 0},
        {"type": "advisor_message", "model": "claude-opus-5-20260101", "input_tokens": 0, "output_tokens": MILLION},
        {"type": "message", "model": "claude-sonnet-5-5-20261015", "input_tokens": MILLION, "output_tokens": 0},
        {"type": "of_next_year", "input_tokens": MILLION, "cache_creation_input_tokens": MILLION},
    )
    expected = (2 + 10 + 2 + 25 + 2 + 2 + 2.5) / 2 + 0.01
    assert prices_of("claude-sonnet-5-5").cost(usage) == pytest.approx(expected)
    assert [charge.model for charge in charges_of(usage, "m")] == [
        "m", "m", "claude-opus-5-20260101", "claude-sonnet-5-5-20261015", "m",
    ]  # fmt: skip
    # Prices of any model are those of every step.
    assert ts.Prices(input=2, output=10, web_searches=0).cost(usage) == pytest.approx((2 + 10 + 2 + 10 + 6.5) / 2)


def test_a_step_of_an_unknown_model_has_no_cost():
    """It is not taken to be free."""
    usage = with_iterations({"type": "fallback_message", "model": "mine", "input_tokens": 1, "output_tokens": 1})
    with pytest.raises(LookupError, match="'mine', whose prices are not known"):
        prices_of("claude-sonnet-5-5").cost(usage)


def test_what_was_saved():
    """By a batch as much as it cost; by the cache what reads cost less than input, minus what writes cost more."""
    prices = ts.Prices(input=2, output=10)
    batch = prices.costs(Charge(input=MILLION, tier="batch", web_searches=1000))
    assert (batch.total, batch.saved_by_batch, batch.saved_by_cache) == pytest.approx((11, 1, 0))
    cached = prices.costs(Charge(cache_write=MILLION, cache_read=2 * MILLION))
    assert (cached.total, cached.saved_by_batch, cached.saved_by_cache) == pytest.approx((2.9, 0, 3.1))
    lost = prices.costs(Charge(cache_write_1h=MILLION))
    assert lost.saved_by_cache == pytest.approx(-2)
    both = batch + cached
    assert (both.total, both.saved_by_batch, both.saved_by_cache) == pytest.approx((13.9, 1, 3.1))


def test_what_may_be_given_as_prices():
    """Prices of all models, a function, or nothing for the table."""
    mine = ts.Prices(input=1, output=2)
    assert lookup_of(mine)("any") is mine
    assert lookup_of(None)("claude-opus-5") == prices_of("claude-opus-5")
    assert lookup_of({"a": mine}.get)("b") is None
