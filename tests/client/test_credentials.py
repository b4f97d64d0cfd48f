"""Credentials that refresh: who is asked, when, how often, and what is sent."""

from __future__ import annotations

import functools
import logging
import time
import traceback
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import trio
import trio.testing

import trio_stream as ts
from tests.stream.api import PARAMS
from trio_stream._client._credentials import RENEW_SECONDS, REST_SECONDS, AskedCredentials
from trio_stream.testing import ScriptedAPI, say

SECRET = "sk-ant-very-secret-0123456789"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "ANTHROPIC_CUSTOM_HEADERS"):
        monkeypatch.delenv(name, raising=False)


class Door(httpx.AsyncBaseTransport):
    """An API that takes some tokens and refuses all others."""

    def __init__(self, *valid: str, seconds: float = 0.0) -> None:
        self.valid = set(valid)
        self.seconds = seconds
        self.sent: list[str] = []
        self.headers: list[httpx.Headers] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        token = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        self.sent.append(token)
        self.headers.append(request.headers)
        good = token in self.valid  # as it is when the request comes; the answer takes its time
        await trio.sleep(self.seconds)
        if not good:
            error = {"type": "error", "error": {"type": "authentication_error", "message": "invalid token"}}
            return httpx.Response(401, json=error)
        api = ScriptedAPI([say("x")])
        return await api.handle_async_request(request)


class Issuer:
    """A function that gives ``token-1``, ``token-2``..., and counts how often it is asked."""

    def __init__(self, *, seconds: float | None = None, lasts: float | None = None) -> None:
        self.asked = 0
        self.seconds = seconds
        self.lasts = lasts
        self.fails: Exception | None = None
        self.gives: list[Any] = []

    def __call__(self) -> Any:
        return self.later() if self.seconds is not None else self.now()

    async def later(self) -> Any:
        await trio.sleep(self.seconds or 0.0)
        return self.now()

    def now(self) -> Any:
        self.asked += 1
        if self.fails is not None:
            raise self.fails
        if self.gives:
            return self.gives.pop(0)
        token = f"token-{self.asked}"
        return token if self.lasts is None else ts.Token(token, time.time() + self.lasts)


async def call(client: ts.Client) -> str:
    return (await client.messages.create(**PARAMS)).text


def client_for(door: Door, **options: Any) -> ts.Client:
    return ts.Client(transport=door, **options)


async def many(client: ts.Client, number: int) -> list[Exception]:
    errors: list[Exception] = []

    async def one() -> None:
        try:
            await call(client)
        except ts.APIError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        for _ in range(number):
            nursery.start_soon(one)
    return errors


# When it is asked.


@pytest.mark.parametrize("seconds", [None, 0.0, 3.0], ids=["sync", "async", "slow"])
@pytest.mark.parametrize(("argument", "header"), [("api_key", "x-api-key"), ("auth_token", "authorization")])
async def test_asked_once_for_the_first_request(argument, header, seconds, autojump_clock):
    issuer, door = Issuer(seconds=seconds), Door("token-1")
    client = client_for(door, **{argument: issuer})
    assert issuer.asked == 0
    for _ in range(3):
        assert await call(client) == "x"
    assert issuer.asked == 1
    assert door.sent == ["token-1"] * 3
    assert all(header in headers for headers in door.headers)
    assert not any({"x-api-key", "authorization"} <= headers.keys() for headers in door.headers)


@pytest.mark.no_cover
async def test_a_thousand_streams_ask_once(autojump_clock):
    for seconds in (None, 2.0):
        issuer, door = Issuer(seconds=seconds), Door("token-1", seconds=1)
        assert await many(client_for(door, api_key=issuer), 1000) == []
        assert issuer.asked == 1
        assert len(door.sent) == 1000


@pytest.mark.no_cover
async def test_a_thousand_streams_with_a_revoked_token(autojump_clock):
    """One asks; each makes one more request; nobody sees an error, and no retry is used."""
    for seconds in (None, 2.0):
        issuer, door = Issuer(seconds=seconds), Door("token-1", seconds=1)
        client = client_for(door, auth_token=issuer, max_retries=0)
        await call(client)
        door.valid = {"token-2"}
        door.sent.clear()
        assert await many(client, 1000) == []
        assert issuer.asked == 2
        assert sorted(door.sent) == ["token-1"] * 1000 + ["token-2"] * 1000


@pytest.mark.no_cover
async def test_a_thousand_streams_where_asking_fails(autojump_clock):
    """The failure is everybody's, each in an error of its own."""
    for seconds in (None, 2.0):
        issuer, door = Issuer(seconds=seconds), Door()
        issuer.fails = RuntimeError(SECRET)
        errors = await many(client_for(door, api_key=issuer), 1000)
        assert issuer.asked == 1
        assert len(set(map(id, errors))) == 1000
        assert all(type(error) is ts.CredentialsError for error in errors)
        assert door.sent == []


async def test_asked_before_it_ends(autojump_clock):
    issuer, door = Issuer(lasts=3600), Door("token-1", "token-2")
    client = client_for(door, api_key=issuer)
    await call(client)
    await trio.sleep(3600 - RENEW_SECONDS - 5)
    await call(client)
    assert issuer.asked == 1
    await trio.sleep(6)
    await call(client)
    await call(client)
    assert issuer.asked == 2
    assert door.sent == ["token-1", "token-1", "token-2", "token-2"]


async def test_the_same_token_may_be_given_again_with_a_later_end(autojump_clock):
    """As by a function that reads a file in which nothing has changed but the time."""
    issuer, door = Issuer(), Door("token-1")
    issuer.gives = [ts.Token("token-1", time.time() + 3600), ts.Token("token-1", time.time() + 9 * 3600)]
    client = client_for(door, api_key=issuer)
    await call(client)
    await trio.sleep(3600)
    await call(client)
    await trio.sleep(3600)
    await call(client)
    assert issuer.asked == 2
    assert door.sent == ["token-1"] * 3


async def test_it_ends_by_the_wall_clock_too(monkeypatch, autojump_clock):
    """As when the machine sleeps, and with it the clock that Trio reads."""
    issuer, door = Issuer(lasts=3600), Door("token-1", "token-2")
    client = client_for(door, api_key=issuer)
    await call(client)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600 - RENEW_SECONDS + 1)
    await call(client)
    assert door.sent == ["token-1", "token-2"]


def test_a_token_outlives_a_run():
    """The next run of Trio has a clock of its own, whose times are other ones."""
    issuer, door = Issuer(lasts=3600), Door("token-1")
    client = client_for(door, api_key=issuer)
    for start in (0.0, 1e9):
        clock = trio.testing.MockClock()
        clock.jump(start)
        trio.run(call, client, clock=clock)
    assert issuer.asked == 1


async def test_a_token_that_lasts_less_than_a_minute(autojump_clock):
    """Asked for each request, but not by those who wait for the answer."""
    issuer, door = Issuer(lasts=30, seconds=1), Door("token-1", "token-2")
    client = client_for(door, api_key=issuer)
    assert await many(client, 100) == []
    assert issuer.asked == 1
    await call(client)
    assert issuer.asked == 2


# After a 401.


async def test_a_refused_token_is_renewed_without_a_retry(autojump_clock):
    moments: list[ts.Moment] = []
    issuer, door = Issuer(), Door("token-2")
    client = client_for(door, api_key=issuer, max_retries=0, instruments=[moments.append])
    async with client.messages.stream(**PARAMS) as stream:
        await stream.until_done()
    assert stream.stats.attempts == 2
    assert door.sent == ["token-1", "token-2"]
    retries = [moment for moment in moments if isinstance(moment, ts.Retry)]
    assert [moment.delay for moment in retries] == [0.0]
    assert isinstance(retries[0].error, ts.AuthenticationError)
    assert trio.current_time() < 0.1
    assert door.headers[1].get("trio-stream-retry-count") is None


async def test_renewed_once_in_a_call(autojump_clock):
    issuer, door = Issuer(), Door()
    client = client_for(door, api_key=issuer, max_retries=5)
    with pytest.raises(ts.AuthenticationError, match="invalid token"):
        await call(client)
    assert door.sent == ["token-1", "token-2"]
    with pytest.raises(ts.AuthenticationError):
        await call(client)
    assert door.sent == ["token-1", "token-2", "token-3", "token-4"]


async def test_retries_are_left_after_a_renewal(autojump_clock):
    """A 401 between two failures of another kind takes none of them away."""
    issuer = Issuer()
    answers = [httpx.Response(500), httpx.Response(401), httpx.Response(500), None]

    async def answer(request: httpx.Request) -> httpx.Response:
        given = answers.pop(0)
        return given or await ScriptedAPI([say("x")]).handle_async_request(request)

    client = ts.Client(transport=httpx.MockTransport(answer), api_key=issuer, max_retries=2)
    assert await call(client) == "x"
    assert issuer.asked == 2


async def test_a_refused_token_is_not_sent_again(autojump_clock):
    """The answer of the API is raised where there is no other one; and then nothing is sent."""
    issuer, door = Issuer(), Door()
    issuer.gives = ["same"] * 10
    client = client_for(door, api_key=issuer)
    with pytest.raises(ts.AuthenticationError) as refused:
        await call(client)
    assert isinstance(refused.value.__cause__, ts.CredentialsError)
    with pytest.raises(ts.CredentialsError, match="refused"):
        await call(client)
    assert door.sent == ["same"]
    issuer.gives = []
    door.valid = {"token-4"}
    assert await call(client) == "x"
    assert door.sent == ["same", "token-4"]


async def test_a_late_refusal_spares_the_successor(autojump_clock):
    """A request that was under way with the old token is refused after the new one came."""
    issuer, door = Issuer(), Door("token-1")
    client = client_for(door, api_key=issuer, max_retries=0)
    await call(client)
    door.valid = {"token-2"}
    door.seconds = 10
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, client)
        await trio.sleep(1)
        nursery.start_soon(call, client)
    assert issuer.asked == 2


async def test_a_waiter_whose_answer_was_refused_meanwhile_asks(autojump_clock):
    """It is refused between the answer and the step in which the waiter takes it."""
    issuer = Issuer(seconds=5)
    credentials = AskedCredentials("api_key", issuer)
    got: list[str] = []

    async def takes(*, refuses: bool) -> None:
        secret = await credentials.ask(lambda: None)
        got.append(secret.value)
        if refuses:
            credentials.refuse(secret)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(functools.partial(takes, refuses=True))
        await trio.sleep(1)
        nursery.start_soon(functools.partial(takes, refuses=False))
    assert got == ["token-1", "token-2"]


async def test_count_tokens_renews_too(autojump_clock):
    issuer, door = Issuer(), Door("token-2")
    client = client_for(door, api_key=issuer, max_retries=0)
    await client.messages.count_tokens(model=PARAMS["model"], messages=PARAMS["messages"])
    assert door.sent == ["token-1", "token-2"]


async def test_a_key_that_is_a_str_is_not_renewed(autojump_clock):
    door = Door()
    with pytest.raises(ts.AuthenticationError):
        await call(client_for(door, api_key="k"))
    assert door.sent == ["k"]


async def test_authentication_of_the_call_is_not_renewed(autojump_clock):
    issuer, door = Issuer(), Door()
    with pytest.raises(ts.AuthenticationError):
        await client_for(door, api_key=issuer).messages.create(**PARAMS, extra_headers={"X-Api-Key": "mine"})
    assert door.sent == ["mine"]
    assert issuer.asked == 0


async def test_a_fan_out_goes_on_after_a_renewal(autojump_clock):
    issuer, door = Issuer(seconds=1), Door("token-2")
    client = client_for(door, api_key=issuer)
    outcomes = await ts.gather_outcomes(client, ["a"] * 20, limit=5, model=PARAMS["model"], max_tokens=10)
    assert {outcome.status for outcome in outcomes} == {"ok"}
    assert issuer.asked == 2


# Where asking fails.


async def test_a_good_old_one_is_used(caplog, autojump_clock):
    """Told once for a failure, and not asked again with every request."""
    issuer, door = Issuer(lasts=3600, seconds=0), Door("token-1", "token-3")
    client = client_for(door, api_key=issuer)
    await call(client)
    await trio.sleep(3600 - RENEW_SECONDS + 1)
    issuer.fails = ConnectionError(SECRET)
    caplog.set_level(logging.WARNING, "trio_stream")
    assert await many(client, 50) == []
    assert await call(client) == "x"
    assert issuer.asked == 2
    assert [record.getMessage() for record in caplog.records] == [
        "asking api_key for a token failed: ConnectionError; the one at hand is still good and is used"
    ]
    issuer.fails = None
    await trio.sleep(REST_SECONDS + 1)
    await call(client)
    assert door.sent[-1] == "token-3"


async def test_an_old_one_that_has_ended_is_not_used(autojump_clock):
    issuer, door = Issuer(lasts=3600), Door("token-1")
    client = client_for(door, api_key=issuer)
    await call(client)
    await trio.sleep(3601)
    issuer.fails = ConnectionError()
    with pytest.raises(ts.CredentialsError, match="ConnectionError"):
        await call(client)
    assert door.sent == ["token-1"]


async def test_a_failure_is_told_by_its_type_alone(autojump_clock):
    issuer = Issuer()
    issuer.fails = RuntimeError(SECRET)
    with pytest.raises(ts.CredentialsError) as caught:
        await call(client_for(Door(), api_key=issuer))
    text = "".join(traceback.format_exception(caught.value))
    assert str(caught.value) == "asking api_key for a token failed: RuntimeError"
    assert SECRET not in text
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "gives",
    [b"bytes", 5, ts.Token("", None), f"{SECRET}\n", f"{SECRET}é", ts.Token(SECRET, "soon"), ts.Token(SECRET, True)],  # type: ignore[arg-type]
    ids=["bytes", "a number", "empty", "a line end", "no ASCII", "an end that is text", "an end that is a bool"],
)
async def test_what_is_no_token_is_not_sent(gives, autojump_clock):
    issuer, door = Issuer(), Door()
    issuer.gives = [gives]
    with pytest.raises(ts.CredentialsError) as caught:
        await call(client_for(door, api_key=issuer))
    assert SECRET not in str(caught.value) + repr(caught.value)
    assert door.sent == []


# Cancellation.


async def test_if_the_one_who_asks_is_cancelled_the_next_asks(autojump_clock):
    issuer, door = Issuer(seconds=10), Door("token-1")
    client = client_for(door, api_key=issuer)
    first = trio.CancelScope()

    async def asks() -> None:
        with first:
            await call(client)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(asks)
        await trio.sleep(1)
        for _ in range(20):
            nursery.start_soon(call, client)
        await trio.sleep(1)
        first.cancel()
    assert issuer.asked == 1  # the second question; the first had no answer
    assert len(door.sent) == 20
    assert trio.current_time() == pytest.approx(12, abs=0.1)


async def test_cancelled_in_the_step_in_which_it_asks(autojump_clock):
    issuer, door = Issuer(), Door("token-1")
    client = client_for(door, api_key=issuer)
    with trio.CancelScope() as scope:
        scope.cancel()
        await call(client)
    assert issuer.asked == 0
    assert await call(client) == "x"


async def test_keyboard_interrupt_in_the_function_leaves_as_itself(autojump_clock):
    def interrupted() -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await call(client_for(Door(), api_key=interrupted))


async def test_total_bounds_asking(autojump_clock):
    client = client_for(Door(), api_key=Issuer(seconds=1000), timeout=ts.Timeouts(total=5))
    with pytest.raises(ts.TotalTimeoutError):
        await call(client)
    assert trio.current_time() == pytest.approx(5, abs=0.1)


# Providers of the official SDK.


class AccessToken:
    """As the SDK's."""

    def __init__(self, token: str, expires_at: int | None = None) -> None:
        self.token, self.expires_at = token, expires_at


def provider_of(forced: list[bool], *, asynchronous: bool) -> Callable[..., Any]:
    def give(*, force_refresh: bool = False) -> AccessToken:
        forced.append(force_refresh)
        return AccessToken(f"token-{len(forced)}", int(time.time()) + 3600)

    async def give_later(*, force_refresh: bool = False) -> AccessToken:
        await trio.sleep(1)
        return give(force_refresh=force_refresh)

    return give_later if asynchronous else give


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("argument", ["credentials", "auth_token"])
async def test_providers_of_the_official_sdk(argument, asynchronous, autojump_clock):
    """Told to refresh once a token was refused, and not before."""
    forced: list[bool] = []
    door = Door("token-2", "token-3")
    client = client_for(door, **{argument: provider_of(forced, asynchronous=asynchronous)})
    await call(client)
    assert forced == [False, True]
    await trio.sleep(3600)
    await call(client)
    assert forced == [False, True, False]
    betas = [headers.get("anthropic-beta") for headers in door.headers]
    assert betas == (["oauth-2025-04-20"] * 3 if argument == "credentials" else [None] * 3)


async def test_the_beta_of_a_provider_stands_beside_others(autojump_clock):
    door = Door("token-1")
    client = client_for(door, credentials=provider_of([], asynchronous=False))
    await client.beta.messages.create(**PARAMS, betas=["b-1"])
    assert door.headers[0]["anthropic-beta"] == "oauth-2025-04-20,b-1"
    with pytest.raises(TypeError, match="betas"):
        client.beta.messages.stream(**PARAMS, betas="b-1")  # type: ignore[arg-type]


async def test_a_provider_is_bound_to_the_base_url(autojump_clock):
    bound: list[str] = []

    class Provider:
        def for_base_url(self, base_url: str) -> Callable[[], str]:
            bound.append(base_url)
            return lambda: "token-1"

        def __call__(self, *, force_refresh: bool = False) -> str:
            raise AssertionError

    door = Door("token-1")
    await call(client_for(door, credentials=Provider(), base_url="http://api.example"))
    assert bound == ["http://api.example"]


async def test_functions_without_a_signature(autojump_clock):
    """Functions of C, partials, and objects with `__call__`."""
    for function in (functools.partial(str, "token-1"), functools.partial(dict.pop, {"k": "token-1"}, "k")):
        assert await call(client_for(Door("token-1"), api_key=function)) == "x"


# A client and its copies.


async def test_copies_share_what_was_asked_for(autojump_clock):
    issuer, door = Issuer(), Door("token-1", "other")
    client = client_for(door, api_key=issuer)
    await call(client)
    await call(client.with_options(max_retries=0))
    assert issuer.asked == 1
    await call(client.with_options(api_key=lambda: "other"))
    await call(client.with_options(auth_token="other"))
    assert door.sent == ["token-1", "token-1", "other", "other"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"api_key": "a", "auth_token": lambda: "b"},
        {"api_key": lambda: "a", "credentials": lambda: "b"},
        {"auth_token": "a", "credentials": lambda: "b"},
        {"credentials": lambda: "a", "auth": None},
        {"api_key": "a", "auth": None},
    ],
)
def test_one_way_to_authenticate(arguments):
    with pytest.raises(ts.CredentialsError, match="not both"):
        ts.Client(**arguments)


@pytest.mark.parametrize("arguments", [{"api_key": 5}, {"auth_token": b"bytes"}, {"credentials": "a str"}])
def test_what_cannot_be_asked(arguments):
    with pytest.raises(ts.CredentialsError, match="function"):
        ts.Client(**arguments)


async def test_a_change_clears_the_heads_that_are_kept():
    """Our own sender keeps the bytes of a request's head, and with them the key."""
    issuer = Issuer()
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]

        async def answer(stream: trio.SocketStream) -> None:
            request = await stream.receive_some()
            status = b"401 No" if b"token-1" in request else b"500 No"
            await stream.send_all(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        nursery.start_soon(trio.serve_listeners, answer, listeners)
        async with ts.Client(api_key=issuer, base_url=f"http://127.0.0.1:{port}", max_retries=0) as client:
            with pytest.raises(ts.InternalServerError):
                await call(client)
            heads = client._connections.sender._heads
            assert [b"token-1" in head.start for head in heads.values()] == [False]
            assert [b"token-2" in head.start for head in heads.values()] == [True]
        nursery.cancel_scope.cancel()


# Nothing of it is shown.


async def test_no_token_in_any_text(autojump_clock):
    token = ts.Token(SECRET, 1.0)
    client = client_for(Door(), api_key=lambda: SECRET)
    shown = [repr(token), str(token), repr(client._settings), repr(client._settings.credentials)]
    shown += [repr(token.__rich_repr__()), repr(client._settings.__rich_repr__())]
    assert "1.0" in shown[0]
    assert SECRET not in "".join(shown)
