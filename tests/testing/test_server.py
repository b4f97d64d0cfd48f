"""The served port: real sockets, plain and TLS."""

from __future__ import annotations

import json
import socket
import ssl
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from trio_stream.testing import (
    ScriptedAPI,
    Step,
    disconnect,
    headers,
    http_error,
    pause,
    raw,
    say,
    scripted_model,
    stall,
)

from .answers import BODY, KEY, events, kinds, until


def request_bytes(body: dict[str, Any] = BODY, *, extra: str = "", version: str = "1.1") -> bytes:
    content = json.dumps(body).encode()
    lines = [f"POST /v1/messages HTTP/{version}", "host: x", *(f"{name}: {value}" for name, value in KEY.items())]
    return (
        "\r\n".join([*lines, f"content-length: {len(content)}", extra]).encode()
        + b"\r\n" * (2 if extra else 1)
        + content
    )


async def read_to_end(stream: trio.abc.ReceiveStream) -> bytes:
    data = b""
    while part := await stream.receive_some():
        data += part
    return data


async def read_answer(stream: trio.abc.ReceiveStream) -> bytes:
    data = b""
    while not data.endswith(b"0\r\n\r\n"):
        part = await stream.receive_some()
        assert part, data
        data += part
    return data


async def test_streams_over_one_kept_connection() -> None:
    api = ScriptedAPI([say("Hello", tps=200)], [say("again")], [http_error(529, retry_after=1)], [say("whole")])
    async with api.serve() as server:
        assert server.base_url == f"http://127.0.0.1:{server.port}"
        async with httpx.AsyncClient(base_url=server.base_url, headers=KEY) as client:
            first = await client.post("/v1/messages?beta=true", json=BODY)
            second = await client.post("/v1/messages", json=BODY)
            third = await client.post("/v1/messages", json=BODY)
            whole = await client.post("/v1/messages", json={**BODY, "stream": False})
        assert server.accepted == 1
    assert first.headers["transfer-encoding"] == "chunked"
    assert kinds(events(first.content))[-1] == "message_stop"
    assert b"again" in second.content
    assert third.status_code == 529
    assert whole.json()["content"] == [{"type": "text", "text": "whole"}]
    assert whole.headers["content-length"] == str(len(whole.content))
    assert api.requests[0].params == {"beta": "true"}
    assert [request.closed_by for request in api.requests] == ["finish"] * 4
    assert [request.complete for request in api.requests] == [True] * 4
    assert server.connections == 0
    api.assert_done()


async def test_tls(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    api = ScriptedAPI([say("a b c", tps=200)], [say("again")])
    async with api.serve(ssl_context=server_tls) as server:
        assert server.base_url.startswith("https://")
        async with httpx.AsyncClient(base_url=server.base_url, headers=KEY, verify=client_tls) as client:
            for _ in range(2):
                answer = await client.post("/v1/messages", json=BODY)
                assert kinds(events(answer.content))[-1] == "message_stop"
        assert server.accepted == 1


async def test_tls_with_a_client_that_does_not_speak_it(server_tls: ssl.SSLContext) -> None:
    api = ScriptedAPI()
    async with api.serve(ssl_context=server_tls) as server:
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with stream:
            await stream.send_all(request_bytes())
            with trio.fail_after(5):
                # Not HTTP: an alert, and the end.
                assert b"HTTP" not in await read_to_end(stream)
        assert api.requests == []


@pytest.mark.parametrize("tls", [False, True])
async def test_a_client_that_leaves_is_noticed_at_once(
    tls: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    api = ScriptedAPI([say("x"), stall()], [stall()], [say("a " * 1000, tps=1000)])
    async with api.serve(ssl_context=server_tls if tls else None) as server:
        for number in range(3):
            stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            if tls:
                stream = trio.SSLStream(stream, client_tls, server_hostname="127.0.0.1")
            await stream.send_all(request_bytes())
            if number != 1:
                await stream.receive_some()
            else:
                await until(lambda: len(api.requests) == 2)
            left = trio.current_time()
            await trio.aclose_forcefully(stream)
            request = api.requests[number]
            await until(lambda: request.closed_at is not None)
            assert request.closed_by == "close"
            assert request.closed_at is not None
            assert request.closed_at - left < 0.5
        assert api.disconnects == api.requests
        assert api.open_streams == 0
        await server.wait_no_connections()


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    ("script", "complete", "reset"),
    [
        ([say("x"), disconnect()], False, False),
        ([say("x"), disconnect(clean=True)], True, False),
        ([headers(), pause(0.02), disconnect(reset=True)], False, True),
        ([headers(), disconnect()], False, False),
    ],
)
async def test_cut_answers(
    script: list[Step],
    complete: bool,
    reset: bool,
    tls: bool,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
) -> None:
    api = ScriptedAPI(script)
    async with api.serve(ssl_context=server_tls if tls else None) as server:
        stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        if tls:
            stream = trio.SSLStream(stream, client_tls, server_hostname="127.0.0.1", https_compatible=True)
        await stream.send_all(request_bytes(extra="connection: close"))
        if reset:
            assert b"200 OK" in await stream.receive_some()
            with pytest.raises(trio.BrokenResourceError) as caught:
                await read_to_end(stream)
            assert "reset" in repr(caught.value.__cause__).lower()
        else:
            data = await read_to_end(stream)
            assert data.startswith(b"HTTP/1.1 200 OK\r\n")
            assert data.endswith(b"0\r\n\r\n") is complete
        await trio.aclose_forcefully(stream)
    api.assert_done()


@pytest.mark.parametrize("reset", [False, True])
async def test_cut_before_the_head(reset: bool) -> None:
    api = ScriptedAPI([disconnect(reset=reset)])
    async with api.serve() as server, httpx.AsyncClient(base_url=server.base_url, headers=KEY) as client:
        with pytest.raises(httpx.ReadError if reset else httpx.RemoteProtocolError):
            await client.post("/v1/messages", json=BODY)
    api.assert_done()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"this is not http\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000, b"431 "),
    ],
)
async def test_what_is_no_request_is_refused(data: bytes, status: bytes) -> None:
    api = ScriptedAPI()
    async with api.serve() as server:
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with stream:
            await stream.send_all(data)
            with trio.fail_after(5):
                assert (await read_to_end(stream)).startswith(b"HTTP/1.1 " + status)
    assert api.requests == []


@pytest.mark.parametrize(("extra", "version"), [("connection: close", "1.1"), ("", "1.0")])
async def test_answers_that_end_the_connection(extra: str, version: str) -> None:
    api = ScriptedAPI([say("x")])
    async with api.serve() as server:
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with stream:
            await stream.send_all(request_bytes(extra=extra, version=version))
            with trio.fail_after(5):
                data = await read_to_end(stream)
    assert b"\r\nconnection: close\r\n" in data
    assert (b"chunked" in data) is (version == "1.1")
    assert b"message_stop" in data


async def test_continue_is_sent() -> None:
    api = ScriptedAPI([say("x")])
    async with api.serve() as server:
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with stream:
            head, _, content = request_bytes(extra="expect: 100-continue").partition(b"\r\n\r\n")
            await stream.send_all(head + b"\r\n\r\n")
            with trio.fail_after(5):
                assert await stream.receive_some() == b"HTTP/1.1 100 Continue\r\n\r\n"
                await stream.send_all(content)
                assert b"message_stop" in await read_answer(stream)


async def test_a_request_in_advance_waits_and_a_third_ends_the_connection() -> None:
    api = ScriptedAPI([say("a b", tps=50)], [say("c")])
    async with api.serve() as server:
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with stream:
            await stream.send_all(request_bytes() * 2)
            with trio.fail_after(5):
                data = await read_answer(stream)
                if data.count(b"HTTP/1.1 200") < 2:
                    data += await read_answer(stream)
        assert data.count(b"message_stop\n") == 2
        api.add([stall()], [stall()], [stall()])
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with stream:
            await stream.send_all(request_bytes() * 4)
            with trio.fail_after(5):
                await read_to_end(stream)


async def test_a_client_that_does_not_read_is_closed_with_the_block() -> None:
    api = ScriptedAPI([raw(b"x" * 20_000_000)])
    async with api.serve() as server:
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        await stream.send_all(request_bytes())
        await stream.receive_some()
    assert api.open_streams == 0
    assert api.disconnects == api.requests
    await trio.aclose_forcefully(stream)


async def test_leaving_the_block_closes_everything() -> None:
    api = ScriptedAPI(default=[headers(), stall()])
    streams: list[trio.SocketStream] = []
    async with api.serve() as server:
        for _ in range(5):
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            await stream.send_all(request_bytes())
            await stream.receive_some()
            streams.append(stream)
        assert server.connections == 5
        assert "5 connections open" in repr(server)
    assert server.connections == 0
    assert api.open_streams == 0
    for stream in streams:
        async with stream:
            with trio.fail_after(5):
                assert await stream.receive_some() == b""
    with pytest.raises(OSError, match="connect"):
        await trio.open_tcp_stream("127.0.0.1", server.port)


async def test_an_exception_of_the_block_leaves_as_itself() -> None:
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught:
        async with ScriptedAPI().serve():
            raise error
    assert caught.value is error


async def test_a_group_of_the_block_leaves_as_itself() -> None:
    group = ExceptionGroup("mine", [ValueError("one")])
    with pytest.raises(ExceptionGroup) as caught:
        async with ScriptedAPI().serve():
            raise group
    assert caught.value is group


async def test_a_mistake_in_a_script_ends_the_block_with_it() -> None:
    def wrong(request: object) -> list[Step]:
        raise LookupError("a mistake")

    api = ScriptedAPI(wrong)
    with trio.fail_after(5), pytest.raises(LookupError, match="a mistake"):
        async with api.serve() as server:
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            async with stream:
                await stream.send_all(request_bytes())
                await trio.sleep_forever()


async def test_a_mistake_in_a_script_beside_an_exception_of_the_block() -> None:
    def wrong(request: object) -> list[Step]:
        raise LookupError("a mistake")

    api = ScriptedAPI(wrong)
    with trio.fail_after(5), pytest.RaisesGroup(ValueError, LookupError):
        async with api.serve() as server:
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            await stream.send_all(request_bytes())
            try:
                await trio.sleep_forever()
            finally:
                stream.socket.close()
                raise ValueError("mine")


async def test_cancelling_the_block(autojump_clock: trio.testing.MockClock) -> None:
    with trio.move_on_after(3) as scope:
        async with ScriptedAPI().serve():
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_block_is_not_entered_twice_at_once() -> None:
    serving = ScriptedAPI([say("x")]).serve()
    async with serving:
        with pytest.raises(RuntimeError, match="already being served"):
            await serving.__aenter__()
    async with serving as server:
        assert server.port


async def test_serving_until_cancelled() -> None:
    api = ScriptedAPI(default=scripted_model(ttft=0, tps=None))
    async with trio.open_nursery() as nursery:
        server = await nursery.start(api.serve_forever)
        async with httpx.AsyncClient(base_url=server.base_url, headers=KEY) as client:
            answers = [await client.post("/v1/messages", json=BODY) for _ in range(3)]
        nursery.cancel_scope.cancel(reason="served enough")
    assert {answer.status_code for answer in answers} == {200}
    assert server.connections == 0


class TwoAddresses(trio.abc.HostnameResolver):
    async def getaddrinfo(
        self,
        host: bytes | None,
        port: Any,
        family: int = 0,
        type: int = 0,  # noqa: A002 - Trio's name
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))] * 2

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


async def test_a_name_with_several_addresses_gets_one_free_port() -> None:
    api = ScriptedAPI([say("x")])
    trio.socket.set_custom_hostname_resolver(TwoAddresses())
    async with (
        api.serve(host="two.example") as server,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", headers=KEY) as client,
    ):
        assert server.base_url == f"http://two.example:{server.port}"
        assert (await client.post("/v1/messages", json=BODY)).status_code == 200


async def test_ipv6() -> None:
    api = ScriptedAPI([say("x")])
    try:
        async with api.serve(host="::1") as server, httpx.AsyncClient(base_url=server.base_url, headers=KEY) as client:
            assert server.base_url == f"http://[::1]:{server.port}"
            assert (await client.post("/v1/messages", json=BODY)).status_code == 200
    except OSError:
        pytest.skip("no IPv6 here")


async def test_many_at_once() -> None:
    api = ScriptedAPI(default=[say("a b c d e", ttft=0.01, tps=100)])
    answers: list[httpx.Response] = []

    async def ask(client: httpx.AsyncClient) -> None:
        answers.append(await client.post("/v1/messages", json=BODY))

    async with api.serve() as server, httpx.AsyncClient(base_url=server.base_url, headers=KEY, timeout=20) as client:
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(ask, client)
        assert server.accepted > 10
    assert all(kinds(events(answer.content))[-1] == "message_stop" for answer in answers)
    api.assert_done()


async def test_a_port_of_ones_own() -> None:
    async with ScriptedAPI([say("a")]).serve() as server:
        port = server.port
    async with ScriptedAPI([say("b")]).serve(port=port) as server:
        assert server.port == port
        async with httpx.AsyncClient(base_url=server.base_url, trust_env=False) as client:
            assert (await client.post("/v1/messages", json=BODY, headers=KEY)).status_code == 200
