"""Which script answers which request, and what is remembered; as a transport of httpx."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from trio_stream.testing import (
    RecordedRequest,
    ScriptedAPI,
    Step,
    disconnect,
    fail,
    headers,
    http_error,
    pause,
    say,
    stall,
)
from trio_stream.transport import BODY_EXTENSION, ON_SENT_EXTENSION, ResponseBody

from .answers import BODY, KEY, events, kinds


def client_of(api: ScriptedAPI, **kwargs: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=api, base_url="http://api", headers=KEY, timeout=None, **kwargs)


async def test_scripts_answer_in_order() -> None:
    api = ScriptedAPI([say("one")], [http_error(529, retry_after=2)], default=[say("more")])
    async with client_of(api) as client:
        first = await client.post("/v1/messages", json=BODY)
        second = await client.post("/v1/messages", json=BODY)
        others = [await client.post("/v1/messages", json=BODY) for _ in range(2)]
    assert "one" in first.text
    assert second.status_code == 529
    assert second.headers["retry-after"] == "2"
    assert all('"more"' in other.text for other in others)
    assert [request.status for request in api.requests] == [200, 529, 200, 200]
    assert [request.closed_by for request in api.requests] == ["finish"] * 4
    assert first.headers["request-id"] == api.requests[0].request_id
    api.assert_done()
    assert "4 requests, 0 scripts left, 0 answers open" in repr(api)


async def test_a_script_may_be_made_for_its_request() -> None:
    def echo(request: RecordedRequest) -> list[Step]:
        return [say(request.messages[-1]["content"])]

    api = ScriptedAPI(echo)
    async with client_of(api) as client:
        answer = await client.post("/v1/messages", json={**BODY, "stream": False})
    assert answer.json()["content"] == [{"type": "text", "text": "hello there"}]


async def test_without_a_script_the_answer_says_so_and_the_check_fails() -> None:
    api = ScriptedAPI()
    async with client_of(api) as client:
        answer = await client.post("/v1/messages", json=BODY)
    assert answer.status_code == 500
    assert answer.headers["x-should-retry"] == "false"
    assert "no script is left for request 1" in answer.json()["error"]["message"]
    with pytest.raises(AssertionError, match="no script was left for request 1"):
        api.assert_done()


async def test_what_is_left_over_is_named() -> None:
    api = ScriptedAPI([say("one")], [say("two")])
    api.add([say("three")])
    assert api.scripts_left == 3
    async with client_of(api) as client:
        request = client.build_request("POST", "/v1/messages", json=BODY)
        answer = await client.send(request, stream=True)
        with pytest.raises(AssertionError, match=r"2 of 3 scripts were not used; still open: .*status=200"):
            api.assert_done()
        await answer.aclose()
    with pytest.raises(AssertionError, match=r"^2 of 3 scripts were not used$"):
        api.assert_done()


async def test_an_unanswered_request_is_named(autojump_clock: trio.testing.MockClock) -> None:
    api = ScriptedAPI([stall()])

    async def ask() -> None:
        async with client_of(api) as client:
            await client.post("/v1/messages", json=BODY)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(1)
        with pytest.raises(AssertionError, match="not answered: <RecordedRequest 1"):
            api.assert_done()
        nursery.cancel_scope.cancel(reason="enough")
    api.assert_done()


@pytest.mark.parametrize(
    ("method", "path", "change", "status", "text"),
    [
        ("POST", "/v1/nothing", {}, 404, "Not found: /v1/nothing"),
        ("GET", "/", {}, 404, "Not found"),
        ("GET", "/v1/messages", {}, 405, "Method Not Allowed"),
        ("POST", "/v1/messages", {"x-api-key": ""}, 401, "x-api-key header is required"),
        ("POST", "/v1/messages", {"authorization": "Bearer x"}, 400, "not both"),
        ("POST", "/v1/messages", {"anthropic-version": "1999-01-01"}, 400, "anthropic-version: "),
    ],
)
async def test_requests_no_script_sees(method: str, path: str, change: dict[str, str], status: int, text: str) -> None:
    api = ScriptedAPI([say("x")])
    async with client_of(api) as client:
        answer = await client.request(method, path, json=BODY, headers=change)
    assert answer.status_code == status
    assert text in answer.json()["error"]["message"]
    assert answer.json()["request_id"] == answer.headers["request-id"]
    assert api.scripts_left == 1


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"\xff"])
@pytest.mark.parametrize("strict", [True, False])
async def test_bodies_that_are_no_object(content: bytes, strict: bool) -> None:
    api = ScriptedAPI([say("x")], strict=strict)
    async with client_of(api) as client:
        answer = await client.post("/v1/messages", content=content)
    assert answer.status_code == 400


async def test_strictness_names_the_path_and_can_be_switched_off() -> None:
    body = {**BODY, "messages": [{"role": "user", "content": ""}]}
    api = ScriptedAPI([say("x")])
    async with client_of(api) as client:
        answer = await client.post("/v1/messages", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.json()["error"]["message"].startswith("messages.0: ")
    easy = ScriptedAPI([say("x")], strict=False)
    async with httpx.AsyncClient(transport=easy, base_url="http://api") as client:
        answer = await client.post("/v1/messages", json={"stream": True, "whatever": 1})
    assert answer.status_code == 200
    assert events(answer.content)[0]["message"]["model"]


async def test_tokens_are_counted() -> None:
    api = ScriptedAPI()
    async with client_of(api) as client:
        answer = await client.post(
            "/v1/messages/count_tokens?beta=true", json={"model": "claude-opus-5", "messages": BODY["messages"]}
        )
        refused = await client.post("/v1/messages/count_tokens", json=BODY)
    assert answer.json() == {"input_tokens": 13}
    assert refused.status_code == 400
    assert api.requests[0].params == {"beta": "true"}
    api.assert_done()


async def test_a_body_is_handed_over_and_sending_is_told(autojump_clock: trio.testing.MockClock) -> None:
    sent: list[float] = []
    api = ScriptedAPI([pause(0.01), say("x")])
    request = httpx.Request(
        "POST",
        "http://api/v1/messages",
        json=BODY,
        headers=KEY,
        extensions={ON_SENT_EXTENSION: lambda: sent.append(trio.current_time())},
    )
    response = await api.handle_async_request(request)
    assert sent == [api.requests[0].at]
    body = response.extensions[BODY_EXTENSION]
    assert isinstance(body, ResponseBody)
    assert body.cancel_safe
    assert kinds(events(await body.receive_some()))[-1] == "message_stop"
    body.finish()
    assert api.open_streams == 0


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ([disconnect()], httpx.RemoteProtocolError),
        ([disconnect(reset=True)], httpx.ReadError),
        ([say("x"), disconnect()], httpx.RemoteProtocolError),
        ([say("x"), disconnect(reset=True)], httpx.ReadError),
    ],
)
async def test_cuts_are_httpx_errors_for_plain_httpx(script: list[Step], error: type[Exception]) -> None:
    api = ScriptedAPI(script)
    async with client_of(api) as client:
        with pytest.raises(error):
            await client.post("/v1/messages", json=BODY)
    api.assert_done()


async def test_failures_of_answers_that_are_not_streamed() -> None:
    api = ScriptedAPI([say("x"), fail("overloaded_error")], [headers({"x-mine": "1"}), say("y")])
    body = {**BODY, "stream": False}
    async with client_of(api) as client:
        failed = await client.post("/v1/messages", json=body)
        fine = await client.post("/v1/messages", json=body)
    assert failed.status_code == 529
    assert failed.json()["error"]["type"] == "overloaded_error"
    assert fine.headers["x-mine"] == "1"
    assert fine.headers["content-length"] == str(len(fine.content))


async def test_an_answer_not_streamed_takes_its_whole_time(autojump_clock: trio.testing.MockClock) -> None:
    api = ScriptedAPI([say("a b c", ttft=1, tps=1)])
    async with client_of(api) as client:
        await client.post("/v1/messages", json={**BODY, "stream": False})
    assert trio.current_time() == pytest.approx(3)


async def test_only_the_last_requests_are_kept_when_asked_for() -> None:
    api = ScriptedAPI(default=[say("x")], keep_requests=2)
    async with client_of(api) as client:
        for _ in range(5):
            await client.post("/v1/messages", json=BODY)
    assert [request.number for request in api.requests] == [4, 5]


async def test_concurrent_requests_do_not_wait_for_each_other(autojump_clock: trio.testing.MockClock) -> None:
    api = ScriptedAPI(default=[say("a b c d e", ttft=1, tps=2)])

    async def ask(client: httpx.AsyncClient) -> None:
        await client.post("/v1/messages", json=BODY)

    async with client_of(api) as client, trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(ask, client)
    assert trio.current_time() == pytest.approx(3)
    assert len(api.requests) == 100


async def test_a_body_left_early_is_closed() -> None:
    api = ScriptedAPI([say("x"), stall()])
    async with client_of(api) as client, client.stream("POST", "/v1/messages", json=BODY) as response:
        # Not read: httpx's own async generators would be left to the garbage collector.
        assert response.status_code == 200
    assert api.requests[0].closed_by == "close"
    assert api.disconnects == api.requests


async def test_requests_are_typed_and_keep_secrets_out_of_sight() -> None:
    api = ScriptedAPI([say("x")])
    async with client_of(api) as client:
        await client.post("/v1/messages?beta=true", json=BODY, headers={"anthropic-beta": "one-1, two-2"})
    [request] = api.requests
    assert request.method == "POST"
    assert request.path == "/v1/messages"
    assert request.params == {"beta": "true"}
    assert request.stream
    assert request.model == "claude-opus-5"
    assert request.messages == BODY["messages"]
    assert request.body == BODY
    assert json.loads(request.content) == BODY
    assert request.betas == ("one-1", "two-2")
    assert request.headers["X-API-Key"] == request.key == "key"
    assert "X-Api-Key" in request.headers
    assert [name for name in (7, "x-none") if name in request.headers] == []
    assert dict(request.headers)["anthropic-beta"] == "one-1, two-2"
    assert ("x-api-key", "key") in request.headers.pairs
    assert "[redacted]" in repr(request.headers)
    assert "'key'" not in repr(request.headers)
    assert repr(request) == (
        "<RecordedRequest 1: POST /v1/messages model=claude-opus-5 messages=1 stream status=200 closed_by=finish>"
    )
