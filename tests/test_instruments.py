"""Instruments: each moment at its time, one end for each start, and nothing of theirs reaches the program."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from contextvars import ContextVar
from typing import Any

import httpx
import pytest
import trio

import trio_stream as ts
from trio_stream.testing import ScriptedAPI, disconnect, fail, http_error, pause, say, stall

PARAMS: Any = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "a secret plan"}],
}


class Moments(list[ts.Moment]):
    """An instrument that keeps what it is told."""

    def __call__(self, moment: ts.Moment) -> None:
        self.append(moment)

    @property
    def names(self) -> list[str]:
        return [type(moment).__name__ for moment in self]

    @property
    def ends(self) -> list[ts.CallEnd]:
        return [moment for moment in self if isinstance(moment, ts.CallEnd)]

    @property
    def end(self) -> ts.CallEnd:
        (end,) = self.ends
        return end


def client_of(*scripts: Any, default: Any = None, **options: Any) -> ts.Client:
    return ts.Client(api_key="sk-key", transport=ScriptedAPI(*scripts, default=default), **options)


async def test_the_moments_of_a_call(autojump_clock):
    moments = Moments()
    client = client_of([pause(1), say("Hello")], instruments=[moments])
    await client.messages.create(**PARAMS)
    assert moments.names == ["CallStart", "AttemptStart", "RequestSent", "HeadReceived", "FirstEvent", "CallEnd"]
    assert len({moment.call.id for moment in moments}) == 1
    assert [moment.at for moment in moments] == sorted(moment.at for moment in moments)
    call, end = moments.end.call, moments.end
    assert (call.path, call.model, call.attempts, call.lane, call.parent) == (
        "/v1/messages",
        "claude-sonnet-5-5",
        1,
        "interactive",
        None,
    )
    assert call.params["messages"] == PARAMS["messages"]
    assert call.params["stream"] is True
    assert call.request_id == call.response.headers["request-id"]
    assert (end.outcome, end.error, end.reason, end.usage_final) == (ts.CallOutcome.COMPLETED, None, None, True)
    assert end.usage == call.usage
    assert end.usage.output_tokens > 0
    assert end.stats == call.stats()
    assert end.stats.attempts == 1
    assert end.stats.events > 3


async def test_over_a_port_the_connection_is_told():
    moments = Moments()
    async with (
        ScriptedAPI([say("a")], [say("b")]).serve() as server,
        ts.Client(api_key="k", base_url=server.base_url, instruments=[moments]) as client,
    ):
        await client.messages.create(**PARAMS)
        await client.messages.create(**PARAMS)
    first, second = [moment for moment in moments if isinstance(moment, ts.Connected)]
    assert (first.reused, second.reused) == (False, True)
    assert first.tcp is not None
    assert first.tcp >= 0
    assert (first.tls, second.tcp, second.tls) == (None, None, None)
    assert first.waited >= 0
    assert moments.names.index("AttemptStart") < moments.names.index("Connected") < moments.names.index("RequestSent")


async def test_retries(autojump_clock):
    moments = Moments()
    client = client_of([http_error(529)], [fail("overloaded_error")], [say("Hello")], instruments=[moments])
    async with client.messages.stream(**PARAMS) as stream:
        await stream.until_done()
    assert moments.names == [
        "CallStart",
        *("AttemptStart", "RequestSent", "HeadReceived", "Retry") * 2,
        *("AttemptStart", "RequestSent", "HeadReceived", "FirstEvent"),
        "CallEnd",
    ]
    first, second = [moment for moment in moments if isinstance(moment, ts.Retry)]
    assert isinstance(first.error, ts.OverloadedError)
    assert isinstance(second.error, ts.OverloadedError)
    assert 0 < first.delay < second.delay
    heads = [moment for moment in moments if isinstance(moment, ts.HeadReceived)]
    assert [head.status_code for head in heads] == [529, 200, 200]
    assert heads[2].rate_limits.requests.limit == 4000
    assert moments.end.stats.attempts == 3


async def test_a_call_that_never_had_an_answer(autojump_clock):
    moments = Moments()
    client = client_of(*[[http_error(500)]] * 3, instruments=[moments])
    with pytest.raises(ts.InternalServerError) as caught:
        await client.messages.create(**PARAMS)
    end = moments.end
    assert (end.outcome, end.error, end.usage, end.usage_final) == (ts.CallOutcome.FAILED, caught.value, None, False)
    assert end.stats.attempts == end.call.attempts == 3


def broken(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("no way")


def refuse(_: httpx.Request) -> httpx.Response:
    error = {"type": "not_found_error", "message": "there is no such model"}
    return httpx.Response(404, json={"type": "error", "error": error})


async def never(_: httpx.Request) -> httpx.Response:
    await trio.sleep_forever()
    raise AssertionError


async def test_no_head_after_a_failure_to_connect(autojump_clock):
    moments = Moments()
    client = ts.Client(api_key="k", transport=httpx.MockTransport(broken), max_retries=1, instruments=[moments])
    with pytest.raises(ts.APIConnectionError):
        await client.messages.create(**PARAMS)
    assert "HeadReceived" not in moments.names
    assert moments.names.count("AttemptStart") == 2
    assert moments.end.call.response is None


# How a call ends: each way once, and once each.


async def read_all(stream: ts.MessageStream) -> None:
    await stream.until_done()


async def leave_early(stream: ts.MessageStream) -> None:
    await stream.receive()


async def fail_in_the_block(stream: ts.MessageStream) -> None:
    raise KeyError("mine")


async def cancel_it(stream: ts.MessageStream) -> None:
    stream.cancel("enough")
    await trio.sleep_forever()


async def cancel_from_outside(stream: ts.MessageStream) -> None:
    with trio.CancelScope() as scope:
        scope.cancel(reason="not this one")
        await trio.lowlevel.checkpoint()
    trio.lowlevel.current_task().parent_nursery.cancel_scope.cancel(reason="everything")
    await trio.sleep_forever()


async def close_it(stream: ts.MessageStream) -> None:
    await stream.aclose()


@pytest.mark.parametrize(
    ("body", "outcome", "reason", "error"),
    [
        (read_all, "completed", None, None),
        (leave_early, "left", None, None),
        (close_it, "left", None, None),
        (fail_in_the_block, "left", None, KeyError),
        (cancel_it, "cancelled", "enough", None),
        (cancel_from_outside, "cancelled", "everything", None),
    ],
)
async def test_how_it_ends(body, outcome, reason, error):
    moments = Moments()
    client = client_of([say("one two three")], instruments=[moments])

    async def run() -> None:
        async with client.messages.stream(**PARAMS) as stream:
            await body(stream)

    async with trio.open_nursery() as nursery:

        async def guarded() -> None:
            with contextlib.suppress(KeyError):
                await run()

        nursery.start_soon(guarded)
    end = moments.end
    assert (end.outcome.value, end.reason) == (outcome, reason)
    assert type(end.error) is (type(None) if error is None else error)
    assert end.usage_final is (outcome == "completed")


@pytest.mark.parametrize(
    ("script", "timeouts", "kind"),
    [
        ([say("a"), disconnect()], {}, ts.IncompleteStreamError),
        ([say("a"), fail("api_error")], {}, ts.APIStatusError),
        ([say("a"), stall()], {"silence": 5}, ts.SilenceTimeoutError),
        ([say("a"), stall()], {"total": 5}, ts.TotalTimeoutError),
        ([stall()], {"total": 5}, ts.TotalTimeoutError),
        ([stall()], {"first_event": 5}, ts.FirstEventTimeoutError),
    ],
)
async def test_how_it_fails(script, timeouts, kind, autojump_clock):
    moments = Moments()
    client = client_of(script, instruments=[moments], max_retries=0, timeout=ts.Timeouts(**timeouts))
    with pytest.raises(kind) as caught:
        await client.messages.create(**PARAMS)
    assert moments.end.outcome is ts.CallOutcome.FAILED
    assert moments.end.error is caught.value


async def test_cancelled_while_opening(autojump_clock):
    moments = Moments()
    client = client_of([stall()], instruments=[moments])
    with trio.move_on_after(1):
        await client.messages.create(**PARAMS)
    assert moments.end.outcome is ts.CallOutcome.CANCELLED
    assert moments.end.call.attempts == 1


async def test_closed_while_opening(autojump_clock):
    moments = Moments()
    client = client_of([stall()], instruments=[moments])
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def create() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await client.messages.create(**PARAMS)

        await trio.sleep(1)
        await client.aclose()
    assert moments.end.outcome is ts.CallOutcome.LEFT


async def test_nothing_is_told_of_a_stream_that_is_not_entered():
    moments = Moments()
    client = client_of(instruments=[moments])
    client.messages.stream(**PARAMS)
    await client.messages.create(**PARAMS, stream=True)
    assert moments == []


async def test_count_tokens(autojump_clock):
    moments = Moments()
    client = client_of(instruments=[moments])
    await client.messages.count_tokens(model="m", messages=PARAMS["messages"])
    assert moments.names == ["CallStart", "AttemptStart", "RequestSent", "HeadReceived", "CallEnd"]
    assert moments.end.call.path == "/v1/messages/count_tokens"
    assert moments.end.outcome is ts.CallOutcome.COMPLETED


@pytest.mark.parametrize("how", ["fails", "cancelled"])
async def test_count_tokens_that_ends_badly(how, autojump_clock):
    moments = Moments()
    transport = httpx.MockTransport(refuse if how == "fails" else never)
    client = ts.Client(api_key="k", transport=transport, instruments=[moments])
    with trio.move_on_after(1):
        try:
            await client.messages.count_tokens(model="m", messages=PARAMS["messages"])
        except ts.NotFoundError as caught:
            assert moments.end.error is caught
    assert moments.end.outcome is (ts.CallOutcome.FAILED if how == "fails" else ts.CallOutcome.CANCELLED)


# Who is told.


async def test_they_add_up():
    first, second, third = Moments(), Moments(), Moments()
    client = client_of([say("a")], [say("b")], [say("c")], instruments=[first])
    with ts.instrumented(third):
        await client.with_options(instruments=[second]).messages.create(**PARAMS)
    await client.messages.create(**PARAMS)
    assert [len(moments.ends) for moments in (first, second, third)] == [2, 1, 1]


async def test_a_context_is_that_of_the_task():
    inside, outside = Moments(), Moments()
    client = client_of(default=[say("a")])
    async with trio.open_nursery() as nursery:

        async def create() -> None:
            await client.messages.create(**PARAMS)

        with ts.instrumented(outside):
            with ts.instrumented(inside):
                nursery.start_soon(create)  # inherits both
            nursery.start_soon(create)
        nursery.start_soon(create)
    assert (len(inside.ends), len(outside.ends)) == (1, 2)


async def test_what_is_entered_counts():
    moments = Moments()
    client = client_of([say("a")])
    manager = client.messages.stream(**PARAMS)
    with ts.instrumented(moments):
        async with manager as stream:
            pass
    assert stream.cancel_reason is None
    assert moments.names[0] == "CallStart"
    assert len(moments.ends) == 1


def test_only_what_can_be_called():
    with pytest.raises(TypeError, match="function of one argument"):
        ts.Client(api_key="k", instruments=[1])
    with pytest.raises(TypeError, match="function of one argument"), ts.instrumented("log"):
        pass


# Mistakes of instruments.


class Picky:
    """Raises at every moment. Not hashable, which must not matter."""

    __hash__ = None

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared")

    def __call__(self, moment: ts.Moment) -> None:
        self.seen[type(moment).__name__] += 1
        if isinstance(moment, ts.AttemptStart):
            moment.tap_events(lambda event, at: 1 / 0)
            moment.tap_bytes(lambda data, at: 1 / 0)
        raise ValueError("a mistake")


async def test_mistakes_are_logged_once_and_change_nothing(caplog):
    picky, moments = Picky(), Moments()
    client = client_of(default=[say("one two three")], instruments=[picky, moments])
    with caplog.at_level(logging.ERROR, "trio_stream"):
        for _ in range(3):
            assert (await client.with_options(max_retries=1).messages.create(**PARAMS)).text == "one two three"
    assert len(moments.ends) == 3
    assert picky.seen["CallEnd"] == 3  # it stays
    assert len(caplog.records) == len(picky.seen) + 2
    assert all(record.exc_info for record in caplog.records)


async def test_an_interrupt_passes():
    def interrupted(moment: ts.Moment) -> None:
        if isinstance(moment, ts.HeadReceived):
            raise KeyboardInterrupt

    moments = Moments()
    client = client_of([say("a")], instruments=[interrupted, moments])
    with pytest.raises(KeyboardInterrupt):
        await client.messages.create(**PARAMS)
    assert moments.end.outcome is ts.CallOutcome.FAILED


# Headers, taps, secrets.


async def test_added_headers(caplog):
    def add(moment: ts.Moment) -> None:
        if isinstance(moment, ts.CallStart):
            moment.call.headers["TraceParent"] = "00-1-2-01"
            moment.call.headers["x-api-key"] = "sk-other"
            moment.call.headers["bad"] = "line\nend"
            moment.call.headers["worse"] = 5

    api = ScriptedAPI([http_error(500)], [say("a")])
    client = ts.Client(api_key="sk-key", transport=api, instruments=[add])
    async with client.messages.stream(**PARAMS) as stream:
        await stream.until_done()
    for request in api.requests:
        assert request.headers["traceparent"] == "00-1-2-01"
        assert request.headers["x-api-key"] == "sk-key"
        assert "bad" not in request.headers
        assert "worse" not in request.headers
    assert len(caplog.records) == 3
    assert "sk-other" not in caplog.text


async def test_taps(autojump_clock):
    pieces: list[tuple[bytes, float]] = []
    events: list[tuple[str, float]] = []

    def tap(moment: ts.Moment) -> None:
        if isinstance(moment, ts.AttemptStart) and moment.attempt == 2:
            moment.tap_bytes(lambda data, at: pieces.append((data, at)))
            moment.tap_events(lambda event, at: events.append((event.type, at)))

    client = client_of([http_error(500)], [say("one"), pause(3), say(" two")], instruments=[tap])
    async with client.messages.stream(**PARAMS) as stream:
        delivered = [event.type async for event in stream]
    assert [name for name, _ in events if name != "ping"] == [
        name for name in delivered if name.startswith(("message", "content"))
    ]
    body = b"".join(data for data, _ in pieces)
    assert body.count(b"event: content_block_delta") == delivered.count("content_block_delta")
    assert len({at for _, at in pieces}) > 1
    assert [at for _, at in pieces] == sorted(at for _, at in pieces)


async def test_the_body_of_an_error_is_tapped():
    pieces: list[bytes] = []

    def tap(moment: ts.Moment) -> None:
        if isinstance(moment, ts.AttemptStart):
            moment.tap_bytes(lambda data, at: pieces.append(data))

    client = client_of([http_error(400, message="no such thing")], instruments=[tap])
    with pytest.raises(ts.BadRequestError):
        await client.messages.create(**PARAMS)
    assert b"no such thing" in b"".join(pieces)


async def test_no_repr_shows_a_secret(autojump_clock):
    moments = Moments()
    api = ScriptedAPI([say("a")], strict=False)  # it refuses a key beside the URL's password
    client = ts.Client(api_key="sk-key", base_url="https://user:password@host/", transport=api, instruments=[moments])
    await client.messages.create(**PARAMS)
    text = "".join(map(repr, moments))
    assert moments.end.call.base_url == "https://host/"
    for secret in ("sk-key", "password", "a secret plan"):
        assert secret not in text


async def test_an_interrupt_of_the_context_is_undone():
    moments = Moments()
    with pytest.raises(KeyError), ts.instrumented(moments):
        raise KeyError
    await client_of([say("a")]).messages.create(**PARAMS)
    assert moments == []


# What errors tell of where they come from.


async def test_every_error_tells_where_it_went(autojump_clock):
    client = client_of([http_error(529)], max_retries=0)
    with pytest.raises(ts.OverloadedError) as caught:
        await client.messages.create(**PARAMS)
    error = caught.value
    assert (error.method, error.url) == ("POST", "https://api.anthropic.com/v1/messages")
    assert error.response.status_code == 529
    assert error.response.headers["request-id"] == error.request_id


@pytest.mark.parametrize(
    ("script", "timeouts", "status"),
    [
        ([say("a"), disconnect()], {}, 200),
        ([say("a"), fail("api_error")], {}, 200),
        ([say("a"), stall()], {"silence": 5}, 200),
        ([say("a"), stall()], {"total": 5}, 200),
        ([stall()], {"total": 5}, 200),
        ([stall()], {"first_event": 5}, 200),
    ],
)
async def test_errors_of_a_stream_tell_it_too(script, timeouts, status, autojump_clock):
    client = client_of(script, max_retries=0, timeout=ts.Timeouts(**timeouts))
    with pytest.raises(ts.APIError) as caught:
        await client.beta.messages.create(**PARAMS)
    assert caught.value.method == "POST"
    assert caught.value.url == "https://api.anthropic.com/v1/messages?beta=true"
    assert caught.value.response is None or caught.value.response.status_code == status


async def test_errors_of_counting_tell_it_too(autojump_clock):
    client = ts.Client(api_key="k", transport=httpx.MockTransport(refuse))
    with pytest.raises(ts.NotFoundError) as caught:
        await client.messages.count_tokens(model="m", messages=PARAMS["messages"])
    assert caught.value.url == "https://api.anthropic.com/v1/messages/count_tokens"
    assert caught.value.response.status_code == 404


async def test_without_a_connection_there_is_no_response(autojump_clock):
    client = ts.Client(api_key="k", transport=httpx.MockTransport(broken), max_retries=0)
    with pytest.raises(ts.APIConnectionError) as caught:
        await client.messages.create(**PARAMS)
    assert caught.value.url == "https://api.anthropic.com/v1/messages"
    assert caught.value.response is None


# Fan-outs.


BATCH: Any = {"model": "claude-sonnet-5-5", "max_tokens": 64}


async def test_the_moments_of_a_fan_out(autojump_clock):
    moments = Moments()
    client = client_of([http_error(500)], default=[say("Hello")], instruments=[moments])
    async with ts.fan_out(client, ["a", "b", "c"], limit=1, **BATCH) as results:
        outcomes = [outcome async for outcome in results]
    assert [outcome.status for outcome in outcomes] == ["ok"] * 3
    of_the_job = [moment for moment in moments if isinstance(moment, ts.JobMoment)]
    assert [type(moment).__name__ for moment in of_the_job] == [
        "JobStart",
        *("ItemStart", "ItemRetry", "ItemEnd"),
        *("ItemStart", "ItemEnd") * 2,
        "JobEnd",
    ]
    (job,) = {moment.job for moment in of_the_job}
    assert {moment.call.parent for moment in moments if isinstance(moment, ts.CallMoment)} == {job}
    assert {end.call.lane for end in moments.ends} == {"batch"}
    assert len(moments.ends) == 4  # the first item made two
    ends = [moment for moment in moments if isinstance(moment, ts.ItemEnd)]
    assert [end.outcome for end in ends] == outcomes
    retry = next(moment for moment in moments if isinstance(moment, ts.ItemRetry))
    assert (type(retry.error), retry.index, retry.item.id) == (ts.InternalServerError, 0, None)
    assert retry.delay > 0
    last = moments[-1]
    assert isinstance(last, ts.JobEnd)
    assert (last.stats.ok, last.stats.retries) == (3, 1)
    assert "Hello" not in repr(of_the_job[:2])


async def test_a_refusal_pauses(autojump_clock):
    moments = Moments()
    client = client_of([http_error(429, retry_after=7)], default=[say("Hello")], instruments=[moments])
    await ts.gather_texts(client, ["a", "b"], limit=1, **BATCH)
    (paused,) = [moment for moment in moments if isinstance(moment, ts.Paused)]
    assert paused.until == pytest.approx(paused.at + 7, abs=1)
    (retry,) = [moment for moment in moments if isinstance(moment, ts.ItemRetry)]
    assert isinstance(retry.error, ts.RateLimitError)


@pytest.mark.parametrize("how", ["leave", "abort", "cancel", "journal", "on_event"])
async def test_every_item_that_starts_ends(how, tmp_path, autojump_clock):
    moments = Moments()

    class Failing(ts.Journal):
        def end(self, *args: Any, **more: Any) -> None:
            raise OSError("disk full")

    def complain(item: ts.Item, event: Any) -> None:
        raise ZeroDivisionError

    options: dict[str, Any] = {}
    if how == "journal":
        options["journal"] = Failing(tmp_path / "journal")
    elif how == "on_event":
        options["on_event"] = complain
    script = [say("Hello"), pause(5), say("world")] if how in ("leave", "abort", "cancel") else [say("Hello")]
    client = client_of(default=script, instruments=[moments])
    with trio.move_on_after(2 if how == "cancel" else 60), contextlib.suppress(OSError, ZeroDivisionError):
        async with ts.fan_out(client, map(str, range(9)), limit=3, **options, **BATCH) as results:
            await trio.sleep(1)
            if how == "abort":
                results.abort()
            if how != "leave":
                async for _ in results:
                    pass
    names = Counter(moments.names)
    assert names["ItemStart"] == names["ItemEnd"] > 0
    assert names["CallStart"] == names["CallEnd"] > 0
    assert names["JobStart"] == names["JobEnd"] == 1
    assert moments.names[-1] == "JobEnd"


async def test_a_race_twenty_items_and_a_message(autojump_clock):
    moments = Moments()
    client = client_of(default=[pause(1), say("Hello")])
    with ts.instrumented(moments):
        await ts.race(client, ["a"] * 3, **BATCH)
        await ts.gather_texts(client, map(str, range(20)), **BATCH)
        await client.messages.create(**PARAMS)
    ends = moments.ends
    assert len(ends) == 24
    assert [end.outcome.value for end in ends].count("cancelled") == 2
    assert len({end.call.parent for end in ends} - {None}) == 1


async def test_what_an_instrument_sets_holds_for_the_calls_of_the_item(autojump_clock):
    current: ContextVar[int | None] = ContextVar("current", default=None)
    seen: list[tuple[int | None, str]] = []

    def watch(moment: ts.Moment) -> None:
        if isinstance(moment, ts.ItemStart):
            current.set(moment.index)
        elif isinstance(moment, ts.CallEnd):
            seen.append((current.get(), moment.call.params["messages"][0]["content"]))

    client = client_of(default=[pause(1), say("Hello")], instruments=[watch])
    await ts.gather_texts(client, map(str, range(5)), **BATCH)
    assert sorted(seen) == [(index, str(index)) for index in range(5)]
    assert current.get() is None


async def test_items_that_are_not_sent(tmp_path, autojump_clock):
    moments = Moments()
    for number in range(2):
        client = client_of(default=[say("Hello")], instruments=[moments] if number else [])
        async with ts.fan_out(client, ["a", "b"], journal=tmp_path / "journal", **BATCH) as results:
            async for _ in results:
                pass
    assert moments.names == ["JobStart", "JobEnd"]
    assert moments[-1].stats.cached == 2


def test_a_job_shows_its_number():
    job = ts.JobInfo()
    assert repr(job) == f"<JobInfo {job.id}>"


async def test_a_tapped_stream_that_is_left_early_is_closed(autojump_clock):
    pieces: list[bytes] = []

    def tap(moment: ts.Moment) -> None:
        if isinstance(moment, ts.AttemptStart):
            moment.tap_bytes(lambda data, at: pieces.append(data))

    api = ScriptedAPI([say("one", stall())])
    async with ts.Client(api_key="k", transport=api, instruments=[tap]) as client:
        async with client.messages.stream(**PARAMS) as stream:
            await stream.receive()
        assert client.statistics().active == 0
    assert pieces
    assert api.open_streams == 0


async def test_a_call_ends_once(autojump_clock):
    moments = Moments()
    client = client_of([say("x")], instruments=[moments])
    async with client.messages.stream(**PARAMS) as stream:
        await stream.until_done()
    watch = stream._stream._watch
    assert watch is not None
    watch.end(moments.ends[0].outcome)
    assert len(moments.ends) == 1


async def test_an_instrument_that_is_given_twice_is_told_once():
    """To the client, to its copy, and in the context: otherwise spans begin twice, and bytes are recorded twice."""
    moments = Moments()
    client = client_of([say("a")], instruments=[moments]).with_options(instruments=[moments])
    with ts.instrumented(moments), ts.instrumented(moments):
        await client.messages.create(**PARAMS)
    assert moments.names.count("CallStart") == 1
    assert len(moments.ends) == 1


async def test_a_model_that_is_none():
    """What the API is going to refuse is told all the same."""
    moments = Moments()
    api = ScriptedAPI([http_error(400)], strict=False)
    async with ts.Client(api_key="k", transport=api, instruments=[moments]) as client:
        with pytest.raises(ts.BadRequestError):
            await client.messages.create(**PARAMS, extra_body={"model": 5})
    assert moments.end.call.model is None
    assert "model=None" in repr(moments.end.call)
