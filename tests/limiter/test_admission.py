"""One limiter for a program: which calls wait for it, what it is told of each, and what a stream tells of its wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

import trio_stream as ts
from tests.batch.api import NO_LIMITS, Notes, client_of
from trio_stream._limiter import Admission
from trio_stream.testing import (
    Quota,
    Step,
    call as calls_tool,
    cancel_everywhere,
    disconnect,
    fail,
    headers,
    http_error,
    pause,
    say,
    stall,
)

PARAMS: dict[str, Any] = {"model": "claude-sonnet-5-5", "max_tokens": 256}
QUESTION: dict[str, Any] = {**PARAMS, "messages": [{"role": "user", "content": "Hi"}]}


class Note(ts.RateLimiter):
    """A limiter of somebody else, written before there were lanes: it notes what it is told."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.calls: list[str] = []
        self.permits: list[ts.Permit] = []
        self.held: set[ts.Permit] = set()
        self.seconds = seconds

    async def acquire(self, permit: ts.Permit) -> None:
        await trio.sleep(self.seconds)
        self.calls.append("acquire")
        assert permit not in self.permits, "one permit is asked for once"
        self.permits.append(permit)
        self.held.add(permit)

    def observe(self, permit: ts.Permit, limits: ts.RateLimits) -> None:
        assert permit in self.held
        if permit.began_at is None:
            self.calls.append(f"error {limits.requests.remaining}")
        else:
            assert permit.usage is not None
            assert permit.events() > 0
            self.calls.append("ended" if permit.ended else "began")

    def penalise(self, permit: ts.Permit, error: ts.APIError) -> None:
        assert permit in self.held
        self.calls.append("penalise")

    def release(self, permit: ts.Permit) -> None:
        self.held.remove(permit)
        self.calls.append("release")


def noted(*scripts: list[Step], seconds: float = 0.0, **options: Any) -> tuple[ts.Client, Note]:
    limiter = Note(seconds)
    client, _ = client_of(*scripts, **options)
    return client.with_options(limiter=limiter), limiter


# Which calls wait.


async def stream(client: ts.Client) -> None:
    async with client.messages.stream(**QUESTION) as message_stream:
        assert [event async for event in message_stream]


async def create(client: ts.Client) -> None:
    await client.messages.create(**QUESTION)


async def raw_events(client: ts.Client) -> None:
    events = await client.messages.create(**QUESTION, stream=True)
    assert client.limiter is not None
    assert not getattr(client.limiter, "calls", None), "it waits when the block is entered"
    async with events:
        assert [event async for event in events]


async def parse(client: ts.Client) -> None:
    await client.messages.parse(output=int, **QUESTION)


async def beta(client: ts.Client) -> None:
    await client.beta.messages.create(**QUESTION, betas=["x"])


async def conversation(client: ts.Client) -> None:
    await ts.Conversation(client, **PARAMS).ask("Hi")


async def race(client: ts.Client) -> None:
    await ts.race(client, ["Hi"], **PARAMS)


async def hedge(client: ts.Client) -> None:
    await ts.hedge(client, "Hi", after=60, **PARAMS)


async def fan_out(client: ts.Client) -> None:
    await ts.gather_texts(client, ["Hi"], **PARAMS)


CALLS = [stream, create, raw_events, parse, beta, conversation, race, hedge, fan_out]


@pytest.mark.parametrize("call", CALLS)
async def test_every_message_waits_once(call, autojump_clock):
    """And its answer is told once."""
    client, limiter = noted([say("1")])
    await call(client)
    assert limiter.calls == ["acquire", "began", "ended", "release"]
    (permit,) = limiter.permits
    assert (permit.model, permit.max_tokens) == (PARAMS["model"], 256)
    assert permit.lane == ("batch" if call is fan_out else "interactive")


async def test_calls_with_limits_of_their_own_do_not_wait():
    """Counts and message batches are limited otherwise, and their headers tell of other limits."""
    client, limiter = noted()
    await client.messages.count_tokens(model=PARAMS["model"], messages=QUESTION["messages"], lane="batch")
    with pytest.raises(ts.NotFoundError):
        await client.messages.batches.retrieve("msgbatch_1")
    assert limiter.calls == []


async def test_what_is_sent_is_estimated():
    """Whatever it was given as: here a generator, a message of ours, and an extra body."""
    client, limiter = noted([say("x" * 4000)], [say("yes")])
    first = await client.messages.create(**QUESTION)
    turns = ({"role": "user", "content": "Hi"} if turn != 1 else first for turn in range(3))
    await client.messages.create(**PARAMS, messages=turns, extra_body={"speed": "fast", "max_tokens": 7})
    permit = limiter.permits[1]
    assert (permit.max_tokens, permit.fast) == (7, True)
    # The API has counted meanwhile.
    assert permit.usage is not None
    assert permit.usage.input_tokens > 1000


async def test_every_request_of_a_race_waits_for_itself(autojump_clock):
    """The loser's permit is given back."""
    client, limiter = noted([say("one", ttft=5)], [say("two", ttft=1)])
    outcome = await ts.race(client, ["a", "b"], stagger=1, **PARAMS)
    assert outcome.index == 1
    assert limiter.calls.count("acquire") == limiter.calls.count("release") == 2
    assert not limiter.held


# What the limiter is told.


CUT: list[Step] = [say("one two three", tps=1), disconnect()]
ATTEMPTS: dict[str, tuple[list[list[Step]], list[str]]] = {
    "refused": (
        [[http_error(429, retry_after=1)], [say("x")]],
        ["acquire", "penalise", "release", "acquire", "began", "ended", "release"],
    ),
    "overloaded": (
        [[http_error(529, headers={"anthropic-ratelimit-requests-remaining": "7"})], [say("x")]],
        ["acquire", "error 7", "release", "acquire", "began", "ended", "release"],
    ),
    "says nothing": (
        [[http_error(500, headers=NO_LIMITS)], [say("x")]],
        ["acquire", "release", "acquire", "began", "ended", "release"],
    ),
    "no answer": ([[disconnect()], [say("x")]], ["acquire", "release", "acquire", "began", "ended", "release"]),
    "bad request": ([[http_error(400, headers=NO_LIMITS)]], ["acquire", "release"]),
    "cut": ([[say("one"), disconnect()]], ["acquire", "began", "release"]),
    "error event": (
        [[say("one"), fail("rate_limit_error")]],
        ["acquire", "began", "penalise", "release"],
    ),
}


@pytest.mark.parametrize("name", ATTEMPTS)
async def test_a_limiter_is_told_of_every_attempt(name, autojump_clock):
    """Each has a permit of its own, and gives it back before the next wait."""
    scripts, calls = ATTEMPTS[name]
    client, limiter = noted(*scripts)
    try:
        await client.messages.create(**QUESTION)
    except ts.APIError:
        assert len(scripts) == 1
    assert limiter.calls == calls
    assert not limiter.held


async def test_however_a_block_is_left_its_permit_is_given_back(autojump_clock):
    """Left early, cancelled, closed by another task, with an exception, or because the client is closed."""
    client, limiter = noted(default=[say("one"), pause(100), stall()])

    async with client.messages.stream(**QUESTION):
        assert limiter.held
    assert not limiter.held

    with trio.move_on_after(5):
        async with client.messages.stream(**QUESTION) as message_stream:
            await message_stream.until_done()
    assert not limiter.held

    async with client.messages.stream(**QUESTION) as message_stream:
        await message_stream.aclose()
        assert not limiter.held

    with pytest.raises(ZeroDivisionError):
        async with client.messages.stream(**QUESTION):
            raise ZeroDivisionError
    assert not limiter.held

    async with client.messages.stream(**QUESTION, timeout=ts.Timeouts(silence=3)) as message_stream:
        with pytest.raises(ts.SilenceTimeoutError):
            await message_stream.until_done()
        assert not limiter.held

    with pytest.raises(trio.ClosedResourceError):
        async with client.messages.stream(**QUESTION) as message_stream:
            await client.aclose()
            assert not limiter.held
            await message_stream.receive()
    assert limiter.calls == ["acquire", "began", "release"] * 6


async def test_a_stream_that_is_closed_while_it_waits(autojump_clock):
    """By the client, in another task: nothing was taken, and nothing is given back."""
    client, limiter = noted(seconds=10)
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await client.messages.create(**QUESTION)

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        await client.aclose()
    assert limiter.calls == []


async def test_a_stream_that_is_closed_the_moment_it_gets_its_permit(autojump_clock):
    """Its task notices only at its next wait; then the permit is given back."""

    class Late(Note):
        async def acquire(self, permit: ts.Permit) -> None:
            await super().acquire(permit)
            with trio.CancelScope(shield=True):
                await client.aclose()

    limiter = Late()
    client, _ = client_of()
    client = client.with_options(limiter=limiter)
    with pytest.raises(trio.ClosedResourceError):
        await client.messages.create(**QUESTION)
    assert limiter.calls == ["acquire", "release"]


async def test_what_a_limiter_raises_leaves_as_itself(autojump_clock):
    """A limiter on another machine may be lost."""

    class Broken(Note):
        async def acquire(self, permit: ts.Permit) -> None:
            await trio.lowlevel.checkpoint()
            raise ConnectionError("lost")

    moments: list[ts.Moment] = []
    client, _ = client_of()
    client = client.with_options(limiter=Broken(), instruments=[moments.append])
    with pytest.raises(ConnectionError, match="lost"):
        await client.messages.create(**QUESTION)
    assert [type(moment) for moment in moments] == [ts.CallStart, ts.CallEnd]


async def test_a_request_that_is_larger_than_the_limit_is_sent_once(autojump_clock):
    """No waiting helps it, so its refusal is its error; smaller ones are tried again."""
    told = {"anthropic-ratelimit-input-tokens-limit": "1000", "anthropic-ratelimit-input-tokens-remaining": "1000"}
    refusal = http_error(429, retry_after=30, headers={**NO_LIMITS, **told})
    client, api = client_of([refusal], [http_error(429, retry_after=1, headers={**NO_LIMITS, **told})], [say("x")])
    client = client.with_options(limiter=ts.HeaderRateLimiter())
    with pytest.raises(ts.RateLimitError):
        await client.messages.create(**PARAMS, messages=[{"role": "user", "content": "x" * 8000}])
    assert len(api.requests) == 1
    assert await client.messages.create(**QUESTION)
    assert len(api.requests) == 3


async def test_after_the_stream_has_let_go_nothing_more_is_told(autojump_clock):
    """It may be closed by another task while its own is on the way to say something."""
    limiter = Note()
    admission = Admission(limiter, lambda: ts.Permit(input_tokens=1, max_tokens=1))
    await admission.ask()
    admission.release()
    admission.release()
    admission.began(ts.RateLimits(), ts.Usage(), lambda: 1)
    admission.completed(ts.Usage())
    admission.failed(ts.RateLimitError("x", status_code=429))
    assert limiter.calls == ["acquire", "release"]


# The limits hold.


@pytest.mark.parametrize("call", [stream, create, conversation, race])
async def test_streams_keep_below_the_limits(call, autojump_clock):
    """A hundred at once, at a hundred a minute that are used up: without a limiter most would be refused."""
    quota = Quota(requests_per_minute=60, burst=0.2)
    client, _ = client_of(default=[say("x")], quota=quota)
    client = client.with_options(limiter=ts.HeaderRateLimiter())
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(72):
            nursery.start_soon(call, client)
    assert quota.refused == 0
    assert trio.current_time() - began == pytest.approx(60, abs=3)


async def test_a_program_shares_one_limit(autojump_clock):
    """Two fan-outs and people, on one client: nothing is refused, and people hardly wait."""
    quota = Quota(requests_per_minute=60)
    client, _ = client_of(default=[say("x")], quota=quota)
    client = client.with_options(limiter=ts.HeaderRateLimiter(reserve=0.1))
    waits: list[float] = []

    async def people() -> None:
        for _ in range(10):
            await trio.sleep(10)
            async with client.messages.stream(**QUESTION) as message_stream:
                waits.append(message_stream.stats.waited_for_limit)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(people)
        for name in "ab":
            prompts = [f"{name}{number}" for number in range(100)]
            nursery.start_soon(lambda prompts=prompts: ts.gather_texts(client, prompts, **PARAMS))
    assert quota.refused == 0
    assert max(waits) < 1.1


async def test_two_fan_outs_share_a_limit_whatever_the_length_of_their_prompts(autojump_clock):
    """Of items of 1,100 tokens beside 1,000 none was sent after the first minute, before there was a queue."""
    quota = Quota(input_tokens_per_minute=100_000)
    client, _ = client_of(default=[say("x", ttft=0.5)], quota=quota)
    client = client.with_options(limiter=ts.HeaderRateLimiter())
    began = trio.current_time()
    done: dict[int, list[float]] = {1000: [], 1100: []}

    async def work(tokens: int) -> None:
        prompts = ["x" * (4 * tokens - 45)] * 250
        async with ts.fan_out(client, prompts, limit=ts.Adaptive(2, 8, 100), **PARAMS) as results:
            async for outcome in results:
                assert outcome.status == "ok"
                done[tokens].append(trio.current_time() - began)

    async with trio.open_nursery() as nursery:
        for tokens in done:
            nursery.start_soon(work, tokens)
    assert quota.refused == 0
    for minute in (1, 2, 3):
        small, large = (sum(60 * minute <= at < 60 * (minute + 1) for at in moments) for moments in done.values())
        assert small == pytest.approx(large, abs=2)
        assert small + large == pytest.approx(100_000 / 1050, abs=3)


# Lanes.


async def lane_of(client: ts.Client, limiter: Note, call: Callable[[ts.Client], Awaitable[object]]) -> str:
    limiter.permits.clear()
    limiter.calls.clear()
    await call(client)
    (permit,) = limiter.permits
    return permit.lane


async def test_whose_lane_it_is(autojump_clock):
    """The call's, else the client's, else what the call is."""
    client, limiter = noted(default=[say("1")])
    of_people, of_batches = (client.with_options(lane=lane) for lane in ("interactive", "batch"))
    assert (client.lane, of_people.lane, of_batches.lane) == (None, "interactive", "batch")
    for call in CALLS:
        usual = "batch" if call is fan_out else "interactive"
        assert await lane_of(client, limiter, call) == usual
        assert await lane_of(of_people, limiter, call) == "interactive"
        assert await lane_of(of_batches, limiter, call) == "batch"

    said: list[Callable[[ts.Client], Awaitable[object]]] = [
        lambda client: client.messages.create(**QUESTION, lane="batch"),
        lambda client: client.beta.messages.create(**QUESTION, lane="batch"),
        lambda client: ts.Conversation(client, **PARAMS, lane="batch").ask("Hi"),
        lambda client: ts.race(client, ["Hi"], **PARAMS, lane="batch"),
    ]
    for call in said:
        assert await lane_of(of_people, limiter, call) == "batch"
    assert await lane_of(of_batches, limiter, lambda c: ts.gather_texts(c, ["a"], **PARAMS, lane="interactive")) == (
        "interactive"
    )
    item = {"messages": QUESTION["messages"], "lane": "interactive"}
    assert await lane_of(client, limiter, lambda client: ts.gather_texts(client, [item], **PARAMS)) == "interactive"


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("lane", ["interactive", "batch"])
async def test_what_a_fan_out_calls_for_its_items_is_in_their_lane(lane, watched, autojump_clock):
    """Whether somebody watches it or not."""
    client, limiter = noted(default=[say("1")])
    if watched:
        client = client.with_options(instruments=[lambda moment: None])

    async def on_event(item: ts.Item, event: ts.MessageStreamEvent) -> None:
        if event.type == "message_stop":
            await client.messages.create(**QUESTION)

    await ts.gather_texts(client, ["Hi"], on_event=on_event, **PARAMS, lane=lane)
    assert [permit.lane for permit in limiter.permits] == [lane, lane]


@pytest.mark.parametrize("where", ["the conversation", "the client", "nowhere"])
async def test_tools_and_sub_agents_are_in_the_lane_of_their_run(where, autojump_clock):
    """Unless they say one: a nightly run must not overtake people by what its tools ask."""
    client, limiter = noted(
        [calls_tool("research", {"prompt": "people"})],
        [calls_tool("look", {"name": "Lisbon"})],
        default=[say("1")],
    )
    if where == "the client":
        client = client.with_options(lane="batch")
    options: dict[str, Any] = {"lane": "batch"} if where == "the conversation" else {}

    @ts.tool
    async def look(name: str) -> str:
        """Looks it up.

        Args:
          name: What.
        """
        await client.messages.create(**QUESTION, lane="interactive")
        return (await client.messages.create(**QUESTION)).text

    researcher = ts.Conversation(client, **PARAMS, tools=[look])
    chat = ts.Conversation(client, **PARAMS, tools=[researcher.as_tool("research", "Finds out.")], **options)
    await chat.ask("How many?")
    usual = "interactive" if where == "nowhere" else "batch"
    assert [permit.lane for permit in limiter.permits] == [usual, usual, "interactive", usual, usual, usual]
    limiter.permits.clear()
    await create(client)
    assert limiter.permits[0].lane == ("batch" if where == "the client" else "interactive"), "the run is over"


async def test_no_lane_is_sent_or_part_of_a_request(autojump_clock):
    """A journal of a run in one lane is continued in the other."""
    client, api = client_of()
    journal = Notes()
    await ts.gather_texts(client, ["a"], journal=journal, **PARAMS, lane="interactive")
    await ts.gather_texts(client, ["a"], journal=journal, **PARAMS)
    await ts.gather_texts(
        client, [{"messages": [{"role": "user", "content": "a"}], "lane": "batch"}], journal=journal, **PARAMS
    )
    assert len(api.requests) == 1
    assert "lane" not in api.requests[0].body


async def test_lanes_that_are_none(autojump_clock):
    """It is said at once where it was written, and for an item in its outcome."""
    client, api = client_of()
    wrong: Any = "urgent"
    for act in (
        lambda: ts.Client(api_key="k", lane=wrong),
        lambda: client.with_options(lane=wrong),
        lambda: client.messages.stream(**QUESTION, lane=wrong),
        lambda: ts.fan_out(client, ["a"], **PARAMS, lane=wrong),
    ):
        with pytest.raises(ValueError, match="lane must be 'interactive' or 'batch', not 'urgent'"):
            act()
    (outcome,) = await ts.gather_outcomes(client, [{**QUESTION, "lane": "urgent"}])
    assert (outcome.status, str(outcome.error)) == ("error", "lane must be 'interactive' or 'batch', not 'urgent'")
    assert api.requests == []


# Options.


async def test_a_copy_of_a_client_may_have_another_limiter_or_none(autojump_clock):
    """None says none; not to say anything leaves it as it is."""
    first, second = Note(), Note()
    client, _ = client_of(default=[say("x")])
    client = client.with_options(limiter=first)
    assert client.with_options(max_retries=1).limiter is first
    await create(client.with_options(limiter=second))
    await create(client.with_options(limiter=None))
    assert (first.calls, second.calls) == ([], ["acquire", "began", "ended", "release"])
    for act in (
        lambda limiter: ts.Client(api_key="k", limiter=limiter),
        lambda limiter: client.with_options(limiter=limiter),
    ):
        with pytest.raises(TypeError, match="limiter must be a RateLimiter or None"):
            act(5)


async def test_a_fan_out_may_have_a_limiter_of_its_own(autojump_clock):
    """Then its streams do not wait for the client's as well."""
    own = Note()
    client, limiter = noted(default=[say("x")])
    await ts.gather_texts(client, ["a", "b"], limiter=own, **PARAMS)
    assert limiter.calls == []
    assert own.calls.count("acquire") == own.calls.count("release") == 2


# Time.


async def test_the_wait_counts_for_total_alone(autojump_clock):
    """Five clocks measure waiting for the API; it has not been asked anything yet."""
    clocks = ts.Timeouts(first_event=1, silence=1, stall=1, send=1, connect=1)
    client, _ = noted(default=[say("x", ttft=0.9)], seconds=100)
    async with client.messages.stream(**QUESTION, timeout=clocks) as message_stream:
        await message_stream.until_done()
    stats = message_stream.stats
    assert stats.waited_for_limit == 100
    assert stats.time_to_first_event == pytest.approx(0.9)

    with pytest.raises(ts.TotalTimeoutError) as caught:
        async with client.messages.stream(**QUESTION, timeout=ts.Timeouts(total=30)):
            pass
    assert str(caught.value) == (
        "total: the stream was not open within 30 s, 30 s of which it waited for the client's limiter"
    )
    assert not caught.value.may_have_been_accepted


async def test_a_wait_can_be_seen(autojump_clock):
    """While it lasts, at each attempt, and in the figures at the end."""
    moments: list[ts.Moment] = []
    client, _ = noted([http_error(500, headers=NO_LIMITS)], [say("x")], seconds=10)
    client = client.with_options(instruments=[moments.append], lane="batch")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(create, client)
        await trio.sleep(4)
        (start,) = moments
        assert isinstance(start, ts.CallStart)
        assert start.call.lane == "batch"
        assert start.call.stats() == ts.StreamStats(waited_for_limit=4)
    attempts = [moment for moment in moments if isinstance(moment, ts.AttemptStart)]
    assert [attempt.waited_for_limit for attempt in attempts] == pytest.approx([10, 10])
    assert [attempt.attempt for attempt in attempts] == [1, 2]
    end = moments[-1]
    assert isinstance(end, ts.CallEnd)
    assert (end.stats.waited_for_limit, end.stats.attempts) == (pytest.approx(20), 2)


async def test_the_wait_of_an_item_is_that_of_its_stream(autojump_clock):
    """Although the fan-out waits, before it makes the stream."""
    moments: list[ts.Moment] = []
    client, _ = noted(default=[say("x")], seconds=10)
    client = client.with_options(instruments=[moments.append])
    await ts.gather_texts(client, ["a"], **PARAMS)
    (attempt,) = [moment for moment in moments if isinstance(moment, ts.AttemptStart)]
    assert (attempt.waited_for_limit, attempt.call.lane) == (10, "batch")
    (end,) = [moment for moment in moments if isinstance(moment, ts.CallEnd)]
    assert end.stats.waited_for_limit == 10


async def test_without_a_limiter_there_is_nothing_to_see(autojump_clock):
    """And the figures are those that there were."""
    moments: list[ts.Moment] = []
    client, _ = client_of()
    await create(client.with_options(instruments=[moments.append]))
    (attempt,) = [moment for moment in moments if isinstance(moment, ts.AttemptStart)]
    assert (attempt.waited_for_limit, attempt.call.lane) == (0.0, "interactive")


# Cancelled anywhere.


async def people_and_batches(client: ts.Client) -> None:
    async with trio.open_nursery() as nursery:
        for lane in ("interactive", "batch", "batch", "interactive"):
            nursery.start_soon(lambda lane=lane: client.messages.create(**QUESTION, lane=lane))


async def a_race(client: ts.Client) -> None:
    await ts.race(client, ["a", "b"], **PARAMS)


async def a_fan_out(client: ts.Client) -> None:
    await ts.gather_texts(client, ["a", "b", "c"], **PARAMS)


@pytest.mark.parametrize("call", [people_and_batches, a_race, a_fan_out])
async def test_cancelled_at_every_step_no_permit_is_lost(call, autojump_clock):
    """While it waits in the queue, is opened, read and left."""
    client, _ = client_of(default=[headers(NO_LIMITS), say("one two", ttft=0.1, tps=10)])
    limiter = ts.HeaderRateLimiter(requests_per_minute=600, reserve=0.2, floor=0.2)
    client = client.with_options(limiter=limiter)
    await create(client)  # so that all wait for their turns from now on, a tenth of a second each

    async def check() -> None:
        assert limiter.waiting() == 0
        (model,) = limiter._models.values()
        assert not model.account._live
        with trio.fail_after(5):
            await client.messages.create(**QUESTION, lane="batch")

    assert await cancel_everywhere(lambda: call(client), check) > 30
