"""`race` and `hedge`."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import trio_stream as ts
from trio_stream.testing import cancel_everywhere, disconnect, event, http_error, pause, say, stall, stop, usage

from .api import PARAMS, by_prompt, client_of, prompt_of

START: dict[str, Any] = {
    "type": "message_start",
    "message": {"id": "m", "type": "message", "role": "assistant", "model": "", "content": []}
    | {"usage": {"input_tokens": 3, "output_tokens": 1}},
}
NO_RETRIES = {**PARAMS, "max_retries": 0}


async def test_the_first_text_wins_and_the_others_are_cancelled(autojump_clock):
    client, api = client_of(
        default=by_prompt(
            a=[say("slow", ttft=5)], b=[say("quick", pause(30), " and long", ttft=2)], c=[say("also slow", ttft=3)]
        )
    )
    began = trio.current_time()
    winner = await ts.race(client, ["a", "b", ts.Item("c", id="x")], **PARAMS)
    assert (winner.index, winner.status, winner.text) == (1, "ok", "quick and long")
    assert trio.current_time() - began == 32
    assert sorted(map(prompt_of, api.disconnects)) == ["a", "c"]
    assert {r.closed_at for r in api.disconnects} == {began + 2}  # litellm pays both, and waits for the slowest
    assert api.open_streams == 0


@pytest.mark.parametrize("win_on", ["first_text", "done"])
async def test_what_the_losers_cost_is_told(win_on, autojump_clock):
    """They have to be paid too: what had arrived of them is estimated. Who was not answered costs nothing."""
    client, _ = client_of(
        default=by_prompt(
            a=[event(START), pause(9)],
            b=[say("quick", pause(5), " and long", ttft=2), usage(output_tokens=9)],
            c=[pause(99)],
            d=[event({"type": "of_next_year"}), pause(99)],
        )
    )
    winner = await ts.race(client, ["a", "b", "c", "d"], win_on=win_on, **PARAMS)
    assert winner.index == 1
    charges = {charge.estimated: (charge.model, charge.output) for charge in winner.charges}
    assert len(winner.charges) == 2
    assert charges == {True: (PARAMS["model"], 1), False: (PARAMS["model"], 9)}


async def test_the_first_to_be_done_wins(autojump_clock):
    client, api = client_of(default=by_prompt(a=[say("first", pause(30))], b=[say("second", ttft=3)]))
    winner = await ts.race(client, ["a", "b"], win_on="done", **PARAMS)
    assert (winner.index, winner.text) == (1, "second")
    assert api.open_streams == 0


async def test_starts_are_staggered(autojump_clock):
    client, api = client_of(default=[say("x", ttft=1.2)])
    winner = await ts.race(client, ["a", "b", "c", "d"], stagger=0.5, **PARAMS)
    assert winner.index == 0
    assert [request.at - api.requests[0].at for request in api.requests] == [0, 0.5, 1.0]


async def test_an_error_starts_the_next_at_once_and_never_wins(autojump_clock):
    client, api = client_of([http_error(400)], [say("good", ttft=1)])
    winner = await ts.race(client, ["a", "b"], stagger=60, **NO_RETRIES)
    assert (winner.index, winner.text) == (1, "good")
    assert api.requests[1].at - api.requests[0].at < 1


@pytest.mark.parametrize("win_on", ["first_text", "done"])
async def test_an_empty_stream_never_wins(win_on, autojump_clock):
    client, _ = client_of(default=by_prompt(a=[stop("end_turn")], b=[say("good", ttft=1)]))
    winner = await ts.race(client, ["a", "b"], win_on=win_on, **PARAMS)
    assert (winner.index, winner.text) == (1, "good")


async def test_a_leader_that_fails_hands_over_to_those_not_started(autojump_clock):
    client, _ = client_of([say("half", pause(5), disconnect())], [say("whole")])
    winner = await ts.race(client, ["a", "b"], stagger=1, **NO_RETRIES)
    assert (winner.index, winner.text) == (1, "whole")


async def test_one_failure_is_raised_itself_and_several_as_a_group(autojump_clock):
    client, _ = client_of(default=[http_error(400)])
    with pytest.raises(ts.BadRequestError):
        await ts.race(client, ["a"], **NO_RETRIES)
    with pytest.RaisesGroup(ts.BadRequestError, ts.BadRequestError):
        await ts.race(client, ["a", "b"], **NO_RETRIES)
    client, _ = client_of(default=[stop("refusal")])
    with pytest.raises(ts.OutputParseError, match="refusal"):
        await ts.race(client, ["a"], **PARAMS)


async def test_hedge_sends_no_copy_that_is_not_needed(autojump_clock):
    """DSPy resubmits stragglers and pays twice."""
    client, api = client_of(default=[say("begun", pause(100), " and done", ttft=1)])
    outcome = await ts.hedge(client, "a", after=2, **PARAMS)
    assert (outcome.index, outcome.text) == (0, "begun and done")
    assert len(api.requests) == 1


async def test_hedge_sends_the_copy_when_no_text_comes(autojump_clock):
    client, api = client_of([say("late", ttft=60)], [say("copy", ttft=1)])
    outcome = await ts.hedge(client, "a", after=2, **PARAMS)
    assert (outcome.index, outcome.text) == (1, "copy")
    assert [request.at - api.requests[0].at for request in api.requests] == [0, 2]
    assert [prompt_of(request) for request in api.requests] == ["a", "a"]
    assert api.open_streams == 0


async def test_cancelled_at_every_step(autojump_clock):
    client, api = client_of(default=[say("x", pause(1), "y", ttft=0.1)])

    async def run() -> None:
        await ts.race(client, ["a", "b"], stagger=0.01, **PARAMS)

    def check() -> None:
        assert api.open_streams == 0

    assert await cancel_everywhere(run, check) > 10


async def test_cancelling_it_cancels_every_request(autojump_clock):
    client, api = client_of(default=[stall()])
    with trio.move_on_after(5):
        await ts.race(client, ["a", "b"], **PARAMS)
    assert api.open_streams == 0
    assert len(api.requests) == 2


async def test_misuse():
    client, _ = client_of()
    with pytest.raises(TypeError, match="at least one"):
        await ts.race(client, [], **PARAMS)
    with pytest.raises(ValueError, match="win_on"):
        await ts.race(client, ["a"], win_on="luck", **PARAMS)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="model"):
        await ts.race(client, ["a"], max_tokens=5)


@pytest.mark.parametrize("win_on", ["first_text", "done"])
async def test_of_two_that_win_at_the_same_moment_one_does(win_on, autojump_clock):
    client, api = client_of(default=[say("x", ttft=1)])
    winner = await ts.race(client, ["a", "b", "c"], win_on=win_on, **PARAMS)
    assert (winner.status, winner.text) == ("ok", "x")
    assert api.open_streams == 0
