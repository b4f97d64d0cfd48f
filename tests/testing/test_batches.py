"""The message batches of `ScriptedAPI`: their life by the clock, their faults, and what is billed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import trio
import trio.testing

import trio_stream as ts
from trio_stream.testing import (
    Batches,
    BatchFault,
    RecordedRequest,
    ScriptedAPI,
    Step,
    call,
    disconnect,
    http_error,
    pause,
    raw,
    say,
    stall,
)

PATH = "/v1/messages/batches"
PARAMS: dict[str, Any] = {"model": "claude-sonnet-5", "max_tokens": 16, "messages": [{"role": "user", "content": "Hi"}]}
HEADERS = [("x-api-key", "k"), ("anthropic-version", "2026-10-21")]


class Answer:
    """An answer as it came: status, headers and body; ``cut`` if it was."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes, *, cut: bool) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.cut = cut

    @property
    def fields(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return self.fields["error"]["message"]

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]


async def ask(
    api: ScriptedAPI, method: str, below: str = "", *, content: bytes = b"", headers: Any = HEADERS, **params: str
) -> Answer:
    """Ask without a client of ours: what it gets wrong must not hide a mistake of the API's."""
    request = api.record(method=method, path=PATH + below, params=params, headers=headers, content=content)
    head, body = await api.answer(request)
    data, cut = b"", False
    try:
        while piece := await body.receive_some():
            data += piece
    except ts.IncompleteStreamError:
        cut = True
    body.finish()
    return Answer(head.status, dict(head.headers), data, cut=cut)


def body_of(number: int, **params: Any) -> bytes:
    requests = [{"custom_id": f"q-{index}", "params": {**PARAMS, **params}} for index in range(number)]
    return json.dumps({"requests": requests}).encode()


async def create(api: ScriptedAPI, number: int = 1, **params: Any) -> str:
    """The id of a new batch."""
    answer = await ask(api, "POST", content=body_of(number, **params))
    assert answer.status == 200
    return str(answer.fields["id"])


async def kinds(api: ScriptedAPI, batch_id: str) -> dict[str, str]:
    """What became of each request."""
    answer = await ask(api, "GET", f"/{batch_id}/results")
    return {line["custom_id"]: line["result"]["type"] for line in answer.lines}


def api_of(*scripts: list[Step], default: Any = (), **options: Any) -> ScriptedAPI:
    return ScriptedAPI(*scripts, default=default or [say("Hello")], batches=Batches(**options))


# ----- the life of a batch


async def test_a_batch_by_the_clock(autojump_clock: trio.testing.MockClock) -> None:
    """In progress until its seconds are over, all its requests processing; then all at once."""
    api = api_of([say("one")], [say("two")], seconds=100)
    batch_id = await create(api, 2)
    for _ in range(2):
        answer = await ask(api, "GET", f"/{batch_id}")
        assert answer.headers["retry-after"] == "10"
        assert not [name for name in answer.headers if "ratelimit" in name]
        assert answer.fields["processing_status"] == "in_progress"
        assert answer.fields["results_url"] is answer.fields["ended_at"] is None
        assert answer.fields["request_counts"] == {
            "processing": 2,
            "succeeded": 0,
            "errored": 0,
            "canceled": 0,
            "expired": 0,
        }
        assert (await ask(api, "GET", f"/{batch_id}/results")).status == 400
        assert api.batches.billed == []
        await trio.sleep(49)
    await trio.sleep(2)
    fields = (await ask(api, "GET", f"/{batch_id}")).fields
    assert fields["processing_status"] == "ended"
    assert fields["request_counts"]["succeeded"] == 2
    assert fields["results_url"].endswith(f"{PATH}/{batch_id}/results")
    texts = [line["result"]["message"]["content"][0]["text"] for line in await lines_of(api, batch_id)]
    assert texts == ["one", "two"]
    assert await lines_of(api, batch_id) == await lines_of(api, batch_id)
    api.assert_done()


async def lines_of(api: ScriptedAPI, batch_id: str) -> list[Any]:
    return (await ask(api, "GET", f"/{batch_id}/results")).lines


async def test_dates_are_of_the_same_clock(autojump_clock: trio.testing.MockClock) -> None:
    """That of the answer's head, that of the creation, that of the end."""
    api = api_of(seconds=100)
    first = await ask(api, "POST", content=body_of(1))
    await trio.sleep(3600)
    second = await ask(api, "POST", content=body_of(1))
    ended = (await ask(api, "GET", f"/{first.fields['id']}")).fields["ended_at"]
    gap = parsedate_to_datetime(second.headers["date"]) - parsedate_to_datetime(first.headers["date"])
    assert abs(gap.total_seconds() - 3600) <= 1
    created = ts.types.MessageBatch.from_dict(first.fields).created_at
    assert created is not None
    assert created.endswith("Z")
    assert created[:-1] < ended[:-1] < second.fields["created_at"][:-1]


async def test_cancelling(autojump_clock: trio.testing.MockClock) -> None:
    """What was finished by then is billed; the rest is canceled; it takes its time."""
    api = api_of(seconds=100, cancel_seconds=7)
    batch_id = await create(api, 10)
    await trio.sleep(45)
    answer = await ask(api, "POST", f"/{batch_id}/cancel")
    assert answer.fields["processing_status"] == "canceling"
    assert answer.fields["request_counts"]["processing"] == 10
    await trio.sleep(6)
    again = await ask(api, "POST", f"/{batch_id}/cancel")
    assert again.fields == answer.fields
    await trio.sleep(1)
    found = await kinds(api, batch_id)
    assert list(found.values()) == ["succeeded"] * 4 + ["canceled"] * 6
    assert [billed.custom_id for billed in api.batches.billed] == ["q-0", "q-1", "q-2", "q-3"]
    assert (await ask(api, "POST", f"/{batch_id}/cancel")).status == 400


async def test_cancelling_never_makes_a_batch_longer(autojump_clock: trio.testing.MockClock) -> None:
    """Close to its end it ends when it would have ended."""
    api = api_of(seconds=100, cancel_seconds=50)
    batch_id = await create(api, 2)
    await trio.sleep(99)
    await ask(api, "POST", f"/{batch_id}/cancel")
    await trio.sleep(1)
    assert list((await kinds(api, batch_id)).values()) == ["succeeded", "canceled"]


async def test_a_day_is_the_most(autojump_clock: trio.testing.MockClock) -> None:
    """What is not finished by then expires."""
    api = api_of(seconds=2 * 24 * 3600)
    batch_id = await create(api, 4)
    await trio.sleep(24 * 3600)
    assert list((await kinds(api, batch_id)).values()) == ["succeeded", "succeeded", "expired", "expired"]


async def test_deleting(autojump_clock: trio.testing.MockClock) -> None:
    """Only what has ended; then nothing of it is found, and it was billed all the same."""
    api = api_of(seconds=10)
    batch_id = await create(api)
    assert (await ask(api, "DELETE", f"/{batch_id}")).status == 400
    await trio.sleep(10)
    answer = await ask(api, "DELETE", f"/{batch_id}")
    assert answer.fields == {"id": batch_id, "type": "message_batch_deleted"}
    for method, below in (("GET", ""), ("GET", "/results"), ("POST", "/cancel"), ("DELETE", "")):
        assert (await ask(api, method, f"/{batch_id}{below}")).status == 404
    assert (await ask(api, "GET")).fields["data"] == []
    assert len(api.batches.billed) == 1


# ----- what becomes of a request


@pytest.mark.parametrize(
    ("script", "kind", "error"),
    [
        ([pause(1e6), say("Late")], "succeeded", None),
        ([call("search", {"a": 1})], "succeeded", None),
        ([http_error(529)], "errored", "overloaded_error"),
        ([say("x", stall())], "expired", None),
        ([disconnect()], "errored", "api_error"),
        ([disconnect(clean=True)], "errored", "api_error"),
        ([raw(b"<html>")], "errored", "api_error"),
        ([raw(b"[]")], "errored", "api_error"),
    ],
)
async def test_scripts_in_a_batch(
    script: list[Step], kind: str, error: str | None, autojump_clock: trio.testing.MockClock
) -> None:
    """The steps are those of streams; they take no time of their own."""
    api = api_of(script, seconds=1)
    batch_id = await create(api)
    await trio.sleep(1)
    (line,) = await lines_of(api, batch_id)
    assert line["result"]["type"] == kind
    if error is not None:
        assert line["result"]["error"]["type"] == "error"
        assert line["result"]["error"]["error"]["type"] == error
        assert line["result"]["error"]["request_id"].startswith("req_")


async def test_usage_says_that_it_was_a_batch(autojump_clock: trio.testing.MockClock) -> None:
    """In the message and in the bill."""
    api = api_of(seconds=0)
    batch_id = await create(api)
    (line,) = await lines_of(api, batch_id)
    usage = line["result"]["message"]["usage"]
    assert usage["service_tier"] == "batch"
    (billed,) = api.batches.billed
    assert (billed.batch_id, billed.custom_id, billed.usage) == (batch_id, "q-0", usage)


async def test_functions_get_the_request(autojump_clock: trio.testing.MockClock) -> None:
    """As if it had come alone; each is asked once, however often the results are."""
    seen: list[RecordedRequest] = []

    def answer(request: RecordedRequest) -> list[Step]:
        seen.append(request)
        return [say(f"answer {len(seen)}")]

    api = api_of(default=answer, seconds=10)
    batch_id = await create(api, 3)
    assert seen == []
    await trio.sleep(10)
    await lines_of(api, batch_id)
    await lines_of(api, batch_id)
    assert [request.model for request in seen] == ["claude-sonnet-5"] * 3
    assert seen[0].path == "/v1/messages"
    assert len({request.request_id for request in seen}) == 3
    assert len(api.requests) == 3


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"max_tokens": -1}, "max_tokens"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"stream": True}, "stream: Streaming is not supported in batches"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"unknown": 1}, "unknown: Extra inputs are not permitted"),
    ],
)
async def test_parameters_are_judged_when_the_batch_runs(
    params: dict[str, Any], sentence: str, autojump_clock: trio.testing.MockClock
) -> None:
    """The batch is created all the same; no script is used."""
    api = ScriptedAPI([say("left over")], batches=Batches(seconds=0))
    batch_id = await create(api, **params)
    (line,) = await lines_of(api, batch_id)
    assert line["result"]["error"]["error"]["type"] == "invalid_request_error"
    assert sentence in line["result"]["error"]["error"]["message"]
    assert api.scripts_left == 1


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"stream": True}, "stream"),
        ({"speed": "fast"}, "speed"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"billing_policy": {"bill_to": "user_profile"}}, "billing_policy.bill_to"),
        ({"fallbacks": [{"model": "a"}, {"speed": "fast"}]}, "fallbacks.1.speed"),
    ],
)
async def test_what_batches_refuse(
    params: dict[str, Any], sentence: str, autojump_clock: trio.testing.MockClock
) -> None:
    """Also where the API is not strict."""
    api = ScriptedAPI(default=[say("x")], strict=False, batches=Batches(seconds=0))
    batch_id = await create(api, **params)
    (line,) = await lines_of(api, batch_id)
    assert line["result"]["error"]["error"]["message"].startswith(f"{sentence}: ")


async def test_without_a_script(autojump_clock: trio.testing.MockClock) -> None:
    """The request is errored, and `assert_done` says so."""
    api = ScriptedAPI([say("one")], batches=Batches(seconds=0))
    batch_id = await create(api, 2)
    assert list((await kinds(api, batch_id)).values()) == ["succeeded", "errored"]
    with pytest.raises(AssertionError, match="no script was left"):
        api.assert_done()


# ----- what is refused


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not valid JSON"),
        (b"[]", "not valid JSON"),
        (b"{}", "a list of 1 to 100000 requests"),
        (b'{"requests": []}', "a list of 1 to 100000 requests"),
        (b'{"requests": [1], "name": "x"}', "name: Extra inputs"),
        (b'{"requests": [1]}', "requests.0.custom_id"),
        (b'{"requests": [{"custom_id": "a b", "params": {}}]}', "requests.0.custom_id: String should match"),
        (b'{"requests": [{"custom_id": "a", "params": 1}]}', "requests.0.params: Input should be an object"),
        (b'{"requests": [{"custom_id": "a", "params": {}, "x": 1}]}', "requests.0.x: Extra inputs"),
        (b'{"requests": [{"custom_id": "a", "params": {}}, {"custom_id": "a", "params": {}}]}', "that of requests.0"),
    ],
)
async def test_what_is_refused_at_once(content: bytes, sentence: str) -> None:
    """All but the parameters of the messages."""
    api = api_of()
    answer = await ask(api, "POST", content=content)
    assert answer.status == 400
    assert sentence in answer.error
    assert api.batches.created == []


async def test_paths_and_methods() -> None:
    """Those that there are, with a key."""
    api = api_of()
    batch_id = await create(api)
    for method, below, status in (
        ("PUT", "", 405),
        ("DELETE", "", 404),
        ("POST", f"/{batch_id}", 404),
        ("GET", f"/{batch_id}/cancel", 404),
        ("GET", f"/{batch_id}/results/x", 404),
        ("PATCH", f"/{batch_id}", 405),
        ("GET", "/msgbatch_none", 404),
        ("GET", "_of_something_else", 404),
    ):
        assert (await ask(api, method, below)).status == status, (method, below)
    assert (await ask(api, "GET", headers=[])).status == 401


# ----- the list


async def test_pages() -> None:
    """The newest first, in both directions from a batch."""
    api = api_of()
    newest = list(reversed([await create(api) for _ in range(5)]))

    async def page(**params: str) -> tuple[list[str], bool]:
        fields = (await ask(api, "GET", **params)).fields
        ids = [batch["id"] for batch in fields["data"]]
        assert (fields["first_id"], fields["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))
        return ids, fields["has_more"]

    assert await page() == (newest, False)
    assert await page(limit="2") == (newest[:2], True)
    assert await page(limit="2", after_id=newest[1]) == (newest[2:4], True)
    assert await page(limit="2", after_id=newest[3]) == (newest[4:], False)
    assert await page(after_id=newest[4]) == ([], False)
    assert await page(limit="2", before_id=newest[4]) == (newest[2:4], True)
    assert await page(limit="2", before_id=newest[2]) == (newest[:2], False)


@pytest.mark.parametrize(
    "params",
    [{"limit": "0"}, {"limit": "1001"}, {"limit": "x"}, {"after_id": "a"}, {"after_id": "a", "before_id": "b"}],
)
async def test_pages_that_there_are_not(params: dict[str, str]) -> None:
    """A limit out of range, and a batch that there is not."""
    assert (await ask(api_of(), "GET", **params)).status == 400


async def test_the_list_lags_behind(autojump_clock: trio.testing.MockClock) -> None:
    """A batch can be looked at, and is not in the list yet."""
    api = api_of(list_lag=120)
    batch_id = await create(api)
    await trio.sleep(119)
    assert (await ask(api, "GET")).fields["data"] == []
    assert (await ask(api, "GET", f"/{batch_id}")).status == 200
    await trio.sleep(1)
    assert [batch["id"] for batch in (await ask(api, "GET")).fields["data"]] == [batch_id]


# ----- faults


async def with_fault(fault: BatchFault, number: int = 5) -> tuple[ScriptedAPI, str]:
    """An API whose first batch, which has ended, meets a fault."""
    api = api_of(seconds=0, faults=[fault])
    assert api.batches.faults_left == [fault]
    return api, await create(api, number)


async def test_lost_answer() -> None:
    """There is a batch, and no answer; it happens once."""
    api = api_of(seconds=0, faults=["lost_answer"])
    with pytest.raises(ts.APIConnectionError):
        async with ts.Client(api_key="k", transport=api) as client:
            await client.messages.batches.create([{"custom_id": "a", "params": PARAMS}])  # type: ignore[typeddict-item]
    (batch_id,) = api.batches.created
    assert list((await kinds(api, batch_id)).values()) == ["succeeded"]
    assert await create(api) != batch_id
    assert repr(api.batches) == "<Batches: 2 created>"


async def test_queue_full() -> None:
    """429, and no batch."""
    api = api_of(faults=["queue_full"])
    answer = await ask(api, "POST", content=body_of(1))
    assert answer.status == 429
    assert "queued" in answer.error
    assert api.batches.created == []
    await create(api)
    assert api.batches.faults_left == []


async def test_not_found() -> None:
    """The first look and the first results; the list has it."""
    api, batch_id = await with_fault("not_found")
    assert (await ask(api, "GET", f"/{batch_id}")).status == 404
    assert (await ask(api, "GET", f"/{batch_id}/results")).status == 404
    assert (await ask(api, "GET", f"/{batch_id}")).status == 200
    assert len(await lines_of(api, batch_id)) == 5


async def test_foreign() -> None:
    """A batch of somebody else, with as many requests, which nobody here is billed for."""
    api, batch_id = await with_fault("foreign")
    ours, theirs = (await ask(api, "GET")).fields["data"]
    assert (ours["id"], api.batches.created) == (batch_id, [batch_id])
    assert ours["request_counts"] == theirs["request_counts"]
    assert not (await kinds(api, theirs["id"])).keys() & (await kinds(api, batch_id)).keys()
    assert len(api.batches.billed) == 5


@pytest.mark.parametrize(("fault", "place"), [("errored", "q-0"), ("expired", "q-4")])
async def test_one_request_fails(fault: BatchFault, place: str) -> None:
    """The first one, or the last one; it is not billed."""
    api, batch_id = await with_fault(fault)
    found = await kinds(api, batch_id)
    assert [custom_id for custom_id, kind in found.items() if kind == fault] == [place]
    assert len(api.batches.billed) == 4


async def test_results_cut() -> None:
    """In the middle of a line, once."""
    api, batch_id = await with_fault("results_cut")
    answer = await ask(api, "GET", f"/{batch_id}/results")
    assert answer.cut
    assert answer.body.count(b"\n") == 2
    assert not answer.body.endswith(b"\n")
    assert len(await lines_of(api, batch_id)) == 5


@pytest.mark.parametrize(
    ("fault", "expected"),
    [("missing", [0, 1, 3, 4]), ("doubled", [0, 1, 2, 3, 4, 4]), ("shuffled", None)],
)
async def test_odd_results(fault: BatchFault, expected: list[int] | None) -> None:
    """A line too few, one too many, another order; once."""
    api, batch_id = await with_fault(fault)
    straight = list(range(5))
    found = [int(line["custom_id"][2:]) for line in await lines_of(api, batch_id)]
    if expected is None:
        assert found != straight
        assert sorted(found) == straight
    else:
        assert found == expected
    assert [int(line["custom_id"][2:]) for line in await lines_of(api, batch_id)] == straight


@pytest.mark.parametrize(
    "options", [{"seconds": -1}, {"cancel_seconds": float("nan")}, {"list_lag": -1}, {"faults": ["lost"]}]
)
def test_options_that_cannot_be(options: Any) -> None:
    """A negative time, a fault that nobody knows."""
    with pytest.raises(ValueError, match=r"number of seconds|faults of batches are lost_answer, .*; not lost"):
        Batches(**options)


# ----- on a port


async def test_on_a_port() -> None:
    """The results come in chunks, a cut is a cut, and a large body is taken."""
    api = ScriptedAPI(default=[say("Hello")], batches=Batches(seconds=0, faults=["results_cut"]))
    async with api.serve() as server, ts.Client(api_key="k", base_url=server.base_url) as client:
        params: Any = {**PARAMS, "system": "x" * 35_000_000}
        batch = await client.messages.batches.create({"custom_id": f"q-{n}", "params": params} for n in range(2))
        with pytest.raises(ts.IncompleteStreamError):
            async with client.messages.batches.results(batch) as lines:
                async for _ in lines:
                    pass
        async with client.messages.batches.results(batch) as lines:
            assert [line.custom_id async for line in lines] == ["q-0", "q-1"]
