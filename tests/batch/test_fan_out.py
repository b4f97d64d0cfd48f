"""`fan_out`: order, backpressure, errors, retries, and every way to end."""

from __future__ import annotations

import gc
import pickle
from typing import Any

import pytest
import trio
import trio.testing

import trio_stream as ts
from tests.bench.leaving import leave
from trio_stream.testing import cancel_everywhere, disconnect, fail, http_error, pause, raw, say, stall

from .api import PARAMS, Notes, client_of, echo, prompt_of


async def collect(results: ts.FanOut) -> list[ts.Outcome]:
    return [outcome async for outcome in results]


# Items.


async def test_outcomes_come_in_the_order_of_completion(autojump_clock):
    client, _ = client_of(default=lambda request: [say("ok", ttft=float(prompt_of(request)))])
    async with ts.fan_out(client, ["3", "1", "2"], **PARAMS) as results:
        outcomes = await collect(results)
    assert [outcome.index for outcome in outcomes] == [1, 2, 0]
    assert [outcome.seconds for outcome in outcomes] == [1.0, 2.0, 3.0]


async def test_an_outcome_says_everything_about_its_item(autojump_clock):
    client, _ = client_of()
    items = [ts.Item("one", id="a", tag={"row": 7})]
    async with ts.fan_out(client, items, **PARAMS) as results:
        (outcome,) = await collect(results)
    assert (outcome.id, outcome.index, outcome.tag, outcome.status) == ("a", 0, {"row": 7}, "ok")
    assert (outcome.text, outcome.unwrap(), outcome.stop_reason) == ("<one>", "<one>", "end_turn")
    assert outcome.message is not None
    assert outcome.message.text == "<one>"
    assert outcome.usage is not None
    assert (outcome.attempts, outcome.ttft, outcome.seconds) == (1, 1.0, 1.0)
    assert outcome.request_id is not None
    assert outcome.request_id.startswith("req_")


async def test_prompts_parameters_and_items(autojump_clock):
    client, api = client_of()
    items: list[Any] = [
        "plain",
        {"messages": [{"role": "user", "content": "params"}], "max_tokens": 7},
        ts.Item({"messages": [{"role": "user", "content": "item"}], "model": "other"}),
    ]
    async with ts.fan_out(client, items, system="Be brief.", **PARAMS) as results:
        assert sorted(o.text for o in await collect(results)) == ["<item>", "<params>", "<plain>"]
    bodies = {prompt_of(request): request.body for request in api.requests}
    assert bodies["params"]["max_tokens"] == 7
    assert bodies["item"]["model"] == "other"
    assert {body["system"] for body in bodies.values()} == {"Be brief."}


async def test_what_is_no_item_is_refused(autojump_clock):
    client, _ = client_of()
    with pytest.raises(TypeError, match="not int"):
        async with ts.fan_out(client, [1], **PARAMS) as results:  # type: ignore[list-item]
            await collect(results)
    with pytest.raises(TypeError, match="put it in a list"):
        ts.fan_out(client, "prompt", **PARAMS)


async def test_betas_go_to_the_beta_resource(autojump_clock):
    client, api = client_of()
    await ts.gather_texts(client, ["a"], betas=["x-2026"], **PARAMS)
    assert api.requests[0].params == {"beta": "true"}


async def numbers(count: int, pulled: list[int]):
    for number in range(count):
        pulled.append(number)
        yield str(number)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_items_are_taken_only_when_there_is_room(asynchronous, autojump_clock):
    """aiometer cannot take an async iterable with backpressure."""
    client, api = client_of()
    pulled: list[int] = []

    def plain():
        for number in range(10_000):
            pulled.append(number)
            yield str(number)

    taken = 0
    async with ts.fan_out(client, numbers(10_000, pulled) if asynchronous else plain(), limit=10, **PARAMS) as results:
        async for _ in results:
            taken += 1
            assert len(pulled) <= taken + 10
            if taken == 20:
                break
    assert len(pulled) <= 30
    assert api.open_streams == 0
    assert len(api.requests) <= 30
    gc.collect()


async def test_a_slow_consumer_slows_down_what_is_before_it(autojump_clock):
    client, api = client_of()
    async with ts.fan_out(client, map(str, range(100)), limit=ts.Adaptive(1, 4, 6), **PARAMS) as results:
        await trio.sleep(1000)
        assert len(api.requests) <= 6
        assert results.stats.unread <= 6
        await anext(results)
        await trio.sleep(10)
        assert len(api.requests) <= 7


async def test_a_cancelled_wait_for_an_outcome_loses_nothing(autojump_clock):
    client, _ = client_of()
    async with ts.fan_out(client, ["a", "b"], **PARAMS) as results:
        outcomes = []
        while len(outcomes) < 2:
            with trio.move_on_after(0.3):
                outcomes.append(await anext(results))
        assert await collect(results) == []


async def test_what_the_iterable_raises_is_raised(autojump_clock):
    client, api = client_of()

    def broken():
        yield "a"
        raise KeyError("no such row")

    with pytest.raises(KeyError, match="no such row") as caught:
        async with ts.fan_out(client, broken(), **PARAMS) as results:
            await collect(results)
    assert [outcome.status for outcome in caught.value.outcomes] in ([], ["cancelled"], ["skipped"])
    assert api.open_streams == 0


async def test_no_items(autojump_clock):
    client, _ = client_of()
    async with ts.fan_out(client, [], **PARAMS) as results:
        assert await collect(results) == []


@pytest.mark.no_cover
async def test_twenty_thousand_items_end(autojump_clock):
    """lm-eval hangs there. Its tasks are not all started at once here."""
    journal = Notes()
    journal.lookup = lambda key, request_hash: ts.Outcome(status="cached", text="x")  # type: ignore[method-assign]
    client, _ = client_of()
    async with ts.fan_out(client, map(str, range(20_000)), journal=journal, **PARAMS) as results:
        count = 0
        async for _ in results:
            count += 1
    assert count == results.stats.cached == 20_000


# Errors and retries.


async def test_errors_are_captured(autojump_clock):
    client, _ = client_of(default=lambda request: [http_error(400)] if prompt_of(request) == "bad" else echo(request))
    async with ts.fan_out(client, ["a", "bad", "c"], **PARAMS) as results:
        outcomes = {outcome.index: outcome for outcome in await collect(results)}
    assert [outcomes[index].status for index in range(3)] == ["ok", "error", "ok"]
    with pytest.raises(ts.BadRequestError):
        outcomes[1].unwrap()
    assert results.stats.errors == 1


async def test_raise_cancels_the_others_and_raises_the_error_itself(autojump_clock):
    client, api = client_of(
        default=lambda request: [http_error(400)] if prompt_of(request) == "bad" else [say("begun", stall(), ttft=0.0)]
    )
    with pytest.raises(ts.BadRequestError) as caught:
        async with ts.fan_out(client, ["a", "b", "bad"], limit=3, on_error="raise", **PARAMS) as results:
            await collect(results)
    assert api.open_streams == 0
    assert {outcome.index: outcome.status for outcome in results.unread} == {0: "cancelled", 1: "cancelled", 2: "error"}
    assert [outcome.text for outcome in results.unread if outcome.status == "cancelled"] == ["begun", "begun"]
    assert caught.value in [outcome.error for outcome in caught.value.outcomes]


async def test_an_error_nobody_asked_for_is_raised_on_leaving(autojump_clock):
    client, _ = client_of([http_error(400)])
    with pytest.raises(ts.BadRequestError):
        async with ts.fan_out(client, ["a"], on_error="raise", **PARAMS):
            await trio.sleep(1)


async def test_an_error_of_the_block_leaves_as_itself(autojump_clock):
    client, api = client_of()
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with ts.fan_out(client, ["a"], **PARAMS):
            await trio.sleep(0.5)
            raise error
    assert caught.value is error
    assert api.open_streams == 0


@pytest.mark.parametrize(
    "first",
    [
        [http_error(500)],
        [http_error(529)],
        [http_error(429, retry_after=1)],
        [http_error(429)],
        [say("half", disconnect())],
        [say("half", disconnect(reset=True))],
        [say("half", fail("overloaded_error"))],
        [say("half", fail("rate_limit_error"))],
        [disconnect()],
    ],
    ids=str,
)
async def test_what_fails_is_tried_again_also_in_the_middle(first, autojump_clock):
    client, api = client_of(first, [say("whole")])
    (outcome,) = await ts.gather_outcomes(client, ["a"], **PARAMS)
    assert (outcome.status, outcome.text, outcome.attempts) == ("ok", "whole", 2)
    assert api.open_streams == 0


async def test_retries_end(autojump_clock):
    client, api = client_of(default=[say("half", disconnect())])
    (outcome,) = await ts.gather_outcomes(client, ["a"], max_attempts=3, **PARAMS)
    assert (outcome.status, outcome.text, outcome.attempts) == ("error", "half", 3)
    assert isinstance(outcome.error, ts.IncompleteStreamError)
    assert len(api.requests) == 3


@pytest.mark.parametrize(
    "script",
    [
        [http_error(400)],
        [http_error(403, body=b"<html>")],
        [http_error(413)],
        [http_error(500, headers={"x-should-retry": "false"})],
    ],
    ids=str,
)
async def test_what_cannot_get_better_is_not_tried_again(script, autojump_clock):
    client, api = client_of(default=script)
    (outcome,) = await ts.gather_outcomes(client, ["a"], **PARAMS)
    assert (outcome.status, outcome.attempts, len(api.requests)) == ("error", 1, 1)


async def test_parameters_that_are_wrong_are_an_outcome(autojump_clock):
    client, api = client_of()
    items: list[Any] = [{"messages": [{"role": "user", "content": object()}]}, "b"]
    for journal in (None, Notes()):
        outcomes = await ts.gather_outcomes(client, items, journal=journal, **PARAMS)
        assert [outcome.status for outcome in outcomes] == ["error", "ok"]
        assert isinstance(outcomes[0].error, TypeError)
    assert len(api.requests) == 2


async def test_item_timeout_counts_retries_and_keeps_the_text(autojump_clock):
    client, api = client_of([http_error(500)], default=[say("half", stall(), ttft=1.0)])
    (outcome,) = await ts.gather_outcomes(client, ["a"], item_timeout=10, **PARAMS)
    assert (outcome.status, outcome.text, outcome.attempts, outcome.seconds) == ("timeout", "half", 2, 10.0)
    assert isinstance(outcome.error, ts.TotalTimeoutError)
    assert api.open_streams == 0


async def test_item_timeout_does_not_count_waiting_for_leave_to_send(autojump_clock):
    client, _ = client_of([http_error(429, retry_after=100)], default=[say("ok", pause(4))])
    outcomes = await ts.gather_outcomes(client, ["a", "b", "c"], limit=1, item_timeout=5, **PARAMS)
    assert [outcome.status for outcome in outcomes] == ["ok"] * 3


async def test_item_timeout_ends_a_wait_between_attempts(autojump_clock):
    client, _ = client_of(default=[http_error(500)])
    (outcome,) = await ts.gather_outcomes(client, ["a"], item_timeout=1.0, **PARAMS)
    assert (outcome.status, outcome.seconds) == ("timeout", 1.0)


async def test_clocks_of_a_stream(autojump_clock):
    client, _ = client_of(default=[say("half", stall())])
    (outcome,) = await ts.gather_outcomes(client, ["a"], max_attempts=1, timeout=ts.Timeouts(silence=5), **PARAMS)
    assert (outcome.status, outcome.text) == ("timeout", "half")
    assert isinstance(outcome.error, ts.SilenceTimeoutError)


@pytest.mark.parametrize("max_errors, requests", [(0, 1), (2, 3), (0.5, 20)])
async def test_max_errors_stops_the_job(max_errors, requests, autojump_clock):
    client, api = client_of(default=[http_error(400)])
    outcomes = await ts.gather_outcomes(client, map(str, range(50)), limit=1, max_errors=max_errors, **PARAMS)
    assert len(api.requests) == requests
    assert [outcome.status for outcome in outcomes] == ["error"] * requests + ["skipped"] * (50 - requests)
    with pytest.raises(ts.UnfinishedError, match="max_errors"):
        outcomes[-1].unwrap()


async def test_events_are_tapped(autojump_clock):
    client, _ = client_of([say("half", disconnect())], [say("whole")])
    seen: list[tuple[str | None, str]] = []

    async def tap(item: ts.Item, event: ts.MessageStreamEvent) -> None:
        await trio.lowlevel.checkpoint()
        seen.append((item.id, event.type))

    await ts.gather_texts(client, [ts.Item("a", id="x")], on_event=tap, **PARAMS)
    assert [kind for _, kind in seen].count("message_start") == 2
    assert seen[-1] == ("x", "message_stop")


async def test_an_error_of_the_tap_ends_the_fan_out(autojump_clock):
    client, api = client_of()

    def tap(item: ts.Item, event: ts.MessageStreamEvent) -> None:
        raise LookupError("in the tap")

    with pytest.raises(LookupError, match="in the tap"):
        await ts.gather_outcomes(client, ["a", "b"], on_event=tap, **PARAMS)
    assert api.open_streams == 0


async def test_a_closed_client_ends_the_fan_out(autojump_clock):
    client, _ = client_of(default=[say("x", stall())])
    with pytest.raises(trio.ClosedResourceError):
        async with ts.fan_out(client, ["a", "b"], **PARAMS) as results:
            await trio.sleep(1)
            await client.aclose()
            await collect(results)


# Ending early.


async def test_drain_finishes_what_has_begun(autojump_clock):
    client, api = client_of()
    async with ts.fan_out(client, map(str, range(100)), limit=5, **PARAMS) as results:
        await anext(results)
        results.drain()
        outcomes = await collect(results)
    assert {outcome.status for outcome in outcomes} <= {"ok", "skipped"}
    assert len(outcomes) <= 5
    assert len(api.requests) <= 6


async def test_drain_skips_what_waits_for_leave_to_send(autojump_clock):
    client, api = client_of()
    limiter = ts.HeaderRateLimiter(requests_per_minute=6)
    async with ts.fan_out(client, ["a", "b", "c"], limit=3, limiter=limiter, **PARAMS) as results:
        await trio.sleep(0.5)
        results.drain()
        outcomes = await collect(results)
    assert sorted((outcome.status, outcome.attempts) for outcome in outcomes) == [
        ("ok", 1),
        ("skipped", 0),
        ("skipped", 0),
    ]
    assert len(api.requests) == 1


@pytest.mark.parametrize(
    "script",
    [[http_error(429, retry_after=500)], [http_error(503, retry_after=500)], [http_error(529)], [disconnect()]],
    ids=["pause", "back-off", "overload", "connection"],
)
async def test_drain_waits_for_no_pause(script, autojump_clock):
    """What was refused or has failed is not sent again: `retry-after` may ask for ten minutes."""
    client, api = client_of(default=script)
    async with ts.fan_out(client, ["a", "b", "c"], limit=2, **PARAMS) as results:
        await trio.sleep(1)
        before, requests = trio.current_time(), len(api.requests)
        results.drain()
        outcomes = await collect(results)
        assert trio.current_time() == before
    assert [outcome.status for outcome in outcomes] == ["skipped", "skipped"]
    assert all(outcome.attempts > 0 for outcome in outcomes)
    assert len(api.requests) == requests


async def test_a_pause_that_begins_after_drain_is_not_waited_for(autojump_clock):
    """The last answers may be refusals."""
    client, api = client_of(default=[pause(5), http_error(429, retry_after=500)])
    async with ts.fan_out(client, ["a", "b"], **PARAMS) as results:
        await trio.sleep(1)
        results.drain()
        assert [outcome.status async for outcome in results] == ["skipped", "skipped"]
    assert results.stats.seconds == 5
    assert len(api.requests) == 2


async def test_a_spend_limit_also_ends_what_waits_to_try_again(autojump_clock):
    body = b'{"type":"error","error":{"type":"x","message":"m","details":{"error_code":"organization_on_hold"}}}'
    client, api = client_of(
        default=lambda request: (
            [pause(2), http_error(400, body=body)] if prompt_of(request) == "b" else [http_error(429, retry_after=500)]
        )
    )
    outcomes = await ts.gather_outcomes(client, ["a", "b"], **PARAMS)
    assert [outcome.status for outcome in outcomes] == ["skipped", "skipped"]
    assert isinstance(outcomes[0].error, ts.FanOutStoppedError)
    assert outcomes[0].error.__cause__ is outcomes[1].error
    assert len(api.requests) == 2
    assert outcomes[0].seconds < 3


@pytest.mark.parametrize(
    "status, kind, reason",
    [
        (401, "authentication_error", "authentication"),
        (403, "permission_error", "permission"),
        (402, "billing_error", "spend_limit"),
    ],
)
async def test_a_key_that_is_refused_stops_the_job(status, kind, reason, autojump_clock):
    client, api = client_of(default=[http_error(status, kind, message="no")])
    journal = Notes()
    items = [ts.Item("q", id=str(number)) for number in range(5000)]
    outcomes = await ts.gather_outcomes(client, items, journal=journal, **PARAMS)
    assert len(api.requests) <= 8
    assert {outcome.status for outcome in outcomes} == {"skipped"}
    assert isinstance(outcomes[0].error, ts.APIStatusError)  # its own
    stop = outcomes[-1].error
    assert isinstance(stop, ts.FanOutStoppedError)
    assert stop.reason == reason
    assert f"{status} {kind}: no" in str(stop)
    assert {key: outcome.status for key, outcome in journal.ended.items()} == dict.fromkeys(journal.ended, "skipped")


async def test_a_key_that_is_refused_is_the_error_of_gather_texts(autojump_clock):
    client, api = client_of(default=[http_error(401)])
    with pytest.raises(ts.AuthenticationError):
        await ts.gather_texts(client, map(str, range(50)), **PARAMS)
    assert api.open_streams == 0


async def test_a_key_that_is_refused_in_the_middle_lets_the_others_finish(autojump_clock):
    client, _ = client_of(
        default=lambda request: [http_error(401)] if prompt_of(request) == "2" else [say("x", pause(5))]
    )
    outcomes = await ts.gather_outcomes(client, map(str, range(10)), limit=3, **PARAMS)
    assert [outcome.status for outcome in outcomes] == ["ok", "ok", *["skipped"] * 8]


async def test_what_was_refused_with_the_key_is_asked_when_the_journal_goes_on(autojump_clock, tmp_path):
    items = [ts.Item("q", id=str(number)) for number in range(30)]
    for inflight in ("skip", "retry"):
        path = tmp_path / inflight
        client, _ = client_of(*[[say("x")]] * 3, default=[http_error(401)])
        async with ts.fan_out(client, items, limit=1, journal=path, **PARAMS) as results:
            outcomes = await collect(results)
        assert [outcome.status for outcome in outcomes].count("ok") == 3
        assert [o.status for o in ts.read_journal(path)] == ["ok"] * 3 + ["skipped"]
        client, api = client_of(default=[say("x")])
        with ts.Journal(path, inflight=inflight) as journal:
            outcomes = await ts.gather_outcomes(client, items, journal=journal, **PARAMS)
        assert [outcome.status for outcome in outcomes] == ["cached"] * 3 + ["ok"] * 27
        assert len(api.requests) == 27


async def test_no_usable_key_stops_the_job_without_a_request(autojump_clock):
    client, api = client_of()
    async with ts.fan_out(
        client, map(str, range(100)), extra_headers={"x-api-key": "a", "authorization": "b"}, **PARAMS
    ) as results:
        assert {outcome.status for outcome in await collect(results)} == {"skipped"}
    assert results.stats.stopped is not None
    assert results.stats.stopped.reason == "authentication"
    assert api.requests == []


async def test_a_wrong_model_stops_the_job_after_ten(autojump_clock):
    client, api = client_of(default=[http_error(404, message="model: claude-sonet")])
    outcomes = await ts.gather_outcomes(client, [str(n) for n in range(5000)], **PARAMS)
    assert 10 <= len(api.requests) <= 20
    assert {outcome.status for outcome in outcomes} == {"error", "skipped"}
    stop = outcomes[-1].error
    assert isinstance(stop, ts.FanOutStoppedError)
    assert stop.reason == "same_error"
    assert str(stop).startswith("the first 10 items all failed alike: 404 not_found_error: model: claude-sonet")
    assert isinstance(stop.__cause__, ts.NotFoundError)


@pytest.mark.parametrize("among", ["other words", "an answer", "a limit"])
async def test_errors_that_are_not_all_alike_stop_nothing(among, autojump_clock):
    def answer(request: Any) -> list[Any]:
        number = prompt_of(request)
        if among == "an answer" and number == "3":
            return echo(request)
        return [http_error(400, message=f"prompt {number} is too long" if among == "other words" else "no")]

    client, api = client_of(default=answer)
    limit = 1000 if among == "a limit" else None
    outcomes = await ts.gather_outcomes(client, map(str, range(60)), max_errors=limit, **PARAMS)
    assert {outcome.status for outcome in outcomes} <= {"ok", "error"}
    assert len(api.requests) == 60


async def test_errors_from_the_journal_are_not_the_first(autojump_clock):
    journal = Notes()
    journal.lookup = lambda key, digest: (  # type: ignore[method-assign]
        ts.Outcome(status="error", error=ValueError("old")) if int(key) < 40 else None
    )
    client, _ = client_of()
    items = [ts.Item("q", id=str(number)) for number in range(50)]
    outcomes = await ts.gather_outcomes(client, items, journal=journal, **PARAMS)
    assert [outcome.status for outcome in outcomes] == ["error"] * 40 + ["ok"] * 10


async def test_every_way_to_stop_says_which_it_was(autojump_clock):
    async def reason(how: str, **options: Any) -> str:
        client, _ = client_of(default=[http_error(400)] if how == "max_errors" else [say("x", pause(100))])
        async with ts.fan_out(client, map(str, range(9)), limit=2, **options, **PARAMS) as results:
            await trio.sleep(0.5)
            if how in ("drain", "abort"):
                getattr(results, how)()
            outcomes = await collect(results)
        stopped = results.stats.stopped
        assert stopped is not None
        assert pickle.loads(pickle.dumps(stopped)).reason == stopped.reason
        if how == "abort":
            assert [outcome.error for outcome in outcomes] == [stopped] * 2
            with pytest.raises(ts.UnfinishedError, match="item 0 was cancelled: the fan-out was aborted"):
                next(outcome for outcome in outcomes if outcome.index == 0).unwrap()
        return stopped.reason

    assert await reason("budget", budget=ts.Budget(requests=1)) == "budget"
    assert await reason("max_errors", max_errors=2) == "max_errors"
    assert await reason("drain") == "drain"
    assert await reason("drain", on_error="raise") == "drain"
    assert await reason("abort") == "abort"


async def test_a_budget_of_requests_also_ends_what_would_try_again(autojump_clock):
    client, api = client_of(default=[http_error(500)])
    outcomes = await ts.gather_outcomes(client, ["a", "b"], limit=1, budget=ts.Budget(requests=2), **PARAMS)
    assert [outcome.status for outcome in outcomes] == ["skipped", "skipped"]
    assert len(api.requests) == 2


async def test_abort_keeps_the_partial_texts(autojump_clock):
    client, api = client_of(default=[say("half", stall())])
    journal = Notes()
    async with ts.fan_out(client, [ts.Item("q", id=str(n)) for n in range(9)], limit=3, journal=journal, **PARAMS) as r:
        await trio.sleep(1)
        r.abort()
        outcomes = await collect(r)
    assert [(outcome.status, outcome.text) for outcome in outcomes] == [("cancelled", "half")] * 3
    assert set(journal.partials.values()) == {"half"}
    assert len(journal.partials) == 3
    assert r.stats.cancelled == 3
    assert api.open_streams == 0
    with pytest.raises(ts.UnfinishedError, match="cancelled"):
        outcomes[0].unwrap()


@pytest.mark.no_cover
async def test_a_thousand_live_streams_are_left_at_once(autojump_clock, tmp_path):
    # `tests.bench.leaving` measures it: at most 0.2 s. Here it is traced for coverage, beside whatever else runs.
    assert await leave(tmp_path / "journal", streams=1000) < 30


async def test_an_async_generator_is_closed(autojump_clock):
    client, _ = client_of()
    closed = trio.Event()

    async def items():
        try:
            for number in range(1000):
                yield str(number)
        finally:
            closed.set()

    async with ts.fan_out(client, items(), limit=2, **PARAMS) as results:
        await anext(results)
    assert closed.is_set()


async def test_leaving_while_waiting_for_an_item(autojump_clock):
    client, _ = client_of()
    send, receive = trio.open_memory_channel[str](0)
    with send:
        async with ts.fan_out(client, receive, **PARAMS) as results:
            await send.send("a")
            assert (await anext(results)).text == "<a>"


@pytest.mark.no_cover
async def test_cancelled_at_every_step(autojump_clock):
    client, api = client_of(
        default=lambda request: (
            [say("half", disconnect())] if prompt_of(request) == "bad" else [say("x", pause(1), "y", ttft=0.1)]
        )
    )

    async def run() -> None:
        async with ts.fan_out(client, ["a", "bad", "c"], limit=2, max_attempts=2, **PARAMS) as results:
            async for _ in results:
                pass

    assert await cancel_everywhere(run, lambda: check_nothing_open(api)) > 20


def check_nothing_open(api: Any) -> None:
    assert api.open_streams == 0


# Using it wrongly.


async def test_misuse():
    client, _ = client_of()
    results = ts.fan_out(client, ["a"], **PARAMS)
    with pytest.raises(RuntimeError, match="async with"):
        await anext(results)
    with pytest.raises(RuntimeError, match="never entered"):
        await results.__aexit__(None, None, None)
    async with results:
        pass
    with pytest.raises(RuntimeError, match="entered before"):
        await results.__aenter__()
    with pytest.raises(RuntimeError, match="left already"):
        await results.__aexit__(None, None, None)


@pytest.mark.parametrize(
    "options",
    [
        {"limit": 0},
        {"limit": "many"},
        {"limit": True},
        {"on_error": "ignore"},
        {"max_errors": -1},
        {"max_attempts": 0},
        {"item_timeout": 0},
        {"max_retries": 3},
        {"stream": True},
    ],
    ids=str,
)
def test_options_that_cannot_be(options):
    client, _ = client_of()
    with pytest.raises((ValueError, TypeError)):
        ts.fan_out(client, ["a"], **PARAMS, **options)


# The journal.


async def test_the_journal_comes_before_the_consumer(autojump_clock):
    client, _ = client_of()
    journal = Notes()
    async with ts.fan_out(client, [ts.Item("q", id="k")], journal=journal, **PARAMS) as results:
        await anext(results)
        assert journal.calls == [("start", "k"), ("end", "k")]
    assert not journal.closed  # it is the caller's


async def test_what_the_journal_has_is_not_asked_again(autojump_clock):
    client, api = client_of()
    journal = Notes()
    items = [ts.Item("a", id="1", tag="t"), "b", "b"]
    first = await ts.gather_outcomes(client, items, journal=journal, **PARAMS)
    again = await ts.gather_outcomes(client, items, journal=journal, **PARAMS)
    assert [outcome.status for outcome in again] == ["cached"] * 3
    assert [outcome.unwrap() for outcome in again] == [outcome.text for outcome in first]
    assert (again[0].id, again[0].index, again[0].tag) == ("1", 0, "t")
    # The same prompt twice is two questions, also to the journal.
    assert len(api.requests) == 3


async def test_another_request_under_the_same_id_is_refused(autojump_clock):
    client, api = client_of()
    journal = Notes()
    await ts.gather_texts(client, [ts.Item("a", id="1")], journal=journal, **PARAMS)
    for items in ([ts.Item("b", id="1")], [ts.Item("c", id="2"), ts.Item("c", id="2")]):
        with pytest.raises(ts.JournalConflictError):
            await ts.gather_outcomes(client, items, journal=journal, **PARAMS)
    assert api.open_streams == 0


async def test_a_journal_that_cannot_write_ends_the_fan_out(autojump_clock):
    client, _ = client_of()
    journal = Notes()

    def end(key: str, outcome: ts.Outcome) -> None:
        raise OSError(28, "No space left on device")

    journal.end = end  # type: ignore[method-assign]
    with pytest.raises(OSError, match="No space left"):
        await ts.gather_outcomes(client, ["a", "b"], journal=journal, **PARAMS)


async def test_a_journal_by_path(autojump_clock, tmp_path):
    client, api = client_of()
    path = tmp_path / "answers.jsonl"
    for _ in range(2):
        texts = await ts.gather_texts(client, ["a", "b"], journal=path, **PARAMS)
        assert texts == ["<a>", "<b>"]
    assert len(api.requests) == 2


# Warming up, budgets, figures.


async def test_warm_up_sends_one_first(autojump_clock):
    client, api = client_of(default=[say("x", pause(5), ttft=3.0)])
    async with ts.fan_out(client, ["a", "b", "c"], warmup=True, **PARAMS) as results:
        await collect(results)
    assert [request.at - api.requests[0].at for request in api.requests] == [0, 3, 3]


async def test_warm_up_that_fails_holds_nothing_up(autojump_clock):
    client, _ = client_of([http_error(400)])
    outcomes = await ts.gather_outcomes(client, ["a", "b", "c"], warmup=True, **PARAMS)
    assert [outcome.status for outcome in outcomes] == ["error", "ok", "ok"]


async def test_the_hit_rate_of_the_prompt_cache(autojump_clock):
    from trio_stream.testing import usage

    client, _ = client_of(
        [usage(input_tokens=10, cache_creation_input_tokens=90, cache_read_input_tokens=0), say("x")],
        default=[usage(input_tokens=10, cache_creation_input_tokens=0, cache_read_input_tokens=90), say("x")],
    )
    async with ts.fan_out(client, ["a", "b"], warmup=True, **PARAMS) as results:
        assert results.stats.cache_hit_rate is None
        await collect(results)
    assert results.stats.cache_hit_rate == 0.45


async def test_a_budget_of_requests_is_exact(autojump_clock):
    client, api = client_of()
    outcomes = await ts.gather_outcomes(client, map(str, range(30)), budget=ts.Budget(requests=7), **PARAMS)
    assert len(api.requests) == 7
    assert [outcome.status for outcome in outcomes].count("ok") == 7
    assert {outcome.status for outcome in outcomes[7:]} == {"skipped"}


async def test_a_budget_of_tokens_is_kept_nearly(autojump_clock):
    client, _ = client_of(default=[say("word " * 80)])  # 100 tokens
    async with ts.fan_out(client, map(str, range(10**9)), budget=ts.Budget(output_tokens=5000), **PARAMS) as results:
        outcomes = await collect(results)
    # An iterator without a length is not taken to its end.
    assert {outcome.status for outcome in outcomes} == {"ok"}
    assert 5000 <= results.stats.output_tokens <= 5200
    assert isinstance(results.stats.stopped, ts.FanOutStoppedError)


async def test_a_budget_of_money(autojump_clock):
    client, _ = client_of(default=[say("word " * 80)])
    prices = ts.Prices(input=0, output=10)
    budget = ts.Budget(cost=0.01, prices=prices)  # 1,000 tokens
    with pytest.raises(ts.FanOutStoppedError, match="cost") as caught:
        await ts.gather_texts(client, map(str, range(100)), budget=budget, **PARAMS)
    assert 9 <= sum(outcome.status == "ok" for outcome in caught.value.outcomes) <= 12


async def test_figures(autojump_clock):
    client, _ = client_of([http_error(529)], [http_error(429, retry_after=3)])
    async with ts.fan_out(client, ["a", "b", "c"], **PARAMS) as results:
        assert results.stats.window == 8
        await collect(results)
        stats = results.stats
    assert (stats.pulled, stats.done, stats.ok, stats.in_flight, stats.live, stats.unread) == (3, 3, 3, 0, 0, 0)
    assert (stats.requests, stats.retries, stats.refused, stats.overloaded) == (5, 2, 1, 1)
    assert stats.output_tokens > 0
    assert stats.cost == pytest.approx((stats.input_tokens * 2 + stats.output_tokens * 10) / 1e6)  # the built-in prices
    assert stats.seconds > 4
    assert results.stats.seconds == stats.seconds


# What seldom happens.


async def test_abort_keeps_the_reason_of_an_earlier_stop(autojump_clock):
    """Of both reasons the first is the one that the skipped items have."""
    client, _ = client_of(default=[say("half", stall())])
    async with ts.fan_out(client, ["a", "b", "c"], limit=1, budget=ts.Budget(requests=1), **PARAMS) as results:
        await trio.sleep(1)
        results.abort()
        outcomes = await collect(results)
    assert results.stats.stopped is not None
    assert outcomes[0].status == "cancelled"


class FullNotes(Notes):
    """A journal whose disk is full when something is cancelled."""

    def partial(self, key: str, text: str, **_: Any) -> None:
        raise OSError("no room")


async def test_a_journal_that_fails_while_cancelling(autojump_clock):
    """The consumer gets the error; the cancelled items have their outcomes all the same."""
    client, api = client_of(default=[say("half", stall())])
    async with ts.fan_out(client, ["a", "b"], journal=FullNotes(), **PARAMS) as results:
        await trio.sleep(1)
        results.abort()
        with pytest.raises(OSError, match="no room"):
            await collect(results)
    assert api.open_streams == 0


async def test_a_source_that_fails_when_it_is_closed(autojump_clock):
    async def items():
        try:
            while True:
                yield "x"
        finally:
            raise ValueError("cannot be closed")

    client, _ = client_of()
    async with ts.fan_out(client, items(), limit=1, **PARAMS) as results:
        await anext(results)
        results.drain()
        with pytest.raises(ValueError, match="cannot be closed"):
            await collect(results)


async def test_an_answer_that_ends_before_it_begins_has_no_usage(autojump_clock):
    strange = b'event: prelude\ndata: {"type":"prelude"}\n\n'
    client, _ = client_of(default=[raw(strange), disconnect()])
    (outcome,) = await ts.gather_outcomes(client, ["a"], max_attempts=1, **PARAMS)
    assert (outcome.status, outcome.usage) == ("error", None)


async def test_events_can_be_looked_at_without_waiting(autojump_clock):
    seen: list[tuple[str | None, str]] = []
    client, _ = client_of()
    await ts.gather_texts(
        client, [ts.Item("a", id="x")], on_event=lambda item, event: seen.append((item.id, event.type)), **PARAMS
    )
    assert seen[0] == ("x", "message_start")
    assert seen[-1] == ("x", "message_stop")


async def test_an_answer_that_asks_to_wait_for_hours_is_final(autojump_clock):
    client, api = client_of(default=[http_error(503, retry_after=36_000)])
    (outcome,) = await ts.gather_outcomes(client, ["a"], **PARAMS)
    assert outcome.status == "error"
    assert len(api.requests) == 1
