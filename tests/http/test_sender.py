"""What is sent, and by whom."""

from __future__ import annotations

import contextlib
import gc
import logging
import warnings

import httpx
import pytest
import trio
import trio.testing

from tests.http.posting import ON_HTTPX2, QUICK, all_texts, post, read_all, sender_of
from tests.wire.answers import CHUNKED_HEAD, chunk, sized
from tests.wire.server import Peer, answering, once, serve
from trio_stream._errors import (
    APIConnectionError,
    InvalidResponseError,
)
from trio_stream._http import ConnectionStatistics, Sender, Transport, open_sender
from trio_stream._http._target import MOST_KEPT

pytestmark = pytest.mark.usefixtures("nothing_left")

IDLE = ConnectionStatistics(active=0, idle=0, waiting=0)
SECRET = "sk-ant-very-secret"
HEADERS = {"x-api-key": SECRET, "content-type": "application/json"}


async def test_a_request_and_its_answer():
    sent = []
    async with serve(answering(sized(b"hello", b"Request-Id: r1"))) as server, sender_of(server) as sender:
        with trio.testing.assert_checkpoints():
            response = await post(sender, b'{"a":1}', headers=HEADERS, on_sent=lambda: sent.append(1))
        assert response.info.status_code == 200
        assert response.info.http_version == "HTTP/1.1"
        assert response.info.headers["request-id"] == "r1"
        assert response.info.url == f"{server.base_url}/v1/messages"
        assert await read_all(response.body) == b"hello"
        response.body.finish()
        assert sent == [1]
        assert SECRET not in repr(response)
    request = server.requests[0]
    assert (request.method, request.target, request.content) == ("POST", "/v1/messages", b'{"a":1}')
    assert sorted(name.lower() for name, _ in request.header_lines) == [
        "content-length",
        "content-type",
        "host",
        "x-api-key",
    ]


@pytest.mark.parametrize(
    "below, url, params, target",
    [
        ("", "/v1/messages", None, "/v1/messages"),
        ("/", "/v1/messages", None, "/v1/messages"),
        ("/anthropic/", "/v1/messages", {"beta": True}, "/anthropic/v1/messages?beta=true"),
        ("/a%2Fb", "/v1/messages?x=1", {"y": ["2", "3"]}, "/a%2Fb/v1/messages?x=1&y=2&y=3"),
        ("?tenant=7", "/v1/messages", {"x": None}, "/v1/messages?tenant=7&x="),
    ],
)
async def test_urls_are_joined(below, url, params, target):
    async with serve(answering(sized(b""))) as server:
        sender = open_sender(base_url=server.base_url + below)
        (await post(sender, url=url, params=params)).body.close()
        await sender.aclose()
    assert server.requests[0].target == target


@pytest.mark.parametrize("transport", [None, Transport], ids=["ours", "theirs"])
async def test_credentials_in_the_url_are_in_no_text(transport, caplog):
    caplog.set_level(logging.DEBUG)
    async with serve(answering(sized(b""))) as server:
        base_url = server.base_url.replace("http://", "http://us%40er:password@")
        sender = open_sender(base_url=base_url, transport=transport and transport())
        response = await post(sender)
        response.body.close()
        assert "password" not in response.info.url
        await sender.aclose()
    assert server.requests[0].headers.get("authorization") == httpx.BasicAuth("us@er", "password")._auth_header
    async with serve(once(b"", end="rst")) as server:
        sender = open_sender(base_url=server.base_url.replace("http://", "http://user:password@"))
        with pytest.raises(APIConnectionError) as caught:
            await post(sender)
        assert "password" not in all_texts(caught.value)
    assert ("HTTP Request" in caplog.text) == (transport is not None)
    assert "password" not in caplog.text


async def test_a_token_of_ours_wins_over_credentials_in_the_url():
    async with serve(answering(sized(b""))) as server:
        sender = open_sender(base_url=server.base_url.replace("http://", "http://user:password@"))
        (await post(sender, headers={"Authorization": "Bearer t"})).body.close()
    assert server.requests[0].headers.get("authorization") == "Bearer t"


async def test_redirects_are_not_followed():
    elsewhere = []

    async def other(peer: Peer) -> None:
        elsewhere.append(peer)

    async with serve(other) as target:
        redirect = sized(b"", b"Location: %b/there" % target.base_url.encode(), status=b"307 Temporary Redirect")
        async with serve(answering(redirect)) as server, httpx.AsyncClient(follow_redirects=True) as client:
            for options in ({}, {"http_client": client}):
                async with sender_of(server, **options) as sender:
                    response = await post(sender, headers=HEADERS)
                    assert response.info.status_code == 307
                    response.body.close()
                    await response.body.aclose()
    assert elsewhere == []


async def test_a_redirect_to_nowhere():
    """An answer all the same; but httpx (not its fork) reads the target for a caller's client, and fails."""
    redirect = sized(b"", b"Location: http://host:port", status=b"302 Found")
    async with serve(answering(redirect)) as server, httpx.AsyncClient() as client:
        async with sender_of(server) as sender:
            response = await post(sender)
            assert (response.info.status_code, response.info.headers["location"]) == (302, "http://host:port")
            response.body.close()
        async with sender_of(server, http_client=client) as sender:
            if ON_HTTPX2:
                response = await post(sender)
                assert response.info.status_code == 302
                await response.body.aclose()
            else:
                with pytest.raises(InvalidResponseError):
                    await post(sender)
            assert sender.statistics() == IDLE


async def test_no_cookies_of_our_own_accord():
    async with serve(answering(sized(b"", b"Set-Cookie: a=1"))) as server, sender_of(server) as sender:
        for _ in range(2):
            (await post(sender)).body.close()
    assert [request.headers.get("cookie") for request in server.requests] == [None, None]


async def test_cookies_and_default_headers_of_a_callers_client():
    async with serve(answering(sized(b"", b"Set-Cookie: a=1"))) as server:
        async with httpx.AsyncClient(headers={"x-mine": "1", "x-api-key": "theirs"}) as client:
            async with sender_of(server, http_client=client) as sender:
                for _ in range(2):
                    body = (await post(sender, headers={**HEADERS, "user-agent": "ours"})).body
                    body.close()
                    await body.aclose()
            assert not client.is_closed
    first, second = server.requests
    assert first.headers.get("x-mine") == "1"
    assert first.headers.get("x-api-key") == SECRET
    assert first.headers.get("user-agent") == "ours"
    assert second.headers.get("cookie") == "a=1"


async def test_hooks_of_a_callers_client():
    seen = []

    async def on_request(request: httpx.Request) -> None:
        seen.append(request.url.path)

    async def on_response(response: httpx.Response) -> None:
        seen.append(response.status_code)
        await response.aread()

    hooks = {"request": [on_request], "response": [on_response]}
    async with serve(answering(sized(b"hello"))) as server:
        for transport in (Transport(), httpx.AsyncHTTPTransport()):
            async with httpx.AsyncClient(transport=transport, event_hooks=hooks) as client:
                async with sender_of(server, http_client=client) as sender:
                    response = await post(sender)
                    assert await read_all(response.body) == b"hello"
                    response.body.close()
                    assert sender.statistics() == IDLE
    assert seen == ["/v1/messages", 200] * 2


async def test_a_hook_that_eats_the_body():
    async def eat(response: httpx.Response) -> None:
        async for _ in response.aiter_raw():
            pass

    async with serve(answering(sized(b"hello"))) as server:
        for transport in (Transport(), httpx.AsyncHTTPTransport()):
            async with httpx.AsyncClient(transport=transport, event_hooks={"response": [eat]}) as client:
                async with sender_of(server, http_client=client) as sender:
                    with pytest.raises(APIConnectionError, match="hook") as caught:
                        await post(sender)
                    assert not caught.value.retryable
                    assert sender.statistics() == IDLE


async def test_a_hook_that_fails():
    async def fail(_response: httpx.Response) -> None:
        raise ZeroDivisionError

    async with serve(answering(CHUNKED_HEAD, chunk(b"x"))) as server:
        for transport in (Transport(), httpx.AsyncHTTPTransport()):
            async with httpx.AsyncClient(transport=transport, event_hooks={"response": [fail]}) as client:
                async with sender_of(server, http_client=client) as sender:
                    with pytest.raises(ZeroDivisionError):
                        await post(sender)
                    assert sender.statistics() == IDLE


async def test_what_fails_between_the_transport_and_us_leaves_no_socket(monkeypatch):
    """httpx does not close the response then."""
    async with (
        serve(answering(CHUNKED_HEAD, chunk(b"x"))) as server,
        sender_of(server, transport=Transport()) as sender,
    ):
        for error in (ZeroDivisionError, httpx.DecodingError("by httpx")):

            def fail(_self, _response, error=error) -> None:
                raise error

            with monkeypatch.context() as patch:
                patch.setattr(httpx.Cookies, "extract_cookies", fail)
                with pytest.raises((ZeroDivisionError, APIConnectionError)):
                    await post(sender)
            assert sender.statistics().active == 0
        await server.closed()


async def test_auth_of_a_callers_client():
    class Signing(httpx.Auth):
        requires_request_body = True

        def auth_flow(self, request):
            request.headers["x-signature"] = str(len(request.content))
            response = yield request
            if response.status_code == 401:
                yield request

    async def script(peer: Peer) -> None:
        await peer.answer(sized(b"", status=b"401 Unauthorized"))
        await peer.answer(sized(b"hello"))

    sent = []
    async with serve(script) as server, httpx.AsyncClient(transport=Transport(), auth=Signing()) as client:
        async with sender_of(server, http_client=client) as sender:
            response = await post(sender, content=b"12345", on_sent=lambda: sent.append(1))
            assert (response.info.status_code, await read_all(response.body)) == (200, b"hello")
            response.body.finish()
    assert [request.headers.get("x-signature") for request in server.requests] == ["5", "5"]
    assert sent == [1]


async def test_a_closed_client_of_the_callers():
    client = httpx.AsyncClient()
    await client.aclose()
    sender = open_sender(base_url="http://127.0.0.1:1", http_client=client)
    with pytest.raises(trio.ClosedResourceError, match="http_client"):
        await post(sender)
    await sender.aclose()
    with pytest.raises(trio.ClosedResourceError, match="connections"):
        await post(sender)


async def test_aclose():
    async with serve(answering(sized(b""))) as server:
        for options in ({}, {"transport": httpx.AsyncHTTPTransport()}):
            sender = open_sender(base_url=server.base_url, **options)
            sender.keep_connections(True)
            body = (await post(sender)).body
            await read_all(body)
            body.finish()
            await body.aclose()
            with trio.testing.assert_checkpoints():
                await sender.aclose()
            with trio.CancelScope() as scope:
                scope.cancel(reason="already over")
                await sender.aclose()
            assert scope.cancelled_caught


async def test_aclose_when_cancelled_closes_all_the_same():
    async with serve(answering(sized(b""))) as server:
        sender = open_sender(base_url=server.base_url)
        sender.keep_connections(True)
        body = (await post(sender)).body
        await read_all(body)
        body.finish()
        with trio.CancelScope() as scope:
            scope.cancel(reason="already over")
            await sender.aclose()
        await server.closed()


def test_close_outside_of_trio():
    """A program may end without a Trio run around it any more."""

    async def main() -> Sender:
        async with serve(answering(sized(b""))) as server:
            sender = open_sender(base_url=server.base_url)
            sender.keep_connections(True)
            body = (await post(sender)).body
            await read_all(body)
            body.finish()
            return sender

    sender = trio.run(main)
    sender.close()
    assert sender.statistics() == IDLE


# The environment's proxy.


async def test_the_environment_chooses_a_proxy(monkeypatch):
    """The request goes to the proxy in absolute form; NO_PROXY takes the direct way."""
    async with serve(answering(sized(b"by proxy"))) as proxy, serve(answering(sized(b"direct"))) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url)
        for keep in (True, False):
            async with sender_of(server, keep=keep) as sender:
                for _ in range(2):
                    body = (await post(sender)).body
                    assert await read_all(body) == b"by proxy"
                    body.finish()
                    await body.aclose()
        assert [len(peer.requests) for peer in proxy.peers] == [2, 1, 1]
        assert proxy.requests[0].target == f"{server.base_url}/v1/messages"
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with sender_of(server) as sender:
            body = (await post(sender)).body
            assert await read_all(body) == b"direct"
            body.finish()


async def test_a_transport_or_client_of_the_callers_is_its_own_choice(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with serve(answering(sized(b"direct"))) as server:
        async with sender_of(server, transport=Transport()) as sender:
            body = (await post(sender)).body
            assert await read_all(body) == b"direct"
            body.finish()


@pytest.mark.parametrize("proxy", ["gopher://user:hunter2@proxy.example", "http://user:hunter2@host:port"])
async def test_a_proxy_that_cannot_be_used(proxy, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", proxy)
    sender = open_sender(base_url="http://host.example")
    with pytest.raises(APIConnectionError) as caught:
        await post(sender)
    assert not caught.value.retryable
    assert "hunter2" not in all_texts(caught.value)
    await sender.aclose()


async def test_a_socks_proxy_without_its_package(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy.example:1080")
    sender = open_sender(base_url="http://host.example")
    with pytest.raises(APIConnectionError, match="socksio"):
        await post(sender)


def test_nothing_is_opened_by_making_one():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_sender(base_url="https://api.example")
        gc.collect()


async def test_timeouts_are_those_of_the_call_not_of_the_client():
    async def slow(peer: Peer) -> None:
        await peer.request()
        await trio.sleep(0.1)
        await peer.send(sized(b"late"))

    async with serve(slow) as server, httpx.AsyncClient(timeout=0.02) as client:
        async with sender_of(server, http_client=client) as sender:
            body = (await post(sender, timeouts=QUICK)).body
            assert await read_all(body) == b"late"
            with contextlib.suppress(trio.Cancelled):
                await body.aclose()


async def test_a_host_header_of_the_callers_is_the_only_one():
    async with serve(answering(sized(b""))) as server, sender_of(server) as sender:
        await post(sender, headers={"host": "gateway.example"})
    assert [value for name, value in server.requests[0].header_lines if name.lower() == "host"] == ["gateway.example"]


async def test_a_checkpoint_even_by_a_transport_that_does_not_wait():
    sender = open_sender(base_url="http://host", transport=httpx.MockTransport(lambda _: httpx.Response(200)))
    with trio.testing.assert_checkpoints():
        response = await post(sender)
    response.body.close()
    await response.body.aclose()
    await sender.aclose()


# The head of a request is kept for the next one.


async def test_a_head_serves_any_content_and_no_other_headers():
    async with serve(answering(sized(b""))) as server, sender_of(server) as sender:
        calls = [(b"1", {"x": "1"}), (b"22", {"x": "1"}), (b"22", {"x": "2"}), (b"", {"x": "1"})]
        calls += [(b"22", {"x": "1", "content-length": "2"}), (b"333", {"x": "1"})]
        for content, headers in calls:
            response = await post(sender, content, headers=headers)
            await read_all(response.body)
            response.body.finish()
        assert len(sender._heads) == 3
        with pytest.raises(APIConnectionError, match="content-length"):
            await post(sender, b"333", headers={"x": "1", "content-length": "2"})
    for request, (content, headers) in zip(server.requests, calls, strict=True):
        sent = {name.lower(): value for name, value in request.header_lines}
        assert (request.content, sent["x"], sent["content-length"]) == (content, headers["x"], str(len(content)))
        assert len(request.header_lines) == 3


async def test_no_more_heads_are_kept_than_so_many():
    async with serve(answering(sized(b""))) as server, sender_of(server) as sender:
        for number in range(MOST_KEPT + 1):
            response = await post(sender, headers={"x-api-key": SECRET, "x-number": str(number)})
            response.body.finish()
            assert 0 < len(sender._heads) <= MOST_KEPT
        assert SECRET not in repr(sender) + repr(list(sender._heads.values()))
    assert not sender._heads
    assert [request.headers["x-number"] for request in server.requests] == [str(n) for n in range(MOST_KEPT + 1)]
