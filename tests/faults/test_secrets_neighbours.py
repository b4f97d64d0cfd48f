"""The neighbours of the section "Secrets and TLS": everything that could show a key, a password or a prompt."""

from __future__ import annotations

import pickle
from typing import Any

import httpx
import pytest

import trio_stream as ts
from tests.faults.rows import (
    KEY,
    PARAMS,
    PROMPT,
    check_secrets,
    client_for,
    read_to_end,
)
from tests.faults.test_secrets_and_tls import BAD_KEYS, check_lines, check_refused, log_lines
from tests.wire.answers import CHUNKED_HEAD, api_error, chunked
from tests.wire.events import CUT_EVENTS, error_event
from tests.wire.server import Step, WireServer, fin, on, once, request, rst, send
from tests.wire.sockets import UnansweringPort


@pytest.mark.parametrize("name", BAD_KEYS)
@pytest.mark.parametrize("option", ["api_key", "auth_token"])
def test_keys_that_no_header_can_carry(option: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an argument, from the environment, and for a copy of a client."""
    options: dict[str, Any] = {option: BAD_KEYS[name]}
    check_refused(**options)
    with pytest.raises(ts.CredentialsError) as raised:
        ts.Client(api_key="good").with_options(**options)
    assert KEY not in str(raised.value)
    if name not in ("NUL", "a lone surrogate"):  # the environment takes neither
        monkeypatch.setenv(
            {"api_key": "ANTHROPIC_API_KEY", "auth_token": "ANTHROPIC_AUTH_TOKEN"}[option], BAD_KEYS[name]
        )
        if option == "auth_token":
            monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
        check_refused()


def test_no_key_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text says what to do."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.delenv("ANTHROPIC_AUTH_TOKEN", raising=False)
    assert "ANTHROPIC_API_KEY" in str(check_refused())
    monkeypatch.setenv("ANTHROPIC_API_KEY", "")
    check_refused()


def test_key_and_token() -> None:
    check_refused(api_key=KEY, auth_token=KEY)


HEADERS = {
    "CR LF in a value": {"x-extra": f"{KEY}\r\nx-evil: 1"},
    "NUL in a value": {"x-extra": f"{KEY}\0"},
    "no latin-1 in a value": {"x-extra": f"{KEY}\u2026"},
    "CR LF in a name": {f"x-extra\r\n{KEY}": "1"},
    "a blank in a name": {f"x {KEY}": "1"},
    "an empty name": {"": KEY},
}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("where", ["default_headers", "extra_headers"])
async def test_headers_that_cannot_be_sent(where: str, name: str) -> None:
    """Found where they were given, and their values are in no text."""
    async with WireServer() as server:
        with pytest.raises((ValueError, ts.APIError)) as raised:
            if where == "default_headers":
                async with client_for(server, default_headers=HEADERS[name]) as client:
                    await read_to_end(client)
            else:
                async with client_for(server) as client:
                    await read_to_end(client, extra_headers=HEADERS[name])
        assert server.peers == []
    assert not isinstance(raised.value, UnicodeError)
    check_secrets(raised.value)


async def test_a_key_goes_out_once() -> None:
    """As ``x-api-key`` or as a bearer, never both, and nowhere else."""
    for options, header, value in (
        ({"api_key": KEY}, "x-api-key", KEY),
        ({"api_key": None, "auth_token": KEY}, "authorization", f"Bearer {KEY}"),
    ):
        async with WireServer() as server, client_for(server, **options) as client:
            await read_to_end(client)
            received = server.requests[0]
        assert [name for name, sent in received.headers.items() if KEY in sent] == [header]
        assert received.headers[header] == value
        assert KEY not in received.target
        assert KEY.encode() not in received.content


async def test_nothing_public_shows_a_key() -> None:
    """Neither the client nor a stream, its response, its statistics or its errors; and errors can be pickled."""
    async with WireServer([once(CHUNKED_HEAD, chunked(*CUT_EVENTS, error_event("api_error")))]) as server:
        async with client_for(server, default_headers={"authorization": f"Bearer {KEY}"}) as client:
            manager = client.messages.stream(**PARAMS)
            shown: list[object] = [client, client.messages, client.with_options(max_retries=1), manager]
            with pytest.raises(ts.InternalServerError) as raised:
                async with manager as stream:
                    shown += [stream, stream.nursery, stream.response, stream.response.headers, stream.text_stream]
                    await stream.until_done()
            shown += [
                stream.stats,
                stream.rate_limits,
                stream.partial,
                raised.value,
                pickle.loads(pickle.dumps(raised.value)),
            ]
    for item in shown:
        assert KEY not in f"{item!r} {item}"
        assert PROMPT not in f"{item!r} {item}"


async def test_a_password_in_the_address() -> None:
    """It is sent to nobody but that host, and shown nowhere."""
    async with WireServer([once(api_error(b"400 Bad Request", "invalid_request_error"))]) as server:
        url = f"http://user:{KEY}@127.0.0.1:{server.port}"
        async with client_for(server, api_key="other", base_url=url) as client:
            assert KEY not in repr(client)
            with pytest.raises(ts.BadRequestError) as raised:
                await read_to_end(client)
            check_secrets(raised.value)
            stream = await read_to_end(client)
            assert KEY not in repr(stream.response)
            assert KEY not in stream.response.url
    with UnansweringPort(ignores=False) as port:
        async with client_for(None, base_url=f"http://user:{KEY}@127.0.0.1:{port.port}") as client:
            with pytest.raises(ts.APIConnectionError) as refused:
                await read_to_end(client)
            check_secrets(refused.value)


FAILING: dict[str, tuple[Step, ...]] = {
    "an error": (request(), send(api_error(b"529 Overloaded", "overloaded_error", b"retry-after-ms: 1"))),
    "a reset": (request(), rst()),
    "a cut": (request(), send(CHUNKED_HEAD, chunked(*CUT_EVENTS)), fin()),
    "an error event": (request(), send(CHUNKED_HEAD, chunked(*CUT_EVENTS, error_event("api_error")))),
}


@pytest.mark.parametrize("own_transport", [True, False], ids=["ours", "httpx's"])
@pytest.mark.parametrize("name", FAILING)
async def test_debug_logs_of_failures(name: str, own_transport: bool) -> None:
    """Also of what is tried again, and by httpx's own transport."""
    with log_lines() as lines:
        async with WireServer([on(*FAILING[name])]) as server:
            transport = None if own_transport else httpx.AsyncHTTPTransport()
            async with client_for(server, max_retries=1, transport=transport) as client:
                try:
                    await read_to_end(client, extra_headers={"x-extra": "1"})
                except ts.APIError as error:
                    check_secrets(error)
    check_lines(lines)
