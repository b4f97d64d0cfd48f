"""The sweep finds what is left behind, wherever it is, and nothing where there is nothing."""

from __future__ import annotations

import gc
import os
import socket
import sys
import warnings
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
import trio
import trio.testing

from trio_stream.testing import ScriptedAPI, _leftovers, cancel_everywhere, say, stall
from trio_stream.testing._leftovers import MOST_IMMORTAL, open_descriptors

from .answers import BODY, KEY

Log = list[str]


async def test_every_step_is_reached(autojump_clock: trio.testing.MockClock) -> None:
    """A run is cut after each thing that happens in it, in the task itself and in its child."""
    log: Log = []

    async def child() -> None:
        for number in range(2):
            await trio.sleep(1.4)
            log.append(f"child {number}")

    async def fn() -> None:
        log.append("begin")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            for number in range(3):
                await trio.sleep(1)
                log.append(f"parent {number}")
        log.append("end")

    runs: list[Log] = []

    def check() -> None:
        runs.append(log.copy())
        log.clear()

    steps = await cancel_everywhere(fn, check, when="before")
    whole = ["begin", "parent 0", "child 0", "parent 1", "child 1", "parent 2", "end"]
    assert runs[0] == runs[-1] == whole
    assert len(runs) == steps + 2
    assert all(run == whole[: len(run)] for run in runs)
    assert {len(run) for run in runs} == {1, 2, 3, 4, 5, 7}  # nothing can be cancelled between the last two


@pytest.mark.parametrize("when", ["before", "after", "both"])
async def test_how_many_runs_are_cancelled(when: Literal["before", "after", "both"]) -> None:
    async def fn() -> None:
        for _ in range(5):
            await trio.lowlevel.checkpoint()

    # Five checkpoints make six steps; each checkpoint is one schedule of the task.
    assert await cancel_everywhere(fn, when=when) == (12 if when == "both" else 6)


async def test_a_sample_of_the_steps() -> None:
    """It begins with the first step, and ends with the run."""
    whole = await cancel_everywhere(three_steps, when="before")
    assert await cancel_everywhere(three_steps, when="before", every=2) == (whole + 1) // 2
    assert await cancel_everywhere(three_steps, when="before", every=whole) == 1


async def three_steps() -> None:
    for _ in range(3):
        await trio.lowlevel.checkpoint()


async def test_the_reason_is_given() -> None:
    reasons: list[str] = []

    async def fn() -> None:
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            reasons.append(str(cancelled))
            raise

    await cancel_everywhere(fn, when="before")
    assert "cancel_everywhere: before task step 0" in reasons[0]


async def test_only_descendants_are_counted_and_cancelled() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async def fn() -> None:
        await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        assert await cancel_everywhere(fn, when="before") == 2
        before = turns
        await trio.sleep(0.001)
        assert turns > before
        nursery.cancel_scope.cancel(reason="seen")


async def test_checks_may_be_async_and_their_failure_is_named() -> None:
    async def fn() -> None:
        await trio.lowlevel.checkpoint()

    calls = 0

    async def check() -> None:
        nonlocal calls
        calls += 1
        await trio.lowlevel.checkpoint()
        assert calls < 3, "third time"

    with pytest.raises(AssertionError, match=r"cancelled before task step 1 .*: the check fails.*third time") as caught:
        await cancel_everywhere(fn, check)
    assert isinstance(caught.value.__cause__, AssertionError)


class Cycle:
    """Keeps itself alive until the garbage collector comes."""

    def __init__(self, held: object) -> None:
        self.held = held
        self.me = self


async def never() -> None:
    await trio.sleep_forever()


async def ticks() -> AsyncIterator[int]:
    for number in range(10):
        await trio.lowlevel.checkpoint()
        yield number


async def leak_a_socket() -> None:
    held = socket.socket()
    await trio.lowlevel.checkpoint()
    held.close()


pipes: list[tuple[int, int]] = []


async def leak_a_pipe() -> None:
    """No object owns it, so no warning tells of it: only the descriptors do."""
    pipes.append(os.pipe())
    await trio.lowlevel.checkpoint()
    close_pipes()


def close_pipes() -> None:
    while pipes:
        for number in pipes.pop():
            os.close(number)


async def leak_a_cycle_with_a_socket() -> None:
    sock = socket.socket()
    Cycle(sock)
    await trio.lowlevel.checkpoint()
    sock.close()


async def leak_a_coroutine() -> None:
    later = never()
    await trio.lowlevel.checkpoint()
    later.close()


async def leak_an_async_generator() -> None:
    async for number in ticks():
        if number == 3:
            break
    await trio.lowlevel.checkpoint()


class Raises:
    def __del__(self) -> None:
        raise RuntimeError("in __del__")


async def leak_an_exception() -> None:
    held: object = Raises()
    await trio.lowlevel.checkpoint()
    del held


async def swallow_and_fail() -> None:
    try:
        await trio.lowlevel.checkpoint()
    except trio.Cancelled:
        raise ValueError("instead") from None  # what a careless conversion does


async def fail_in_a_child() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(swallow_and_fail)


@pytest.mark.parametrize(
    ("fn", "text"),
    [
        (leak_a_socket, r"cancelled before task step 0 \(.*\): left behind: ResourceWarning: unclosed <socket"),
        (leak_a_pipe, r"cancelled before task step 0 .*file descriptor \d+ \(pipe:\[\d+\]\)"),
        (leak_a_cycle_with_a_socket, r"cancelled before .*ResourceWarning: unclosed <socket"),
        (leak_a_coroutine, r"coroutine 'never' was never awaited"),
        (leak_an_async_generator, r"ResourceWarning: Async generator .*ticks"),
        (leak_an_exception, r"without any cancellation: left behind: Exception ignored in.*RuntimeError: in __del__"),
        (swallow_and_fail, r"cancelled before task step 0 .*: ValueError left swallow_and_fail"),
        (fail_in_a_child, r"cancelled .*: ExceptionGroup left fail_in_a_child"),
    ],
)
async def test_what_is_left_behind_is_found(fn: Callable[[], Any], text: str) -> None:
    if fn is leak_a_pipe and open_descriptors() is None:
        pytest.skip("this system does not list its descriptors")
    with pytest.raises(AssertionError, match=text) as caught:
        await cancel_everywhere(fn)
    if "ValueError" in text or "RuntimeError" in text:
        assert caught.value.__cause__ is not None
    close_pipes()


async def test_a_failure_without_cancellation_is_named() -> None:
    async def fn() -> None:
        raise ValueError("always")

    with pytest.raises(AssertionError, match=r"without any cancellation: ValueError left .*fn") as caught:
        await cancel_everywhere(fn)
    assert isinstance(caught.value.__cause__, ValueError)


async def test_a_failure_in_the_last_run_is_named() -> None:
    async def fn() -> None:
        await trio.lowlevel.checkpoint()

    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        assert calls < 4

    with pytest.raises(AssertionError, match="after 2 steps without a cancellation: the check fails"):
        await cancel_everywhere(fn, check, when="after")


async def test_a_system_that_does_not_list_its_descriptors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_leftovers, "_DIRECTORIES", (tmp_path / "none",))
    assert open_descriptors() is None

    async def fn() -> None:
        await trio.lowlevel.checkpoint()

    assert await cancel_everywhere(fn, when="before") == 2
    (tmp_path / "7").touch()
    monkeypatch.setattr(_leftovers, "_DIRECTORIES", (tmp_path,))
    assert open_descriptors() == {"7": "of a kind not told"}


async def test_a_function_that_never_comes_to_its_end_is_given_up() -> None:
    async def fn() -> None:
        for _ in range(100):
            await trio.lowlevel.checkpoint()

    with pytest.raises(AssertionError, match="takes more than 10 task steps"):
        await cancel_everywhere(fn, max_steps=10)


async def test_the_outer_cancellation_is_respected(autojump_clock: trio.testing.MockClock) -> None:
    async def fn() -> None:
        await trio.sleep(10)

    with trio.move_on_after(5) as scope:
        await cancel_everywhere(fn)
    assert scope.cancelled_caught


async def test_everything_is_put_back() -> None:
    async def fn() -> None:
        await trio.lowlevel.checkpoint()

    hook, filters, frozen = sys.unraisablehook, list(warnings.filters), gc.get_freeze_count()
    await cancel_everywhere(fn)
    assert sys.unraisablehook is hook
    assert list(warnings.filters) == filters
    assert (gc.get_freeze_count() > MOST_IMMORTAL) == (frozen > MOST_IMMORTAL)


async def test_other_warnings_are_passed_on() -> None:
    async def fn() -> None:
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        await trio.lowlevel.checkpoint()

    with pytest.warns(DeprecationWarning, match="old") as caught:
        await cancel_everywhere(fn)
    assert len(caught) == 1


async def test_a_frozen_heap_stays_frozen() -> None:
    """As it is in each of these tests: thawing it would make every later collection look at all of them."""

    async def fn() -> None:
        await trio.lowlevel.checkpoint()

    gc.freeze()
    await cancel_everywhere(fn)
    assert gc.get_freeze_count() > MOST_IMMORTAL


async def test_a_heap_that_was_not_frozen_is_thawed_again() -> None:
    """It is frozen while the sweep lasts."""
    seen: list[int] = []

    async def fn() -> None:
        seen.append(gc.get_freeze_count())
        await trio.lowlevel.checkpoint()

    gc.unfreeze()
    try:
        await cancel_everywhere(fn)
        assert gc.get_freeze_count() < MOST_IMMORTAL
    finally:
        gc.freeze()
    assert min(seen) > MOST_IMMORTAL


async def test_an_action_is_called_at_every_step_in_place_of_a_cancellation(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Each run but the first and the last has its action once, one step later each time, and is not cancelled."""
    log: Log = []

    async def fn() -> None:
        for number in range(3):
            log.append(str(number))
            await trio.sleep(1)

    runs: list[Log] = []

    def check() -> None:
        runs.append(log.copy())
        log.clear()

    assert await cancel_everywhere(fn, check, action=lambda: log.append("action"), when="after") == 4
    assert runs == [
        ["0", "1", "2"],
        ["0", "action", "1", "2"],
        ["0", "1", "action", "2"],
        ["0", "1", "2", "action"],
        ["0", "1", "2", "action"],  # after the last step, in which nothing more is done
        ["0", "1", "2"],
    ]


async def test_an_action_reaches_what_the_run_made() -> None:
    """Through a variable that the function sets, which is how an agent is interrupted."""
    scope: trio.CancelScope | None = None
    ended: list[bool] = []

    async def fn() -> None:
        nonlocal scope
        scope = None
        await trio.lowlevel.checkpoint()
        scope = trio.CancelScope()
        with scope:
            for _ in range(3):
                await trio.lowlevel.checkpoint()
        ended.append(scope.cancelled_caught)

    def action() -> None:
        if scope is not None:
            scope.cancel(reason="the test")

    assert await cancel_everywhere(fn, action=action, when="before") == 5
    assert ended == [False, False, False, True, True, True, False]


async def test_the_watch_is_called_after_every_step_of_the_run_alone() -> None:
    """Of the run's own tasks and in every run, and once more after the action."""
    looks = 0

    def watch() -> None:
        nonlocal looks
        looks += 1

    async def other() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    async def fn() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.checkpoint)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        steps = await cancel_everywhere(fn, watch=watch, action=lambda: None, when="before")
        nursery.cancel_scope.cancel(reason="seen")
    assert looks == steps * (steps + 2) + steps  # each run takes the same number of steps


@pytest.mark.parametrize("fails", [AssertionError("not valid"), pytest.fail.Exception("not valid")])
async def test_a_watch_that_fails_ends_the_run_and_names_the_step(fails: BaseException) -> None:
    """Also where the error is none of `Exception`, and the first failure is the one that is told."""
    state = ""
    ended = False

    def watch() -> None:
        if state == "broken":
            raise fails

    async def fn() -> None:
        nonlocal state, ended
        state = "good"
        await trio.lowlevel.checkpoint()
        state = "broken"
        await trio.lowlevel.checkpoint()
        ended = True

    with pytest.raises(
        AssertionError,
        match=r"^without any cancellation: `watch` fails after task step 1 \(.*fn in test_.*\): \w+: not valid$",
    ) as caught:
        await cancel_everywhere(fn, watch=watch)
    assert caught.value.__cause__ is fails
    assert not ended


async def test_a_watch_that_fails_after_a_cancellation() -> None:
    """The sentence says at which step the run was cancelled, and after which the condition did not hold."""
    bad = False

    async def fn() -> None:
        nonlocal bad
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            bad = True
            raise

    def watch() -> None:
        assert not bad, "is bad"

    text = r"cancelled before task step 0 \(.*\): `watch` fails after task step \d \(.*\): AssertionError: is bad"
    with pytest.raises(AssertionError, match=text):
        await cancel_everywhere(fn, watch=watch)


async def test_an_action_that_fails_or_leaves_the_condition_broken() -> None:
    """Both are told with the step; an action that failed is not followed by a look."""
    done = False

    async def fn() -> None:
        await trio.lowlevel.checkpoint()

    def action() -> None:
        nonlocal done
        done = True

    def failing() -> None:
        action()
        raise ValueError("no")

    def watch() -> None:
        assert not done, "was done"

    with pytest.raises(AssertionError, match=r"^action called before task step 0 .*: `action` fails .*ValueError: no"):
        await cancel_everywhere(fn, action=failing, watch=watch)
    done = False
    with pytest.raises(
        AssertionError, match=r"^action called after task step 0 .*: `watch` fails right after `action`"
    ):
        await cancel_everywhere(fn, action=action, watch=watch, when="after")


async def test_a_run_without_its_action_is_told_as_that() -> None:
    """The first run and the last have no action."""
    calls = 0

    async def fn() -> None:
        await trio.lowlevel.checkpoint()

    def check() -> None:
        nonlocal calls
        calls += 1
        assert calls not in (1, 6)

    with pytest.raises(AssertionError, match=r"^without any action: the check fails"):
        await cancel_everywhere(fn, check, action=lambda: None, when="after")
    calls = 2
    with pytest.raises(AssertionError, match=r"^after 2 steps without an action: the check fails"):
        await cancel_everywhere(fn, check, action=lambda: None, when="after")


async def test_in_memory_under_a_mock_clock(autojump_clock: trio.testing.MockClock) -> None:
    api = ScriptedAPI(default=[say("a b", ttft=1, tps=1), say("c", ttft=5)])

    async def fn() -> None:
        request = httpx.Request("POST", "http://api/v1/messages", json=BODY, headers=KEY)
        response = await api.handle_async_request(request)
        body = response.extensions["trio_stream.body"]
        try:
            while await body.receive_some():
                pass
        finally:
            body.close()

    def check() -> None:
        assert api.open_streams == 0

    assert await cancel_everywhere(fn, check) > 6


async def test_over_real_sockets_with_a_server_in_the_same_program() -> None:
    api = ScriptedAPI(default=[say("a"), stall()])
    async with api.serve() as server:

        async def fn() -> None:
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            try:
                await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                await stream.receive_some()
            finally:
                stream.socket.close()

        async def leaky() -> None:
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await stream.receive_some()
            await trio.lowlevel.checkpoint()
            stream.socket.close()

        async def check() -> None:
            await server.wait_no_connections()

        assert await cancel_everywhere(fn, check) > 4
        with pytest.raises(AssertionError, match="left behind: ResourceWarning: unclosed <socket"):
            await cancel_everywhere(leaky)
