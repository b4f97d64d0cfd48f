"""The section "Proxies": the way to the API leads through something else, which the environment names.

Each kind once; tests/http/test_proxy_way.py has every status, scheme and form of ``NO_PROXY``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
import trio

import trio_stream as ts
from tests.faults.rows import CLOCK, SLACK, Section, check_secrets, client_for, expect_complete, read_to_end
from tests.wire.answers import GOOD_ANSWER, sized
from tests.wire.events import TEXT
from tests.wire.server import Script, WireServer, fin, on, request, rst, send, silence
from tests.wire.sockets import UnansweringPort

PROXIES = Section("Proxies")
row = PROXIES.row

API = "https://api.test"
SECRET = "the-password-of-the-proxy"
NO_PROXY_AT_ALL = (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"<html>hello</html>\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x46")

ErrorT = TypeVar("ErrorT", bound=ts.APIError)


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Only these variables of proxies are set."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [*os.environ]:
            if name.lower().endswith("_proxy"):
                patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


async def expect_failure(kind: type[ErrorT], *says: str, base_url: str = API, **options: Any) -> ErrorT:
    """A stream fails; the error says why, and shows no password."""
    async with client_for(None, base_url=base_url, **options) as client:
        with trio.fail_after(10), pytest.raises(kind) as raised:
            await read_to_end(client)
        assert client.statistics().active == client.statistics().waiting == 0
    for word in says:
        assert word in str(raised.value)
    check_secrets(raised.value)
    assert SECRET not in f"{raised.value!r} {raised.value}"
    return raised.value


async def through(
    kind: type[ErrorT], *says: str, script: Script, requests: int, base_url: str = API, **options: Any
) -> ErrorT:
    """A stream fails at a proxy, whose name and variable the error says, after so many requests to it."""
    async with WireServer(then=script) as proxy:
        name = f"http://127.0.0.1:{proxy.port}"
        variable = base_url.partition(":")[0].upper() + "_PROXY"
        with environment(**{variable: name.replace("://", f"://user:{SECRET}@")}):
            options = {"max_retries": 2, **options}
            error = await expect_failure(kind, name, variable, *says, base_url=base_url, **options)
        assert len(proxy.requests) == requests
    return error


@row("the proxy refuses the connection")
async def refused() -> None:
    with UnansweringPort(ignores=False) as port, environment(ALL_PROXY=f"http://127.0.0.1:{port.port}"):
        error = await expect_failure(
            ts.APIConnectionError, f"the proxy http://127.0.0.1:{port.port} (from ALL_PROXY): connection refused"
        )
    assert not error.may_have_been_accepted


@row("the proxy's host is unknown")
async def unknown_host() -> None:
    with environment(HTTPS_PROXY="http://no-such-host.invalid:3128"):
        error = await expect_failure(ts.APIConnectionError, "http://no-such-host.invalid:3128", "HTTPS_PROXY")
    assert not error.may_have_been_accepted


@row("CONNECT is answered 403 or 407")
async def not_allowed() -> None:
    for status in (b"403 Forbidden", b"407 Proxy Authentication Required"):
        script = on(request(), send(sized(b"no", status=status)), fin())
        error = await through(ts.APIConnectionError, status.decode(), "api.test:443", script=script, requests=1)
        assert not error.may_have_been_accepted


@row("CONNECT is answered 502, two retries allowed")
async def bad_gateway() -> None:
    script = on(request(), send(sized(b"no", status=b"502 Bad Gateway")), fin())
    error = await through(ts.APIConnectionError, "502 Bad Gateway", "api.test:443", script=script, requests=3)
    assert not error.may_have_been_accepted


@row("what the variable names is no proxy")
async def no_proxy_at_all() -> None:
    for said in NO_PROXY_AT_ALL:
        script = on(request(), send(said), fin())
        await through(ts.APIConnectionError, "does not answer as a proxy", script=script, requests=1)


@row("the connection ends at CONNECT")
async def ends_at_connect() -> None:
    for ending in (fin(), rst()):
        error = await through(ts.APIConnectionError, script=on(request(), ending), requests=1, max_retries=0)
        assert error.retryable
        assert not error.may_have_been_accepted


@row("CONNECT is never answered, connect timeout 2 s")
async def never_answered() -> None:
    began = trio.current_time()
    await through(
        ts.ConnectTimeoutError,
        script=on(request(), silence()),
        requests=1,
        max_retries=0,
        timeout=ts.Timeouts(connect=CLOCK),
    )
    assert CLOCK <= trio.current_time() - began <= CLOCK + SLACK


@row("plain http: the proxy answers 407, or ends the connection")
async def without_a_tunnel() -> None:
    answer = sized(b"", status=b"407 Proxy Authentication Required")
    refused = on(request(), send(answer), fin())
    await through(ts.APIConnectionError, "407", script=refused, requests=1, base_url="http://api.test")
    error = await through(
        ts.APIConnectionError, script=on(request(), fin()), requests=1, base_url="http://api.test", max_retries=0
    )
    assert error.may_have_been_accepted


@row("plain http: through a proxy that does its work")
async def through_a_good_one() -> None:
    async with WireServer(then=on(request(), send(GOOD_ANSWER), fin())) as proxy:
        with environment(HTTP_PROXY=f"127.0.0.1:{proxy.port}"):
            async with client_for(None, base_url="http://api.test") as client:
                assert (await read_to_end(client)).text == TEXT
        assert proxy.requests[0].target == "http://api.test/v1/messages"


@row("a scheme that cannot be used (socks://)")
async def other_schemes() -> None:
    for url in ("socks://127.0.0.1:1080", "socks4://127.0.0.1:1080", f"ftp://user:{SECRET}@127.0.0.1:21"):
        with environment(ALL_PROXY=url):
            error = await expect_failure(ts.APIConnectionError, repr(url.partition(":")[0]), "ALL_PROXY")
        assert not error.retryable


@row("a proxy's address that is none")
async def no_address() -> None:
    with environment(HTTPS_PROXY=f"http://user:{SECRET}@proxy.test:port"):
        error = await expect_failure(ts.APIConnectionError, "HTTPS_PROXY")
    assert not error.retryable


@row("NO_PROXY with a network, with *.")
async def excluded() -> None:
    for excluded in ("127.0.0.0/8", "*.test,127.0.0.1", "other, 127.0.0.1:PORT", "*"):
        async with WireServer() as server:
            no_proxy = excluded.replace("PORT", str(server.port))
            with environment(HTTP_PROXY="http://127.0.0.1:9", NO_PROXY=no_proxy):
                await expect_complete(server)


@pytest.mark.parametrize("check", PROXIES.checks())
async def test_proxies(check: Any) -> None:
    await check()
