"""Our transport on real sockets: requests, faults, clocks, connecting, TLS."""

from __future__ import annotations

import contextlib
import errno
import os
import ssl
from typing import NoReturn

import httpx
import pytest
import trio
import trio.testing

from tests.http.posting import AT_ONCE, client_of
from tests.wire.answers import CHUNKED_HEAD, chunk, sized
from tests.wire.server import NEVER_ANSWERING, Peer, answering, on, once, serve
from trio_stream._http import ON_SENT_EXTENSION, ConnectionStatistics, Transport, _transport
from trio_stream._limits import Limits

pytestmark = pytest.mark.usefixtures("nothing_left")


async def test_it_is_an_httpx_transport():
    async with serve(answering(sized(b"hello", b"X-One: 1"))) as server, client_of() as client:
        response = await client.post(server.base_url + "/path?query=1", content=b"body", headers={"X-Two": "2"})
        assert response.status_code == 200
        assert response.reason_phrase == "OK"
        assert response.http_version == "HTTP/1.1"
        assert response.headers["x-one"] == "1"
        assert response.text == "hello"
    request = server.requests[0]
    assert (request.method, request.target, request.content) == ("POST", "/path?query=1", b"body")
    assert request.headers.get("x-two") == "2"
    assert request.headers.get("content-length") == "4"
    assert request.headers.get("host") == f"127.0.0.1:{server.port}"


async def test_content_of_any_kind():
    async def pieces():
        yield b"one "
        yield b"two"

    async with serve(answering(sized(b""))) as server, client_of() as client:
        await client.post(server.base_url, content=pieces())
        await client.post(server.base_url, content=b"")
        await client.put(server.base_url, content=b"x" * 100_000)
        await client.get(server.base_url)
    assert [len(request.content) for request in server.requests] == [7, 0, 100_000, 0]
    assert [request.headers.get("content-length") for request in server.requests] == ["7", "0", "100000", None]
    assert server.requests[0].headers.get("transfer-encoding") is None


async def test_head():
    async with serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")) as server, client_of() as client:
        for _ in range(2):
            response = await client.head(server.base_url)
            assert response.headers["content-length"] == "5"
            assert response.content == b""


@pytest.mark.parametrize(
    "begin, leave",
    [("before reading", "exit"), ("in the middle", "exit"), ("in the middle", "exception")],
)
async def test_leaving_early_closes_the_connection(begin, leave):
    async with serve(answering(CHUNKED_HEAD, chunk(b"hello"))) as server, client_of() as client:
        with contextlib.suppress(ZeroDivisionError):
            async with client.stream("GET", server.base_url) as response:
                if begin == "in the middle":
                    await anext(response.stream._stream.__aiter__())
                if leave == "exception":
                    raise ZeroDivisionError
        left_at = trio.current_time()
        assert await server.closed() - left_at < AT_ONCE


FAULTS = {
    "fin before the answer": (b"", "fin", httpx.RemoteProtocolError, "without an answer"),
    "fin in the headers": (b"HTTP/1.1 200 OK\r\nA:", "fin", httpx.RemoteProtocolError, "middle of the headers"),
    "rst before the answer": (b"", "rst", httpx.ReadError, "reset"),
    "not HTTP": (b"SSH-2.0-OpenSSH\r\n", "wait", httpx.RemoteProtocolError, "cannot be parsed"),
    "101": (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "wait", httpx.RemoteProtocolError, "101"),
    "two lengths": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "wait",
        httpx.RemoteProtocolError,
        "Content-Length",
    ),
    "200 KB header": (
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000,
        "wait",
        httpx.RemoteProtocolError,
        "header block of more than",
    ),
    "endless 1xx": (b"HTTP/1.1 103 Early\r\n\r\n" * 100, "wait", httpx.RemoteProtocolError, "too many 1xx"),
}


@pytest.mark.parametrize("wire, end, error, says", FAULTS.values(), ids=FAULTS)
async def test_faults_before_the_body(wire, end, error, says):
    async with serve(once(wire, end=end)) as server, client_of() as client:
        with pytest.raises(error, match=says) as caught:
            await client.post(server.base_url, content=b"x")
        assert f"127.0.0.1:{server.port}" in str(caught.value)
        if end != "rst":
            await server.closed()
        assert client._transport.statistics() == ConnectionStatistics(active=0, idle=0, waiting=0)


async def test_endless_headers_are_bounded():
    async def script(peer: Peer) -> None:
        await peer.answer(b"HTTP/1.1 200 OK\r\n")
        while True:
            await peer.send(b"X-Line: filler\r\n" * 100)

    async with serve(script) as server, client_of() as client:
        with pytest.raises(httpx.RemoteProtocolError, match="header block"):
            await client.get(server.base_url)


async def test_limits_are_the_callers():
    async with serve(answering(sized(b"x", b"X: " + b"a" * 200_000))) as server:
        async with client_of(limits=Limits(header_bytes=300_000)) as client:
            assert (await client.get(server.base_url)).content == b"x"


BODY_FAULTS = {
    "fin in a chunk": (CHUNKED_HEAD + b"a\r\nhello", "fin", httpx.RemoteProtocolError, "before the end of the body"),
    "fin between chunks": (CHUNKED_HEAD + chunk(b"hello"), "fin", httpx.RemoteProtocolError, "before the end"),
    "short content-length": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "fin",
        httpx.RemoteProtocolError,
        "before the end",
    ),
    "bad chunk size": (CHUNKED_HEAD + chunk(b"hello") + b"zz\r\n", "wait", httpx.RemoteProtocolError, "chunk size"),
}


@pytest.mark.parametrize("wire, end, error, says", BODY_FAULTS.values(), ids=BODY_FAULTS)
async def test_faults_in_the_body(wire, end, error, says):
    async with serve(once(wire, end=end)) as server, client_of() as client:
        got = b""
        async with client.stream("GET", server.base_url) as response:
            with pytest.raises(error, match=says):
                async for piece in response.aiter_raw():
                    got += piece
        assert got == b"hello"


async def test_a_reset_in_the_body():
    proceed = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED_HEAD, chunk(b"hello"))
        await proceed.wait()
        peer.close(rst=True)

    async with serve(script) as server, client_of() as client:
        async with client.stream("GET", server.base_url) as response:
            stream = response.stream._stream.__aiter__()
            assert await anext(stream) == b"hello"
            proceed.set()
            with pytest.raises(httpx.ReadError, match="connection reset by the server"):
                await anext(stream)


async def test_early_answer_to_a_large_request():
    """413 and then a close, while the request is still being sent: the answer is what the caller gets."""

    async def script(peer: Peer) -> None:
        await peer.stream.receive_some(100)
        await peer.send(sized(b"too large", status=b"413 Content Too Large"))
        await peer.fin()
        await trio.sleep(0.05)
        peer.close(rst=True)

    sent = []
    async with serve(on(script, reads=False)) as server, client_of() as client:
        request = client.build_request("POST", server.base_url, content=b"x" * 30_000_000)
        request.extensions[ON_SENT_EXTENSION] = lambda: sent.append(1)
        response = await client.send(request)
        assert response.status_code == 413
        assert response.content == b"too large"
        assert len(sent) == 1
        assert client._transport.statistics().idle == 0


async def test_early_answer_of_a_server_that_reads_no_further():
    async def script(peer: Peer) -> None:
        await peer.stream.receive_some(100)
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await trio.sleep(0.15)
        await peer.send(sized(b"too large", status=b"413 Content Too Large"))
        await trio.sleep_forever()

    async with serve(on(script, reads=False)) as server, client_of() as client:
        with trio.fail_after(2):
            response = await client.post(server.base_url, content=b"x" * 30_000_000)
        assert (response.status_code, response.content) == (413, b"too large")
        assert client._transport.statistics().idle == 0


@pytest.mark.parametrize("end", ["fin", "rst"])
async def test_a_server_that_hangs_up_on_a_large_request(end):
    async def script(peer: Peer) -> None:
        await peer.stream.receive_some(100)
        await trio.sleep(0.02)
        if end == "fin":
            await peer.fin()
            await trio.sleep_forever()
        peer.close(rst=True)

    sent = []
    async with serve(on(script, reads=False)) as server, client_of() as client:
        request = client.build_request("POST", server.base_url, content=b"x" * 30_000_000)
        request.extensions[ON_SENT_EXTENSION] = lambda: sent.append(1)
        with trio.fail_after(2), pytest.raises((httpx.NetworkError, httpx.RemoteProtocolError)) as caught:
            await client.send(request)
        assert f"127.0.0.1:{server.port}" in str(caught.value)
    assert sent == []


async def test_sending_lets_others_run():
    """A fast server takes everything at once; other tasks get their turn all the same."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with serve(answering(sized(b""))) as server, client_of() as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            await client.post(server.base_url, content=b"x" * 20_000_000)
            nursery.cancel_scope.cancel(reason="done")
    assert turns > 10


# Clocks of httpx's `timeout` extension.


async def test_connect_timeout_names_the_phase_tcp():
    """A listener whose backlog is full does not answer a SYN."""
    listener = trio.socket.socket()
    await listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = []
    with listener:
        for _ in range(3):
            filler = trio.socket.socket()
            fillers.append(filler)
            with trio.move_on_after(0.05):
                await filler.connect(listener.getsockname())
        async with client_of() as client:
            with pytest.raises(httpx.ConnectTimeout, match=r"no TCP connection within 0\.1 s"):
                await client.get(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.1)
    for filler in fillers:
        filler.close()


async def test_connect_timeout_names_the_phase_tls(client_tls):
    async with serve(NEVER_ANSWERING) as server, client_of(ssl_context=client_tls) as client:
        with pytest.raises(httpx.ConnectTimeout, match=r"no TLS handshake within 0\.1 s"):
            await client.get(f"https://127.0.0.1:{server.port}", timeout=0.1)
        await server.closed()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_write_timeout_counts_where_not_one_byte_is_taken(tls, server_tls, client_tls):
    async def script(peer: Peer) -> None:
        await peer.stream.receive_some(1000)
        await trio.sleep(60)

    async with (
        serve(on(script, reads=False), tls=server_tls if tls else None) as server,
        client_of(ssl_context=client_tls) as client,
    ):
        with pytest.raises(httpx.WriteTimeout, match=r"within 0\.3 s"):
            await client.post(server.base_url, content=b"x" * 64_000_000, timeout=httpx.Timeout(5, write=0.3))


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_slow_upload_goes_through(tls, server_tls, client_tls):
    """It takes several times the clock, which is for a gap without a byte."""
    gap, size = 0.6, 16_000_000

    async def script(peer: Peer) -> None:
        taken = 0
        for part in range(1, 21):
            await trio.sleep(gap / 8)
            while taken < part * size // 20:
                taken += len(await peer.stream.receive_some(800_000))
        await peer.send(sized(b"taken"))

    async with (
        serve(on(script, reads=False), tls=server_tls if tls else None) as server,
        client_of(ssl_context=client_tls) as client,
    ):
        began = trio.current_time()
        answer = await client.post(server.base_url, content=b"x" * size, timeout=httpx.Timeout(60, write=gap))
        assert answer.content == b"taken"
        assert trio.current_time() - began > 2 * gap


async def test_read_timeout_before_and_in_the_body():
    async with serve(NEVER_ANSWERING, answering(CHUNKED_HEAD, chunk(b"x"))) as server, client_of() as client:
        with pytest.raises(httpx.ReadTimeout, match="answer"):
            await client.get(server.base_url, timeout=httpx.Timeout(5, read=0.05))
        with pytest.raises(httpx.ReadTimeout, match="body"):
            await client.get(server.base_url, timeout=httpx.Timeout(5, read=0.05))
        assert client._transport.statistics().active == 0


async def test_pool_timeout():
    async with serve(answering(CHUNKED_HEAD, chunk(b"x"))) as server, client_of(max_connections=1) as client:
        async with client.stream("GET", server.base_url):
            with pytest.raises(httpx.PoolTimeout):
                await client.get(server.base_url, timeout=httpx.Timeout(5, pool=0.05))
        assert client._transport.statistics().active == 0


# Connecting.


async def test_connection_refused():
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with client_of() as client:
            with pytest.raises(httpx.ConnectError) as caught:
                await client.get(f"http://127.0.0.1:{port}")
    assert str(caught.value) == f"cannot connect to 127.0.0.1:{port}: connection refused"
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("host", ["name.invalid", "a" * 70 + ".example"])
async def test_names_that_lead_nowhere(host):
    async with client_of() as client:
        with pytest.raises(httpx.ConnectError, match="cannot connect"):
            await client.get(f"http://{host}:1/")


async def test_ipv6():
    listener = trio.socket.socket(trio.socket.AF_INET6)
    try:
        await listener.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    finally:
        listener.close()
    async with client_of() as client:
        with pytest.raises(httpx.ConnectError, match=r"\[::1\]:9"):
            await client.get("http://[::1]:9/")


async def test_failing_at_once_lets_others_run(monkeypatch):
    def has_no_route(_host: str, _port: int) -> NoReturn:
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

    monkeypatch.setattr(_transport, "begin_tcp", has_no_route)
    with trio.testing.assert_checkpoints(), pytest.raises(httpx.ConnectError, match="network is unreachable"):
        await Transport().handle_async_request(httpx.Request("GET", "http://192.0.2.1/"))


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/", "127.0.0.1/path", "http:///path", "http://127.0.0.1:65536/", "http://localhost:99999/"]
)
async def test_unsupported_urls(url):
    async with client_of() as client:
        with pytest.raises(httpx.UnsupportedProtocol):
            await client._transport.handle_async_request(httpx.Request("GET", url))


async def test_default_ports_are_known():
    async with client_of() as client:
        with pytest.raises(httpx.ConnectError, match=r"127\.0\.0\.1:80: "):
            await client.get("http://127.0.0.1/")


# TLS.


def test_the_default_context_is_made_at_the_first_https_request():
    assert Transport()._ssl_context is None


async def test_trust_from_the_environment(authority, server_tls, monkeypatch, tmp_path):
    pem = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(pem))
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    async with serve(answering(sized(b"x")), tls=server_tls) as server, client_of() as client:
        assert (await client.get(server.base_url)).content == b"x"
        assert client._transport._ssl_context is not None


async def test_a_trust_store_that_cannot_be_read(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    async with client_of() as client:
        with pytest.raises(httpx.LocalProtocolError, match="trust store cannot be read: SSL_CERT_FILE is set to"):
            await client.get("https://127.0.0.1:1/")


async def test_a_trust_store_that_nothing_names(monkeypatch):
    def fail() -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(httpx, "create_ssl_context", fail)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    async with client_of() as client:
        with pytest.raises(httpx.LocalProtocolError, match="trust store cannot be read: no such file"):
            await client.get("https://127.0.0.1:1/")


async def test_untrusted_certificate(server_tls):
    async with serve(answering(sized(b"x")), tls=server_tls) as server, client_of() as client:
        with pytest.raises(httpx.ConnectError, match="TLS certificate not trusted: ") as caught:
            await client.get(server.base_url)
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


@pytest.mark.parametrize("close_notify", [True, False], ids=["close_notify", "ragged"])
async def test_tls_eof_ends_a_body_without_framing(close_notify, server_tls, client_tls):
    async def script(peer: Peer) -> None:
        await peer.answer(b"HTTP/1.0 200 OK\r\n\r\nhello")
        if close_notify:
            assert isinstance(peer.stream, trio.SSLStream)
            peer.stream._https_compatible = False  # else Trio closes without a close_notify
            await peer.stream.aclose()
        else:
            await peer.fin()

    async with serve(script, tls=server_tls) as server, client_of(ssl_context=client_tls) as client:
        assert (await client.get(server.base_url)).content == b"hello"


async def test_tls_moves_large_bodies_both_ways(server_tls, client_tls):
    """More than a TLS record, more than a read."""
    big = bytes(range(256)) * 4000
    async with (
        serve(answering(sized(big)), tls=server_tls) as server,
        client_of(ssl_context=client_tls) as client,
    ):
        assert (await client.post(server.base_url, content=big)).content == big
    assert server.requests[0].content == big


async def test_a_host_name_that_tls_refuses(client_tls):
    async with serve(NEVER_ANSWERING) as server, client_of(ssl_context=client_tls) as client:
        with pytest.raises(httpx.ConnectError, match="not a host name"):
            request = httpx.Request("GET", f"https://127.0.0.1:{server.port}/")
            original = trio.open_tcp_stream

            async def connect(_host: str, port: int) -> trio.SocketStream:
                return await original("127.0.0.1", port)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(trio, "open_tcp_stream", connect)
                request.url = httpx.URL(f"https://.example:{server.port}/")
                await client._transport.handle_async_request(request)
        await server.closed()
