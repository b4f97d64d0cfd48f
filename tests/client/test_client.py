"""The client: credentials, options, headers, and what is said early."""

from __future__ import annotations

import inspect
import logging
import ssl

import httpx
import pytest
import trio
import trio.testing

import trio_stream as ts
from tests.stream.api import PARAMS, client_of
from trio_stream.testing import ScriptedAPI, http_error, say, stall

SECRET = "sk-ant-very-secret-0123456789"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "ANTHROPIC_CUSTOM_HEADERS"):
        monkeypatch.delenv(name, raising=False)


async def sent_headers(client: ts.Client, api: ScriptedAPI, **options: object) -> dict[str, str]:
    async with client.messages.stream(**PARAMS, **options) as stream:
        await stream.until_done()
    return api.requests[-1].headers


def test_no_key_says_what_to_do():
    with pytest.raises(ts.CredentialsError, match="ANTHROPIC_API_KEY"):
        ts.Client()


def test_both_is_one_too_many():
    with pytest.raises(ts.CredentialsError, match="not both"):
        ts.Client(api_key="a", auth_token="b")


@pytest.mark.parametrize("key", ["", "   ", f"{SECRET}\r\nx-evil: 1", f"{SECRET}\x00", f"{SECRET}é"])
@pytest.mark.parametrize("argument", ["api_key", "auth_token"])
def test_bad_keys_are_refused_without_echo(key, argument):
    with pytest.raises(ts.CredentialsError) as caught:
        ts.Client(**{argument: key})
    assert isinstance(caught.value, ts.APIError)
    assert SECRET not in str(caught.value) + repr(caught.value)
    assert caught.value.__cause__ is None


async def test_blanks_around_a_key_are_stripped(autojump_clock):
    api = ScriptedAPI([say("x")])
    headers = await sent_headers(ts.Client(api_key=" key\t", transport=api), api)
    assert headers["x-api-key"] == "key"


@pytest.mark.parametrize(
    ("environ", "arguments", "expected"),
    [
        ({"ANTHROPIC_API_KEY": "env-key"}, {}, {"x-api-key": "env-key"}),
        ({"ANTHROPIC_AUTH_TOKEN": "env-token"}, {}, {"authorization": "Bearer env-token"}),
        ({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_AUTH_TOKEN": "t"}, {}, {"x-api-key": "k"}),
        ({"ANTHROPIC_API_KEY": "k"}, {"auth_token": "arg"}, {"authorization": "Bearer arg"}),
        ({"ANTHROPIC_AUTH_TOKEN": "t"}, {"api_key": "arg"}, {"x-api-key": "arg"}),
    ],
)
async def test_where_the_key_comes_from(environ, arguments, expected, monkeypatch, autojump_clock):
    """One of the two headers, never both."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    api = ScriptedAPI([say("x")])
    headers = await sent_headers(ts.Client(**arguments, transport=api), api)
    found = {name: headers[name] for name in ("x-api-key", "authorization") if name in headers}
    assert found == expected


async def test_headers_of_a_request(monkeypatch, autojump_clock):
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "x-team: blue\nx-both: environment")
    api = ScriptedAPI([say("x")])
    client = ts.Client(api_key="k", transport=api, default_headers={"x-both": "default", "x-third": "default"})
    headers = await sent_headers(client, api, extra_headers={"X-Third": "extra"})
    assert headers["anthropic-version"] == "2026-10-21"
    assert headers["accept"] == "text/event-stream"
    assert headers["accept-encoding"] == "identity"
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("trio-stream/")
    assert headers["x-team"] == "blue"
    assert headers["x-both"] == "default"
    assert headers["x-third"] == "extra"


async def test_headers_of_one_call_are_not_those_of_the_next(autojump_clock):
    api = ScriptedAPI(*[[say("x")]] * 5)
    client = ts.Client(api_key="k", transport=api, default_headers={"x-default": "1"})
    usual = dict(await sent_headers(client, api))
    assert usual["x-default"] == "1"
    assert dict(await sent_headers(client, api, extra_headers={"x-extra": "1"}))["x-extra"] == "1"
    assert dict(await sent_headers(client, api)) == usual
    assert dict(await sent_headers(client.with_options(default_headers={"x-default": "2"}), api))["x-default"] == "2"
    assert dict(await sent_headers(client, api)) == usual


async def test_beta(autojump_clock):
    client, api = client_of([say("x")])
    async with client.beta.messages.stream(**PARAMS, betas=["one-2026-01-01", "two-2026-01-01"]) as stream:
        await stream.until_done()
    request = api.requests[0]
    assert request.headers["anthropic-beta"] == "one-2026-01-01,two-2026-01-01"
    assert request.params == {"beta": "true"}
    assert "betas" not in request.body


@pytest.mark.parametrize("parameter", ["temperature", "top_p", "top_k"])
async def test_sampling_parameters(parameter, autojump_clock):
    """A clear early error under the version that removed them; they work under the one that has them."""
    client, api = client_of([say("x")])
    with pytest.raises(ValueError, match="2023-06-01"):
        client.messages.stream(**PARAMS, **{parameter: 1})
    old = client.with_options(anthropic_version="2023-06-01")
    async with old.messages.stream(**PARAMS, **{parameter: 1}) as stream:
        await stream.until_done()
    assert api.requests[0].body[parameter] == 1
    assert api.requests[0].headers["anthropic-version"] == "2023-06-01"


@pytest.mark.parametrize("missing", ["model", "max_tokens", "messages"])
def test_a_missing_parameter_is_named(missing):
    client, _ = client_of([say("x")])
    params = {name: value for name, value in PARAMS.items() if name != missing}
    with pytest.raises(TypeError, match=missing):
        client.messages.stream(**params)


async def test_extras_pass_through(autojump_clock):
    api = ScriptedAPI([say("x")], strict=False)
    client = ts.Client(api_key="k", transport=api)
    async with client.messages.stream(**PARAMS, extra_body={"new": 1}, extra_query={"debug": "yes"}) as stream:
        await stream.until_done()
    assert api.requests[0].body["new"] == 1
    assert api.requests[0].params["debug"] == "yes"


async def test_with_options_shares_the_connections(autojump_clock):
    client, api = client_of([say("x")], [say("y")])
    copy = client.with_options(api_key="other", default_headers={"x-copy": "1"}, timeout=5, max_retries=1)
    headers = await sent_headers(copy, api)
    assert headers["x-api-key"] == "other"
    assert headers["x-copy"] == "1"
    assert (await sent_headers(client, api))["x-api-key"] == "test-key"
    await copy.aclose()
    with pytest.raises(trio.ClosedResourceError):
        async with client.messages.stream(**PARAMS):
            pass


@pytest.mark.parametrize("value", [-1, 1.5, True, "2"])
def test_max_retries_must_be_a_number(value):
    with pytest.raises(ValueError, match="max_retries"):
        ts.Client(api_key="k", max_retries=value)


def test_transport_or_http_client():
    with pytest.raises(ValueError, match="not both"):
        ts.Client(api_key="k", transport=ScriptedAPI([]), http_client=httpx.AsyncClient())


def test_an_ssl_context_for_a_transport_of_the_callers():
    with pytest.raises(ValueError, match="ssl_context"):
        ts.Client(api_key="k", transport=ScriptedAPI([]), ssl_context=ssl.create_default_context())


async def test_a_callers_http_client_with_its_own_auth(autojump_clock):
    """The API refuses a request with two kinds of authentication."""
    api = ScriptedAPI([say("x")])
    async with httpx.AsyncClient(transport=api, auth=("user", "password")) as http_client:
        client = ts.Client(api_key="k", http_client=http_client, base_url="http://api.example")
        headers = await sent_headers(client, api)
    assert headers["x-api-key"] == "k"
    assert "authorization" not in headers


async def test_no_secret_in_any_text(caplog, autojump_clock):
    """Not in `repr()`, not in errors and their causes, not in logs at DEBUG."""
    caplog.set_level(logging.DEBUG)
    api = ScriptedAPI([http_error(500)], [say("x"), stall()])
    client = ts.Client(api_key=SECRET, transport=api, max_retries=0)
    prompt = "a very private question"
    params = {**PARAMS, "messages": [{"role": "user", "content": prompt}]}
    shown = [repr(client), repr(client.messages), repr(client.with_options(max_retries=1))]
    with pytest.raises(ts.APIError) as caught:
        async with client.messages.stream(**params):
            pass
    error: BaseException | None = caught.value
    while error is not None:
        shown += [str(error), repr(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    manager = client.messages.stream(**params)
    async with manager as stream:
        await stream.receive()
        shown += [repr(manager), repr(stream), repr(stream.response), repr(stream.stats), repr(stream.nursery)]
    shown.append(caplog.text)
    assert "trio_stream" in caplog.text
    for text in shown:
        assert SECRET not in text
        assert prompt not in text


async def test_count_tokens(autojump_clock):
    client, api = client_of([])
    count = await client.messages.count_tokens(model=PARAMS["model"], messages=PARAMS["messages"])
    assert count.input_tokens > 0
    beta = await client.beta.messages.count_tokens(model=PARAMS["model"], messages=PARAMS["messages"], betas=["b"])
    assert beta == count
    assert [request.path for request in api.requests] == ["/v1/messages/count_tokens"] * 2
    assert "stream" not in api.requests[0].body
    with trio.testing.assert_checkpoints():
        await client.messages.count_tokens(model=PARAMS["model"], messages=PARAMS["messages"])


def mock(status: int, body: bytes, **headers: str) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _request: httpx.Response(status, content=body, headers=headers))


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, b'{"type":"error","error":{"type":"authentication_error","message":"no"}}', ts.AuthenticationError),
        (500, b"<html>oops</html>", ts.InternalServerError),
        (200, b"<html>captive</html>", ts.InvalidResponseError),
        (200, b'{"input_tokens": "many"}', ts.InvalidResponseError),
        (200, b"\xff\xfe", ts.InvalidResponseError),
        (302, b"", ts.APIStatusError),
    ],
)
async def test_count_tokens_errors(status, body, error):
    client = ts.Client(api_key="k", transport=mock(status, body), max_retries=0)
    with pytest.raises(error):
        await client.messages.count_tokens(model="m", messages=PARAMS["messages"])


@pytest.mark.parametrize(
    ("content_type", "body", "error", "says"),
    [
        ("text/html", b"<html><title>Log in</title></html>", ts.InvalidResponseError, "text/html"),
        ("application/json", b'{"type":"message","id":"m"}', ts.InvalidResponseError, "application/json"),
        (
            "application/json",
            b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
            ts.APIStatusError,
            "Overloaded",
        ),
    ],
)
async def test_an_answer_that_is_no_event_stream(content_type, body, error, says):
    client = ts.Client(api_key="k", transport=mock(200, body, **{"content-type": content_type}), max_retries=0)
    with pytest.raises(error, match=says):
        async with client.messages.stream(**PARAMS):
            pass


async def test_an_encoded_answer_is_refused_by_name():
    transport = mock(200, b"", **{"content-type": "text/event-stream", "content-encoding": "zstd-new"})
    client = ts.Client(api_key="k", transport=transport, max_retries=0)
    with pytest.raises(ts.InvalidResponseError, match="zstd-new"):
        async with client.messages.stream(**PARAMS):
            pass


async def test_a_stream_without_content_type_is_accepted():
    """Gateways exist that send none."""
    body = (
        b'data: {"type":"message_start","message":{"id":"m","model":"x","role":"assistant","content":[],'
        b'"usage":{"input_tokens":1,"output_tokens":1}}}\n\n'
        b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}\n\n'
        b'data: {"type":"message_stop"}\n\n'
    )
    client = ts.Client(api_key="k", transport=mock(200, body))
    async with client.messages.stream(**PARAMS) as stream:
        assert (await stream.get_final_message()).stop_reason == "end_turn"


async def test_a_redirect_is_named_and_not_followed():
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(307, headers={"location": "https://elsewhere.example/v1?token=abc"})

    client = ts.Client(api_key="k", base_url="http://here.example", transport=httpx.MockTransport(answer))
    with pytest.raises(ts.APIStatusError, match=r"elsewhere\.example") as caught:
        async with client.messages.stream(**PARAMS):
            pass
    assert caught.value.status_code == 307
    assert "abc" not in str(caught.value)
    assert asked == ["here.example"]


async def test_messages_of_ours_are_parameters(autojump_clock):
    """A message that was received can be sent back as it is."""
    client, api = client_of([say("first answer")], [say("second")])
    messages: list[object] = [{"role": "user", "content": "one"}]
    first = await client.messages.create(**{**PARAMS, "messages": messages})
    messages += [first, {"role": "user", "content": "two"}]
    await client.messages.create(**{**PARAMS, "messages": messages})
    sent = api.requests[1].body["messages"]
    assert sent[1] == first.to_param()
    assert sent[1]["role"] == "assistant"


async def test_a_callers_http_client_is_never_closed(autojump_clock):
    api = ScriptedAPI([say("x")])
    async with httpx.AsyncClient(transport=api, headers={"x-mine": "yes"}) as http_client:
        async with ts.Client(api_key="k", http_client=http_client, base_url="http://api.example") as client:
            headers = await sent_headers(client, api)
        assert not http_client.is_closed
    assert headers["x-mine"] == "yes"
    assert headers["user-agent"].startswith("trio-stream/")


@pytest.mark.parametrize(
    ("credentials", "theirs"),
    [({"api_key": "k"}, {"authorization": "Bearer corp"}), ({"auth_token": "t"}, {"x-api-key": "OTHER"})],
)
async def test_headers_of_a_callers_client_bring_no_second_authentication(credentials, theirs, autojump_clock):
    api = ScriptedAPI([say("x")])
    async with httpx.AsyncClient(transport=api, headers=theirs) as http_client:
        client = ts.Client(**credentials, http_client=http_client, base_url="http://api.example")
        headers = await sent_headers(client, api)
    assert len({"x-api-key", "authorization"} & {name.lower() for name in headers}) == 1


async def test_a_hook_that_raises_for_the_status(autojump_clock):
    """It is an answer all the same, and its cause holds neither key nor prompt."""
    api = ScriptedAPI([http_error(529)])

    async def raise_for_status(response: httpx.Response) -> None:
        response.raise_for_status()

    async with httpx.AsyncClient(transport=api, event_hooks={"response": [raise_for_status]}) as http_client:
        client = ts.Client(api_key=SECRET, http_client=http_client, base_url="http://api.example", max_retries=0)
        with pytest.raises(ts.OverloadedError) as caught:
            async with client.messages.stream(**PARAMS):
                pass
    cause = caught.value.__cause__
    assert isinstance(cause, httpx.HTTPStatusError)
    assert SECRET not in str(cause.request.headers.raw) + str(cause.response.request.headers.raw)
    assert cause.response.request.content == b""


def test_an_invalid_base_url_is_not_repeated():
    with pytest.raises(ValueError, match="base_url") as caught:
        ts.Client(api_key="k", base_url="https://user:sec/ret@host", max_retries=0)
    assert "sec" not in str(caught.value)


async def test_count_tokens_cut_in_the_answer(autojump_clock):
    """A connection that is lost in the answer is that, and is retried."""
    answers = [httpx.Response(200, stream=CutStream()), httpx.Response(200, json={"input_tokens": 7})]
    client = ts.Client(api_key="k", transport=httpx.MockTransport(lambda _: answers.pop(0)), max_retries=1)
    count = await client.messages.count_tokens(model="m", messages=PARAMS["messages"])
    assert count.input_tokens == 7


class CutStream(httpx.AsyncByteStream):
    def __init__(self) -> None:
        self.pieces = [b'{"input_']

    def __aiter__(self) -> CutStream:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if self.pieces:
            return self.pieces.pop()
        raise httpx.ReadError("reset")


async def test_statistics(autojump_clock):
    client, _ = client_of([say("x"), stall()])
    assert client.statistics().active == 0
    async with client.messages.stream(**PARAMS):
        pass
    assert client.statistics().active == 0


async def test_count_tokens_without_a_clock_for_the_first_event(autojump_clock):
    client, _ = client_of([])
    timeouts = ts.Timeouts(first_event=None, total=None)
    count = await client.messages.count_tokens(model="m", messages=PARAMS["messages"], timeout=timeouts)
    assert count.input_tokens > 0


async def test_nothing_that_a_client_holds_shows_the_key(autojump_clock):
    """Looked at by a debugger that prints every attribute: whatever is found from the client or a stream."""
    client = ts.Client(api_key=SECRET, transport=ScriptedAPI([say("x", stall())]))
    manager = client.messages.stream(**PARAMS)
    async with manager as stream:
        todo: list[object] = [client, manager, stream]
        seen: set[int] = set()
        while todo:
            found = todo.pop()
            if id(found) in seen or not type(found).__module__.startswith("trio_stream."):
                continue
            seen.add(id(found))
            assert SECRET not in repr(found), type(found)
            names = {name for kind in type(found).__mro__ for name in getattr(kind, "__slots__", ())}
            names |= set(getattr(found, "__struct_fields__", ())) | set(getattr(found, "__dict__", {}))
            todo += [getattr(found, name, None) for name in names if not name.startswith("__")]
    assert len(seen) > 10
    assert "<the client's>" in str(inspect.signature(ts.Client))
