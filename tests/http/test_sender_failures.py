"""What failures are called, and what they say and do not say."""

from __future__ import annotations

import datetime
import pickle
import re
import ssl

import httpx
import pytest
import trio
import trio.testing
import trustme

from tests.http.posting import ON_HTTPX2, QUICK, all_texts, post, sender_of
from tests.wire.answers import sized
from tests.wire.server import NEVER_ANSWERING, Peer, answering, on, once, serve
from trio_stream._errors import (
    APIConnectionError,
    ConnectTimeoutError,
    InvalidResponseError,
    SendTimeoutError,
)
from trio_stream._http import ConnectionStatistics, open_sender
from trio_stream._http._failures import request_failure
from trio_stream._http._tls import tls_reason
from trio_stream._timeouts import Timeouts

pytestmark = pytest.mark.usefixtures("nothing_left")

IDLE = ConnectionStatistics(active=0, idle=0, waiting=0)
SECRET = "sk-ant-very-secret"
HEADERS = {"x-api-key": SECRET, "content-type": "application/json"}


FAULTS = {
    "fin": (b"", "fin", APIConnectionError, "closed the connection without an answer"),
    "rst": (b"", "rst", APIConnectionError, "reset"),
    "not HTTP": (b"SSH-2.0\r\n\r\n", "wait", InvalidResponseError, "breaks HTTP"),
    "101": (b"HTTP/1.1 101 No\r\n\r\n", "wait", InvalidResponseError, "101"),
    "200 KB header": (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000, "wait", InvalidResponseError, "header block"),
}


@pytest.mark.parametrize(
    "wire, end, error, says, foreign",
    # httpx takes 101 as an answer
    [
        (*fault, foreign)
        for name, fault in FAULTS.items()
        for foreign in (False, True)
        if not (foreign and name == "101")
    ],
    ids=[f"{name}, {who}" for name in FAULTS for who in ("ours", "httpx") if (name, who) != ("101", "httpx")],
)
async def test_no_answer(wire, end, error, says, foreign):
    """The request was sent, so it may have been accepted; key and prompt are in no text or cause."""
    transport = httpx.AsyncHTTPTransport() if foreign else None
    async with serve(once(wire, end=end)) as server:
        async with sender_of(server, transport=transport) as sender:
            with pytest.raises(error, match=None if foreign else says) as caught:
                await post(sender, content=b"a private prompt", headers=HEADERS)
            assert f"127.0.0.1:{server.port}" in str(caught.value)
            assert isinstance(caught.value.__cause__, httpx.HTTPError)
            texts = all_texts(caught.value)
            assert SECRET not in texts
            assert "private" not in texts
            if error is APIConnectionError:
                assert caught.value.may_have_been_accepted
                assert caught.value.retryable
                assert "may have accepted" in str(caught.value)
            assert sender.statistics() == IDLE
            pickle.loads(pickle.dumps(caught.value))


@pytest.mark.parametrize("foreign", [False, True], ids=["ours", "httpx"])
async def test_connection_refused(foreign):
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        transport = httpx.AsyncHTTPTransport() if foreign else None
        sender = open_sender(base_url=f"http://127.0.0.1:{port}", transport=transport)
        with pytest.raises(APIConnectionError, match=f"127.0.0.1:{port}") as caught:
            await post(sender)
        assert "onnection refused" in str(caught.value)
        assert caught.value.retryable
        if not foreign:
            assert not caught.value.may_have_been_accepted
        await sender.aclose()


@pytest.mark.parametrize("foreign", [False, True], ids=["ours", "httpx"])
async def test_connect_timeout(foreign, client_tls):
    async with serve(NEVER_ANSWERING) as server:
        transport = httpx.AsyncHTTPTransport(verify=client_tls) if foreign else None
        sender = open_sender(base_url=f"https://127.0.0.1:{server.port}", ssl_context=client_tls, transport=transport)
        with pytest.raises(ConnectTimeoutError, match=f"connect: .*127.0.0.1:{server.port}") as caught:
            await post(sender, timeouts=Timeouts(connect=0.1))
        assert caught.value.seconds == 0.1
        if not foreign:
            assert "no TLS handshake within 0.1 s" in str(caught.value)
        await sender.aclose()


@pytest.mark.parametrize("foreign", [False, True], ids=["ours", "httpx"])
async def test_send_timeout(foreign):
    async def script(peer: Peer) -> None:
        await trio.sleep_forever()

    async with serve(on(script, reads=False)) as server:
        transport = httpx.AsyncHTTPTransport() if foreign else None
        async with sender_of(server, transport=transport) as sender:
            with pytest.raises(SendTimeoutError, match=f"send: .*127.0.0.1:{server.port}") as caught:
                await post(sender, content=b"x" * 64_000_000, timeouts=Timeouts(send=0.2))
            assert caught.value.seconds == 0.2
            if not foreign:
                assert not caught.value.may_have_been_accepted


@pytest.mark.parametrize("foreign", [False, True], ids=["ours", "httpx"])
@pytest.mark.parametrize(
    "kind, says",
    [("expired", "expired"), ("unknown authority", "unable to get|self.signed"), ("other host", "mismatch|not valid")],
)
async def test_tls_certificates_that_are_not_trusted(kind, says, foreign):
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    expired = datetime.datetime(2001, 1, 1, tzinfo=datetime.timezone.utc) if kind == "expired" else None
    name = "example.org" if kind == "other host" else "127.0.0.1"
    authority.issue_cert(name, not_after=expired).configure_cert(server_context)
    context = ssl.create_default_context()
    if kind != "unknown authority":
        authority.configure_trust(context)
    async with serve(answering(sized(b"")), tls=server_context) as server:
        transport = httpx.AsyncHTTPTransport(verify=context) if foreign else None
        async with sender_of(server, ssl_context=context, transport=transport) as sender:
            with pytest.raises(APIConnectionError, match="TLS certificate not trusted: ") as caught:
                await post(sender)
            assert not caught.value.retryable
            assert re.search(says, str(caught.value))
            assert f"127.0.0.1:{server.port}" in str(caught.value)


@pytest.mark.parametrize("foreign", [False, True], ids=["ours", "httpx"])
async def test_tls_to_a_server_that_does_not_speak_it(foreign, client_tls):
    async def script(peer: Peer) -> None:
        await peer.until_bytes()
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serve(script) as server:
        transport = httpx.AsyncHTTPTransport(verify=client_tls) if foreign else None
        sender = open_sender(base_url=f"https://127.0.0.1:{server.port}", ssl_context=client_tls, transport=transport)
        with pytest.raises(APIConnectionError, match="TLS handshake failed: ") as caught:
            await post(sender)
        assert not caught.value.retryable
        await sender.aclose()


async def test_tls_handshake_cut_can_be_retried(client_tls):
    async def script(peer: Peer) -> None:
        await peer.until_bytes()
        await peer.fin()

    async with serve(script) as server:
        sender = open_sender(base_url=f"https://127.0.0.1:{server.port}", ssl_context=client_tls)
        with pytest.raises(APIConnectionError, match="closed the connection in the TLS handshake") as caught:
            await post(sender)
        assert caught.value.retryable
        assert not caught.value.may_have_been_accepted


@pytest.mark.parametrize("client_kind", ["ours", "theirs"])
@pytest.mark.parametrize(
    "base_url",
    [
        "ftp://host.example",
        "host.example",
        "127.0.0.1:8787",
        "localhost:8787",
        "//host",
        "http:/host",
        "http://",
        "https:///v1",
        "http://host:port",
        pytest.param(
            "http://xn--/", marks=pytest.mark.skipif(ON_HTTPX2, reason="httpx2 leaves it to DNS what a label is")
        ),
        "http://[::1",
        "http//host",
        "user:pass@host",
    ],
)
async def test_urls_that_cannot_be(base_url, client_kind):
    """Told at once. A transport of the caller's may know other schemes, but a host there must be."""
    client = httpx.AsyncClient() if client_kind == "theirs" else None
    if client is not None and base_url.startswith("ftp:"):
        open_sender(base_url=base_url, http_client=client)
    else:
        with pytest.raises(ValueError, match="must begin with https:// or http:// and a host") as caught:
            open_sender(base_url=base_url, http_client=client)
        assert "pass" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
    if client is not None:
        await client.aclose()


async def test_a_query_that_makes_the_url_too_long():
    """The base URL is checked early, but a query comes with each request; httpx takes 65,536 characters."""
    sender = open_sender(base_url="http://127.0.0.1:1")
    with pytest.raises(APIConnectionError, match="its URL, with the query, is not valid") as caught:
        await post(sender, url="/v1/messages?" + "x" * 70_000)
    assert not caught.value.retryable
    assert sender.show_url("/v1/messages?" + "x" * 70_000, None) is None


async def test_an_advice_for_a_url_without_a_scheme():
    for base_url in ("127.0.0.1:8787", "localhost:8787/below", "user:pass@localhost:8787?key=pass"):
        with pytest.raises(ValueError, match=r"did you mean 'http://(localhost|127\.0\.0\.1):8787"):
            open_sender(base_url=base_url)


@pytest.mark.parametrize("value", [f"{SECRET}\r\nx-evil: 1", f"{SECRET}\N{SNOWMAN}", f"{SECRET}\x00"])
async def test_headers_that_cannot_be_sent(value):
    async with serve(answering(sized(b""))) as server, sender_of(server) as sender:
        with pytest.raises(APIConnectionError) as caught:
            await post(sender, headers={"x-api-key": value})
        assert not caught.value.retryable
        assert SECRET not in all_texts(caught.value)
        assert server.peers == []


async def test_a_transport_of_the_callers_that_fails_in_its_own_ways():
    failures = [
        (httpx.ReadTimeout("its own clock"), APIConnectionError, "its own clock"),
        (httpx.PoolTimeout("its own queue"), APIConnectionError, "its own queue"),
        (httpx.ProxyError("407"), APIConnectionError, "407"),
        (OSError(113, "x"), APIConnectionError, "o route to host"),
        (ssl.SSLError(1, "odd"), APIConnectionError, "odd"),
        (trio.BrokenResourceError("broken"), APIConnectionError, "broken"),
        (httpx.RemoteProtocolError("Server disconnected without sending"), APIConnectionError, "disconnected"),
        (httpx.RemoteProtocolError("illegal"), InvalidResponseError, "illegal"),
        (httpx.StreamConsumed(), APIConnectionError, "transport failed"),
        (ImportError("h2 is missing"), APIConnectionError, "h2 is missing"),
        (httpx.ConnectError(""), APIConnectionError, "ConnectError"),
        (KeyError("a mistake"), KeyError, "a mistake"),
    ]
    for failure, error, says in failures:

        def fail(_request: httpx.Request, failure: Exception = failure) -> httpx.Response:
            raise failure

        sender = open_sender(base_url="http://host.example", transport=httpx.MockTransport(fail))
        with pytest.raises(error, match=says):
            await post(sender)
        assert sender.statistics() == IDLE


class _Bare(ssl.SSLError):
    """As contexts of other packages raise it: without what the `ssl` module adds."""

    def __getattribute__(self, name: str) -> object:
        if name in ("reason", "library", "verify_message", "verify_code"):
            raise AttributeError(name)
        return super().__getattribute__(name)


class _BareVerification(_Bare, ssl.SSLCertVerificationError):
    pass


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (_Bare("something of truststore's"), "TLS handshake failed: something of truststore's"),
        (_Bare(), "TLS handshake failed: "),
        (_BareVerification("not trusted here"), "TLS certificate not trusted: not trusted here"),
        (_Bare("tlsv13 alert certificate required"), "the server refused the TLS connection, "),
        (ssl.SSLError(1, "[SSL: SSLV3_ALERT_BAD_CERTIFICATE] x"), "the server refused the TLS connection, "),
        (ssl.SSLError(1, "tlsv1 alert internal error"), "TLS handshake failed: "),
    ],
)
def test_a_tls_error_without_attributes(error, expected):
    assert tls_reason(error).startswith(expected)
    for exc in (httpx.ConnectError("x"), error):
        if exc is not error:
            exc.__cause__ = error
        failure = request_failure(exc, origin=None, timeouts=QUICK, sent=False)
        assert expected in str(failure)
