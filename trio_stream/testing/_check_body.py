"""Whether the body of an answer keeps the contract of `ResponseBody`.

What belongs here: the promises of a body, each as a check. What does not: how a check is run (`_promises`), what a
transport promises besides (`_check_transport`).

After `trio.testing.check_one_way_stream`. Nothing here is told by how long something took: a task that should wait is
seen to be blocked by the scheduler, and the deadline of a check is only there for what never comes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeAlias, final

import trio
import trio.testing

from trio_stream._errors import APIConnectionError, IncompleteStreamError
from trio_stream.testing._leftovers import Leftovers
from trio_stream.testing._promises import Attempt, Promise, blocks, require
from trio_stream.testing._steps import Step, disconnect, headers, pause, raw, stall
from trio_stream.transport import ResponseBody

BodyMaker: TypeAlias = Callable[[Sequence[Step]], Awaitable[ResponseBody]]
"""An asynchronous function from the steps of an answer to its body, of which nothing has been read."""

LARGE = bytes(range(256)) * 1200
"""More than one read of a socket returns, and more than a pipe holds."""

_Way: TypeAlias = Literal["close", "finish", "aclose"]
_WAYS: tuple[_Way, ...] = ("close", "finish", "aclose")
_CUTS = (IncompleteStreamError, APIConnectionError)


async def check_response_body(make_body: BodyMaker, *, pause_seconds: float = 0.02, limit_seconds: float = 5.0) -> None:
    """Check an implementation of `trio_stream.transport.ResponseBody` against its contract.

    Bytes arrive in order, and the end again and again; a cancelled ``wait`` loses nothing, or breaks the body loudly if
    it is not ``cancel_safe``; a second task that waits is refused; whoever waits is woken when the body is let go of;
    ``aclose`` never waits; a cut is never taken for an end; nothing is left to the garbage collector.

    Works under `trio.testing.MockClock` and with real sockets. A checkpoint. If it is cancelled, a body may be left
    open.

    Args:
      make_body: Called with the steps of an answer (``raw``, ``pause``, ``stall``, ``headers``, ``disconnect``), some
        twenty times. Returns a body that receives that answer.
      pause_seconds: How long an answer pauses between bytes that should not arrive together.
      limit_seconds: Seconds after which one check has failed.

    Raises:
      AssertionError: A promise is not kept. The text says which, and what happened instead.
    """
    # Descriptors are not compared: a connection that is kept for the next request is not left behind.
    with Leftovers() as leftovers:
        for promise in body_promises(make_body, pause_seconds=pause_seconds):
            await promise.verify(limit_seconds)
        found, cause = await leftovers.find()
    if found:
        raise AssertionError(f"A body leaves nothing behind: {'; '.join(found)}") from cause


def body_promises(make_body: BodyMaker, *, pause_seconds: float) -> list[Promise]:
    """What `check_response_body` checks, in order: from the simple to what is easily got wrong."""
    checks = _Checks(make_body, pause_seconds)
    return [
        Promise("The bytes of a body arrive whole and in order", checks.bytes_in_order),
        Promise("The end of a body is told again and again", checks.end_again_and_again),
        Promise("`receive_nowait` returns None while nothing has arrived", checks.nothing_has_arrived),
        Promise("`wait` notices a cancellation before it waits", checks.cancelled_before),
        Promise("A cancelled `wait` loses nothing, or breaks the body loudly", checks.cancelled_while_waiting),
        Promise("No byte is lost or repeated by cancelling every `wait`", checks.cancelled_between_bytes),
        Promise("No byte is lost or repeated by looking again", checks.looked_at_again),
        Promise("`aclose` never waits on the peer", checks.aclose_does_not_wait),
        Promise("A second task that waits gets BusyResourceError", checks.busy),
        *(
            promise
            for way in _WAYS
            for promise in (
                Promise(f"`{way}` wakes whoever waits, with ClosedResourceError", checks.woken_by(way)),
                Promise(f"After `{way}` every call raises ClosedResourceError", checks.closed_after(way)),
            )
        ),
        Promise("`aclose` is effective in a cancelled scope, and no checkpoint", checks.aclose_when_cancelled),
        Promise("A body that was cut does not end", checks.cut(reset=False)),
        Promise("A body whose connection was reset does not end", checks.cut(reset=True)),
    ]


@final
class _Checks:
    def __init__(self, make_body: BodyMaker, pause_seconds: float) -> None:
        self._make_body = make_body
        self._pause_seconds = pause_seconds

    async def _open(self, *steps: Step) -> ResponseBody:
        """A body. Its head goes out at once, so that the body is there before its first byte."""
        return await self._make_body([headers(), *steps])

    async def bytes_in_order(self) -> None:
        for order in ((b"first ", LARGE, b" last"), (LARGE,), (b"one",)):
            steps: list[Step] = []
            for piece in order:
                steps += [raw(piece), pause(self._pause_seconds)]
            body = await self._open(*steps)
            _require_equal(await _read(body), b"".join(order))
            await _let_go(body, "finish")

    async def end_again_and_again(self) -> None:
        for content in (b"content", b""):
            body = await self._open(raw(content), disconnect(clean=True))
            _require_equal(await _read(body), content)
            for _ in range(3):
                require(not body.drained, "after the end `drained` is True, so that a reader would not ask")
                end = body.receive_nowait()
                require(end == b"", f"after the end `receive_nowait` returned {_shown(end)}")
            await _let_go(body, "finish")

    async def nothing_has_arrived(self) -> None:
        body = await self._open(stall())
        for _ in range(3):
            data = body.receive_nowait()
            require(data is None, f"it returned {_shown(data)}")
        await _let_go(body, "close")

    async def cancelled_before(self) -> None:
        body = await self._open(stall())
        body.receive_nowait()
        with trio.CancelScope() as scope:
            scope.cancel(reason="the check")
            await body.wait()
        require(scope.cancelled_caught, "it returned in a scope that was cancelled")
        await _let_go(body, "close")

    async def cancelled_while_waiting(self) -> None:
        body = await self._open(raw(b"x"), stall())
        await _read(body, 1)
        await _wait_cancelled(body)
        if body.cancel_safe:
            for _ in range(2):
                data = body.receive_nowait()
                require(data is None, f"`receive_nowait` returned {_shown(data)} after it")
                await _wait_cancelled(body)
        else:
            for _ in range(2):
                await _require_raises(body, (trio.BrokenResourceError,), "after a cancelled `wait`")
        await _let_go(body, "close")

    async def cancelled_between_bytes(self) -> None:
        pieces = [b"a", b"bc", LARGE, b"d"]
        steps: list[Step] = []
        for piece in pieces:
            steps += [pause(self._pause_seconds), raw(piece)]
        body = await self._open(*steps)
        if body.cancel_safe:
            _require_equal(await _read(body, disturb=True), b"".join(pieces))
        await _let_go(body, "finish" if body.cancel_safe else "close")

    async def looked_at_again(self) -> None:
        pieces = [b"a", b"bc", LARGE, b"d"]
        steps: list[Step] = []
        for piece in pieces:
            steps += [pause(self._pause_seconds), raw(piece)]
        body = await self._open(*steps)
        _require_equal(await _read(body, look_again=True), b"".join(pieces))
        body.look_again()
        end = body.receive_nowait()
        require(end == b"", f"after the end `receive_nowait` returned {_shown(end)}")
        await _let_go(body, "finish")

    async def busy(self) -> None:
        body = await self._open(stall())
        body.receive_nowait()
        async with Attempt(body.wait) as first, Attempt(body.wait) as second:
            require(second.over.is_set(), "the second task waits too")
            error = second.error
            require(isinstance(error, trio.BusyResourceError), f"the second task got {error!r}")
            require(not first.over.is_set(), f"the first task does not wait any more: {first.error!r}")
        await _let_go(body, "close")

    def woken_by(self, way: _Way) -> Callable[[], Awaitable[None]]:
        async def check() -> None:
            body = await self._open(raw(b"x"), stall())
            await _read(body, 1)
            async with Attempt(body.wait) as waiting:
                require(not waiting.over.is_set(), f"`wait` does not wait: {waiting.error!r}")
                await _let_go(body, way)
                await waiting.over.wait()
            error = waiting.error
            require(isinstance(error, trio.ClosedResourceError), f"`wait` ended with {error!r}")
            await _require_closed(body)

        return check

    def closed_after(self, way: _Way) -> Callable[[], Awaitable[None]]:
        async def check() -> None:
            nothing, begun, whole = [stall()], [raw(b"x"), stall()], [raw(b"x")]
            for steps, read in ((nothing, 0), (begun, 0), (begun, 1), (whole, 0), (whole, 1)):
                body = await self._open(*steps)
                await _read(body, read)
                await _let_go(body, way)
                await _require_closed(body)
                for again in _WAYS:
                    await _let_go(body, again)
                await _require_closed(body)

        return check

    async def aclose_does_not_wait(self) -> None:
        for read in (False, True):
            body = await self._open(raw(b"x"), stall())
            if read:
                await _read(body, 1)
            require(not await blocks(body.aclose), "it waited")

    async def aclose_when_cancelled(self) -> None:
        body = await self._open(raw(b"x"), stall())
        await _read(body, 1)
        with trio.CancelScope() as scope:
            scope.cancel(reason="the check")
            await body.aclose()
        require(not scope.cancelled_caught, "it raised Cancelled")
        await _require_closed(body)

    def cut(self, *, reset: bool) -> Callable[[], Awaitable[None]]:
        async def check() -> None:
            sent = b"some of it"
            # A pause, so that a reset does not destroy bytes which the kernel had not handed over.
            body = await self._open(raw(sent), pause(self._pause_seconds), disconnect(reset=reset))
            received: list[bytes] = []
            error: Exception | None = None
            try:
                await _read(body, into=received)
            except _CUTS as exc:
                error = exc
            require(error is not None, "it ended as if it were whole")
            whole = b"".join(received)
            if reset:
                require(sent.startswith(whole), f"{_shown(whole)} arrived, which was not sent")
            else:
                _require_equal(whole, sent)
            for _ in range(2):
                await _require_raises(body, (*_CUTS, trio.BrokenResourceError), "after the cut", wait=False)
            await _let_go(body, "close")

        return check


async def _read(
    body: ResponseBody,
    most: int | None = None,
    *,
    disturb: bool = False,
    look_again: bool = False,
    into: list[bytes] | None = None,
) -> bytes:
    """Read as a stream does, to the end or until there are ``most`` bytes.

    Args:
      body: The body.
      most: Stop when there are so many bytes.
      disturb: Cancel every `wait` once before it may wait.
      look_again: Have it look again before and after every `wait`, as a reader does that polls.
      into: Where the pieces go, for whoever wants those before an error.
    """
    pieces: list[bytes] = [] if into is None else into
    while most is None or sum(map(len, pieces)) < most:
        if look_again:
            body.look_again()
        data = None if body.drained else body.receive_nowait()
        if data is None and look_again:
            body.look_again()
            data = body.receive_nowait()
        if data is None:
            if disturb:
                await _wait_cancelled(body)
            await _wait(body)
            continue
        require(type(data) is bytes, f"`receive_nowait` returned {_shown(data)}")
        if not data:
            require(most is None, "the body ended before its time")
            break
        pieces.append(data)
    return b"".join(pieces)


async def _wait(body: ResponseBody) -> None:
    try:
        with trio.testing.assert_checkpoints():
            await body.wait()
    except AssertionError:
        raise AssertionError("`wait` returned without a checkpoint") from None
    require(not body.drained, "after a `wait` `drained` is still True, so that a reader would not ask")


async def _wait_cancelled(body: ResponseBody) -> None:
    """Cancel a `wait`, unless what it waited for came first."""
    async with Attempt(body.wait) as waiting:
        await waiting.cancel_and_wait()
    require(waiting.error is None, f"a cancelled `wait` raised {waiting.error!r}")


async def _let_go(body: ResponseBody, way: _Way) -> None:
    if way == "close":
        body.close()
    elif way == "finish":
        body.finish()
    await body.aclose()


async def _require_closed(body: ResponseBody) -> None:
    body.look_again()
    await _require_raises(body, (trio.ClosedResourceError,), "after it was let go of")


async def _require_raises(
    body: ResponseBody, expected: tuple[type[Exception], ...], when: str, *, wait: bool = True
) -> None:
    """Require that a reader who asks gets an error, whichever way he asks."""
    try:
        data = body.receive_nowait()
    except expected:
        pass
    else:
        raise AssertionError(f"`receive_nowait` returned {_shown(data)} {when}")
    if not wait:
        return
    async with Attempt(body.wait) as waiting:
        require(waiting.over.is_set(), f"`wait` waits {when}")
    require(isinstance(waiting.error, expected), f"`wait` ended with {waiting.error!r} {when}")


def _require_equal(received: bytes, sent: bytes) -> None:
    if received == sent:
        return
    place = next(
        (number for number, (one, other) in enumerate(zip(received, sent, strict=False)) if one != other),
        min(len(received), len(sent)),
    )
    raise AssertionError(f"{len(received)} bytes arrived of {len(sent)}, and they differ from byte {place} on")


def _shown(data: object) -> str:
    return f"{len(data)} bytes" if isinstance(data, bytes) and len(data) > 40 else repr(data)
