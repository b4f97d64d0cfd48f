"""The section "People": what programs and their surroundings give a client, and what it says of that."""

from __future__ import annotations

import base64
import importlib.util
import itertools
import subprocess
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import trio

import trio_stream as ts
from tests.faults.rows import CLOCK, KEY, PARAMS, PROMPT, Section, check_secrets, client_for, read_to_end
from tests.http.posting import ON_HTTPX2
from tests.wire.answers import CHUNKED_HEAD, api_error, chunked
from tests.wire.events import CUT_EVENTS
from tests.wire.server import WireServer, delay, fin, on, request, rst, send, silence
from tests.wire.sockets import UnansweringPort

PEOPLE = Section("People")

HOW_TO = r"async with client\.messages\.stream"
TOKEN = "token-of-the-environment"
VARIABLES = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "ANTHROPIC_CUSTOM_HEADERS")


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Only these variables of this library's are set."""
    with pytest.MonkeyPatch.context() as patch:
        for name in VARIABLES:
            patch.delenv(name, raising=False)
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


async def sent_by(**options: Any) -> dict[str, str]:
    """The authentication in a request of a client with these options, and the environment as it is."""
    async with WireServer() as server, client_for(server, **{"api_key": None, **options}) as client:
        await read_to_end(client)
    headers = server.requests[0].headers
    return {name: headers[name] for name in ("x-api-key", "authorization") if name in headers}


# Keys and tokens.


@PEOPLE.row("ANTHROPIC_API_KEY empty or blank beside ANTHROPIC_AUTH_TOKEN")
async def blank_key_in_the_environment() -> None:
    """As `docker run -e ANTHROPIC_API_KEY` and CI systems set what they have no secret for."""
    for blank in ("", " ", "\t "):
        with environment(ANTHROPIC_API_KEY=blank, ANTHROPIC_AUTH_TOKEN=TOKEN):
            assert await sent_by() == {"authorization": f"Bearer {TOKEN}"}
        with environment(ANTHROPIC_API_KEY="k", ANTHROPIC_AUTH_TOKEN=blank):
            assert await sent_by() == {"x-api-key": "k"}
        with environment(ANTHROPIC_API_KEY=blank, ANTHROPIC_AUTH_TOKEN=blank):
            with pytest.raises(ts.CredentialsError, match="no authentication"):
                ts.Client()
            assert await sent_by(auth_token="given") == {"authorization": "Bearer given"}
        with environment(ANTHROPIC_API_KEY="k", ANTHROPIC_BASE_URL=blank):
            assert "api.anthropic.com" in repr(ts.Client())
    # A line end is not blank: it may be an injected header, and must not be overlooked.
    with environment(ANTHROPIC_API_KEY="\n", ANTHROPIC_AUTH_TOKEN=TOKEN), pytest.raises(ts.CredentialsError):
        ts.Client()


@PEOPLE.row("authentication in default_headers or ANTHROPIC_CUSTOM_HEADERS alone, or added by a gateway (auth=None)")
async def authentication_elsewhere() -> None:
    """No key is asked for; where there is one too, the header stands, and the request carries one of them."""
    with environment():
        assert await sent_by(default_headers={"Authorization": "Bearer t"}) == {"authorization": "Bearer t"}
        assert await sent_by(default_headers={"X-API-Key": "k"}) == {"x-api-key": "k"}
        assert await sent_by(auth=None) == {}
        with pytest.raises(ts.CredentialsError, match="auth=None"):
            ts.Client(default_headers={"x-team": "blue"})
    with environment(ANTHROPIC_CUSTOM_HEADERS="x-team: blue\nauthorization: Bearer t"):
        assert await sent_by() == {"authorization": "Bearer t"}
        assert await sent_by(default_headers={"x-api-key": "k"}) == {"x-api-key": "k"}
    with environment(ANTHROPIC_API_KEY="k"):
        assert await sent_by(default_headers={"Authorization": "Bearer t"}) == {"authorization": "Bearer t"}
        assert await sent_by(auth=None) == {}


async def test_authentication_in_other_places() -> None:
    """A user in the base URL, a client of httpx with headers or authentication of its own, a header of one call."""
    with environment():
        async with WireServer() as server:
            user = server.base_url.replace("://", f"://user:{KEY}@")
            async with client_for(None, api_key=None, base_url=user) as client:
                await read_to_end(client)
            basic = base64.b64encode(f"user:{KEY}".encode()).decode()
            assert server.requests[0].headers["authorization"] == f"Basic {basic}"
        for options in ({"headers": {"x-api-key": "k"}}, {"headers": {"Authorization": "t"}}, {"auth": ("a", "b")}):
            async with httpx.AsyncClient(**options) as http_client:
                assert len(await sent_by(http_client=http_client)) == 1
        async with httpx.AsyncClient() as http_client:
            with pytest.raises(ts.CredentialsError):
                ts.Client(http_client=http_client)
        async with WireServer() as server, client_for(server, api_key=None, auth=None) as client:
            await read_to_end(client, extra_headers={"authorization": "Bearer of-one-call"})
            await read_to_end(client.with_options(api_key="k"))
            await read_to_end(client.with_options(api_key="k").with_options(auth=None))
        sent = [(r.headers.get("authorization"), r.headers.get("x-api-key")) for r in server.requests]
        assert sent == [("Bearer of-one-call", None), (None, "k"), (None, None)]


def test_auth_is_none_or_nothing() -> None:
    for auth in (("user", "password"), httpx.BasicAuth("user", "password"), False, "k"):
        with pytest.raises(TypeError, match="api_key or auth_token"):
            ts.Client(auth=auth)  # type: ignore[arg-type]


# Addresses.


@PEOPLE.row("base URL that ends in /v1")
async def base_url_with_v1() -> None:
    """The 404 shows where the request went."""
    answer = send(api_error(b"404 Not Found", "not_found_error"))
    async with WireServer([on(request(), answer, request(), answer)]) as server:
        async with client_for(None, base_url=f"{server.base_url}/v1/?key=in-the-query") as client:
            with pytest.raises(ts.NotFoundError) as raised:
                await read_to_end(client)
            with pytest.raises(ts.NotFoundError) as counted:
                await client.messages.count_tokens(model="m", messages=[])
    for error, path in ((raised.value, "/v1/v1/messages"), (counted.value, "/v1/v1/messages/count_tokens")):
        assert f"(POST {server.base_url}{path})" in str(error)
        assert "in-the-query" not in str(error)
        assert error.method == "POST"
        assert error.url is not None
        check_secrets(error)


@pytest.mark.parametrize("status", [301, 308, 404, 405, 410, 421])
async def test_answers_to_which_the_address_belongs(status: int) -> None:
    head = f"HTTP/1.1 {status} No\r\nrequest-id: r-1\r\nContent-Length: 0\r\n\r\n".encode()
    async with WireServer([on(request(), send(head))]) as server, client_for(server) as client:
        with pytest.raises(ts.APIStatusError) as raised:
            await read_to_end(client)
    assert f"(POST {server.base_url}/v1/messages) (request-id r-1)" in str(raised.value)
    assert "POST" not in raised.value.message


async def test_other_answers_do_not_repeat_the_address() -> None:
    async with WireServer([on(request(), send(api_error(b"400 Bad Request", "invalid_request_error")))]) as server:
        async with client_for(server) as client:
            with pytest.raises(ts.BadRequestError) as raised:
                await read_to_end(client)
    assert server.base_url not in str(raised.value)


@PEOPLE.row("base_url without a scheme")
async def base_url_without_scheme() -> None:
    """Told when the client is made, also where it comes from the environment."""
    for url in ("127.0.0.1:8787", "localhost:8787", "api.example/v1"):
        with environment(), pytest.raises(ValueError, match=f"did you mean 'http://{url}'"):
            client_for(None, base_url=url)
        with environment(ANTHROPIC_BASE_URL=url), pytest.raises(ValueError, match="base_url must begin with"):
            client_for(None)
    for url in (
        "//host",
        "http:/host",
        "https://",
        "ws://host",
        "http://h:port",
        f"user:{KEY}@host",
        f"http://:{KEY}@",
    ):
        with environment(), pytest.raises(ValueError, match="base_url must begin with") as raised:
            client_for(None, base_url=url)
        assert KEY not in str(raised.value)
    with environment():
        assert "http://host" in repr(client_for(None, base_url=" http://host\n"))


# Objects of others.

HTTPX2 = importlib.util.find_spec("httpx2") is not None


class _Fork:
    """As httpx2 makes them: of other classes, with the same names."""

    __module__ = "httpx2._client"

    async def handle_async_request(self, request: object) -> None: ...


@PEOPLE.row("objects of the official SDK's httpx2 as transport, http_client, timeout")
async def objects_of_the_sdk() -> None:
    """A `Timeout` says the same and is taken. What makes requests of its own classes is refused, with what to give."""
    for given in (_Fork(), *httpx2_objects("AsyncClient", "AsyncHTTPTransport")):
        with pytest.raises(TypeError, match=r"http_client must be an httpx\.AsyncClient, not httpx2\..*alias_httpx"):
            ts.Client(api_key="k", http_client=given)
        if hasattr(given, "handle_async_request"):
            with pytest.raises(TypeError, match=r"transport must be an httpx\.AsyncBaseTransport, not httpx2\."):
                ts.Client(api_key="k", transport=given)
    for timeout in (types.SimpleNamespace(connect=1, read=2, write=3, pool=4), *httpx2_objects("Timeout")):
        assert ts.Client(api_key="k", timeout=timeout)
        assert ts.Timeouts.of(timeout).connect == timeout.connect
    for http_client in (httpx.Client(), httpx.AsyncClient, "client", ts.Client(api_key="k")):
        with pytest.raises(TypeError, match=r"http_client must be an httpx\.AsyncClient, not "):
            ts.Client(api_key="k", http_client=http_client)  # type: ignore[arg-type]
    for transport in (httpx.HTTPTransport(), httpx.AsyncHTTPTransport, 5):
        with pytest.raises(TypeError, match=r"transport must be an httpx\.AsyncBaseTransport, not "):
            ts.Client(api_key="k", transport=transport)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="timeout must be"):
        ts.Client(api_key="k", timeout="5")  # type: ignore[arg-type]


def httpx2_objects(*names: str) -> list[Any]:
    """The real ones, where httpx2 is there, and not itself what is wanted. Its `Timeout` needs an argument."""
    if not HTTPX2 or ON_HTTPX2:
        return []
    httpx2 = importlib.import_module("httpx2")
    return [getattr(httpx2, name)(5) if name == "Timeout" else getattr(httpx2, name)() for name in names]


@pytest.mark.skipif(not HTTPX2, reason="httpx2 is not there")
def test_httpx2_in_the_place_of_httpx() -> None:
    """`httpx2.alias_httpx()`: its objects are those that are wanted."""
    program = (
        "import httpx2; httpx2.alias_httpx()\n"
        "import trio_stream as ts\n"
        "ts.Client(api_key='k', transport=httpx2.AsyncHTTPTransport())\n"
        "ts.Client(api_key='k', http_client=httpx2.AsyncClient(), timeout=httpx2.Timeout(5))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


async def test_a_transport_that_only_looks_like_one() -> None:
    class Looks:
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(500)

        async def aclose(self) -> None: ...

    async with client_for(None, transport=Looks()) as client:
        with pytest.raises(ts.InternalServerError):
            await read_to_end(client)


# Streams.


@PEOPLE.row("client.messages.stream(...) used without async with")
async def stream_without_a_block() -> None:
    """What is missing is said by whatever is tried first."""
    manager: Any = client_for(None).messages.stream(**PARAMS)
    for name in ("text_stream", "receive", "message", "get_final_message", "until_done", "response"):
        with pytest.raises(AttributeError, match=HOW_TO):
            getattr(manager, name)
    with pytest.raises(TypeError, match=HOW_TO):
        async for _event in manager:
            pass
    with pytest.raises(TypeError, match=HOW_TO):
        await manager
    with pytest.raises(TypeError, match=HOW_TO), manager:
        pass
    with pytest.raises(AttributeError) as raised:
        _ = manager.no_such_thing
    assert "async with" not in str(raised.value)
    assert not hasattr(manager, "__len__")


# Parameters.


@PEOPLE.row("a parameter's name mistyped beside a missing one")
async def mistyped_parameter() -> None:
    """Told before anything is sent, and the typo first: it is the reason why the other is missing."""
    client = client_for(None)
    for typo, meant in (("max_token", "max_tokens"), ("maxtokens", "max_tokens"), ("mesages", "messages")):
        params = {**PARAMS, typo: PARAMS[meant]}
        del params[meant]
        with pytest.raises(TypeError) as raised:
            client.messages.stream(**params)
        assert str(raised.value) == (
            f"unknown parameter {typo} (did you mean {meant}?); required parameter missing: {meant}"
        )
        check_secrets(raised.value)
    with pytest.raises(TypeError, match=r"unknown parameter modell \(did you mean model\?\); .* missing: model"):
        await client.messages.count_tokens(modell="m", messages=[])  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"unknown parameter qqq; required parameters missing: model, max_tokens"):
        client.messages.stream(qqq=1, messages=[])  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"unknown parameter max_token .* missing: max_tokens"):
        await ts.gather_texts(client, ["a"], model="m", max_token=5)  # type: ignore[call-arg]


async def test_a_name_that_only_the_api_knows_is_sent() -> None:
    """Beside nothing missing it may be a parameter that is newer than this library."""
    async with WireServer() as server, client_for(server) as client:
        await read_to_end(client, newer_than_this=1)
    assert b'"newer_than_this":1' in server.requests[0].content


# Secrets in the frames of a traceback.


def shown(value: object, depth: int = 5) -> Iterator[str]:
    """What tools print of a local variable: its `repr`, and the items and fields that they know of."""
    yield repr(value)
    if depth == 0:
        return
    members: list[object] = []
    if isinstance(value, dict):
        members = [*value.keys(), *value.values()]
    elif isinstance(value, (list, tuple, set, frozenset)):
        members = list(value)
    elif isinstance(value, (types.FunctionType, types.MethodType)):
        members = [cell.cell_contents for cell in getattr(value, "__closure__", None) or ()]
    elif hasattr(type(value), "__rich_repr__"):
        members = list(value.__rich_repr__())
    for member in members:
        yield from shown(member, depth - 1)


def frames_of(error: BaseException) -> Iterator[types.FrameType]:
    """The frames of its traceback, and of everything that it came from."""
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        exc = pending.pop()
        if exc is None or id(exc) in seen:
            continue
        seen.add(id(exc))
        pending += [exc.__cause__, exc.__context__, *getattr(exc, "exceptions", ())]
        traceback = exc.__traceback__
        while traceback is not None:
            yield traceback.tb_frame
            traceback = traceback.tb_next


def check_frames(error: BaseException) -> None:
    """Neither the key, nor what it is encoded as, is in any frame that is not a test's."""
    secrets = (KEY, base64.b64encode(f"user:{KEY}".encode()).decode())
    count = 0
    for frame in frames_of(error):
        if "/tests/" in frame.f_code.co_filename:
            continue
        count += 1
        for name, value in frame.f_locals.items():
            for text in shown(value):
                for secret in secrets:
                    assert secret not in text, f"{name} in {frame.f_code.co_qualname}"
    assert count


async def failure_of(client: ts.Client) -> ts.APIError:
    with pytest.raises(ts.APIError) as raised:
        await read_to_end(client)
    return raised.value


BIG = {"messages": [{"role": "user", "content": "x" * 8_000_000}]}


@PEOPLE.row("a connection failure with local variables in the traceback (Sentry, rich)")
async def frames_hold_no_key() -> None:
    """Whatever fails, and wherever the key came from."""
    scripts = [
        [on(request(), rst())],
        [on(request(), fin())],
        [on(request(), silence())],
        [on(request(), send(b"HTTP/1.1 nonsense\r\n\r\n"))],
        [on(request(), send(api_error(b"500 Oops", "api_error")))],
        [on(request(), send(api_error(b"401 No", "authentication_error")))],
        [on(request(), send(CHUNKED_HEAD), send(chunked(*CUT_EVENTS)), rst())],
        [on(request(), send(CHUNKED_HEAD), send(chunked(*CUT_EVENTS)), fin())],
    ]
    ways: list[dict[str, Any]] = [
        {"api_key": KEY},
        {"api_key": None, "auth_token": KEY},
        {"api_key": lambda: KEY},
        {"api_key": None, "default_headers": {"authorization": f"Bearer {KEY}"}},
    ]
    options = {"timeout": ts.Timeouts(first_event=CLOCK, silence=CLOCK)}
    for script, way in itertools.product(scripts, ways):
        for transport in (None, httpx.AsyncHTTPTransport):
            theirs = {} if transport is None else {"transport": transport()}
            async with WireServer(script) as server:
                async with client_for(server, **way, **options, **theirs) as client:
                    check_frames(await failure_of(client))
    with UnansweringPort(ignores=False) as port:
        for transport in (None, httpx.AsyncHTTPTransport):
            theirs = {} if transport is None else {"transport": transport()}
            async with client_for(None, base_url=port.base_url, **theirs) as client:
                check_frames(await failure_of(client))


async def test_frames_of_other_failures() -> None:
    """A password in the base URL; a request that is not taken; a client that is closed; many at once; a cancellation."""
    with UnansweringPort(ignores=False) as port:
        url = port.base_url.replace("://", f"://user:{KEY}@")
        async with client_for(None, api_key=None, base_url=url) as client:
            check_frames(await failure_of(client))
    async with WireServer([on(delay(3), reads=False)]) as server:
        async with client_for(server, timeout=ts.Timeouts(send=CLOCK)) as client:
            with pytest.raises(ts.SendTimeoutError) as slow:
                await read_to_end(client, **BIG)
            check_frames(slow.value)
    client = client_for(None)
    await client.aclose()
    with pytest.raises(trio.ClosedResourceError) as closed:
        await read_to_end(client)
    check_frames(closed.value)
    async with WireServer([on(request(), rst())] * 3) as server, client_for(server, max_connections=3) as client:
        with pytest.raises(ExceptionGroup) as many:
            await ts.race(client, [PROMPT] * 3, model="m", max_tokens=5)
        check_frames(many.value)


async def test_frames_of_what_is_said_early() -> None:
    """Where a client cannot be made, or a call is wrong, the frames below that of the caller hold no key."""
    wrong_options: list[dict[str, Any]] = [
        {"base_url": "127.0.0.1:8787"},
        {"max_retries": -1},
        {"timeout": "5"},
        {"auth_token": "x"},
        {"auth": None},
        {"auth": KEY},
        {"api_key": KEY + "\n"},
        {"api_key": None, "auth_token": f"Bearer {KEY}"},
        {"api_key": KEY.encode()},
    ]
    for options in wrong_options:
        with pytest.raises((ValueError, TypeError)) as raised:
            ts.Client(**{"api_key": KEY, **options})
        check_frames(raised.value)
    with environment(ANTHROPIC_API_KEY=KEY + "\n"), pytest.raises(ValueError, match="line end") as raised:
        ts.Client()
    with pytest.raises(ts.CredentialsError) as raised:
        ts.Client(api_key="k").with_options(auth_token=f"{KEY} {KEY}")
    check_frames(raised.value)
    client = client_for(None)
    with pytest.raises(TypeError) as wrong:
        client.messages.stream(model="m")  # type: ignore[call-arg]
    check_frames(wrong.value)


@pytest.mark.parametrize("check", PEOPLE.checks())
async def test_people(check: Any) -> None:
    await check()
