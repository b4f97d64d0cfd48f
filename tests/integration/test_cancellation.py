"""Promises 1 and 2 on real sockets: however a block is left, nothing stays, and the server sees it at once."""

from __future__ import annotations

import gc
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

import trio_stream as ts
from tests.stream.api import PARAMS
from trio_stream.testing import ScriptedAPI, call, cancel_everywhere, pause, ping, say, stall

CLOSE_SEEN_WITHIN = 0.02
TRIES = 10  # at a figure in milliseconds: a busy machine may keep this process from running for longer than that
TOOL = {"name": "get_weather", "input_schema": {"type": "object"}}


def client_at(base_url: str, **options: Any) -> ts.Client:
    options.setdefault("max_retries", 0)
    options.setdefault("max_connections", 1)
    return ts.Client(api_key="test", base_url=base_url, **options)


async def seen_closed(api: ScriptedAPI, request: int = 0) -> float:
    """Seconds until the server has seen the close of a request's connection."""
    began = trio.current_time()
    with trio.fail_after(1):
        while api.requests[request].closed_at is None:
            await trio.sleep(0.001)
    return trio.current_time() - began


@pytest.mark.parametrize(
    ("script", "extra"),
    [([ping(), say("Hello there")], {}), ([call("get_weather", {"city": "Paris"})], {"tools": [TOOL]})],
    ids=["text", "tool"],
)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_cancel_everywhere(script, extra, tls, when, server_tls, client_tls):
    """At every step, with a pool of one: no socket, slot, task or warning left, and the next request works."""
    api = ScriptedAPI(default=script)
    context = server_tls if tls else None
    async with api.serve(ssl_context=context) as server, client_at(server.base_url, ssl_context=client_tls) as client:

        async def stream_once() -> None:
            async with client.messages.stream(**PARAMS, **extra) as stream:
                async for _ in stream:
                    pass

        async def check() -> None:
            assert client.statistics().active == 0
            assert client.statistics().waiting == 0
            with trio.fail_after(2):
                await stream_once()

        steps = await cancel_everywhere(stream_once, check, when=when)
    assert steps >= 4


async def first_event(stream: ts.MessageStream) -> None:
    await stream.receive()


class LeaveError(Exception):
    pass


async def leave_by_break(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS) as stream:
        async for _ in stream:
            break


async def leave_by_return(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS):
        return


async def leave_by_exception(client: ts.Client) -> None:
    try:
        async with client.messages.stream(**PARAMS) as stream:
            await stream.receive()
            raise LeaveError
    except LeaveError:
        pass


async def leave_by_interrupt(client: ts.Client) -> None:
    try:
        async with client.messages.stream(**PARAMS) as stream:
            await stream.receive()
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass


async def leave_by_cancel(client: ts.Client) -> None:
    with trio.move_on_after(0.1):
        async with client.messages.stream(**PARAMS) as stream:
            await stream.until_done()


async def leave_in_cancelled_scope(client: ts.Client) -> None:
    with trio.CancelScope() as scope:
        async with client.messages.stream(**PARAMS) as stream:
            await stream.receive()
            scope.cancel(reason="test")


async def leave_by_stream_cancel(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS) as stream:
        stream.cancel("test")
        await stream.until_done()


async def leave_by_aclose(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS) as stream:
        await stream.aclose()


async def leave_while_another_task_reads(client: ts.Client) -> None:
    async with client.messages.stream(**PARAMS) as stream:
        stream.nursery.start_soon(stream.until_done)
        await trio.sleep(0.05)
        stream.cancel("test")


WAYS: list[Callable[[ts.Client], Any]] = [
    leave_by_break,
    leave_by_return,
    leave_by_exception,
    leave_by_interrupt,
    leave_by_cancel,
    leave_in_cancelled_scope,
    leave_by_stream_cancel,
    leave_by_aclose,
    leave_while_another_task_reads,
]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("leave", WAYS, ids=lambda leave: leave.__name__)
async def test_the_server_sees_the_close(leave, tls, server_tls, client_tls):
    """Within 20 ms of leaving, and the only slot of the pool is free again."""
    api = ScriptedAPI(*[[say("Hello there"), stall()], [say("next")]] * TRIES)
    context = server_tls if tls else None
    seen_after = []
    async with api.serve(ssl_context=context) as server, client_at(server.base_url, ssl_context=client_tls) as client:
        for _ in range(TRIES):
            await leave(client)
            seen_after.append(await seen_closed(api, len(api.requests) - 1))
            assert client.statistics().active == 0
            with trio.fail_after(2):
                assert (await client.messages.create(**PARAMS)).text == "next"
            if seen_after[-1] < CLOSE_SEEN_WITHIN:
                break
    assert min(seen_after) < CLOSE_SEEN_WITHIN
    gc.collect()


async def test_cancel_while_waiting_for_headers():
    api = ScriptedAPI(*[[pause(60), say("late")], [say("next")]] * TRIES)
    seen_after = []
    async with api.serve() as server, client_at(server.base_url) as client:
        for _ in range(TRIES):
            with trio.move_on_after(0.1):
                async with client.messages.stream(**PARAMS):
                    pytest.fail("there is no answer")
            seen_after.append(await seen_closed(api, len(api.requests) - 1))
            assert (await client.messages.create(**PARAMS)).text == "next"
    assert min(seen_after) < CLOSE_SEEN_WITHIN


async def test_cancel_while_connecting():
    """A connection that is never accepted: the backlog of the listener is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        client = client_at(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with trio.move_on_after(0.1) as scope:
            async with client.messages.stream(**PARAMS):
                pytest.fail("there is no connection")
        assert scope.cancelled_caught
        assert trio.current_time() - scope.deadline < 0.1
        assert client.statistics().active == 0
        with pytest.raises(ts.ConnectTimeoutError, match=r"connect"):
            async with client.messages.stream(**PARAMS, timeout=ts.Timeouts(connect=0.1)):
                pytest.fail("there is no connection")
        for filler in fillers:
            filler.close()


async def test_cancel_in_the_tls_handshake(client_tls):
    """A server that accepts and says nothing."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    closed = trio.Event()

    async def silent(stream: trio.SocketStream) -> None:
        async for _ in stream:
            pass
        closed.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, silent, listeners)
        client = client_at(f"https://127.0.0.1:{port}", ssl_context=client_tls)
        with trio.move_on_after(0.1) as scope:
            async with client.messages.stream(**PARAMS):
                pytest.fail("there is no connection")
        assert scope.cancelled_caught
        with trio.fail_after(5 * CLOSE_SEEN_WITHIN):  # one try only
            await closed.wait()
        assert client.statistics().active == 0
        with pytest.raises(ts.ConnectTimeoutError, match="TLS"):
            async with client.messages.stream(**PARAMS, timeout=ts.Timeouts(connect=0.1)):
                pytest.fail("there is no connection")
        nursery.cancel_scope.cancel(reason="test over")


@pytest.mark.no_cover
async def test_a_hundred_siblings():
    """Cancelled at once: all closed at the server within 100 ms, nothing left."""
    api = ScriptedAPI(default=[say("Hello there"), stall()])
    async with api.serve() as server, client_at(server.base_url, max_connections=None) as client:

        async def read() -> None:
            async with client.messages.stream(**PARAMS) as stream:
                await stream.until_done()

        closed_after = []
        for round_ in range(TRIES):
            async with trio.open_nursery() as nursery:
                for _ in range(100):
                    nursery.start_soon(read)
                with trio.fail_after(20):
                    while len(api.requests) < 100 * (round_ + 1) or client.statistics().active < 100:
                        await trio.sleep(0.01)
                nursery.cancel_scope.cancel(reason="test")
                cancelled_at = trio.current_time()
            with trio.fail_after(5):
                while any(request.closed_at is None for request in api.requests):
                    await trio.sleep(0.001)
            closed_after.append(max(request.closed_at for request in api.requests) - cancelled_at)
            assert client.statistics() == ts.ConnectionStatistics(active=0, idle=0, waiting=0)
        assert min(closed_after) < 0.1


async def test_message_stop_hands_the_connection_back():
    """Three requests, one connection, and leaving does not wait."""
    api = ScriptedAPI(default=[say("Hello")])
    async with api.serve() as server, client_at(server.base_url) as client:
        for _ in range(3):
            async with client.messages.stream(**PARAMS) as stream:
                async for event in stream:
                    if event.type == "message_stop":
                        break
        assert server.connections == 1
        assert client.statistics().idle == 1
    assert client.statistics().idle == 0


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_cancelled_anext_loses_nothing(tls, server_tls, client_tls):
    """At every event: cancel the wait for it, ask again, and it is the event that was waited for."""
    script = [say("one two three four", tps=50), call("get_weather", {"city": "Paris"}, tps=50)]
    api = ScriptedAPI(default=script)
    context = server_tls if tls else None
    async with api.serve(ssl_context=context) as server, client_at(server.base_url, ssl_context=client_tls) as client:
        async with client.messages.stream(**PARAMS, tools=[TOOL]) as stream:
            whole = [event.type async for event in stream]
        polled = []
        cancelled = 0
        async with client.messages.stream(**PARAMS, tools=[TOOL]) as stream:
            while True:
                with trio.move_on_after(0.004) as scope:
                    try:
                        polled.append((await anext(stream)).type)
                    except StopAsyncIteration:
                        break
                cancelled += scope.cancelled_caught
        assert polled == whole
        assert cancelled >= 5
        assert stream.message.content[1].input == {"city": "Paris"}


PROGRAM = """
import sys, trio, trio_stream as ts

async def main():
    client = ts.Client(api_key="test", base_url=sys.argv[1])
    async with client.messages.stream(model="claude-sonnet-4-5", max_tokens=64,
                                      messages=[{"role": "user", "content": "Hi"}]) as stream:
        async for text in stream.text_stream:
            print(text, end="", flush=True)
            while sys.argv[2] == "busy":
                await trio.lowlevel.checkpoint()

trio.run(main)
"""


@pytest.mark.parametrize("how", ["idle", "busy"])
async def test_sigint(how, tmp_path):
    """A real Ctrl-C, in another process: KeyboardInterrupt, nothing to warn about, and the server sees the close."""
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    api = ScriptedAPI([say("Hello"), stall()])
    async with api.serve() as server:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-X", "dev", str(program), server.base_url, how],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        async with process.stdout, process.stderr:
            try:
                with trio.fail_after(20):
                    assert await process.stdout.receive_some() != b""
                    process.send_signal(signal.SIGINT)
                    sent_at = trio.current_time()
                    await process.wait()
            finally:
                process.kill()  # it would go on for ever
            assert trio.current_time() - sent_at < 1.5
            errors = b"".join([part async for part in process.stderr]).decode()
        assert errors.strip().endswith("KeyboardInterrupt")
        assert "Warning" not in errors
        assert "ExceptionGroup" not in errors
        await seen_closed(api)
