"""A kept connection that ends under a request: the request is sent once, and whoever counts attempts is told.

Each way a connection can end, before the request, while it goes out and after it, as the transport and the calls above
it see it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import trio

import trio_stream as ts
from tests.http.posting import client_of, post, read_all, sender_of
from tests.wire.answers import GOOD_ANSWER, sized
from tests.wire.events import TEXT
from tests.wire.server import Peer, Step, WireServer, answering, on, once, serve
from trio_stream._http import ON_CONNECTED_EXTENSION, ConnectionInfo

pytestmark = pytest.mark.usefixtures("nothing_left")

PARAMS: dict[str, Any] = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 16,
    "messages": [{"role": "user", "content": "Hi"}],
}
COUNTED = sized(json.dumps({"input_tokens": 7}).encode())
WORK = 5.0
"""Seconds that a server works on a request before it gives up the connection."""
IDLE = 0.01
"""Real seconds in which nothing happens, on either side of any connection, before the clock jumps to what is next."""

End = Callable[[Peer], Awaitable[None]]


async def fin(peer: Peer) -> None:
    await peer.fin()


async def reset(peer: Peer) -> None:
    peer.close(rst=True)


async def close_notify(peer: Peer) -> None:
    assert isinstance(peer.stream, trio.SSLStream)
    peer.stream._https_compatible = False  # else Trio closes without a close_notify
    await peer.stream.aclose()


ENDS = [
    pytest.param(fin, False, id="FIN"),
    pytest.param(reset, False, id="RST"),
    pytest.param(fin, True, id="TLS, FIN alone"),
    pytest.param(reset, True, id="TLS, RST"),
    pytest.param(close_notify, True, id="TLS, close_notify"),
]


def serves_once(answer: bytes, end: End, *, seconds: float = 0.0) -> Step:
    """Answer the first request; read the whole second one, work on it, and end the connection."""

    async def script(peer: Peer) -> None:
        await peer.answer(answer)
        await peer.request()
        await trio.sleep(seconds)
        await end(peer)

    return script


class Told:
    """An instrument that keeps what it is told of attempts."""

    def __init__(self) -> None:
        self.attempts = 0
        self.sent = 0
        self.retries: list[ts.APIError] = []
        self.stats: ts.StreamStats | None = None

    def __call__(self, moment: ts.Moment) -> None:
        if isinstance(moment, ts.AttemptStart):
            self.attempts += 1
        elif isinstance(moment, ts.RequestSent):
            self.sent += 1
        elif isinstance(moment, ts.Retry):
            self.retries.append(moment.error)
        elif isinstance(moment, ts.CallEnd):
            self.stats = moment.stats


def api_client(server: WireServer, told: Told, max_retries: int, **options: Any) -> ts.Client:
    return ts.Client(api_key="k", base_url=server.base_url, max_retries=max_retries, instruments=[told], **options)


async def warm_up(client: ts.Client, count: int) -> None:
    """Have so many idle connections."""
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(complete, client)
    assert client.statistics().idle == count


async def complete(client: ts.Client) -> ts.MessageStream:
    async with client.messages.stream(**PARAMS) as stream:
        await stream.until_done()
    return stream


# As a stream sees it.


@pytest.mark.parametrize("seconds", [0.0, WORK], ids=["at once", "after 5 s"])
@pytest.mark.parametrize(("end", "tls"), ENDS)
async def test_without_retries_it_is_one_request(end, tls, seconds, server_tls, client_tls, mock_clock):
    mock_clock.autojump_threshold = IDLE
    script = serves_once(GOOD_ANSWER, end, seconds=seconds)
    told = Told()
    async with (
        serve(script, answering(GOOD_ANSWER), tls=server_tls if tls else None) as server,
        api_client(server, told, 0, ssl_context=client_tls if tls else None) as client,
    ):
        await complete(client)
        with pytest.raises(ts.APIConnectionError, match="may have accepted the request") as caught:
            await complete(client)
        assert caught.value.may_have_been_accepted
        assert caught.value.retryable
        assert [len(peer.requests) for peer in server.peers] == [2]
    assert told.stats is not None
    assert told.stats.attempts == 1
    assert (told.attempts, told.sent, told.retries) == (2, 2, [])


@pytest.mark.parametrize("max_retries", [1, 2])
@pytest.mark.parametrize(("end", "tls"), ENDS)
async def test_each_further_request_is_a_retry(end, tls, max_retries, server_tls, client_tls, mock_clock):
    mock_clock.autojump_threshold = IDLE
    script = serves_once(GOOD_ANSWER, end, seconds=WORK)
    told = Told()
    async with (
        serve(script, answering(GOOD_ANSWER), tls=server_tls if tls else None) as server,
        api_client(server, told, max_retries, ssl_context=client_tls if tls else None) as client,
    ):
        await complete(client)
        stream = await complete(client)
        assert stream.text == TEXT
        assert stream.stats.attempts == 2
        assert [len(peer.requests) for peer in server.peers] == [2, 1]
    assert told.attempts == told.sent == 3
    (error,) = told.retries
    assert isinstance(error, ts.APIConnectionError)
    assert error.may_have_been_accepted


@pytest.mark.parametrize("max_retries", [0, 1, 2])
async def test_three_idle_connections(max_retries, mock_clock):
    """All of them fail like the first, so a retry does not go out on another one of them."""
    mock_clock.autojump_threshold = IDLE
    kept = 3
    arrived = 0
    all_here = trio.Event()

    async def script(peer: Peer) -> None:
        nonlocal arrived
        await peer.request()
        arrived += 1
        if arrived == kept:
            all_here.set()
        await all_here.wait()
        await peer.send(GOOD_ANSWER)
        await peer.request()
        await trio.sleep(WORK)
        await peer.fin()

    told = Told()
    async with (
        serve(*[script] * kept, answering(GOOD_ANSWER)) as server,
        api_client(server, told, max_retries) as client,
    ):
        await warm_up(client, kept)
        if max_retries:
            assert (await complete(client)).stats.attempts == 2
        else:
            with pytest.raises(ts.APIConnectionError):
                await complete(client)
        assert len(server.requests) - kept == 1 + bool(max_retries)
        assert len(server.requests) == told.sent


async def test_the_error_remembers_an_earlier_sending():
    """The last attempt does not even connect, but the one before may have been accepted."""
    listeners: list[WireServer] = []

    async def gone(peer: Peer) -> None:
        await peer.request()
        peer.close(rst=True)

    for last in (sized(b"{}", status=b"529 Overloaded"), sized(b"{}", status=b"400 Bad Request")):
        told = Told()
        async with serve(gone, answering(last)) as server, api_client(server, told, 1) as client:
            listeners.append(server)
            with pytest.raises(ts.APIStatusError, match="may have accepted an earlier attempt") as caught:
                await complete(client)
            assert caught.value.may_have_been_accepted
            assert caught.value.args == (caught.value.message,)
            assert not isinstance(told.retries[0], ts.APIStatusError)
    async with (
        serve(answering(sized(b"{}", status=b"400 Bad Request"))) as server,
        api_client(server, told, 1) as client,
    ):
        with pytest.raises(ts.APIStatusError) as caught:
            await complete(client)
        assert not caught.value.may_have_been_accepted


async def test_the_total_clock_remembers_an_earlier_sending(mock_clock):
    mock_clock.autojump_threshold = IDLE

    async def gone(peer: Peer) -> None:
        await peer.request()
        peer.close(rst=True)

    async with (
        serve(gone, answering(sized(b"{}", b"retry-after: 30", status=b"529 Overloaded"))) as server,
        api_client(server, Told(), 5, timeout=ts.Timeouts(total=29)) as client,
    ):
        for call in (complete(client), client.messages.count_tokens(model="m", messages=PARAMS["messages"])):
            with pytest.raises(ts.TotalTimeoutError) as caught:
                await call
            assert caught.value.may_have_been_accepted


# As a count of tokens sees it.


@pytest.mark.parametrize("max_retries", [0, 1])
@pytest.mark.parametrize(("end", "tls"), ENDS)
async def test_count_tokens(end, tls, max_retries, server_tls, client_tls, mock_clock):
    mock_clock.autojump_threshold = IDLE
    told = Told()
    async with (
        serve(serves_once(COUNTED, end, seconds=WORK), answering(COUNTED), tls=server_tls if tls else None) as server,
        api_client(server, told, max_retries, ssl_context=client_tls if tls else None) as client,
    ):
        question = {"model": "m", "messages": PARAMS["messages"]}
        assert (await client.messages.count_tokens(**question)).input_tokens == 7
        if max_retries:
            assert (await client.messages.count_tokens(**question)).input_tokens == 7
        else:
            with pytest.raises(ts.APIConnectionError) as caught:
                await client.messages.count_tokens(**question)
            assert caught.value.may_have_been_accepted
        assert len(server.requests) == told.sent == told.attempts == 2 + max_retries


# As a fan-out sees it.


async def test_fan_out_counts_it(mock_clock):
    mock_clock.autojump_threshold = IDLE
    async with (
        serve(serves_once(GOOD_ANSWER, fin, seconds=WORK), answering(GOOD_ANSWER)) as server,
        api_client(server, Told(), 0) as client,
    ):
        await complete(client)
        async with ts.fan_out(client, [PARAMS], max_attempts=1) as job:
            outcomes = [outcome async for outcome in job]
        assert [outcome.attempts for outcome in outcomes] == [1]
        assert isinstance(outcomes[0].error, ts.APIConnectionError)
        assert len(server.requests) == 2


# As the transport sees it.


@pytest.mark.parametrize(("end", "tls"), ENDS)
async def test_what_ended_before_is_not_used(end, tls, server_tls, client_tls):
    """Not one byte of the request was sent on it: no sending, no attempt, another connection at once."""
    told = Told()
    ended = trio.Event()

    async def ends(peer: Peer) -> None:
        await peer.answer(GOOD_ANSWER)
        await end(peer)
        ended.set()

    async with (
        serve(ends, answering(GOOD_ANSWER), tls=server_tls if tls else None) as server,
        api_client(server, told, 0, ssl_context=client_tls if tls else None) as client,
    ):
        await complete(client)
        await ended.wait()
        assert (await complete(client)).stats.attempts == 1
        assert [len(peer.requests) for peer in server.peers] == [1, 1]
    assert told.attempts == told.sent == 2


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_what_ends_at_the_last_moment_took_nothing(tls, server_tls, client_tls):
    """Between the look at the connection and the first byte: that byte cannot be sent."""
    seen: list[ConnectionInfo] = []
    sent: list[int] = []
    async with (
        serve(answering(sized(b"one")), answering(sized(b"two")), tls=server_tls if tls else None) as server,
        sender_of(server, ssl_context=client_tls if tls else None) as sender,
    ):
        response = await post(sender, on_sent=lambda: sent.append(1))
        await read_all(response.body)
        response.body.finish()

        def reset_now(info: ConnectionInfo) -> None:
            seen.append(info)
            if info.reused:
                server.peers[0].close(rst=True)

        response = await post(sender, on_connected=reset_now, on_sent=lambda: sent.append(2))
        assert await read_all(response.body) == b"two"
        response.body.finish()
        assert [len(peer.requests) for peer in server.peers] == [1, 1]
    assert [info.reused for info in seen] == [True, False]
    assert seen[1].waited == 0
    assert sent == [1, 2]


@pytest.mark.parametrize(("end", "tls"), ENDS)
async def test_what_ends_in_the_middle_of_the_request(end, tls, server_tls, client_tls):
    """The server has read a part of it."""

    async def script(peer: Peer) -> None:
        received = b""
        while not received.endswith(b"\r\n\r\n1"):
            received += await peer.stream.receive_some(1000)
        await peer.send(sized(b"one"))
        await peer.stream.receive_some(1000)
        await end(peer)
        if end is not reset:
            await trio.sleep(0.1)
            peer.close(rst=True)

    async with (
        serve(on(script, reads=False), answering(sized(b"two")), tls=server_tls if tls else None) as server,
        client_of(ssl_context=client_tls) as client,
    ):
        await client.post(server.base_url, content=b"1")
        with pytest.raises(httpx.TransportError):
            await client.post(server.base_url, content=b"2" * 20_000_000)
        assert len(server.peers) == 1


async def test_connections_elsewhere_stay():
    """Only those to the same place are given up with one that ended."""
    async with (
        serve(serves_once(sized(b"a"), fin), once(sized(b"a2"))) as ends,
        serve(answering(sized(b"b"))) as stays,
        client_of() as client,
    ):
        for server in (ends, stays):
            await client.post(server.base_url, content=b"1")
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(ends.base_url, content=b"2")
        assert client._transport.statistics().idle == 1  # type: ignore[attr-defined]
        await client.post(stays.base_url, content=b"2")
        assert len(stays.peers) == 1


async def test_one_that_ends_after_a_part_of_an_answer_says_nothing_about_others():
    both = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        if len(server.peers) == 2:
            both.set()
        await both.wait()
        await peer.send(sized(b"one"))
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Le")
        await peer.fin()

    async with serve(script) as server, client_of() as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.get, server.base_url)
            nursery.start_soon(client.get, server.base_url)
        request = client.build_request("GET", server.base_url)
        request.extensions[ON_CONNECTED_EXTENSION] = lambda info: None
        with pytest.raises(httpx.RemoteProtocolError, match="middle of the headers"):
            await client.send(request)
        assert client._transport.statistics().idle == 1  # type: ignore[attr-defined]
