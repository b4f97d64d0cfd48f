"""A cancellation or KeyboardInterrupt at every scheduler step leaves nothing, and the next request works."""

from __future__ import annotations

import gc
import random
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable

import httpx
import pytest
import trio
import trio.testing

from tests.http.posting import AT_ONCE, post, read_all, sender_of
from tests.wire.answers import CHUNKED_HEAD, LAST_CHUNK, chunk
from tests.wire.server import NEVER_ANSWERING, Peer, WireServer, answering, serve
from trio_stream._http import ConnectionStatistics, _socket, open_sender


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope before or after the nth step of the tasks below it."""

    def __init__(self, scope: trio.CancelScope, step: int, when: str) -> None:
        self.scope = scope
        self.left = step
        self.when = when
        self.root = trio.lowlevel.current_task()

    def _is_below(self, task: trio.lowlevel.Task) -> bool:
        seen: trio.lowlevel.Task | None = task
        while seen is not None and seen is not self.root:
            seen = None if seen.parent_nursery is None else seen.parent_nursery.parent_task
        return seen is self.root

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.when == "before" and self._is_below(task):
            self.left -= 1
            if self.left == 0:
                self.scope.cancel(reason="the sweep got here")

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.when == "after" and self._is_below(task):
            self.left -= 1
            if self.left == 0:
                self.scope.cancel(reason="the sweep got here")


async def cancel_at_every_step(
    work: Callable[[], Awaitable[None]], check: Callable[[], Awaitable[None]], when: str
) -> int:
    """Run ``work`` again and again, one step further each time, until it comes through; how many steps it has."""
    step = 0
    while True:
        step += 1
        with trio.CancelScope() as scope:
            instrument = CancelAtStep(scope, step, when)
            trio.lowlevel.add_instrument(instrument)
            try:
                await work()
            finally:
                trio.lowlevel.remove_instrument(instrument)
        await check()
        if instrument.left > 0:
            return step
        assert step < 500


async def drained(server: WireServer) -> None:
    """Wait until the server has seen the end of every connection but the idle one."""
    with trio.fail_after(1):
        while sum(peer.closed_at is None for peer in server.peers) > 1:
            await trio.sleep(0.001)


@pytest.mark.no_cover
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["new", "slow to connect", "keep-alive", "ending"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_at_every_step(tls, kind, when, server_tls, client_tls, nothing_left, monkeypatch):
    """A pool of one: a lost slot would hang the next request, a lost socket would be counted."""
    connects_slowly = kind == "slow to connect"
    if connects_slowly:
        monkeypatch.setattr(_socket, "_is_connected", lambda _: False)

    async def script(peer: Peer) -> None:
        while True:
            await peer.answer(CHUNKED_HEAD, chunk(b"hel"))
            await peer.send(chunk(b"lo"))
            if kind == "ending":
                await trio.sleep(0.001)
            await peer.send(LAST_CHUNK)

    async with (
        serve(script, tls=server_tls if tls else None) as server,
        sender_of(server, keep=kind in ("keep-alive", "ending"), max_connections=1, ssl_context=client_tls) as sender,
    ):

        async def once() -> None:
            response = await post(sender)
            try:
                got = b""
                while len(got) < 5:
                    got += await response.body.receive_some()
                assert got == b"hello"
                response.body.finish()
            finally:
                response.body.close()

        async def check() -> None:
            assert sender.statistics().active == 0
            assert sender.statistics().waiting == 0
            with trio.fail_after(2):
                await once()
            await drained(server)

        steps = await cancel_at_every_step(once, check, when)
        assert steps > 3 + connects_slowly
        gc.collect()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_at_every_step_with_others_waiting(when, nothing_left):
    """The cancelled request has a waiter behind it and one in front of it."""
    async with (
        serve(answering(CHUNKED_HEAD, chunk(b"hello"), LAST_CHUNK)) as server,
        sender_of(server, max_connections=1) as sender,
    ):

        async def once() -> None:
            response = await post(sender)
            try:
                await read_all(response.body)
                response.body.finish()
            finally:
                response.body.close()

        async def work() -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(once)

        async def check() -> None:
            assert sender.statistics().active == sender.statistics().waiting == 0
            with trio.fail_after(2):
                await once()

        await cancel_at_every_step(work, check, when)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_cancelled_read_loses_nothing_at_any_step(when, nothing_left):
    """Every receive is cancelled once at each of its steps; the bytes are all there in the end."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.answer(CHUNKED_HEAD)
            for number in range(10):
                await peer.drip(chunk(b"<%d>" % number), size=3, seconds=0.0005)
            await peer.send(LAST_CHUNK)

    async with serve(script) as server, sender_of(server) as sender:
        for step in (1, 2, 3):
            body = (await post(sender)).body
            got, ended = [], False
            while not ended:
                with trio.CancelScope() as scope:
                    instrument = CancelAtStep(scope, step, when)
                    trio.lowlevel.add_instrument(instrument)
                    try:
                        piece = await body.receive_some()
                        got.append(piece)
                        ended = not piece
                    finally:
                        trio.lowlevel.remove_instrument(instrument)
            body.finish()
            assert b"".join(got) == b"".join(b"<%d>" % number for number in range(10))


async def test_an_unanswered_syn_is_left_at_once(nothing_left):
    listener = trio.socket.socket()
    await listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = [trio.socket.socket() for _ in range(3)]
    with listener:
        for filler in fillers:
            with trio.move_on_after(0.02):
                await filler.connect(listener.getsockname())
        sender = open_sender(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", max_connections=1)
        with trio.move_on_after(0.05) as scope:
            await post(sender)
        assert scope.cancelled_caught
        assert trio.current_time() - scope.deadline < AT_ONCE
        assert sender.statistics() == ConnectionStatistics(active=0, idle=0, waiting=0)
    for filler in fillers:
        filler.close()


@pytest.mark.parametrize("phase", ["handshake", "headers", "sending", "reading", "error body"])
async def test_the_server_sees_the_close_at_once(phase, server_tls, client_tls, nothing_left):
    scripts = {
        "handshake": NEVER_ANSWERING,
        "headers": NEVER_ANSWERING,
        "reading": answering(CHUNKED_HEAD, chunk(b"x")),
        "error body": answering(CHUNKED_HEAD, chunk(b"x")),
    }

    async def never_reading(peer: Peer) -> None:
        await trio.sleep(5)

    # Giving up the memory of a request that is being sent takes a while; it must not take as long as the peer does.
    at_once = 1 if phase == "sending" else AT_ONCE
    async with serve(scripts.get(phase, never_reading)) as server:
        base_url = server.base_url.replace("http:", "https:") if phase == "handshake" else server.base_url
        sender = open_sender(base_url=base_url, ssl_context=client_tls, max_connections=1)
        content = b"x" * (30_000_000 if phase == "sending" else 2)
        with trio.move_on_after(0.1) as scope:
            response = await post(sender, content)
            try:
                await read_all(response.body)
            finally:
                response.body.close()
        left_at = trio.current_time()
        assert left_at - scope.deadline < at_once
        assert sender.statistics().active == 0
        if phase != "sending":
            assert await server.closed() - left_at < AT_ONCE


@pytest.mark.no_cover
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_churn(tls, server_tls, client_tls, nothing_left):
    """Random cancellations under contention; afterwards the pool serves as before."""
    rng = random.Random(0)

    async def script(peer: Peer) -> None:
        while True:
            await peer.answer(CHUNKED_HEAD)
            for _ in range(3):
                await trio.sleep(rng.random() * 0.002)
                await peer.send(chunk(b"hello"))
            await peer.send(LAST_CHUNK)

    async with (
        serve(script, tls=server_tls if tls else None) as server,
        sender_of(server, max_connections=2, ssl_context=client_tls) as sender,
    ):
        deadline = trio.current_time() + 1.5

        async def once() -> None:
            response = await post(sender)
            try:
                assert await read_all(response.body) == b"hello" * 3
                response.body.finish()
            finally:
                response.body.close()

        async def work() -> None:
            while trio.current_time() < deadline:
                with trio.move_on_after(rng.random() * 0.012):
                    await once()

        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(work)
        assert sender.statistics().active == sender.statistics().waiting == 0
        for _ in range(3):
            with trio.fail_after(2):
                await once()


KEYBOARD_INTERRUPT = """
import gc, sys, warnings
warnings.simplefilter("error")
import trio
from tests.http.posting import AT_ONCE, post, read_all
from tests.wire.answers import CHUNKED_HEAD, chunk
from tests.wire.server import NEVER_ANSWERING, answering, serve
from trio_stream._http import open_sender

async def busy(peer):
    await peer.answer(CHUNKED_HEAD)
    while True:
        await peer.send(chunk(b"x" * 1000))

async def main():
    script = {"idle": answering(CHUNKED_HEAD, chunk(b"x")), "busy": busy, "headers": NEVER_ANSWERING}[sys.argv[1]]
    async with serve(script) as server:
        sender = open_sender(base_url=server.base_url)
        try:
            response = await post(sender)
            try:
                print("reading", flush=True)
                while await response.body.receive_some():
                    if sys.argv[1] == "busy":
                        await trio.lowlevel.checkpoint()
            finally:
                response.body.close()
        finally:
            assert sender.statistics().active == 0, sender.statistics()
            print("closed", flush=True)

def unraisable(args):
    print("UNRAISABLE", args, flush=True)

sys.unraisablehook = unraisable
if sys.argv[1] == "headers":
    print("reading", flush=True)
try:
    trio.run(main)
except* KeyboardInterrupt:  # a group because of the test's own server
    gc.collect()
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("state", ["idle", "busy", "headers"])
def test_keyboard_interrupt(state):
    """SIGINT in a real process: it comes through as itself, and nothing is left behind."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KEYBOARD_INTERRUPT), state],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"
        if state == "headers":
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.2)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=5)
    finally:
        process.kill()
    assert out == "closed\ninterrupted\n"


@pytest.mark.parametrize("connects_slowly", [False, True], ids=["", "slow to connect"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_keyboard_interrupt_at_every_step(tls, connects_slowly, server_tls, client_tls, nothing_left, monkeypatch):
    """As a cancellation that comes from the signal: no socket, no slot, and KeyboardInterrupt itself."""
    if connects_slowly:
        monkeypatch.setattr(_socket, "_is_connected", lambda _: False)

    class InterruptAtStep(trio.abc.Instrument):
        def __init__(self, step: int) -> None:
            self.left = step

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            if task.name.endswith(".main"):
                self.left -= 1
                if self.left == 0:
                    signal.raise_signal(signal.SIGINT)

    async def main(step: int) -> None:
        async with serve(
            answering(CHUNKED_HEAD, chunk(b"hel"), chunk(b"lo")), tls=server_tls if tls else None
        ) as server:
            sender = open_sender(base_url=server.base_url, ssl_context=client_tls)
            trio.lowlevel.add_instrument(InterruptAtStep(step))
            try:
                response = await post(sender)
                try:
                    got = b""
                    while got != b"hello":
                        got += await response.body.receive_some()
                finally:
                    response.body.close()
            finally:
                assert sender.statistics() == ConnectionStatistics(active=0, idle=0, waiting=0)

    step, interrupted = 0, True
    while interrupted:
        step += 1
        interrupted = False
        try:
            trio.run(main, step)
        except* KeyboardInterrupt:
            interrupted = True
    assert step > 3 + connects_slowly


async def test_a_foreign_transport_gives_its_slot_back_at_every_step(nothing_left):
    """httpx's transport behind the adapter: what httpcore keeps is its own, but no slot of ours is lost."""
    async with serve(answering(CHUNKED_HEAD, chunk(b"hello"), LAST_CHUNK)) as server:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, content=b"hello"))
        async with sender_of(server, transport=transport, max_connections=1) as sender:

            async def once() -> None:
                response = await post(sender)
                try:
                    assert await read_all(response.body) == b"hello"
                finally:
                    response.body.close()
                    await response.body.aclose()

            async def check() -> None:
                assert sender.statistics().active == sender.statistics().waiting == 0
                with trio.fail_after(2):
                    await once()

            for when in ("before", "after"):
                await cancel_at_every_step(once, check, when)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("size", [1_000_000, 64_000_000], ids=["in the kernel's queue", "not all sent"])
async def test_an_upload_that_nobody_reads_is_reset(size, tls, server_tls, client_tls):
    """The server sees it although it does not read; a FIN would wait behind all that was sent."""
    seen = trio.Event()

    async def script(peer: Peer) -> None:
        if tls:
            assert isinstance(peer.stream, trio.SSLStream)
            await peer.stream.do_handshake()
        poll = select.poll()
        poll.register(peer.tcp.socket.fileno(), select.POLLHUP | select.POLLERR)
        while not poll.poll(0):
            await trio.sleep(0.001)
        seen.set()

    async with (
        serve(script, tls=server_tls if tls else None) as server,
        sender_of(server, ssl_context=client_tls if tls else None) as sender,
    ):
        with trio.move_on_after(0.3) as scope:
            await post(sender, b"x" * size)
        assert scope.cancelled_caught
        with trio.fail_after(AT_ONCE * 2):
            await seen.wait()
