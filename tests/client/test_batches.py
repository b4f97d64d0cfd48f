"""`client.messages.batches`: what is sent, what is tried again, what comes back."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from typing import Any, cast

import pytest
import trio
import trio.testing

import trio_stream as ts
from tests.client.batches import BATCH, JSON, PARAMS, answer_of, answers, client_of, ended, requests_of
from tests.faults.rows import client_for
from tests.wire.answers import sized
from tests.wire.server import WireServer, on, once, request, send
from trio_stream._http import httpx
from trio_stream.testing import ScriptedAPI, say

# ----- the calls


async def test_from_creation_to_results(autojump_clock: trio.testing.MockClock) -> None:
    """Create, look, read, delete; the scripts answer the requests in their order."""
    client, api = client_of([say("one")], [say("two")])
    async with client:
        batch = await client.messages.batches.create(requests=requests_of(2))
        assert batch.processing_status == "in_progress"
        assert batch.request_counts.processing == batch.request_counts.total == 2
        await trio.sleep(60)
        batch = await client.messages.batches.retrieve(batch.id)
        async with client.messages.batches.results(batch) as lines:
            found = {line.custom_id: line.result async for line in lines}
        texts = [r.message.text for r in found.values() if isinstance(r, ts.MessageBatchSucceededResult)]
        assert (list(found), texts) == (["q-0", "q-1"], ["one", "two"])
        deleted = await client.messages.batches.delete(batch.id)
        assert deleted.id == batch.id
        with pytest.raises(ts.NotFoundError):
            await client.messages.batches.retrieve(batch.id)
    assert [(r.method, r.path.removeprefix("/v1/messages/batches")) for r in api.requests] == [
        ("POST", ""),
        ("GET", f"/{batch.id}"),
        ("GET", f"/{batch.id}/results"),
        ("DELETE", f"/{batch.id}"),
        ("GET", f"/{batch.id}"),
    ]
    assert json.loads(api.requests[0].content) == {"requests": list(requests_of(2))}
    assert api.requests[2].headers["accept"] == "application/binary"
    assert {request.content for request in api.requests[1:]} == {b""}


async def test_cancelling_a_batch(autojump_clock: trio.testing.MockClock) -> None:
    """What was answered by then is there; the rest is canceled."""
    client, _ = client_of()
    async with client:
        batch = await client.messages.batches.create(requests_of(6))
        await trio.sleep(30)
        batch = await client.messages.batches.cancel(batch.id)
        assert batch.processing_status == "canceling"
        assert (await client.messages.batches.cancel(batch.id)).cancel_initiated_at == batch.cancel_initiated_at
        await trio.sleep(10)
        batch = await client.messages.batches.retrieve(batch.id)
        assert (batch.request_counts.succeeded, batch.request_counts.canceled) == (3, 3)


async def test_beta(autojump_clock: trio.testing.MockClock) -> None:
    """Betas hold for the whole batch, and every call can have them."""
    client, api = client_of()
    batches = client.beta.messages.batches
    async with client:
        batch = await batches.create(cast("Any", requests_of(1)), betas=["new-2026-11-01"])
        await batches.retrieve(batch.id, betas=["new-2026-11-01"])
        assert [b.id async for b in batches.list(betas=["new-2026-11-01"], limit=1)] == [batch.id]
        await batches.cancel(batch.id, betas=["new-2026-11-01"])
        await trio.sleep(10)
        async with batches.results(batch.id, betas=["new-2026-11-01"]) as lines:
            assert [line.result.type async for line in lines] == ["canceled"]
        await batches.delete(batch.id, betas=["new-2026-11-01"])
    assert len(api.requests) == 6
    assert all(r.headers["anthropic-beta"] == "new-2026-11-01" and r.params["beta"] == "true" for r in api.requests)


async def test_options_of_a_call() -> None:
    """Headers, query, body, and the parameters that travel as headers."""
    client, api = client_of()
    options: Any = {"extra_headers": {"x-a": "b"}, "extra_query": {"c": "d"}, "workspace_id": "w"}
    async with client:
        with pytest.raises(ts.BadRequestError, match="new: Extra inputs"):
            await client.messages.batches.create(requests_of(1), user_profile_id="u", extra_body={"new": 1}, **options)
        batch = await client.messages.batches.create(requests_of(1))
        await client.messages.batches.cancel(batch.id, extra_body={"why": "x"}, **options)
        await client.messages.batches.list(limit=3, **options)
        with pytest.raises(ts.BadRequestError, match="no results yet"):
            await client.messages.batches.results(batch.id, extra_headers={"Accept": "x/y"}).__aenter__()
    assert api.requests[0].headers["anthropic-user-profile-id"] == "u"
    assert json.loads(api.requests[2].content) == {"why": "x"}
    assert dict(api.requests[3].params) == {"limit": "3", "c": "d"}
    assert api.requests[4].headers["accept"] == "x/y"
    for number in (0, 2, 3):
        assert api.requests[number].headers["x-a"] == "b"
        assert api.requests[number].headers["anthropic-workspace-id"] == "w"
        assert api.requests[number].params["c"] == "d"


async def test_options_that_nobody_knows() -> None:
    """They are refused where they are given: no call passes them on."""
    client, api = client_of()
    batches: Any = client.messages.batches
    with pytest.raises(TypeError, match=r"batches.create\(\) got an unexpected keyword argument 'name'"):
        await batches.create(requests_of(1), name="mine")
    with pytest.raises(TypeError, match=r"batches.retrieve\(\) .* 'limit'"):
        await batches.retrieve("msgbatch_1", limit=3)
    with pytest.raises(TypeError, match=r"batches.results\(\) .* 'limit'"):
        batches.results("msgbatch_1", limit=3)
    assert api.requests == []


@pytest.mark.parametrize("batch_id", ["", ".", "..", "a/b", "../v1", "a?b", "a#b", "a b", "%2e", "a\n", "é", "x" * 201])
async def test_ids_lead_nowhere_else(batch_id: str) -> None:
    """An id is one step of a path, or it is refused."""
    client, api = client_of()
    for call in (client.messages.batches.retrieve, client.messages.batches.cancel, client.messages.batches.delete):
        with pytest.raises(ValueError, match="message_batch_id must be an id"):
            await call(batch_id)
    with pytest.raises(ValueError, match="message_batch_id must be an id"):
        client.messages.batches.results(batch_id)
    with pytest.raises(TypeError, match="must be a str, not NoneType"):
        await client.messages.batches.retrieve(None)  # type: ignore[arg-type]
    assert api.requests == []


@pytest.mark.parametrize("batch_id", ["msgbatch_1", "bGl0ZWxsbQ==", "arn:aws:batch:1,2;v=3", "$-_.+!*'()@&~"])
async def test_ids_of_gateways(batch_id: str) -> None:
    """They arrive as they are."""
    client, api = client_of()
    with pytest.raises(ts.NotFoundError):
        await client.messages.batches.retrieve(batch_id)
    assert [request.path for request in api.requests] == [f"/v1/messages/batches/{batch_id}"]


# ----- create


async def test_what_is_wrong_is_said_before_anything_is_sent() -> None:
    """With its position, and nothing of the requests before it is sent."""
    client, api = client_of()
    with pytest.raises(ValueError, match=r"^requests\[1\].custom_id 'a' is that of requests\[0\] too"):
        await client.messages.batches.create([{"custom_id": "a", "params": PARAMS}] * 2)
    assert api.requests == []


async def test_other_tasks_run_while_a_body_is_encoded() -> None:
    """Encoding goes on for long, but not without a pause."""
    client, _ = client_of()
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        await client.messages.batches.create(requests_of(3000))
        nursery.cancel_scope.cancel(reason="the batch is created")
    assert turns > 5


def raising(error: Callable[[httpx.Request], Exception]) -> Any:
    """A transport that fails, and says that it sends."""

    class Failing(httpx.AsyncBaseTransport):
        calls_on_sent = True
        requests = 0

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            self.requests += 1
            await trio.lowlevel.checkpoint()
            raise error(request)

    return Failing()


async def test_nothing_was_sent(autojump_clock: trio.testing.MockClock) -> None:
    """Then it is tried again."""
    transport = raising(lambda request: httpx.ConnectError("no", request=request))
    async with ts.Client(api_key="test", transport=transport) as client:
        with pytest.raises(ts.APIConnectionError) as caught:
            await client.messages.batches.create(requests_of(1))
    assert transport.requests == 3
    assert not caught.value.may_have_been_accepted


async def test_sent_to_its_last_byte(autojump_clock: trio.testing.MockClock) -> None:
    """Then a lost connection may have made a batch: it is not tried again, and the error says so."""

    def fail(request: httpx.Request) -> Exception:
        request.extensions["trio_stream.on_sent"]()
        return httpx.ReadError("reset", request=request)

    transport = raising(fail)
    async with ts.Client(api_key="test", transport=transport) as client:
        with pytest.raises(ts.APIConnectionError) as caught:
            await client.messages.batches.create(requests_of(1))
        assert caught.value.may_have_been_accepted
        with pytest.raises(ts.APIConnectionError):
            await client.messages.batches.retrieve("msgbatch_1")
    assert transport.requests == 1 + 3


async def test_a_lost_answer(autojump_clock: trio.testing.MockClock) -> None:
    """One batch, one request, and an error that says that there may be a batch; the list shows it."""
    client, api = client_of(faults=["lost_answer"])
    async with client:
        with pytest.raises(ts.APIConnectionError) as caught:
            await client.messages.batches.create(requests_of(1))
        assert caught.value.may_have_been_accepted
        assert [batch.id async for batch in client.messages.batches.list()] == api.batches.created
    assert len(api.batches.created) == 1


REFUSED = [(429, "rate_limit_error"), (529, "overloaded_error"), (409, "conflict_error")]
UNKNOWN = [(500, "api_error"), (502, "api_error"), (504, "timeout_error"), (408, "timeout_error")]


@pytest.mark.parametrize(("status", "kind"), REFUSED)
async def test_the_api_refuses_for_the_moment(status: int, kind: str) -> None:
    """Then it is tried again."""
    refusal = answers(status, kind, b"retry-after-ms: 1")
    async with WireServer([on(request(), send(refusal), request(), send(answer_of(BATCH)))]) as server:
        async with client_for(server, max_retries=1) as client:
            assert (await client.messages.batches.create(requests_of(1))).id == "msgbatch_1"
    assert len([request for peer in server.peers for request in peer.requests]) == 2


@pytest.mark.parametrize(("status", "kind"), UNKNOWN)
@pytest.mark.parametrize("headers", [(), (b"x-should-retry: true", b"retry-after-ms: 1")], ids=["", "should-retry"])
async def test_the_api_may_have_made_a_batch(status: int, kind: str, headers: tuple[bytes, ...]) -> None:
    """Then it is not tried again, whatever ``x-should-retry`` says, and the error says that there may be one."""
    async with WireServer([once(answers(status, kind, *headers))]) as server:
        async with client_for(server, max_retries=5) as client:
            with pytest.raises(ts.APIStatusError) as caught:
                await client.messages.batches.create(requests_of(1))
    assert caught.value.may_have_been_accepted
    assert len([request for peer in server.peers for request in peer.requests]) == 1


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"type": "message", "content": []}', b"x" * 3_000])
async def test_an_answer_that_cannot_be_read(body: bytes) -> None:
    """There may be a batch, whose id nobody knows."""
    limits = ts.Limits(event_bytes=2_000)
    async with WireServer([once(sized(body, content_type=JSON))]) as server:
        async with client_for(server, max_retries=5, limits=limits) as client:
            with pytest.raises(ts.InvalidResponseError, match=r"the answer to batches\.create") as caught:
                await client.messages.batches.create(requests_of(1))
    assert caught.value.may_have_been_accepted
    assert len(server.peers[0].requests) == 1


async def test_a_clock_runs_out(autojump_clock: trio.testing.MockClock) -> None:
    """While the answer is awaited: there may be a batch."""

    class Silent(httpx.AsyncBaseTransport):
        calls_on_sent = True

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            request.extensions["trio_stream.on_sent"]()
            await trio.sleep_forever()
            raise AssertionError("it sleeps forever")  # pragma: no cover

    for clock in ("first_event", "total"):
        timeouts = ts.Timeouts(**{clock: 5.0})
        async with ts.Client(api_key="test", transport=Silent(), timeout=timeouts) as client:
            with pytest.raises(ts.APITimeoutError) as caught:
                await client.messages.batches.create(requests_of(1))
        assert caught.value.clock == clock
        assert caught.value.may_have_been_accepted
    assert trio.current_time() == 10


@pytest.mark.parametrize(
    ("given", "size", "expected"),
    [
        (ts.Timeouts(), 1, 60.0),
        (ts.Timeouts(send=5.0), 1, 60.0),
        (ts.Timeouts(send=500.0), 1, 500.0),
        (ts.Timeouts(send=None), 1, None),
        (ts.Timeouts(), 20_000_000, 80.0),
    ],
)
async def test_the_clock_of_sending(given: ts.Timeouts, size: int, expected: float | None) -> None:
    """A second for each 250 kB, and a minute at the least."""
    seen: list[Any] = []

    class Noting(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            seen.append(request.extensions["timeout"]["write"])
            await trio.lowlevel.checkpoint()
            return httpx.Response(200, json=BATCH)

    async with ts.Client(api_key="test", transport=Noting(), timeout=given) as client:
        params: Any = {**PARAMS, "system": "x" * size}
        await client.messages.batches.create([{"custom_id": "a", "params": params}])
    assert seen[0] == (expected if expected is None else pytest.approx(expected, rel=1e-4))


# ----- list


async def test_pages(autojump_clock: trio.testing.MockClock) -> None:
    """Awaited for one, iterated over all, in both directions."""
    client, api = client_of()
    async with client:
        for _ in range(5):
            await client.messages.batches.create(requests_of(1))
        newest = list(reversed(api.batches.created))
        page = await client.messages.batches.list(limit=2)
        assert [batch.id for batch in page.data] == newest[:2]
        assert (page.has_more, page.first_id, page.last_id) == (True, newest[0], newest[1])
        assert page.response.headers["date"]
        assert repr(page) == "<MessageBatchPage: 2 batches, has_more=True>"
        following = await page.get_next_page()
        assert [batch.id for batch in following.data] == newest[2:4]
        assert [batch.id async for batch in page] == newest
        assert [batch.id async for batch in client.messages.batches.list(limit=2)] == newest
        assert [batch.id async for batch in client.messages.batches.list(after_id=newest[1])] == newest[2:]
        older_first = client.messages.batches.list(before_id=newest[4], limit=3)
        assert [batch.id async for batch in older_first] == [*newest[1:4], newest[0]]
        last = await client.messages.batches.list()
        assert not last.has_next_page()
        with pytest.raises(RuntimeError, match="last page"):
            await last.get_next_page()


async def test_a_list_that_is_not_used() -> None:
    """Nothing is sent, and there is nothing to warn of."""
    client, api = client_of()
    client.messages.batches.list()
    gc.collect()
    assert api.requests == []
    async with client:
        assert [batch async for batch in client.messages.batches.list()] == []
        assert (await client.messages.batches.list()).data == ()


@pytest.mark.parametrize(
    "options", [{"limit": 0}, {"limit": 1001}, {"limit": True}, {"after_id": "a", "before_id": "b"}]
)
async def test_a_list_that_cannot_be(options: Any) -> None:
    """It is refused at once."""
    client, _ = client_of()
    with pytest.raises(ValueError, match=r"limit must be|not both"):
        client.messages.batches.list(**options)


async def test_a_list_without_end() -> None:
    """A server that gives the same page for ever does not keep a loop for ever."""
    page = answer_of({"data": [BATCH], "has_more": True, "first_id": "msgbatch_1", "last_id": "msgbatch_1"})
    async with WireServer([on(request(), send(page), request(), send(page))]) as server:
        async with client_for(server) as client:
            found: list[str] = []
            with pytest.raises(ts.InvalidResponseError, match="does not go on"):
                async for batch in client.messages.batches.list():
                    found.append(batch.id)
    assert found == ["msgbatch_1"] * 2


async def test_a_cancelled_page_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """The loop can be gone on with."""
    api = ScriptedAPI(default=[say("Hello")])
    slow = False

    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if slow:
                await trio.sleep(5)
            return await api.handle_async_request(request)

    async with ts.Client(api_key="test", transport=Slow()) as client:
        for _ in range(3):
            await client.messages.batches.create(requests_of(1))
        slow = True
        batches = aiter(client.messages.batches.list(limit=1))
        found: list[str] = []
        cancelled = 0
        while len(found) < 3:
            with trio.move_on_after(3 if cancelled % 2 == 0 else 10) as scope:
                found.append((await anext(batches)).id)
            cancelled += 1
            assert scope.cancelled_caught or found
        with pytest.raises(StopAsyncIteration):
            await anext(batches)
    assert found == list(reversed(api.batches.created))


# ----- instruments


async def test_the_moments_of_the_calls(autojump_clock: trio.testing.MockClock) -> None:
    """As those of any call; a call without a body has no parameters."""
    moments: list[ts.Moment] = []
    client, _ = client_of(options={"instruments": [moments.append]})
    async with client:
        batch = await ended(client, 2)
        async with client.messages.batches.results(batch) as lines:
            async for _ in lines:
                pass
    calls = list(dict.fromkeys(m.call for m in moments if isinstance(m, ts.CallMoment)))
    assert [call.method for call in calls] == ["POST", "GET", "GET"]
    assert calls[2].path == f"/v1/messages/batches/{batch.id}/results"
    assert calls[0].model is calls[1].model is None
    assert len(calls[0].params["requests"]) == 2
    assert calls[1].params == {}
    kinds = [[type(m).__name__ for m in moments if isinstance(m, ts.CallMoment) and m.call is call] for call in calls]
    assert kinds[0] == kinds[1] == ["CallStart", "AttemptStart", "RequestSent", "HeadReceived", "CallEnd"]
    assert kinds[2] == ["CallStart", "AttemptStart", "RequestSent", "HeadReceived", "FirstEvent", "CallEnd"]
    ends = [m for m in moments if isinstance(m, ts.CallEnd)]
    assert {end.outcome for end in ends} == {ts.CallOutcome.COMPLETED}
    assert ends[2].stats.events == 2


async def test_errors_say_how_they_were_asked() -> None:
    """With the method of their request."""
    client, _ = client_of()
    with pytest.raises(ts.NotFoundError) as caught:
        await client.messages.batches.delete("msgbatch_none")
    assert caught.value.method == "DELETE"
    assert "(DELETE https://api.anthropic.com/v1/messages/batches/msgbatch_none)" in str(caught.value)
