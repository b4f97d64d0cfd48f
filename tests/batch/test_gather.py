"""`gather_texts` and `gather_outcomes`."""

from __future__ import annotations

import pytest
import trio

import trio_stream as ts
from trio_stream.testing import http_error, pause, say

from .api import PARAMS, client_of, echo, prompt_of


async def test_texts_in_the_order_of_the_items(autojump_clock):
    client, _ = client_of(default=lambda request: [say(prompt_of(request), ttft=10 - float(prompt_of(request)))])
    assert await ts.gather_texts(client, map(str, range(10)), **PARAMS) == [str(n) for n in range(10)]


async def test_the_first_error_is_raised_with_what_was_finished(autojump_clock):
    client, api = client_of(
        default=lambda request: [pause(2), http_error(400)] if prompt_of(request) == "bad" else echo(request)
    )
    with pytest.raises(ts.BadRequestError) as caught:
        await ts.gather_texts(client, ["a", "bad", "c", "d"], limit=2, **PARAMS)
    statuses = {outcome.index: outcome.status for outcome in caught.value.outcomes}
    assert statuses[0] == "ok"
    assert statuses[1] == "error"
    assert set(statuses.values()) <= {"ok", "error", "cancelled", "skipped"}
    assert api.open_streams == 0


async def test_outcomes_for_everything(autojump_clock):
    client, _ = client_of(default=lambda r: [http_error(400)] if prompt_of(r) in "135" else echo(r))
    outcomes = await ts.gather_outcomes(client, map(str, range(6)), **PARAMS)
    assert [outcome.index for outcome in outcomes] == list(range(6))
    assert [outcome.status for outcome in outcomes] == ["ok", "error"] * 3


async def test_an_async_iterable_gets_all_its_outcomes_also_when_stopped(autojump_clock):
    client, _ = client_of(default=[http_error(400)])

    async def items():
        for number in range(10):
            await trio.sleep(0.1)
            yield str(number)

    outcomes = await ts.gather_outcomes(client, items(), max_errors=0, **PARAMS)
    assert len(outcomes) == 10
    assert outcomes[-1].status == "skipped"


async def test_on_error_is_no_option():
    client, _ = client_of()
    with pytest.raises(TypeError, match="on_error"):
        await ts.gather_texts(client, ["a"], on_error="capture", **PARAMS)


async def test_cancelling_leaves_nothing(autojump_clock):
    client, api = client_of(default=[say("x", pause(100))])
    with trio.move_on_after(5) as scope:
        await ts.gather_texts(client, ["a", "b"], **PARAMS)
    assert scope.cancelled_caught
    assert api.open_streams == 0
