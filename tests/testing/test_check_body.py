"""The check of a body: ours pass, and every fault that is built in here is found, and told by name."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from trio_stream._errors import APIConnectionError, IncompleteStreamError
from trio_stream.testing import ScriptedAPI, Step, check_response_body
from trio_stream.transport import ResponseBody

from .answers import BODY, KEY


async def scripted(steps: Sequence[Step]) -> ResponseBody:
    """The body of an answer in memory."""
    api = ScriptedAPI(list(steps), strict=False)
    request = httpx.Request("POST", "http://api/v1/messages", json=BODY, headers=KEY)
    response = await api.handle_async_request(request)
    body = response.extensions["trio_stream.body"]
    assert isinstance(body, ResponseBody)
    return body


class Wrapped(ResponseBody):
    """Another body, and in each class below one fault."""

    def __init__(self, body: ResponseBody) -> None:
        self.body = body
        self.closed = False

    def receive_nowait(self) -> bytes | None:
        return self.body.receive_nowait()

    async def wait(self) -> None:
        await self.body.wait()

    def close(self) -> None:
        self.closed = True
        self.body.close()

    def finish(self) -> None:
        self.closed = True
        self.body.finish()


async def test_the_scripted_body_keeps_the_contract(autojump_clock: trio.testing.MockClock) -> None:
    await check_response_body(scripted)


async def test_the_scripted_body_keeps_it_in_real_time() -> None:
    await check_response_body(scripted, pause_seconds=0.005)


async def test_a_body_around_another_keeps_it(autojump_clock: trio.testing.MockClock) -> None:
    """What the faults below are built into has none of its own."""

    async def make(steps: Sequence[Step]) -> ResponseBody:
        return Wrapped(await scripted(steps))

    await check_response_body(make)


class RepeatsBytes(Wrapped):
    last: bytes | None = None

    def receive_nowait(self) -> bytes | None:
        if self.last:
            last, self.last = self.last, None
            return last
        self.last = self.body.receive_nowait()
        return self.last


class DropsTheSecondPiece(Wrapped):
    pieces = 0

    def receive_nowait(self) -> bytes | None:
        data = self.body.receive_nowait()
        if data:
            self.pieces += 1
            if self.pieces == 2:
                return self.receive_nowait()
        return data


class GivesABytearray(Wrapped):
    def receive_nowait(self) -> Any:
        data = self.body.receive_nowait()
        return data and bytearray(data)


class EndsOnlyOnce(Wrapped):
    ended = False

    def receive_nowait(self) -> bytes | None:
        if self.ended:
            return None
        data = self.body.receive_nowait()
        self.ended = data == b""
        return data


class EndsBeforeItBegan(Wrapped):
    """Takes silence for the end."""

    def receive_nowait(self) -> bytes | None:
        return self.body.receive_nowait() or b""


class IsNoCheckpoint(Wrapped):
    """Returns at once, and so lets a reader poll, while no other task gets its turn."""

    async def wait(self) -> None:
        pass


class StaysDrained(Wrapped):
    def receive_nowait(self) -> bytes | None:
        data = self.body.receive_nowait()
        self.drained = data is None
        return data


class SwallowsCancelled(Wrapped):
    async def wait(self) -> None:
        with trio.CancelScope(shield=True):
            with trio.move_on_after(0.001):
                await self.body.wait()


class LosesBytesWhenCancelled(Wrapped):
    """Takes the bytes while it waits, as whatever reads into a local variable does."""

    arrived: bytes | None = None

    def receive_nowait(self) -> bytes | None:
        self.arrived, arrived = None, self.arrived
        return arrived if arrived is not None else self.body.receive_nowait()

    async def wait(self) -> None:
        try:
            await self.body.wait()
        except trio.Cancelled:
            with trio.CancelScope(shield=True), trio.move_on_after(1):
                await self.body.receive_some()
            raise


class LooksEndedOnceCancelled(Wrapped):
    """As an async generator does: cancelled once, it is over, and that looks like the end."""

    cancel_safe = False
    over = False

    def receive_nowait(self) -> bytes | None:
        data = self.body.receive_nowait()
        return b"" if self.over else data

    async def wait(self) -> None:
        try:
            await self.body.wait()
        except trio.Cancelled:
            self.over = True
            raise


class IsBrokenThoughSafe(Wrapped):
    broken = False

    def receive_nowait(self) -> bytes | None:
        if self.broken and not self.closed:
            raise trio.BrokenResourceError
        return self.body.receive_nowait()

    async def wait(self) -> None:
        try:
            await self.body.wait()
        except trio.Cancelled:
            self.broken = True
            raise


class LosesBytesWhenItLooksAgain(Wrapped):
    """Looks for bytes where it has nowhere to keep them."""

    def look_again(self) -> None:
        if not self.closed:
            self.body.receive_nowait()


class LooksAgainAtWhatIsRead(Wrapped):
    last: bytes | None = None
    again = False

    def look_again(self) -> None:
        self.again = bool(self.last)

    def receive_nowait(self) -> bytes | None:
        if self.again:
            last, self.last, self.again = self.last, None, False
            return last
        self.last = self.body.receive_nowait()
        return self.last


class LooksAgainAtWhatIsClosed(Wrapped):
    def look_again(self) -> None:
        if self.closed:
            raise trio.ClosedResourceError


class LetsTwoWait(Wrapped):
    def __init__(self, body: ResponseBody) -> None:
        super().__init__(body)
        self.woken = trio.Event()

    async def wait(self) -> None:
        try:
            await self.body.wait()
        except trio.BusyResourceError:
            await trio.sleep_forever()


class DisturbsTheFirst(Wrapped):
    scope: trio.CancelScope | None = None

    async def wait(self) -> None:
        if self.scope is not None:
            self.scope.cancel(reason="another one came")
            raise trio.BusyResourceError
        try:
            with trio.CancelScope() as self.scope:
                await self.body.wait()
        finally:
            self.scope = None


class DoesNotWake(Wrapped):
    """Closes without a word to whoever waits, as `socket.close` does."""

    def close(self) -> None:
        self.closed = True

    def finish(self) -> None:
        self.closed = True

    def receive_nowait(self) -> bytes | None:
        if self.closed:
            raise trio.ClosedResourceError
        return super().receive_nowait()


class WakesAsIfNothingWere(Wrapped):
    async def wait(self) -> None:
        try:
            await self.body.wait()
        except trio.ClosedResourceError:
            if not self.closed:
                raise


class EndsWhenClosed(Wrapped):
    def receive_nowait(self) -> bytes | None:
        return b"" if self.closed else self.body.receive_nowait()


class ClosesOnlyOnce(Wrapped):
    def close(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        super().close()


class ReadsOnToTheEnd(Wrapped):
    """Waits for the rest when it is closed, to use the connection again."""

    async def aclose(self) -> None:
        with trio.move_on_after(1):
            await trio.sleep_forever()
        self.close()


class SaysGoodbye(Wrapped):
    """A checkpoint before it closes: cancelled there, nothing is closed."""

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        self.close()


class FailsToCloseByItself(Wrapped):
    """Wants `close` before `aclose`."""

    async def aclose(self) -> None:
        if not self.closed:
            raise RuntimeError("not closed")


class TakesACutForTheEnd(Wrapped):
    def receive_nowait(self) -> bytes | None:
        try:
            return self.body.receive_nowait()
        except IncompleteStreamError:
            return b""


class TakesAResetForTheEnd(Wrapped):
    def receive_nowait(self) -> bytes | None:
        try:
            return self.body.receive_nowait()
        except APIConnectionError:
            return b""


class EndsAfterTheCut(Wrapped):
    """Tells the cut once, and at the next call that the body is over."""

    told = False

    def receive_nowait(self) -> bytes | None:
        if self.told:
            return b""
        try:
            return self.body.receive_nowait()
        except IncompleteStreamError:
            self.told = True
            raise


class RaisesErrorsOfTheSystem(Wrapped):
    def receive_nowait(self) -> bytes | None:
        try:
            return self.body.receive_nowait()
        except APIConnectionError as error:
            raise ConnectionResetError(104, "reset") from error


class LeavesAGenerator(Wrapped):
    """Leaves an async generator in the middle, for the garbage collector."""

    def receive_nowait(self) -> bytes | None:
        if not self.closed:
            pieces().__anext__()
        return self.body.receive_nowait()


async def pieces() -> AsyncIterator[bytes]:
    yield b""


WHOLE = "The bytes of a body arrive whole and in order: "
CLOSED = "ClosedResourceError: "
FAULTS: list[tuple[Callable[[ResponseBody], ResponseBody], str]] = [
    (RepeatsBytes, WHOLE + r"\d+ bytes arrived of \d+, and they differ from byte 6 on"),
    (DropsTheSecondPiece, WHOLE + r"\d+ bytes arrived of \d+, and they differ from byte 6 on"),
    (GivesABytearray, WHOLE + r"`receive_nowait` returned bytearray"),
    (EndsOnlyOnce, "again and again: after the end `receive_nowait` returned None"),
    (EndsBeforeItBegan, WHOLE + r"\d+ bytes arrived of \d+"),
    (IsNoCheckpoint, WHOLE + "`wait` returned without a checkpoint"),
    (StaysDrained, WHOLE + "after a `wait` `drained` is still True"),
    (SwallowsCancelled, "before it waits: it returned in a scope that was cancelled"),
    (LosesBytesWhenCancelled, r"by cancelling every `wait`: \d+ bytes arrived of \d+"),
    (LooksEndedOnceCancelled, "breaks the body loudly: `receive_nowait` returned b'' after a cancelled `wait`"),
    (IsBrokenThoughSafe, "breaks the body loudly: BrokenResourceError was raised"),
    (LosesBytesWhenItLooksAgain, r"by looking again: \d+ bytes arrived of \d+"),
    (LooksAgainAtWhatIsRead, r"by looking again: \d+ bytes arrived of \d+"),
    (LooksAgainAtWhatIsClosed, "`close` wakes .*: ClosedResourceError was raised"),
    (LetsTwoWait, "gets BusyResourceError: the second task waits too"),
    (DisturbsTheFirst, "gets BusyResourceError: the first task does not wait any more"),
    (DoesNotWake, "`close` wakes whoever waits, with ClosedResourceError: after 5 seconds it still had not happened"),
    (WakesAsIfNothingWere, "`close` wakes whoever waits, with ClosedResourceError: `wait` ended with None"),
    (EndsWhenClosed, "`close` wakes .*: `receive_nowait` returned b'' after it was let go of"),
    (ClosesOnlyOnce, "RuntimeError was raised: closed already"),
    (ReadsOnToTheEnd, "`aclose` never waits on the peer: it waited"),
    (FailsToCloseByItself, "`aclose` never waits on the peer: RuntimeError was raised: not closed"),
    (SaysGoodbye, "`aclose` is effective in a cancelled scope, and no checkpoint: it raised Cancelled"),
    (TakesACutForTheEnd, "A body that was cut does not end: it ended as if it were whole"),
    (TakesAResetForTheEnd, "connection was reset does not end: it ended as if it were whole"),
    (EndsAfterTheCut, "A body that was cut does not end: `receive_nowait` returned b'' after the cut"),
    (RaisesErrorsOfTheSystem, "connection was reset does not end: ConnectionResetError was raised"),
    (LeavesAGenerator, "A body leaves nothing behind: "),
]


@pytest.mark.parametrize(("fault", "sentence"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
async def test_faults_are_found(
    fault: Callable[[ResponseBody], ResponseBody], sentence: str, autojump_clock: trio.testing.MockClock
) -> None:
    async def make(steps: Sequence[Step]) -> ResponseBody:
        return fault(await scripted(steps))

    with pytest.raises(AssertionError) as caught:
        await check_response_body(make)
    assert re.search(sentence, str(caught.value))


class Polls(Wrapped):
    """Keeps the processor busy while it waits."""

    arrived: bytes | None = None

    def receive_nowait(self) -> bytes | None:
        arrived, self.arrived = self.arrived, None
        return self.body.receive_nowait() if arrived is None else arrived

    async def wait(self) -> None:
        while (arrived := self.body.receive_nowait()) is None:
            await trio.lowlevel.checkpoint()
        self.arrived = arrived


async def test_polling_is_found() -> None:
    async def make(steps: Sequence[Step]) -> ResponseBody:
        return Polls(await scripted(steps))

    with pytest.raises(AssertionError, match=r"breaks the body loudly: after 0\.5 seconds it still had not happened"):
        await check_response_body(make, pause_seconds=0.001, limit_seconds=0.5)


async def test_it_can_be_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    async def make(steps: Sequence[Step]) -> ResponseBody:
        return await trio.sleep_forever()

    with trio.move_on_after(1) as scope:
        await check_response_body(make)
    assert scope.cancelled_caught
