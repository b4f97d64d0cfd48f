"""Promise 5, row by row: which exception leaves the block of a stream."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

import trio_stream as ts
from trio_stream.testing import ScriptedAPI, say, stall

from .api import PARAMS, client_of


class BodyError(Exception):
    pass


class ChildError(Exception):
    pass


@pytest.fixture
def api_and_client() -> tuple[ScriptedAPI, ts.Client]:
    client, api = client_of([say("Hello there"), stall()])
    return api, client


async def child_raises(error: BaseException) -> None:
    raise error


async def child_raises_when_cancelled(error: BaseException) -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise error


async def drain(stream: ts.MessageStream) -> None:
    async for _ in stream:
        pass


async def test_body_raises(api_and_client, autojump_clock):
    """Itself, the same object, with no context of ours and its traceback intact."""
    api, client = api_and_client
    error = BodyError("x")
    with pytest.raises(BodyError) as caught:
        async with client.messages.stream(**PARAMS) as stream:
            stream.nursery.start_soon(trio.sleep_forever)
            raise error
    assert caught.value is error
    assert error.__context__ is None
    assert error.__cause__ is None
    assert (
        "raise error" in str(caught.traceback[-1].statement)
        or caught.traceback[0].path.name == "test_exception_contract.py"
    )
    assert api.open_streams == 0


async def test_child_raises(api_and_client, autojump_clock):
    """The body is cancelled, and the child's error leaves as itself."""
    api, client = api_and_client
    error = ChildError("x")
    was_cancelled = False
    with pytest.raises(ChildError) as caught:
        async with client.messages.stream(**PARAMS) as stream:
            stream.nursery.start_soon(child_raises, error)
            try:
                await drain(stream)
            except trio.Cancelled:
                was_cancelled = True
                raise
    assert caught.value is error
    assert was_cancelled
    assert api.open_streams == 0


async def test_both_raise(api_and_client, autojump_clock):
    """One group of the two, the body's first."""
    _, client = api_and_client
    body, child = BodyError("b"), ChildError("c")
    with pytest.raises(BaseExceptionGroup) as caught:
        async with client.messages.stream(**PARAMS) as stream:
            stream.nursery.start_soon(child_raises_when_cancelled, child)
            await trio.testing.wait_all_tasks_blocked()
            raise body
    assert caught.value.exceptions == (body, child)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["body", "child", "body, child fails too", "child, body fails too"])
async def test_interrupts_leave_alone(api_and_client, autojump_clock, interrupt, where):
    """KeyboardInterrupt and SystemExit are not put into a group with anything."""
    _, client = api_and_client
    alone = interrupt()
    with pytest.raises(interrupt) as caught:
        async with client.messages.stream(**PARAMS) as stream:
            if where == "body":
                raise alone
            if where == "child":
                stream.nursery.start_soon(child_raises, alone)
                await trio.sleep_forever()
            if where == "body, child fails too":
                stream.nursery.start_soon(child_raises_when_cancelled, ChildError())
                await trio.testing.wait_all_tasks_blocked()
                raise alone
            stream.nursery.start_soon(child_raises_when_cancelled, alone)
            await trio.testing.wait_all_tasks_blocked()
            raise BodyError
    assert caught.value is alone


async def test_outer_cancel(api_and_client, autojump_clock):
    """`Cancelled` passes through to the scope it belongs to."""
    api, client = api_and_client
    with trio.move_on_after(1) as scope:
        async with client.messages.stream(**PARAMS) as stream:
            stream.nursery.start_soon(trio.sleep_forever)
            await drain(stream)
    assert scope.cancelled_caught
    assert api.open_streams == 0


async def test_outer_cancel_with_a_failing_child(api_and_client, autojump_clock):
    """The child's error is not lost."""
    _, client = api_and_client
    error = ChildError("x")
    with pytest.raises(ChildError) as caught, trio.move_on_after(1):
        async with client.messages.stream(**PARAMS) as stream:
            stream.nursery.start_soon(child_raises_when_cancelled, error)
            await drain(stream)
    assert caught.value is error


async def test_outer_cancel_while_the_block_waits_for_a_child(autojump_clock):
    """The body ended well; the cancellation of the child still reaches the outer scope."""
    client, _ = client_of([say("Hello")])
    with trio.move_on_after(60) as scope:
        async with client.messages.stream(**PARAMS) as stream:
            stream.nursery.start_soon(trio.sleep_forever)
            await drain(stream)
    assert scope.cancelled_caught
    assert stream.message.text == "Hello"


async def test_stream_cancel(api_and_client, autojump_clock):
    """The block ends silently, and says why."""
    api, client = api_and_client
    reached = False
    async with client.messages.stream(**PARAMS) as stream:
        stream.nursery.start_soon(trio.sleep_forever)
        stream.cancel("user pressed Esc")
        stream.cancel("again")
        await drain(stream)
        reached = True
    assert not reached
    assert stream.cancel_reason == "user pressed Esc"
    assert api.open_streams == 0
    stream.cancel("too late")
    assert stream.cancel_reason == "user pressed Esc"


async def test_stream_cancel_from_a_child(api_and_client, autojump_clock):
    _, client = api_and_client
    async with client.messages.stream(**PARAMS) as stream:

        async def cancel_soon() -> None:
            await trio.sleep(1)
            stream.cancel()

        stream.nursery.start_soon(cancel_soon)
        await drain(stream)
    assert stream.cancel_reason == "cancelled by the program"
    assert stream.text == "Hello there"
    with pytest.raises(ts.IncompleteStreamError) as caught:
        _ = stream.message
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hello there"


async def test_body_raises_after_cancel(api_and_client, autojump_clock):
    """An error that is raised while the block is being cancelled is not lost."""
    _, client = api_and_client
    error = BodyError("x")
    with pytest.raises(BodyError) as caught:
        async with client.messages.stream(**PARAMS) as stream:
            stream.cancel("enough")
            try:
                await drain(stream)
            finally:
                raise error
    assert caught.value is error


async def test_body_raises_a_group(api_and_client, autojump_clock):
    """The same object, not a copy."""
    _, client = api_and_client
    group = ExceptionGroup("several", [BodyError("a"), ExceptionGroup("inner", [BodyError("b")])])
    with pytest.raises(ExceptionGroup) as caught:
        async with client.messages.stream(**PARAMS):
            raise group
    assert caught.value is group


async def test_body_raises_a_group_with_cancelled(api_and_client, autojump_clock):
    """The part that is this block's own cancellation ends here; the rest leaves."""
    _, client = api_and_client
    with pytest.raises(ExceptionGroup) as caught:
        async with client.messages.stream(**PARAMS) as stream, trio.open_nursery() as nursery:
            nursery.start_soon(child_raises_when_cancelled, BodyError("x"))
            nursery.start_soon(trio.sleep_forever)
            await trio.testing.wait_all_tasks_blocked()
            stream.cancel("enough")
            await trio.sleep_forever()
    assert caught.group_contains(BodyError)
    assert not caught.group_contains(trio.Cancelled)


async def test_two_children_raise(api_and_client, autojump_clock):
    _, client = api_and_client
    first, second = ChildError("1"), ChildError("2")
    with pytest.raises(ExceptionGroup) as caught:
        async with client.messages.stream(**PARAMS) as stream:
            stream.nursery.start_soon(child_raises, first)
            stream.nursery.start_soon(child_raises_when_cancelled, second)
            await drain(stream)
    assert set(caught.value.exceptions) == {first, second}


async def test_a_stream_error_leaves_as_itself(autojump_clock):
    """What `receive` raises is a body exception like any other."""
    client, api = client_of([say("Hel"), ts.testing.disconnect()])
    with pytest.raises(ts.IncompleteStreamError) as caught:
        async with client.messages.stream(**PARAMS) as stream:
            stream.nursery.start_soon(trio.sleep_forever)
            await drain(stream)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hel"
    assert api.open_streams == 0


async def test_children_end_with_the_block(autojump_clock):
    """Leaving normally waits for the tasks in the nursery, as any nursery does."""
    client, _ = client_of([say("Hello")])
    finished = []

    async def child() -> None:
        await trio.sleep(30)
        finished.append(trio.current_time())

    async with client.messages.stream(**PARAMS) as stream:
        stream.nursery.start_soon(child)
        await drain(stream)
    assert len(finished) == 1


async def test_no_reference_cycle_keeps_the_exception(api_and_client, autojump_clock):
    """An exception that left the block is freed without the garbage collector."""
    _, client = api_and_client
    gc.collect()
    gc.disable()
    try:
        try:
            async with client.messages.stream(**PARAMS):
                raise BodyError("x")
        except BodyError as exc:
            ref = weakref.ref(exc)
        assert ref() is None
    finally:
        gc.enable()


@asynccontextmanager
async def entered(client: ts.Client) -> AsyncIterator[ts.MessageStream]:
    async with client.messages.stream(**PARAMS) as stream:
        yield stream


async def test_inside_an_async_context_manager_of_the_user(api_and_client, autojump_clock):
    """The contract holds through `asynccontextmanager`, whose generator the user owns."""
    _, client = api_and_client
    error = BodyError("x")
    with pytest.raises(BodyError) as caught:
        async with entered(client):
            raise error
    assert caught.value is error
