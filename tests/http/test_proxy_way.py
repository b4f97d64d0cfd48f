"""The way through a proxy that the environment names: who is to blame, what it takes, and that it is bounded."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
import trio

import trio_stream as ts
from tests.stream.api import PARAMS
from tests.wire.answers import GOOD_ANSWER, sized
from tests.wire.events import TEXT
from tests.wire.server import Peer, Script, Step, answering, on, serve
from trio_stream._http._proxies import Proxy, is_excluded

pytestmark = pytest.mark.usefixtures("nothing_left")


def refusing(answer: bytes, *, then: str = "close") -> Step:
    """A proxy that says this to whatever it is asked."""

    async def script(peer: Peer) -> None:
        await peer.request()
        if answer:
            await peer.send(answer)
        if then == "reset":
            peer.close(rst=True)
        elif then == "close":
            await peer.fin()

    return script


async def create(client: ts.Client) -> ts.Message:
    return await client.messages.create(**PARAMS)


async def failing(retries: int = 2, base_url: str = "https://api.test", **options: Any) -> ts.APIConnectionError:
    async with ts.Client(api_key="k", base_url=base_url, max_retries=retries, **options) as client:
        with pytest.raises(ts.APIError) as caught:
            await create(client)
        assert client.statistics().active == 0
    assert isinstance(caught.value, ts.APIConnectionError)
    assert not caught.value.may_have_been_accepted
    return caught.value


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize(
    ("status", "retried"),
    [
        (b"403 Forbidden", False),
        (b"407 Proxy Authentication Required", False),
        (b"404 Not Found", False),
        (b"501 Not Implemented", False),
        (b"502 Bad Gateway", True),
        (b"503 Service Unavailable", True),
        (b"429 Too Many Requests", True),
    ],
)
async def test_connect_is_refused(status, retried, variable, monkeypatch, autojump_clock):
    async with serve(refusing(sized(b"no", status=status))) as proxy:
        monkeypatch.setenv(variable, f"http://user:secret@127.0.0.1:{proxy.port}")
        error = await failing()
        assert len(proxy.peers) == (3 if retried else 1)
        assert proxy.requests[0].method == "CONNECT"
    assert error.retryable is retried
    for part in (f"http://127.0.0.1:{proxy.port}", variable, status.decode(), "api.test:443"):
        assert part in str(error)
    assert "secret" not in repr(error) + str(error)


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"<html>hello</html>\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x46"]
)
async def test_it_is_no_proxy(said, monkeypatch):
    async with serve(refusing(said)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        error = await failing()
        assert len(proxy.peers) == 1
    assert "does not answer as a proxy" in str(error)
    assert f"http://127.0.0.1:{proxy.port} (from HTTPS_PROXY)" in str(error)


@pytest.mark.parametrize("then", ["close", "reset"])
async def test_it_gives_up_the_connection(then, monkeypatch):
    async with serve(refusing(b"", then=then)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        error = await failing(0)
    assert error.retryable
    assert f"the proxy http://127.0.0.1:{proxy.port} (from HTTPS_PROXY)" in str(error)


async def test_it_refuses_to_be_connected_to(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    error = await failing(0)
    assert str(error) == "cannot connect to the proxy http://127.0.0.1:9 (from ALL_PROXY): connection refused"
    assert error.retryable


async def test_its_host_is_unknown(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://no-such-host.invalid:3128")
    error = await failing(0)
    assert str(error).startswith("cannot connect to the proxy http://no-such-host.invalid:3128 (from HTTPS_PROXY): ")


@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_it_never_answers(scheme, monkeypatch):
    """``connect`` bounds a CONNECT; what is sent through without one is the API's to answer."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.until_closed()

    async with serve(script) as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", f"http://127.0.0.1:{proxy.port}")
        timeouts = ts.Timeouts(connect=0.2, first_event=60 if scheme == "https" else 0.6)
        began = trio.current_time()
        if scheme == "https":
            error = await failing(0, timeout=timeouts)
            assert isinstance(error, ts.ConnectTimeoutError)
            assert error.seconds == 0.2
            assert f"http://127.0.0.1:{proxy.port} (from https_proxy)" in str(error)
            assert trio.current_time() - began < 20
        else:
            async with ts.Client(api_key="k", base_url="http://api.test", max_retries=0, timeout=timeouts) as client:
                with pytest.raises(ts.FirstEventTimeoutError) as caught:
                    await create(client)
            assert caught.value.may_have_been_accepted
        await proxy.closed()


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (sized(b"", status=b"407 Proxy Authentication Required"), ts.APIConnectionError, "did not connect"),
        (b"SSH-2.0\r\n\r\n", ts.InvalidResponseError, "breaks HTTP/1.1"),
        (b"", ts.APIConnectionError, "may have accepted the request"),
    ],
)
async def test_without_a_tunnel(answer, kind, says, monkeypatch):
    async with serve(refusing(answer)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        async with ts.Client(api_key="k", base_url="http://api.test", max_retries=0) as client:
            with pytest.raises(kind, match=says) as caught:
                await create(client)
    assert "(from HTTP_PROXY)" in str(caught.value)


def tunnel(port: int, asked: list[str]) -> Script:
    """A proxy that does its work, and notes the methods that it is asked for."""

    async def script(peer: Peer) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await peer.stream.receive_some()
        asked.append(head.split(b" ")[0].decode())
        there = await trio.open_tcp_stream("127.0.0.1", port)
        await peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def move(source: trio.abc.ReceiveStream, target: trio.abc.SendStream, scope: trio.CancelScope) -> None:
            try:
                while data := await source.receive_some():
                    await target.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            scope.cancel(reason="one side is gone")

        async with there, trio.open_nursery() as nursery:
            nursery.start_soon(move, there, peer.stream, nursery.cancel_scope)
            nursery.start_soon(move, peer.stream, there, nursery.cancel_scope)

    return on(script, reads=False)


async def test_through_it(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, monkeypatch) -> None:
    asked: list[str] = []
    async with serve(answering(GOOD_ANSWER), tls=server_tls) as server, serve(tunnel(server.port, asked)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        async with ts.Client(api_key="k", base_url=server.base_url, ssl_context=client_tls) as client:
            for size in (1, 1_000_000):
                params = {**PARAMS, "messages": [{"role": "user", "content": "x" * size}]}
                async with client.messages.stream(**params) as stream:
                    await stream.until_done()
                assert stream.text == TEXT
        assert asked == ["CONNECT"]
        assert len(server.requests[1].content) > 1_000_000


async def test_a_certificate_behind_it(server_tls, monkeypatch):
    asked: list[str] = []
    async with serve(answering(GOOD_ANSWER), tls=server_tls) as server, serve(tunnel(server.port, asked)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        error = await failing(2, server.base_url)
        assert len(proxy.peers) == 1
    assert "TLS certificate not trusted" in str(error)
    assert "(from HTTPS_PROXY)" in str(error)


@pytest.mark.parametrize("url", ["socks://127.0.0.1:1080", "socks4://x:1", "ftp://user:secret@x:1"])
async def test_a_scheme_that_cannot_be_used(url, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", url)
    error = await failing()
    assert not error.retryable
    assert repr(url.partition(":")[0]) in str(error)
    assert "ALL_PROXY" in str(error)
    assert "secret" not in str(error)


async def test_what_socks_needs(monkeypatch):
    import httpx

    def lacks(**_options: object) -> None:
        raise ImportError("Using SOCKS proxy, but the 'socksio' package is not installed.")

    monkeypatch.setattr(httpx, "AsyncHTTPTransport", lacks)
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    error = await failing()
    assert not error.retryable
    assert "socksio" in str(error)
    assert "socks5://127.0.0.1:1080 (from ALL_PROXY)" in str(error)


async def test_a_url_that_is_none(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy.test:port")
    error = await failing()
    assert not error.retryable
    assert "HTTPS_PROXY" in str(error)
    assert "secret" not in str(error)


def test_the_password_is_not_shown():
    proxy = Proxy("http://user:secret@proxy.test:3128/path", "HTTPS_PROXY")
    assert str(proxy) == "http://proxy.test:3128 (from HTTPS_PROXY)"
    assert "secret" not in repr(proxy)


# NO_PROXY.


@pytest.mark.parametrize(
    ("host", "no_proxy", "expected"),
    [
        ("api.test", "", False),
        ("api.test", "api.test", True),
        ("api.test", "API.TEST.", True),
        ("a.api.test", "api.test", True),
        ("a.api.test", ".api.test", True),
        ("api.test", ".api.test", True),
        ("a.api.test", "*.api.test", True),
        ("api.test", "*.api.test", True),
        ("myapi.test", "*.api.test,.api.test,api.test", False),
        ("api.test", "other *", True),
        ("api.test", "a, b  api.test", True),
        ("api.test.", "api.test", True),
        ("api.test", ",,.", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3/32", True),
        ("10.1.2.3", "10.1.2.0/33, 10.x/8", False),
        ("10.1.2.3", "1.2.3, 2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3:443", True),
        ("10.1.2.3", "10.1.2.3:80", False),
        ("::1", "::1", True),
        ("::1", "[::1]", True),
        ("::1", "[::1]:443", True),
        ("::1", "[::1]:80", False),
        ("fd00::5", "fd00::/8", True),
        ("fe00::5", "fd00::/8", False),
        ("api.test", "10.0.0.0/8", False),
        ("api.test", "api.test:443", True),
        ("api.test", "api.test:80", False),
    ],
)
def test_no_proxy(host, no_proxy, expected):
    assert is_excluded(host, 443, no_proxy) is expected
