"""The states of a fan-out: the table in `_job`, and what a user sees of it at the edges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

import trio_stream as ts
from trio_stream.batch._job import Job, JobState
from trio_stream.batch._outbox import Outbox
from trio_stream.testing import http_error, pause, say, stall

from .api import PARAMS, Notes, client_of


def stop(job: Job) -> None:
    job.stop(ts.FanOutStoppedError("no more", reason="budget"))


EVENTS: dict[str, Callable[[Job], None]] = {
    "begin": Job.begin,
    "stop": stop,
    "cancel": lambda job: job.cancel("a test"),
    "end": Job.end,
}

NEW, RUNNING, STOPPING, CANCELLING, ENDED = JobState


@pytest.mark.parametrize(
    ("way", "state"),
    [
        ("", NEW),
        ("begin", RUNNING),
        ("stop", STOPPING),
        ("cancel", CANCELLING),
        ("begin stop", STOPPING),
        ("begin cancel", CANCELLING),
        ("begin end", ENDED),
        ("stop begin", STOPPING),
        ("stop stop", STOPPING),
        ("stop cancel", CANCELLING),
        ("begin stop end", ENDED),
        ("cancel begin", CANCELLING),
        ("cancel stop", CANCELLING),
        ("cancel cancel", CANCELLING),
        ("begin cancel end", ENDED),
        ("begin end stop", ENDED),
        ("begin end cancel", ENDED),
    ],
)
async def test_the_table(way: str, state: JobState) -> None:
    job = Job(Outbox(), skip_rest=False)
    for event in way.split():
        EVENTS[event](job)
    assert job.state is state
    # Scopes and states say the same.
    assert job.tasks.cancel_called == ("cancel" in way)
    assert job.taking.cancel_called == ("stop" in way)


@pytest.mark.parametrize("skip_rest", [False, True])
@pytest.mark.parametrize("reason", ["drain", "budget"])
async def test_a_stop_takes_the_rest_only_to_skip_it_and_never_when_drained(reason: Any, skip_rest: bool) -> None:
    job = Job(Outbox(), skip_rest=skip_rest)
    job.stop(ts.FanOutStoppedError("no more", reason=reason))
    assert job.taking.cancel_called == (reason == "drain" or not skip_rest)


async def test_the_first_reason_stays_but_an_abort_replaces_a_drain() -> None:
    job = Job(Outbox(), skip_rest=False)
    for reason in ("drain", "budget"):
        job.stop(ts.FanOutStoppedError("no more", reason=reason))  # type: ignore[arg-type]
    assert job.stopped is not None
    assert job.stopped.reason == "drain"
    job.abort()
    assert job.stopped.reason == "abort"
    job = Job(Outbox(), skip_rest=False)
    stop(job)
    job.abort()
    assert job.stopped is not None
    assert job.stopped.reason == "budget"


async def test_before_it_is_entered(autojump_clock):
    client, api = client_of()
    results = ts.fan_out(client, ["a"], budget=ts.Budget(prices=ts.Prices(input=1, output=1)), **PARAMS)
    await trio.sleep(5)
    stats = results.stats
    assert (stats.seconds, stats.pulled, stats.window, stats.cost, stats.stopped) == (0.0, 0, 8, 0.0, None)
    assert results.unread == ()
    assert api.requests == []


@pytest.mark.parametrize("how", ["drain", "abort"])
async def test_ended_before_it_is_entered(how, autojump_clock):
    client, api = client_of()
    results = ts.fan_out(client, ["a", "b"], **PARAMS)
    getattr(results, how)()
    async with results:
        assert [outcome async for outcome in results] == []
    assert api.requests == []
    assert results.stats.stopped is not None
    assert results.stats.stopped.reason == how


async def test_after_it_has_ended_outcomes_can_still_be_taken(autojump_clock):
    client, _ = client_of()
    async with ts.fan_out(client, ["a", "b"], **PARAMS) as results:
        await trio.sleep(10)
        seconds = results.stats.seconds
        assert seconds == 1.0
        await trio.sleep(10)
        assert results.stats.seconds == seconds
        results.abort()
        assert [outcome.status async for outcome in results] == ["ok", "ok"]
    assert await anext(results, None) is None


async def test_what_was_cancelled_can_be_taken_behind_the_block(autojump_clock):
    client, _ = client_of(default=[say("half", stall())])
    async with ts.fan_out(client, ["a", "b"], limit=1, **PARAMS) as results:
        await trio.sleep(1)
    assert [(outcome.status, outcome.text) async for outcome in results] == [("cancelled", "half")]


async def test_a_generator_that_fails_while_it_is_closed(autojump_clock):
    client, api = client_of(default=[say("x", pause(5))])

    async def items():
        try:
            for number in range(100):
                yield str(number)
        finally:
            raise LookupError("the cursor was closed")

    with pytest.raises(LookupError, match="the cursor was closed") as caught:
        async with ts.fan_out(client, items(), limit=2, **PARAMS) as results:
            await trio.sleep(1)
            results.drain()
            await trio.sleep(10)
            async for _ in results:
                pass
    # What had been finished by then is not lost.
    assert [outcome.status for outcome in caught.value.outcomes] == ["ok", "ok"]  # type: ignore[attr-defined]
    assert api.open_streams == 0


async def test_a_journal_that_cannot_note_partial_texts(autojump_clock):
    client, api = client_of(default=[say("half", stall())])
    journal = Notes()

    def partial(key: str, text: str, **more: Any) -> None:
        raise OSError(28, f"No space left for {text}")

    journal.partial = partial  # type: ignore[method-assign]
    with pytest.raises(OSError, match="No space left for half") as caught:
        async with ts.fan_out(client, ["a", "b", "c"], limit=2, journal=journal, **PARAMS) as results:
            await trio.sleep(1)
            results.abort()
            await trio.sleep(1)
            async for _ in results:
                pass
    # The texts are on the outcomes all the same.
    assert [(outcome.status, outcome.text) for outcome in caught.value.outcomes] == [("cancelled", "half")] * 2  # type: ignore[attr-defined]
    assert api.open_streams == 0


async def test_the_error_is_raised_each_time_and_once_only_on_leaving(autojump_clock):
    client, _ = client_of(default=[http_error(400)])
    async with ts.fan_out(client, ["a", "b"], on_error="raise", **PARAMS) as results:
        errors = []
        for _ in range(2):
            try:
                await anext(results)
            except ts.BadRequestError as error:
                errors.append(error)
    assert len(errors) == 2
    assert errors[0] is errors[1]


async def test_a_refusal_of_two_at_once_is_one_error(autojump_clock):
    client, _ = client_of(default=[http_error(400)])
    with pytest.raises(ts.BadRequestError) as caught:
        await ts.gather_texts(client, ["a", "b", "c"], limit=3, **PARAMS)
    assert caught.value in [outcome.error for outcome in caught.value.outcomes]  # type: ignore[attr-defined]


async def test_an_item_that_is_to_wait_too_long_is_given_up(autojump_clock):
    client, api = client_of(default=[http_error(500, headers={"retry-after": "601"})])
    (outcome,) = await ts.gather_outcomes(client, ["a"], **PARAMS)
    assert (outcome.status, outcome.attempts, len(api.requests)) == ("error", 1, 1)


async def test_a_tap_may_be_a_plain_function(autojump_clock):
    client, _ = client_of()
    seen: list[str] = []
    await ts.gather_texts(client, ["a"], on_event=lambda item, event: seen.append(event.type), **PARAMS)
    assert seen[-1] == "message_stop"
