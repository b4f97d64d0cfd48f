"""Entering, leaving, closing: who may, when, and what is left afterwards."""

from __future__ import annotations

import gc
from contextlib import AsyncExitStack

import pytest
import trio
import trio.testing

import trio_stream as ts
from trio_stream.testing import disconnect, fail, http_error, pause, say, stall

from .api import PARAMS, client_of


async def test_nothing_happens_before_entering():
    """A manager that is never entered makes no request and warns about nothing."""
    client, api = client_of([say("Hello")])
    client.messages.stream(**PARAMS)
    gc.collect()
    await trio.testing.wait_all_tasks_blocked()
    assert api.requests == []


async def test_each_entry_is_a_fresh_request(autojump_clock):
    client, api = client_of([say("one")], [say("two")])
    manager = client.messages.stream(**PARAMS)
    texts = []
    for _ in range(2):
        async with manager as stream:
            texts.append(await stream.get_final_text())
    assert texts == ["one", "two"]
    assert len(api.requests) == 2


async def test_nested_entries_of_one_manager(autojump_clock):
    client, _ = client_of([say("outer")], [say("inner")])
    manager = client.messages.stream(**PARAMS)
    async with manager as outer:
        async with manager as inner:
            assert await inner.get_final_text() == "inner"
        assert await outer.get_final_text() == "outer"


async def test_one_manager_in_two_tasks(autojump_clock):
    client, _ = client_of([pause(1), say("a")], [pause(1), say("a")])
    manager = client.messages.stream(**PARAMS)
    texts = []

    async def read() -> None:
        async with manager as stream:
            texts.append(await stream.get_final_text())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(read)
    assert texts == ["a", "a"]


async def test_the_parameters_are_read_when_the_call_is_made(autojump_clock):
    client, api = client_of([say("ok")])
    messages = [{"role": "user", "content": "before"}]
    manager = client.messages.stream(**{**PARAMS, "messages": messages})
    messages[0]["content"] = "after"
    async with manager as stream:
        await stream.until_done()
    assert api.requests[0].body["messages"][0]["content"] == "before"


async def test_manual_enter_and_exit(autojump_clock):
    client, api = client_of([say("Hello")])
    manager = client.messages.stream(**PARAMS)
    stream = await manager.__aenter__()
    text = await stream.get_final_text()
    await manager.__aexit__(None, None, None)
    assert text == "Hello"
    assert api.open_streams == 0


async def test_exit_stack(autojump_clock):
    client, api = client_of([say("one")], [say("two"), stall()])
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(client.messages.stream(**PARAMS))
        second = await stack.enter_async_context(client.messages.stream(**PARAMS))
        assert await first.get_final_text() == "one"
        await second.receive()
    assert api.open_streams == 0


async def test_leaving_out_of_order_is_a_clear_error(autojump_clock):
    """And the connection is closed all the same."""
    client, api = client_of([say("one"), stall()], [say("two"), stall()])
    first, second = client.messages.stream(**PARAMS), client.messages.stream(**PARAMS)
    await first.__aenter__()
    await second.__aenter__()
    with pytest.raises(RuntimeError, match="reverse order"):
        await first.__aexit__(None, None, None)
    assert api.open_streams == 1
    await second.__aexit__(None, None, None)
    await first.__aexit__(None, None, None)  # in the right order it can still be left


async def test_leaving_in_another_task_is_a_clear_error(autojump_clock):
    client, api = client_of([say("one"), stall()])
    manager = client.messages.stream(**PARAMS)
    failure: list[BaseException] = []

    async def leave() -> None:
        try:
            await manager.__aexit__(None, None, None)
        except RuntimeError as exc:
            failure.append(exc)

    async with manager:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave)
        assert "belongs to the task that entered it" in str(failure[0])
        assert api.open_streams == 0


async def test_leaving_what_was_never_entered():
    client, _ = client_of([say("x")])
    with pytest.raises(RuntimeError, match="never entered"):
        await client.messages.stream(**PARAMS).__aexit__(None, None, None)
    stream = await client.messages.create(**PARAMS, stream=True)
    with pytest.raises(RuntimeError, match="never entered"):
        await stream.__aexit__(None, None, None)


async def test_leaving_twice(autojump_clock):
    client, _ = client_of([say("x")])
    stream = await client.messages.create(**PARAMS, stream=True)
    async with stream:
        pass
    with pytest.raises(RuntimeError, match="left already"):
        await stream.__aexit__(None, None, None)
    with pytest.raises(RuntimeError, match="entered before"):
        await stream.__aenter__()


async def test_raw_stream_outside_its_block():
    """Iterating without `async with` names the fix, and so does everything that needs the block."""
    client, api = client_of([say("x")])
    stream = await client.messages.create(**PARAMS, stream=True)
    with pytest.raises(RuntimeError, match="async with"):
        await anext(stream)
    with pytest.raises(RuntimeError, match="not been entered"):
        stream.cancel()
    with pytest.raises(RuntimeError, match="entered"):
        _ = stream.nursery
    with pytest.raises(RuntimeError, match="no response"):
        _ = stream.response
    assert stream.text == ""
    assert stream.partial is stream.usage is stream.stop_reason is stream.request_id is stream.rate_limits is None
    assert stream.stats == ts.StreamStats()
    assert api.requests == []


async def test_leaving_early_closes_the_connection(autojump_clock):
    client, api = client_of([say("Hello"), stall()])
    async with client.messages.stream(**PARAMS) as stream:
        await stream.receive()
    assert api.open_streams == 0
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive()
    with pytest.raises(ts.IncompleteStreamError, match="left before message_stop"):
        _ = stream.message
    with pytest.raises(ts.IncompleteStreamError):
        await stream.get_final_message()
    assert stream.partial is not None


async def test_message_in_the_middle_says_so(autojump_clock):
    client, _ = client_of([say("Hello"), stall()])
    async with client.messages.stream(**PARAMS) as stream:
        with pytest.raises(ts.IncompleteStreamError, match="not complete yet"):
            _ = stream.message


async def test_attributes_outlive_the_block(autojump_clock):
    client, _ = client_of([say("Hello there")])
    async with client.messages.stream(**PARAMS) as stream:
        await stream.until_done()
    assert stream.message.text == stream.text == "Hello there"
    assert (await stream.get_final_message()) is stream.message
    assert await stream.get_final_text() == "Hello there"
    assert stream.message.stop_reason == stream.stop_reason == "end_turn"
    assert stream.usage == stream.message.usage
    assert stream.request_id is not None
    assert stream.response.status_code == 200
    assert stream.response.headers["Content-Type"].startswith("text/event-stream")
    assert stream.rate_limits is not None


async def test_the_head_of_an_answer(autojump_clock):
    client, _ = client_of([say("x")])
    async with client.messages.stream(**PARAMS) as stream:
        info = stream.response
    assert info == stream.response
    assert (info.status_code, info.http_version) == (200, "HTTP/1.1")
    assert info.url.endswith("/v1/messages")
    assert info.headers["REQUEST-ID"] == info.headers.get("request-id") == stream.request_id
    assert repr(info) == (
        f"ResponseInfo(status_code=200, headers={info.headers!r}, http_version='HTTP/1.1', url={info.url!r})"
    )
    with pytest.raises(AttributeError):
        info.status_code = 201


async def test_aclose_from_another_task_wakes_the_reader(autojump_clock):
    client, api = client_of([say("Hello"), stall()])
    async with client.messages.stream(**PARAMS) as stream:

        async def close_soon() -> None:
            await trio.sleep(1)
            await stream.aclose()

        stream.nursery.start_soon(close_soon)
        with pytest.raises(trio.ClosedResourceError):
            await stream.until_done()
        assert api.open_streams == 0
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive()
    assert stream.text == "Hello"


@pytest.mark.parametrize("method", ["aclose", "close"])
async def test_closing_is_a_checkpoint_and_can_be_repeated(method, autojump_clock):
    client, api = client_of([say("Hello"), stall()])
    async with client.messages.stream(**PARAMS) as stream:
        for _ in range(2):
            with trio.testing.assert_checkpoints():
                await getattr(stream, method)()
    assert api.open_streams == 0


async def test_aclose_is_effective_when_cancelled(autojump_clock):
    client, api = client_of([say("Hello"), stall()])
    async with client.messages.stream(**PARAMS) as stream:
        with trio.CancelScope() as scope:
            scope.cancel()
            await stream.aclose()
        assert scope.cancelled_caught
        assert api.open_streams == 0


async def test_client_aclose_ends_waiting_streams(autojump_clock):
    client, api = client_of([say("Hello"), stall()], [stall()])
    ended = []

    async def read() -> None:
        with pytest.raises(trio.ClosedResourceError):
            async with client.messages.stream(**PARAMS) as stream:
                await stream.until_done()
        ended.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.sleep(1)
        nursery.start_soon(read)  # is still being opened when the client is closed
        await trio.sleep(1)
        await client.aclose()
    assert len(ended) == 2
    assert api.open_streams == 0
    with pytest.raises(trio.ClosedResourceError):
        async with client.messages.stream(**PARAMS):
            pass
    with pytest.raises(trio.ClosedResourceError):
        await client.__aenter__()


async def test_two_readers(autojump_clock):
    client, _ = client_of([say("Hello"), pause(5), say(" there")])
    async with client.messages.stream(**PARAMS) as stream:
        stream.nursery.start_soon(stream.until_done)
        await trio.sleep(1)
        with pytest.raises(trio.BusyResourceError):
            await stream.receive()
        await trio.sleep(10)
    assert stream.message.text == "Hello there"


async def test_two_readers_of_what_was_there_already(autojump_clock):
    """Both let others run before they decode; one of them then waits, and its wait is its own."""
    client, _ = client_of([say("Hello there", tps=1000), stall()], timeout=ts.Timeouts(silence=30))
    ended: list[tuple[str, float]] = []

    async def reads(stream: ts.MessageStream) -> None:
        try:
            await stream.until_done()
        except (ts.APIError, trio.BusyResourceError) as error:
            ended.append((type(error).__name__, trio.current_time() - began))

    began = trio.current_time()
    with trio.fail_after(100):
        async with client.messages.stream(**PARAMS) as stream:
            await trio.sleep(5)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reads, stream)
                nursery.start_soon(reads, stream)
    assert [name for name, _ in ended] == ["BusyResourceError", "SilenceTimeoutError"]
    assert ended[-1][1] == pytest.approx(35, abs=0.5)


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ([say("Hel"), disconnect()], ts.IncompleteStreamError),
        ([say("Hel"), disconnect(reset=True)], ts.APIConnectionError),
        ([say("Hel"), fail("overloaded_error")], ts.OverloadedError),
        ([say("Hel"), fail("rate_limit_error")], ts.RateLimitError),
    ],
)
async def test_a_failed_stream_keeps_raising_the_same_error(script, error, autojump_clock):
    client, api = client_of(script)
    async with client.messages.stream(**PARAMS) as stream:
        with pytest.raises(error) as first:
            await stream.until_done()
        assert api.open_streams == 0
        for again in (stream.receive, stream.until_done, stream.get_final_message, stream.text_stream.__anext__):
            try:
                while True:
                    await again()
            except ts.APIError as exc:
                assert exc is first.value
        with pytest.raises(error) as from_message:
            _ = stream.message
        assert from_message.value is first.value
    assert first.value.partial is not None
    assert first.value.partial.text == "Hel"
    assert first.value.request_id == stream.request_id is not None


@pytest.mark.parametrize(
    ("first", "requests"),
    [
        ([http_error(529)], 2),
        ([http_error(429)], 2),
        ([fail("overloaded_error")], 2),
        ([disconnect()], 2),
        ([disconnect(reset=True)], 2),
    ],
)
async def test_retries_before_anything_was_delivered(first, requests, autojump_clock):
    """Also an `error` event or a cut at the start of a 200 stream."""
    client, api = client_of(first, [say("good")], max_retries=2)
    async with client.messages.stream(**PARAMS) as stream:
        assert await stream.get_final_text() == "good"
    assert stream.stats.attempts == len(api.requests) == requests
    assert api.open_streams == 0


async def test_nothing_is_retried_after_the_first_event(autojump_clock):
    client, api = client_of([say("Hel"), fail("overloaded_error")], [say("never")], max_retries=2)
    with pytest.raises(ts.OverloadedError):
        async with client.messages.stream(**PARAMS) as stream:
            await stream.until_done()
    assert len(api.requests) == 1


async def test_retries_give_up(autojump_clock):
    client, api = client_of(*[[http_error(529)]] * 3, max_retries=2)
    with pytest.raises(ts.OverloadedError) as caught:
        async with client.messages.stream(**PARAMS):
            pass
    assert len(api.requests) == 3
    assert caught.value.status_code == 529
    assert caught.value.request_id is not None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
async def test_errors_that_are_not_retried(status, autojump_clock):
    client, api = client_of([http_error(status)], max_retries=2)
    with pytest.raises(ts.APIStatusError) as caught:
        async with client.messages.stream(**PARAMS):
            pass
    assert caught.value.status_code == status
    assert len(api.requests) == 1


async def test_retry_after_beyond_the_cap_is_raised_at_once(autojump_clock):
    client, api = client_of([http_error(429, retry_after=3600)], max_retries=2)
    began = trio.current_time()
    with pytest.raises(ts.RateLimitError) as caught:
        async with client.messages.stream(**PARAMS):
            pass
    assert caught.value.retry_after == 3600
    assert trio.current_time() == began
    assert len(api.requests) == 1


async def test_retry_after_is_slept(autojump_clock):
    client, _ = client_of([http_error(429, retry_after=7)], [say("ok")], max_retries=1)
    began = trio.current_time()
    async with client.messages.stream(**PARAMS) as stream:
        assert trio.current_time() - began == pytest.approx(7, abs=0.5)
        await stream.until_done()


async def test_cancel_while_opening(autojump_clock):
    """`cancel` of a raw stream that another task is opening: that task learns that there is no stream."""
    client, api = client_of([stall()])
    stream = await client.messages.create(**PARAMS, stream=True)

    async def cancel_soon() -> None:
        await trio.sleep(1)
        stream.cancel("changed my mind")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel_soon)
        with pytest.raises(trio.ClosedResourceError):
            async with stream:
                pytest.fail("there is no stream")
    assert api.open_streams == 0
    assert stream.cancel_reason == "changed my mind"


async def test_public_async_functions_are_checkpoints(autojump_clock):
    """Whether they have to wait or not."""
    client, _ = client_of([say("Hello there", tps=1)], [say("x")])
    with trio.testing.assert_checkpoints():
        await client.__aenter__()
    manager = client.messages.stream(**PARAMS)
    with trio.testing.assert_checkpoints():
        stream = await manager.__aenter__()
    for function in (
        stream.until_done,
        stream.until_done,
        stream.get_final_message,
        stream.get_final_text,
        stream.aclose,
        stream.get_final_message,
    ):
        with trio.testing.assert_checkpoints():
            await function()
    await manager.__aexit__(None, None, None)
    with trio.testing.assert_checkpoints():
        await client.messages.create(**PARAMS)
    with trio.testing.assert_checkpoints():
        await client.__aexit__(None, None, None)
