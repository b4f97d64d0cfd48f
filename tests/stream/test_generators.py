"""Async generators that are left at a `yield` in the block of a stream, and blocks that only look as if they were in one."""

from __future__ import annotations

import contextlib
import gc
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
import trio.testing

import trio_stream as ts
from tests.wire.answers import sse
from tests.wire.events import block_delta, block_start, message_start
from trio_stream.testing import ScriptedAPI, disconnect, pause, say, stall

from .api import PARAMS, client_of

# The consumers. Each takes a generator round a stream in another way, and the program has to go on afterwards.


class Program:
    """A program with a client, and the generator that everybody writes."""

    def __init__(self) -> None:
        self.client, self.api = client_of(default=[say("one", pause(1), "two", pause(1), "three", pause(1), "four")])
        self.manager = self.client.messages.stream(**PARAMS)

    def texts(self, manager: ts.MessageStreamManager | None = None) -> AsyncGenerator[str]:
        async def texts() -> AsyncGenerator[str]:
            async with manager or self.client.messages.stream(**PARAMS) as stream:
                async for text in stream.text_stream:
                    yield text

        return texts()

    async def nested(self) -> AsyncGenerator[str]:
        async for text in self.texts():
            yield text.upper()

    async def raw(self) -> AsyncGenerator[str]:
        async with await self.client.messages.create(**PARAMS, stream=True) as stream:
            async for event in stream:
                yield event.type

    async def with_a_client_of_its_own(self) -> AsyncGenerator[str]:
        async with (
            ts.Client(api_key="k", transport=self.api) as client,
            client.messages.stream(**PARAMS) as stream,
        ):
            async for text in stream.text_stream:
                yield text


async def breaks(program: Program) -> None:
    async for _ in program.texts():
        break


async def breaks_out_of_raw_events(program: Program) -> None:
    async for _ in program.raw():
        break


async def breaks_out_of_a_client(program: Program) -> None:
    async for _ in program.with_a_client_of_its_own():
        break


async def raises(program: Program) -> None:
    with pytest.raises(KeyError):
        async for _ in program.texts():
            raise KeyError


async def breaks_out_of_two(program: Program) -> None:
    async for _ in program.nested():
        break


async def closes(program: Program) -> None:
    async with aclosing(program.texts()) as texts:
        async for _ in texts:
            break


async def is_cancelled(program: Program) -> None:
    with trio.move_on_after(1.5) as scope:
        async for _ in program.texts():
            await trio.sleep(0.4)
    assert scope.cancelled_caught


async def is_cancelled_while_it_has_the_text(program: Program) -> None:
    with trio.move_on_after(1.5) as scope:
        async for _ in program.texts():
            await trio.sleep(10)
    assert scope.cancelled_caught


async def interleaves(program: Program) -> None:
    first, second = program.texts(), program.texts()
    for _ in range(2):
        await anext(first)
        await anext(second)
    await first.aclose()
    assert [text async for text in second] == ["three", "four"]


async def interleaves_with_scopes(program: Program) -> None:
    first = program.texts()
    with trio.CancelScope():
        await anext(first)
        async with trio.open_nursery():
            second = program.texts()
            await anext(second)
            await first.aclose()
    assert [text async for text in second] == ["two", "three", "four"]


async def leaves_a_scope_first(program: Program) -> None:
    texts = program.texts()
    with trio.CancelScope():
        assert await anext(texts) == "one"
    async with trio.open_nursery():
        assert await anext(texts) == "two"
    assert [text async for text in texts] == ["three", "four"]


async def goes_on_in_another_task(program: Program) -> None:
    texts = program.texts()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(anext, texts)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(anext, texts)
    assert [text async for text in texts] == ["three", "four"]


async def is_finished_by_another_task(program: Program) -> None:
    texts = program.texts()
    await anext(texts)

    async def finish() -> None:
        assert [text async for text in texts] == ["two", "three", "four"]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(finish)


async def is_closed_by_another_task(program: Program) -> None:
    texts = program.texts()
    await anext(texts)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(texts.aclose)


async def throws(program: Program) -> None:
    texts = program.texts()
    await anext(texts)
    with pytest.raises(KeyError):
        await texts.athrow(KeyError)


async def is_collected(program: Program) -> None:
    cycle: list[Any] = [program.texts()]
    cycle.append(cycle)
    await anext(cycle[0])
    del cycle
    gc.collect()


async def has_one_manager_twice(program: Program) -> None:
    """The generator that began first ends first, so blocks are not left in the reverse order."""
    first, second = (program.texts(program.manager) for _ in range(2))
    await anext(first)
    await anext(second)
    await first.aclose()
    assert program.api.open_streams == 1
    assert [text async for text in second] == ["two", "three", "four"]


async def has_a_manager_that_it_enters_too(program: Program) -> None:
    texts = program.texts(program.manager)
    await anext(texts)
    async with program.manager as stream:
        await texts.aclose()
        assert await anext(stream.text_stream) == "one"
        stream.nursery.start_soon(trio.sleep, 1)
        await stream.until_done()
    assert stream.text == "onetwothreefour"


async def is_at_its_end(program: Program) -> None:
    """The run ends, and Trio closes the generator."""
    program.kept = program.texts()  # type: ignore[attr-defined]
    await anext(program.kept)  # type: ignore[attr-defined]


ABANDON = {
    breaks,
    breaks_out_of_raw_events,
    breaks_out_of_a_client,
    raises,
    breaks_out_of_two,
    is_collected,
    is_cancelled_while_it_has_the_text,
}
CONSUMERS = [
    *ABANDON,
    closes,
    is_cancelled,
    interleaves,
    interleaves_with_scopes,
    leaves_a_scope_first,
    goes_on_in_another_task,
    is_finished_by_another_task,
    is_closed_by_another_task,
    throws,
    has_one_manager_twice,
    has_a_manager_that_it_enters_too,
]


def run(consumer: Callable[[Program], Awaitable[None]], *, at_end: bool = False) -> list[str]:
    """Run a program with a consumer. Returns the categories of the warnings."""
    program = Program()

    async def main() -> None:
        async with program.client:
            await consumer(program)
            if at_end:
                return
            await trio.testing.wait_all_tasks_blocked()
            assert program.api.open_streams == 0
            # The program goes on: scopes, nurseries and streams with them.
            with trio.move_on_after(1) as scope:
                await trio.sleep_forever()
            assert scope.cancelled_caught
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 1)
            async with program.client.messages.stream(**PARAMS) as stream:
                stream.nursery.start_soon(trio.sleep, 1)
                await stream.until_done()
            assert stream.text == "onetwothreefour"

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
        gc.collect()
    assert program.api.open_streams == 0
    return [warning.category.__name__ for warning in caught]


@pytest.mark.parametrize("consumer", sorted(CONSUMERS, key=lambda consumer: consumer.__name__))
def test_consumers(consumer: Callable[[Program], Awaitable[None]]) -> None:
    """The program goes on, and nothing of the stream is open in the next step."""
    expected = {"ResourceWarning"} if consumer in ABANDON else set()
    assert set(run(consumer)) == expected


def test_a_generator_that_is_alive_at_the_end_of_the_run() -> None:
    """Trio closes it, and with it the stream, without a word."""
    assert run(is_at_its_end, at_end=True) == []


# What a stream is in a generator.


async def in_a_generator(manager: Any, use: Callable[[Any], Awaitable[None]]) -> AsyncGenerator[None]:
    async with manager as stream:
        await use(stream)
        yield


async def test_it_has_no_nursery_and_no_cancel() -> None:
    """The error says what to do instead."""
    client, api = client_of([say("one")])

    async def use(stream: ts.MessageStream) -> None:
        advice = r"in_a_generator.*has no nursery.*@trio\.as_safe_channel"
        with pytest.raises(RuntimeError, match=advice):
            _ = stream.nursery
        with pytest.raises(RuntimeError, match=advice):
            stream.cancel("enough")
        await stream.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive()

    async for _ in in_a_generator(client.messages.stream(**PARAMS), use):
        assert api.open_streams == 0


async def test_it_can_be_cancelled_once_it_has_been_left() -> None:
    """Which does nothing, as for every stream."""
    client, _ = client_of([say("one")])
    kept = []

    async def use(stream: ts.MessageStream) -> None:
        kept.append(stream)

    async for _ in in_a_generator(client.messages.stream(**PARAMS), use):
        pass
    kept[0].cancel()
    with pytest.raises(RuntimeError, match="left already"):
        await kept[0]._block.leave(None)


@pytest.mark.parametrize("cancel_safe", [True, False])
@pytest.mark.parametrize(
    "clock,error",
    [("silence", ts.SilenceTimeoutError), ("stall", ts.StallTimeoutError), ("total", ts.TotalTimeoutError)],
)
async def test_its_clocks(
    clock: str, error: type[ts.APITimeoutError], cancel_safe: bool, autojump_clock: object
) -> None:
    """Each wait looks at them, and a failed stream goes on raising the same error."""
    transport = ScriptedAPI([say("one", stall())]) if cancel_safe else SaysOneAndStalls()
    client = ts.Client(api_key="k", transport=transport, timeout=ts.Timeouts(**{clock: 3}))
    began = trio.current_time()

    async def use(stream: ts.MessageStream) -> None:
        with pytest.raises(error) as caught:
            await stream.until_done()
        assert trio.current_time() - began == 3
        with pytest.raises(error) as again:
            await stream.receive()
        assert again.value is caught.value
        assert stream.text == "one"

    async for _ in in_a_generator(client.messages.stream(**PARAMS), use):
        pass
    assert client.statistics().active == 0


class SaysOneAndStalls(httpx.AsyncBaseTransport, httpx.AsyncByteStream):
    """A transport that reads through an async generator, as httpx's own does."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=self)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield sse(message_start(), block_start(), block_delta("text_delta", text="one"))
        await trio.sleep_forever()


async def test_a_poll_does_not_outwit_its_clocks(autojump_clock: object) -> None:
    """Waits that are cancelled add up."""
    client, _ = client_of([say("one", stall())], timeout=ts.Timeouts(silence=3))

    async def use(stream: ts.MessageStream) -> None:
        assert await anext(stream.text_stream) == "one"
        polls = 0
        with pytest.raises(ts.SilenceTimeoutError):
            while True:
                with trio.move_on_after(0.005):
                    await stream.until_done()
                polls += 1
                await trio.sleep(1)
        assert polls == 600

    async for _ in in_a_generator(client.messages.stream(**PARAMS), use):
        pass


async def test_total_runs_while_the_consumer_works(autojump_clock: object) -> None:
    """The next read raises, though there is something to read."""
    client, _ = client_of([say("one", pause(1), "two")], timeout=ts.Timeouts(total=3))
    texts = []

    async def texts_of() -> AsyncGenerator[str]:
        async with client.messages.stream(**PARAMS) as stream:
            async for text in stream.text_stream:
                yield text

    with pytest.raises(ts.TotalTimeoutError):
        async for text in texts_of():
            texts.append(text)
            await trio.sleep(10)
    assert texts == ["one"]


async def test_closed_while_it_is_opened(autojump_clock: object) -> None:
    """As for every stream: entering it raises, and nothing is left."""
    client, api = client_of([stall()])

    async def use(stream: ts.EventStream) -> None:
        raise AssertionError

    async def enter() -> None:
        with pytest.raises(trio.ClosedResourceError, match="closed while it was being opened"):
            await anext(in_a_generator(stream, use))

    stream = await client.messages.create(**PARAMS, stream=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(enter)
        await trio.sleep(1)
        await stream.aclose()
    assert api.open_streams == 0


async def test_opening_fails() -> None:
    """With the API's error itself."""
    client, api = client_of([disconnect()])

    async def use(stream: ts.MessageStream) -> None:
        raise AssertionError

    with pytest.raises(ts.APIConnectionError):
        await anext(in_a_generator(client.messages.stream(**PARAMS), use))
    assert api.open_streams == 0


# Where a block is entered: whether its stream has a nursery.

Enter = Callable[[ts.MessageStreamManager, "Use"], Awaitable[None]]
Use = Callable[[ts.MessageStream], None]


async def in_a_function(manager: ts.MessageStreamManager, use: Use) -> None:
    async with manager as stream:
        use(stream)


async def in_a_function_that_a_generator_calls(manager: ts.MessageStreamManager, use: Use) -> None:
    async def generator() -> AsyncIterator[None]:
        await in_a_function(manager, use)
        yield

    async for _ in generator():
        pass


async def in_a_task_that_a_generator_starts(manager: ts.MessageStreamManager, use: Use) -> None:
    async def generator() -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_a_function, manager, use)
        yield

    async for _ in generator():
        pass


@asynccontextmanager
async def opened(manager: ts.MessageStreamManager) -> AsyncIterator[ts.MessageStream]:
    async with manager as stream:
        yield stream


@asynccontextmanager
async def opened_by_another(manager: ts.MessageStreamManager) -> AsyncIterator[ts.MessageStream]:
    async with opened(manager) as stream:
        yield stream


class Opened:
    def __init__(self, manager: ts.MessageStreamManager) -> None:
        self.manager = manager

    async def __aenter__(self) -> ts.MessageStream:
        return await self.manager.__aenter__()

    async def __aexit__(self, *exc: object) -> bool | None:
        return await self.manager.__aexit__(*exc)


class InAStack:
    def __init__(self, manager: ts.MessageStreamManager) -> None:
        self.manager = manager
        self.stack = AsyncExitStack()

    async def __aenter__(self) -> ts.MessageStream:
        return await self.stack.enter_async_context(self.manager)

    async def __aexit__(self, *exc: object) -> bool | None:
        return await self.stack.__aexit__(*exc)


WRAPPED = [contextlib.nullcontext, opened, opened_by_another, Opened, InAStack]
"""Managers around the stream's."""


def as_manager(wrap: Any, manager: ts.MessageStreamManager) -> Any:
    return manager if wrap is contextlib.nullcontext else wrap(manager)


def stream_in(wrap: Any) -> Enter:
    async def enter(manager: ts.MessageStreamManager, use: Use) -> None:
        async with as_manager(wrap, manager) as stream:
            use(stream)

    return enter


def stack_in(wrap: Any) -> Enter:
    async def enter(manager: ts.MessageStreamManager, use: Use) -> None:
        async with AsyncExitStack() as stack:
            use(await stack.enter_async_context(as_manager(wrap, manager)))

    return enter


def channel_in(wrap: Any) -> Enter:
    async def enter(manager: ts.MessageStreamManager, use: Use) -> None:
        @trio.as_safe_channel
        async def channel() -> AsyncGenerator[None]:
            async with as_manager(wrap, manager) as stream:
                use(stream)
                yield

        async with channel() as items:
            async for _ in items:
                break

    return enter


def fixture_of_anyio_in(wrap: Any) -> Enter:
    async def enter(manager: ts.MessageStreamManager, use: Use) -> None:
        from anyio._backends._trio import TestRunner

        async def fixture() -> AsyncGenerator[None]:
            async with as_manager(wrap, manager) as stream:
                use(stream)
                yield

        def run() -> None:
            with TestRunner() as runner:
                for _ in runner.run_asyncgen_fixture(fixture, {}):
                    pass

        await trio.to_thread.run_sync(run)

    return enter


async def in_a_task_group_of_anyio(manager: ts.MessageStreamManager, use: Use) -> None:
    import anyio

    async with anyio.create_task_group() as group:
        group.start_soon(in_a_function, manager, use)


async def in_a_decorated_function(manager: ts.MessageStreamManager, use: Use) -> None:
    @asynccontextmanager
    async def around() -> AsyncIterator[None]:
        yield

    @around()
    async def enter() -> None:
        async with manager as stream:
            use(stream)

    async def generator() -> AsyncIterator[None]:
        await enter()
        yield

    async for _ in generator():
        pass


async def by_a_decorator(manager: ts.MessageStreamManager, use: Use) -> None:
    """A context manager that enters the stream, round a function that a generator calls."""

    @asynccontextmanager
    async def with_a_stream() -> AsyncIterator[None]:
        async with manager as stream:
            use(stream)
            yield

    @with_a_stream()
    async def function() -> None:
        pass

    async def generator() -> AsyncIterator[None]:
        await function()
        yield

    async for _ in generator():
        pass


async def where_a_context_manager_ends(manager: ts.MessageStreamManager, use: Use) -> None:
    @asynccontextmanager
    async def around() -> AsyncIterator[None]:
        yield
        async with manager as stream:
            use(stream)

    async def generator() -> AsyncIterator[None]:
        async with around():
            yield

    async with aclosing(generator()) as items:
        async for _ in items:
            pass


async def through_a_generator_that_awaits_by_hand(manager: ts.MessageStreamManager, use: Use) -> None:
    class Entering:
        def __await__(self) -> Any:
            yield from in_a_function(manager, use).__await__()

    await Entering()


WITH_A_NURSERY: dict[str, Enter] = {
    "function": in_a_function,
    "function that a generator calls": in_a_function_that_a_generator_calls,
    "task that a generator starts": in_a_task_that_a_generator_starts,
    "task group of anyio": in_a_task_group_of_anyio,
    "decorated function": in_a_decorated_function,
    "decorator": by_a_decorator,
    "end of a context manager": where_a_context_manager_ends,
    "awaitable": through_a_generator_that_awaits_by_hand,
    **{f"block of {wrap.__name__}": stream_in(wrap) for wrap in WRAPPED[1:]},
    **{f"exit stack, {wrap.__name__}": stack_in(wrap) for wrap in WRAPPED},
    **{f"channel, {wrap.__name__}": channel_in(wrap) for wrap in WRAPPED},
    **{f"fixture of anyio, {wrap.__name__}": fixture_of_anyio_in(wrap) for wrap in WRAPPED},
}


@pytest.mark.parametrize("enter", WITH_A_NURSERY.values(), ids=list(WITH_A_NURSERY))
async def test_a_block_that_no_generator_suspends(enter: Enter) -> None:
    """It has a nursery."""
    client, api = client_of([say("one")])
    started = []

    async def note() -> None:
        started.append(True)

    def use(stream: ts.MessageStream) -> None:
        stream.nursery.start_soon(note)

    await enter(client.messages.stream(**PARAMS), use)
    await trio.testing.wait_all_tasks_blocked()
    assert started == [True]
    assert api.open_streams == 0


@pytest.fixture
async def stream_of_a_fixture() -> AsyncIterator[ts.MessageStream]:
    client, _ = client_of([say("one")])
    async with client.messages.stream(**PARAMS) as stream:
        yield stream


async def test_a_fixture_of_pytest_trio(stream_of_a_fixture: ts.MessageStream) -> None:
    """It has a nursery."""
    stream_of_a_fixture.nursery.start_soon(trio.lowlevel.checkpoint)
    await stream_of_a_fixture.until_done()


@pytest.mark.parametrize("stack", [False, True])
@pytest.mark.parametrize("wrap", WRAPPED)
async def test_a_block_that_a_generator_suspends(wrap: Any, stack: bool) -> None:
    """It has no nursery, however it is entered, and is left without one."""
    client, api = client_of([say("one")])

    async def generator() -> AsyncGenerator[ts.MessageStream]:
        manager = as_manager(wrap, client.messages.stream(**PARAMS))
        if stack:
            async with AsyncExitStack() as streams:
                yield await streams.enter_async_context(manager)
        else:
            async with manager as stream:
                yield stream

    async with aclosing(generator()) as streams:
        with trio.CancelScope():
            stream = await anext(streams)
        with pytest.raises(RuntimeError, match="has no nursery"):
            _ = stream.nursery
    assert api.open_streams == 0


async def test_a_channel_raises_what_a_task_in_the_nursery_raised(autojump_clock: object) -> None:
    """By itself, and not in a group with the GeneratorExit of the generator, which is no failure."""
    client, api = client_of([say("one"), stall()])

    @trio.as_safe_channel
    async def texts() -> AsyncGenerator[str]:
        async with client.messages.stream(**PARAMS) as stream:
            stream.nursery.start_soon(fail_later)
            async for text in stream.text_stream:
                yield text

    async def fail_later() -> None:
        await trio.sleep(1)
        raise KeyError

    with pytest.raises(KeyError):
        async with texts() as channel:
            async for _ in channel:
                await trio.sleep(2)
    assert api.open_streams == 0


async def test_a_channel_ends_with_a_stream_that_is_cancelled(autojump_clock: object) -> None:
    client, api = client_of([say("one"), stall()])

    @trio.as_safe_channel
    async def texts() -> AsyncGenerator[str]:
        async with client.messages.stream(**PARAMS) as stream:
            stream.nursery.start_soon(cancel_later, stream)
            async for text in stream.text_stream:
                yield text

    async def cancel_later(stream: ts.MessageStream) -> None:
        await trio.sleep(1)
        stream.cancel("enough")

    async with texts() as channel:
        assert [text async for text in channel] == ["one"]
    assert api.open_streams == 0


async def test_a_manager_that_is_entered_and_left_by_other_functions() -> None:
    """It is entered twice, so the task decides, and then the order."""
    client, api = client_of(default=[say("one")])
    manager = client.messages.stream(**PARAMS)

    async def enter() -> ts.MessageStream:
        return await manager.__aenter__()

    async def leave() -> None:
        await manager.__aexit__(None, None, None)

    first, second = await enter(), await enter()
    await leave()
    assert second._block.left
    assert not first._block.left
    await leave()
    assert first._block.left
    with pytest.raises(RuntimeError, match="never entered"):
        await leave()
    assert api.open_streams == 0
