"""The section "Secrets and TLS": who is talked to, and what nobody else gets to see."""

from __future__ import annotations

import logging
import socket
import ssl
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trustme

import trio_stream as ts
from tests.faults.rows import (
    CLOCK,
    KEY,
    PARAMS,
    PROMPT,
    SLACK,
    Section,
    check_closed,
    check_error,
    check_nothing_to_collect,
    check_secrets,
    check_serves,
    client_for,
    expect_complete,
    expect_error,
    read_to_end,
)
from tests.wire.answers import CHUNKED_HEAD, chunked
from tests.wire.events import CUT_EVENTS, TEXT
from tests.wire.server import Step, WireServer, delay, fin, on, request, request_bytes, rst, send, silence
from tests.wire.sockets import UnansweringPort, no_socket_left, sockets_to
from tests.wire.tls import (
    demanding_certificate,
    expired_certificate,
    good_certificate,
    self_signed_certificate,
    server_tls,
    trusting,
)

SECRETS = Section("Secrets and TLS")


@cache
def authority() -> trustme.CA:
    return trustme.CA()


# Keys.


def check_refused(**options: Any) -> ts.CredentialsError:
    """Making the client fails, and nothing of the key is said."""
    with pytest.raises(ts.CredentialsError) as raised:
        ts.Client(**options)
    error = raised.value
    check_secrets(error)
    for part in (KEY, KEY[3:], "fault-key"):
        assert part not in str(error) + repr(error) + repr(error.__cause__) + repr(error.__context__)
    assert not isinstance(error.__cause__ or error.__context__, (UnicodeError, httpx.HTTPError))
    return error


BAD_KEYS = {
    "CR LF": KEY + "\r\nx-evil: 1",
    "LF": KEY + "\nx",
    "CR": KEY + "\rx",
    "CR LF first": "x\r\n" + KEY,
    "NUL": KEY + "\0",
    "a blank inside": KEY + " " + KEY,
    "a tab inside": KEY + "\t" + KEY,
    "DEL": KEY + "\x7f",
    "no ASCII": KEY + "ä",
    "no latin-1": KEY + "\u2026",
    "a lone surrogate": KEY + "\ud800",
    "NEL": KEY + "\x85x",
    "a zero-width space": KEY + "\u200b",
}


@SECRETS.row("api key with CR LF")
async def key_with_line_end() -> None:
    """Rejected when the client is made: no request, so nothing to try again, and no log line."""
    for key in (KEY + "\r\n" + KEY, BAD_KEYS["CR LF"]):
        with log_lines() as lines:
            check_refused(api_key=key)
        assert lines == []


@SECRETS.row("api key with blanks around it")
async def key_with_blanks() -> None:
    """As a copied key often is; a line end at its end is one of them."""
    for key in (f"  {KEY} ", f"\t{KEY}", f"{KEY}\n", f"\r\n{KEY}\r\n"):
        async with WireServer() as server:
            try:
                client = client_for(server, api_key=key)
            except ts.CredentialsError as error:
                check_secrets(error)
                continue
            async with client:
                await read_to_end(client)
            assert server.requests[0].headers["x-api-key"] == KEY


@SECRETS.row("empty api key")
async def empty_key() -> None:
    for option in ("api_key", "auth_token"):
        for key in ("", " ", "   "):
            with no_socket_left():
                error = check_refused(**{option: key})
            assert "empty" in str(error) or "blank" in str(error)
        for key in ("\n", "\t", "\r\n "):
            check_refused(**{option: key})


# Logs.


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {record.getMessage()} {record.args!r} {record.exc_info!r}")


class log_lines:  # noqa: N801 - reads as a function
    """Every line that any logger writes within the block, at any level."""

    def __enter__(self) -> list[str]:
        self._lines = _Lines()
        root = logging.getLogger()
        self._level = root.level
        root.setLevel(logging.DEBUG)
        root.addHandler(self._lines)
        self._others: dict[str, int] = {}
        for name in ("httpx", "httpcore", "trio_stream", "httpx2"):
            self._others[name] = logging.getLogger(name).level
            logging.getLogger(name).setLevel(logging.DEBUG)
        return self._lines.lines

    def __exit__(self, *_: object) -> None:
        root = logging.getLogger()
        root.removeHandler(self._lines)
        root.setLevel(self._level)
        for name, level in self._others.items():
            logging.getLogger(name).setLevel(level)


def check_lines(lines: list[str]) -> None:
    assert any(line.startswith("trio_stream") for line in lines), lines
    for line in lines:
        assert KEY not in line
        assert PROMPT not in line
        assert TEXT not in line


@SECRETS.row("good stream, DEBUG logs on")
async def debug_logs() -> None:
    for options in ({"api_key": KEY}, {"api_key": None, "auth_token": KEY}):
        with log_lines() as lines:
            async with WireServer() as server:
                await expect_complete(server, **options)
        check_lines(lines)


# TLS.


@SECRETS.row("TLS with a private CA")
async def private_ca() -> None:
    async with WireServer(tls=good_certificate(authority())) as server:
        await expect_complete(server, ssl_context=trusting(authority()))


async def test_private_ca_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As httpx does it."""
    trusted = tmp_path / "authority.pem"
    authority().cert_pem.write_to_path(str(trusted))
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    async with WireServer(tls=good_certificate(authority())) as server:
        await expect_complete(server)


@pytest.mark.parametrize("how", ["missing", "no PEM", "empty", "a directory", "proxy"])
async def test_a_trust_store_that_is_none(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file and the variable are named, not a host."""
    path = tmp_path / "trusted.pem"
    if how == "a directory":
        path.mkdir()
    elif how != "missing":
        path.write_bytes(b"" if how == "empty" else b"this is no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    async with WireServer(tls=good_certificate(authority())) as server:
        if how == "proxy":
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.port}")
        error = await expect_error(
            server, ts.APIConnectionError, "SSL_CERT_FILE", str(path), then=None, connections=0, closed_by_client=False
        )
        assert not error.retryable
        assert "127.0.0.1" not in str(error)


@SECRETS.row("TLS 1.3: the server refuses the client's certificate after the handshake")
async def client_certificate_refused() -> None:
    demanding = demanding_certificate(authority())
    stranger = trusting(authority())
    trustme.CA().issue_cert("somebody@example").configure_cert(stranger)
    for context, size in ((trusting(authority()), 1), (stranger, 1), (stranger, 20_000_000)):
        accepted: list[str] = []
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve(listener: socket.socket = listener, accepted: list[str] = accepted) -> None:
                # Not a server of Trio's: that one closes without the alert.
                sock, _ = listener.accept()
                with sock, pytest.raises(ssl.SSLError) as refused:
                    demanding.wrap_socket(sock, server_side=True)
                accepted.append(str(refused.value))

            url = f"https://127.0.0.1:{listener.getsockname()[1]}"
            client = client_for(None, base_url=url, ssl_context=context, max_retries=2)
            async with client, trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, serve)
                with pytest.raises(ts.APIConnectionError, match="server refused the TLS connection") as caught:
                    await read_to_end(client, messages=[{"role": "user", "content": "x" * size}])
        assert not caught.value.retryable
        assert not caught.value.may_have_been_accepted
        assert len(accepted) == 1


async def refused_handshake(
    server: WireServer, *says: str, cause: type[BaseException] = httpx.ConnectError, **options: Any
) -> None:
    """An error that says why; one attempt, although more were allowed; and the request never left."""
    options.setdefault("ssl_context", trusting(authority()))
    error = await expect_error(
        server, ts.APIConnectionError, *says, cause=cause, max_retries=2, within=0.5, then=None, **options
    )
    assert not error.retryable
    assert not error.may_have_been_accepted
    assert server.requests == []
    assert any(isinstance(item, ssl.SSLError) for item in causes(error))


def causes(error: BaseException | None) -> list[BaseException]:
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__
    return found


@SECRETS.row("TLS selfsigned")
async def self_signed() -> None:
    async with WireServer(tls=self_signed_certificate()) as server:
        await refused_handshake(server, "certificate not trusted", f"127.0.0.1:{server.port}", "issuer")


@SECRETS.row("TLS expired")
async def expired() -> None:
    async with WireServer(tls=expired_certificate(authority())) as server:
        await refused_handshake(server, "certificate not trusted", "expired")


@SECRETS.row("TLS plain")
async def plain() -> None:
    """A server that speaks HTTP where TLS is expected."""
    greeting = send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    for steps in ((request_bytes(1), greeting), (greeting,), (send(b"SSH-2.0-OpenSSH_9.2\r\n"),)):
        async with WireServer([on(*steps, silence())], scheme="https") as server:
            await refused_handshake(server, "TLS handshake failed", f"127.0.0.1:{server.port}")


async def test_another_hosts_certificate() -> None:
    async with WireServer(tls=server_tls(authority().issue_cert("api.example"))) as server:
        await refused_handshake(server, "certificate not trusted", "127.0.0.1")


async def test_a_server_that_wants_a_certificate_of_ours() -> None:
    context = good_certificate(authority())
    context.verify_mode = ssl.CERT_REQUIRED
    authority().configure_trust(context)
    async with WireServer(tls=context) as server, client_for(server, ssl_context=trusting(authority())) as client:
        with trio.fail_after(2), pytest.raises(ts.APIConnectionError) as raised:
            await read_to_end(client)
        check_error(raised.value, ts.APIConnectionError, f"127.0.0.1:{server.port}", partial=None)
        assert server.requests == []
        assert client.statistics().active == 0


async def test_an_old_version_of_tls() -> None:
    """A server that refuses ours says so with an alert."""
    # RFC 8446, 6: alert (21), TLS 1.2 on the record, 2 bytes: fatal (2), protocol_version (70).
    alert = send(bytes([21, 3, 3, 0, 2, 2, 70]))
    async with WireServer([on(request_bytes(1), alert, silence())], scheme="https") as server:
        await refused_handshake(server, "TLS handshake failed", "protocol version")


@pytest.mark.parametrize("end", [fin(), rst()], ids=["FIN", "RST"])
async def test_a_handshake_that_is_cut(end: Step) -> None:
    """The network's fault: tried again, and that time it is good."""
    cut = on(request_bytes(1), delay(0.01), end)
    async with WireServer([cut], scheme="https") as server:
        error = await expect_error(
            server,
            ts.APIConnectionError,
            "127.0.0.1",
            then=None,
            closed_by_client=False,
            ssl_context=trusting(authority()),
        )
        assert error.retryable
        assert not error.may_have_been_accepted
    async with WireServer([cut], scheme="https") as server:
        with pytest.raises(ts.APIConnectionError):
            async with client_for(server, ssl_context=trusting(authority()), max_retries=1) as client:
                with trio.fail_after(3):
                    await client.messages.create(**PARAMS, timeout=ts.Timeouts(connect=0.3))
        assert len(server.peers) == 2


async def test_tls_ends_without_a_goodbye() -> None:
    """A cut is a cut, whether or not TLS says so; a message that was whole is whole."""
    tls, trust = good_certificate(authority()), trusting(authority())
    async with WireServer([on(request(), send(CHUNKED_HEAD, chunked(*CUT_EVENTS)), fin())], tls=tls) as server:
        error = await expect_error(server, ts.APIError, partial=TEXT, ssl_context=trust)
    assert isinstance(error, (ts.IncompleteStreamError, ts.APIConnectionError))


@SECRETS.row("TLS handshake never answered")
async def handshake_unanswered() -> None:
    """Twice: the slot of the one connection is free again."""
    async with WireServer(then=on(silence()), scheme="https") as server:
        options: Any = {"timeout": ts.Timeouts(connect=CLOCK), "ssl_context": trusting(authority())}
        async with client_for(server, **options) as client:
            for number in range(2):
                began = trio.current_time()
                with pytest.raises(ts.ConnectTimeoutError) as raised:
                    await read_to_end(client)
                failed_at = trio.current_time()
                check_error(raised.value, ts.ConnectTimeoutError, "connect: ", "TLS handshake", partial=None)
                assert CLOCK - 0.02 <= failed_at - began <= CLOCK + SLACK
                assert not raised.value.may_have_been_accepted
                assert raised.value.__cause__ is not None
                await check_closed(server, failed_at, number)
                assert sockets_to(server.port) == 0
                assert client.statistics().active == 0
    check_nothing_to_collect()


# Connecting.


@SECRETS.row("connection refused")
async def refused() -> None:
    with UnansweringPort(ignores=False) as port:
        async with client_for(None, base_url=port.base_url) as client:
            with no_socket_left(), pytest.raises(ts.APIConnectionError) as raised:
                await read_to_end(client)
            error = raised.value
            check_error(error, ts.APIConnectionError, f"127.0.0.1:{port.port}", "refused", partial=None)
            assert isinstance(error.__cause__, httpx.ConnectError)
            assert any(isinstance(item, ConnectionRefusedError) for item in chain(error))
            assert not error.may_have_been_accepted
            assert error.retryable
            await check_serves(port, client)
    check_nothing_to_collect()


def chain(error: BaseException | None) -> list[BaseException]:
    """The causes, and those within groups: one for each address that was tried."""
    found: list[BaseException] = []
    for item in causes(error):
        found += [item, *(item.exceptions if isinstance(item, BaseExceptionGroup) else ())]
    return found


@SECRETS.row("SYN never answered")
async def syn_unanswered() -> None:
    with UnansweringPort(ignores=True) as port:
        async with client_for(None, base_url=port.base_url, timeout=ts.Timeouts(connect=CLOCK)) as client:
            began = trio.current_time()
            with no_socket_left(), pytest.raises(ts.ConnectTimeoutError) as raised:
                await read_to_end(client)
            seconds = trio.current_time() - began
            check_error(
                raised.value, ts.ConnectTimeoutError, "connect: ", str(port.port), "TCP connection", partial=None
            )
            assert CLOCK - 0.02 <= seconds <= CLOCK + SLACK
            assert raised.value.seconds == CLOCK
            assert raised.value.__cause__ is not None
            await check_serves(port, client)
    check_nothing_to_collect()


@pytest.mark.parametrize(
    "url",
    [
        "http://name.invalid",
        "http://127.0.0.1:1",
        "http://[::1",
        "ftp://127.0.0.1",
        "http://",
        "127.0.0.1",
        "http://a b",
        "http://\u2026",
    ],
)
async def test_addresses_that_lead_nowhere(url: str) -> None:
    """Our own error, or none until the request is made; never one of another library."""
    with no_socket_left(), pytest.raises((ts.APIConnectionError, ValueError)) as raised, trio.fail_after(5):
        async with client_for(None, base_url=url) as client:
            await read_to_end(client)
    assert not isinstance(raised.value, (UnicodeError, httpx.InvalidURL))
    check_secrets(raised.value)


@pytest.mark.parametrize("check", SECRETS.checks())
async def test_secrets_and_tls(check: Any) -> None:
    await check()


def test_every_row_is_tested() -> None:
    SECRETS.check_complete()
