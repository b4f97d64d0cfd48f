"""The blocking client: its thread, who may wait where, and every way to end."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest
import trio

import trio_stream as ts
from tests.forked import FORKS
from tests.processes import ROOT, environment
from tests.wire.answers import CHUNKED_HEAD, LAST_CHUNK, chunked
from tests.wire.events import BEGIN, DELTAS, END, PIECES
from tests.wire.server import Peer, serve
from trio_stream import blocking
from trio_stream.blocking import _batch, _feed, _hop, _loop
from trio_stream.testing import Batches, ScriptedAPI, pause, say, stall

from .api import PARAMS, client_of, until

LOOP = _loop.Loop(ts.Client(api_key="k"))
"""A loop that never begins."""


class Answer(msgspec.Struct):
    a: int


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "trio_stream.blocking"]


# Calls.


def test_calls() -> None:
    """Those without a stream, of the client and of a copy with other options."""
    with client_of([say("one")], [say('{"a": 1}')], [say("two")], [say('{"a": 2}')]) as (client, api):
        assert client.messages.create(**PARAMS).text == "one"
        assert client.messages.parse(**PARAMS, output=Answer) == Answer(1)
        assert client.messages.count_tokens(**{k: v for k, v in PARAMS.items() if k != "max_tokens"}).input_tokens > 0
        copy = client.with_options(default_headers={"x-test": "1"})
        assert copy.beta.messages.create(**PARAMS, betas=["new-2026-01-01"]).text == "two"
        assert api.requests[-1].headers["x-test"] == "1"
        assert api.requests[-1].headers["anthropic-beta"] == "new-2026-01-01"
        with copy.beta.messages.stream(**PARAMS, output=Answer) as stream:
            with pytest.raises(ts.IncompleteStreamError):
                stream.parse()
            stream.until_done()
        assert stream.parse() == stream.parse(Answer) == Answer(2)
        assert copy.beta.messages.count_tokens(
            **{k: v for k, v in PARAMS.items() if k != "max_tokens"}, betas=["x"]
        ).input_tokens
        with pytest.raises(TypeError, match="max_tokens"):
            client.messages.create(model="m", messages=[])
        with pytest.raises(TypeError, match="max_tokens"):
            client.messages.stream(model="m", messages=[])
        assert len(threads()) == 1
        assert client.instruments is client.instruments
        assert copy.instruments is copy.instruments
        assert client.limiter is copy.lane is None
    assert repr(client) == "<trio_stream.blocking.Client base_url='https://api.anthropic.com'>"


def test_more_kinds_of_streams_and_betas() -> None:
    with client_of([say("raw")], [say('{"a": 3}')], [say("beta")]) as (client, _):
        assert [event.type for event in client.beta.messages.create(**PARAMS, stream=True)][-1] == "message_stop"
        assert client.beta.messages.parse(**PARAMS, output=Answer) == Answer(3)
        with client.beta.messages.stream(**PARAMS) as stream:
            assert stream.get_final_text() == "beta"


def test_gathering() -> None:
    """Texts and outcomes of a list and of an iterator."""
    api = ScriptedAPI(default=lambda request: [say("Re: " + request.body["messages"][0]["content"])])
    with blocking.Client(api_key="test-key", transport=api) as client:
        options: dict[str, Any] = {"model": "claude-sonnet-4-5", "max_tokens": 16}
        texts = blocking.gather_texts(client, (f"q{number}" for number in range(20)), **options)
        assert texts == [f"Re: q{number}" for number in range(20)]
        outcomes = blocking.gather_outcomes(client, ["a", "b"], **options)
        assert [(outcome.status, outcome.text) for outcome in outcomes] == [("ok", "Re: a"), ("ok", "Re: b")]
        with pytest.raises(TypeError, match="output is not an option"):
            blocking.gather_texts(client, ["a"], **options, output=str)  # type: ignore[call-arg]


@pytest.mark.parametrize("beta", [False, True])
def test_batches(beta: bool) -> None:
    """Made, looked at, listed page by page, read line by line, cancelled and deleted."""
    api = ScriptedAPI(
        default=lambda request: [say("Re: " + request.body["messages"][0]["content"])], batches=Batches(seconds=0.0)
    )
    with blocking.Client(api_key="test-key", transport=api) as client:
        batches: Any = client.beta.messages.batches if beta else client.messages.batches
        requests = [{"custom_id": f"q-{n}", "params": {**PARAMS, "max_tokens": 16}} for n in range(3)]
        made = [batches.create(requests) for _ in range(3)]
        batch = batches.retrieve(made[0].id)
        until(lambda: batches.retrieve(batch.id).ended)
        batch = batches.retrieve(batch.id)
        with batches.results(batch) as lines:
            found = {line.custom_id: line.result.message.text for line in lines}
        assert found == {f"q-{n}": "Re: Hi" for n in range(3)}
        assert len(list(batches.results(batch.id))) == 3
        page = batches.list(limit=2)
        assert len(page.data) == 2
        assert page.has_next_page()
        assert {each.id for each in page} == {each.id for each in made}
        assert {page.first_id, page.last_id} == {each.id for each in page.data}
        assert page.response.status_code == 200
        assert repr(page) == "<MessageBatchPage: 2 batches, has_more=True>"
        assert not page.get_next_page().has_next_page()
        with pytest.raises(RuntimeError, match="last page"):
            page.get_next_page().get_next_page()
        with pytest.raises(ts.BadRequestError, match="it has ended"):
            batches.cancel(made[1].id)
        assert batches.delete(batch.id).id == batch.id


# Where it is used.


def test_in_a_task_of_trio() -> None:
    """It would stop all other tasks, so it says what to use."""
    with client_of([say("one"), stall()]) as (client, api):
        with client.messages.stream(**PARAMS) as stream:
            next(stream)
            raw_events = blocking.Client(api_key="k", transport=api).messages

            async def main() -> None:
                for use in (
                    lambda: client.messages.create(**PARAMS),
                    lambda: client.messages.stream(**PARAMS).__enter__(),
                    lambda: list(stream),
                    lambda: raw_events.count_tokens(model="m", messages=[]),
                ):
                    with pytest.raises(RuntimeError, match=r"use trio_stream\.Client"):
                        use()
                with trio.fail_after(10):
                    assert await trio.to_thread.run_sync(lambda: stream.text) is not None

            trio.run(main)


def test_under_asyncio() -> None:
    """As in a notebook: it blocks, and works."""
    with client_of([say("one")], [say("two")]) as (client, _):

        async def main() -> tuple[str, str]:
            here = client.messages.create(**PARAMS).text
            return here, await asyncio.to_thread(lambda: client.messages.create(**PARAMS).text)

        assert asyncio.run(main()) == ("one", "two")


def test_many_threads() -> None:
    """One client, one thread for all of them; each gets its own answer."""
    api = ScriptedAPI(default=lambda request: [say(*[request.body["messages"][0]["content"]] * 50)])
    with blocking.Client(api_key="test-key", transport=api) as client:
        found: dict[str, str] = {}

        def read(name: str) -> None:
            with client.messages.stream(**{**PARAMS, "messages": [{"role": "user", "content": name}]}) as stream:
                found[name] = "".join(stream.text_stream)

        readers = [threading.Thread(target=read, args=(f"t{number}",)) for number in range(16)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        assert found == {f"t{number}": f"t{number}" * 50 for number in range(16)}
        assert len(threads()) == 1


def test_context_variables_of_the_caller() -> None:
    """What a call has set is seen by what it calls, and by instruments."""
    variable = contextvars.ContextVar("variable", default="none")
    seen: list[tuple[str, str]] = []

    def key() -> str:
        seen.append(("key", variable.get()))
        return "test-key"

    def instrument(moment: ts.Moment) -> None:
        if isinstance(moment, ts.CallStart):
            seen.append(("start", variable.get()))

    with blocking.Client(api_key=key, transport=ScriptedAPI([say("one")], [say("two")])) as client:
        variable.set("mine")
        with ts.instrumented(instrument):
            client.messages.create(**PARAMS)
            with client.messages.stream(**PARAMS) as stream:
                stream.until_done()
    assert set(seen) == {("key", "mine"), ("start", "mine")}


# Ending.


def test_closing() -> None:
    """Whoever waits is told, and so is every later call; plain attributes stay."""
    with client_of([say("one"), stall()], [stall()]) as (client, api):
        errors: list[BaseException] = []

        def wait(use: Callable[[], object]) -> None:
            try:
                use()
            except BaseException as error:  # noqa: BLE001
                errors.append(error)

        stream = client.messages.stream(**PARAMS).__enter__()
        waiting = [
            threading.Thread(target=wait, args=(use,))
            for use in (stream.until_done, lambda: client.messages.create(**PARAMS))
        ]
        for thread in waiting:
            thread.start()
        until(lambda: len(api.requests) == 2 and stream.text == "one")
        client.close()
        for thread in waiting:
            thread.join()
        assert [type(error) for error in errors] == [trio.ClosedResourceError] * 2
        for use in (
            lambda: client.messages.create(**PARAMS),
            lambda: client.messages.stream(**PARAMS),
            lambda: next(stream),
            client.__enter__,
        ):
            with pytest.raises(trio.ClosedResourceError):
                use()
        assert stream.text == "one"
        stream.close()
        client.close()
        assert threads() == []


def test_a_client_that_never_called_anything() -> None:
    with blocking.Client(api_key="k"):
        assert threads() == []
    client = blocking.Client(api_key="k")
    client.close()
    with pytest.raises(trio.ClosedResourceError):
        client.messages.create(**PARAMS)


def test_a_dropped_client_ends_its_thread() -> None:
    """Once nothing that was made by it is held either."""
    api = ScriptedAPI([say("one"), stall()])
    client = blocking.Client(api_key="test-key", transport=api)
    stream = client.messages.stream(**PARAMS).__enter__()
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None
    assert next(stream.text_stream) == "one"
    del stream
    gc.collect()
    assert threads() == []
    assert api.open_streams == 0


def test_a_client_that_is_dropped_in_its_own_thread() -> None:
    """That thread cannot wait for itself, and ends all the same."""
    held = [blocking.Client(api_key="k", transport=ScriptedAPI([say("one")]))]
    held[0].messages.create(**PARAMS)
    held[0].in_loop()[0].post(held.clear)
    until(lambda: threads() == [])
    assert held == []


def test_a_thread_that_does_not_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing waits for it, not longer than so long."""
    monkeypatch.setattr(_loop, "INTERRUPT_SECONDS", 0.02)
    with blocking.Client(api_key="k", transport=ScriptedAPI([say("one")])) as client:
        client.messages.create(**PARAMS)
        client.in_loop()[0].post(lambda: time.sleep(0.2))
    assert len(threads()) == 1
    until(lambda: threads() == [])


def test_a_loop_that_was_stopped_before_it_began() -> None:
    """Its thread ends at once, and so does a second one that an interrupt has had started."""
    loop = _loop.Loop(ts.Client(api_key="k"))
    with pytest.raises(trio.ClosedResourceError):
        loop.post(list)
    loop._stopping = True
    call = _loop._Call(LOOP, nothing)
    loop.live.add(call)
    for _ in range(2):
        thread = threading.Thread(target=loop._run)
        thread.start()
        thread.join()
    assert isinstance(call.error, trio.ClosedResourceError)
    loop.stop()
    with pytest.raises(trio.ClosedResourceError):
        loop.call(nothing)
    with client_of([say("one")]) as (client, _):
        client.messages.create(**PARAMS)
        loop = client.in_loop()[0]
    with pytest.raises(trio.ClosedResourceError):
        loop.post(list)


def test_a_loop_that_another_thread_has_just_started() -> None:
    """It is waited for, and not started again."""
    loop = _loop.Loop(ts.Client(api_key="k"))
    loop._thread = threading.current_thread()
    threading.Timer(0.02, lambda: threading.Thread(target=loop._run, daemon=True).start()).start()
    assert loop.call(nothing) is None
    loop.stop()


async def nothing() -> None:
    """What a loop may be asked to do."""


def test_the_loop_ends_with_an_error() -> None:
    """Every waiter gets that error, and later calls say so."""
    with client_of([say("one"), stall()], [stall()]) as (client, api):
        errors: list[BaseException] = []

        def wait(use: Callable[[], object]) -> None:
            try:
                use()
            except BaseException as error:  # noqa: BLE001
                errors.append(error)

        stream = client.messages.stream(**PARAMS).__enter__()
        waiting = [
            threading.Thread(target=wait, args=(use,))
            for use in (stream.until_done, lambda: client.messages.create(**PARAMS))
        ]
        for thread in waiting:
            thread.start()
        until(lambda: len(api.requests) == 2 and stream.text == "one")

        def fail() -> None:
            raise ZeroDivisionError

        client.in_loop()[0].post(fail)
        for thread in waiting:
            thread.join()
        assert [type(error) for error in errors] == [trio.TrioInternalError] * 2
        assert errors[0] is errors[1]
        until(lambda: threads() == [])
        with pytest.raises(RuntimeError, match="has ended with an error") as caught:
            client.messages.create(**PARAMS)
        assert isinstance(caught.value.__cause__, trio.TrioInternalError)


def test_nobody_is_told_of_what_a_failing_loop_brings_about() -> None:
    """Its error is not known before its end."""
    failing: Any = _loop.Loop(ts.Client(api_key="k"))
    failing.is_failing = True
    call = _loop._Call(failing, nothing)
    trio.run(call.run)
    assert not call.done
    error = ZeroDivisionError()
    with client_of([say("one"), stall()]) as (client, _):
        loop = client.in_loop()[0]
        stream = client.messages.stream(**PARAMS).__enter__()
        feed: Any = stream._reading.feed
        errors: list[BaseException] = []

        def read() -> None:
            try:
                stream.until_done()
            except BaseException as error:  # noqa: BLE001
                errors.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        until(lambda: feed._wanted is not None)
        loop.is_failing = True
        loop.post(feed.stream._stream.close_now)
        loop.post(lambda: None)
        until(lambda: feed._scope is None)
        assert errors == []
        loop.is_failing = False
        feed.loop_ended(error)
        thread.join()
        assert errors == [error]


def test_what_a_call_raises_is_the_same_object() -> None:
    """Whatever it is: also what would end a run of Trio."""

    class Stop(BaseException):
        pass

    stop = Stop()

    def key() -> str:
        raise stop

    with blocking.Client(api_key=key, transport=ScriptedAPI([say("one")])) as client:
        for use in (lambda: client.messages.create(**PARAMS), client.messages.stream(**PARAMS).__enter__):
            with pytest.raises(Stop) as caught:
                use()
            assert caught.value is stop
        assert len(threads()) == 1


def test_no_frame_shows_a_key() -> None:
    """Neither in the traceback of a client that cannot be made, nor in what it is made of."""
    with pytest.raises(ValueError, match="max_retries") as caught:
        blocking.Client(api_key="sk-secret-key", max_retries=-1)
    for frame, _ in traceback.walk_tb(caught.value.__traceback__):
        if "trio_stream" in frame.f_code.co_filename and "tests" not in frame.f_code.co_filename:
            assert "sk-secret-key" not in repr(frame.f_locals)
    client = blocking.Client(api_key="sk-secret-key")
    assert "sk-secret-key" not in repr(vars(client)) + repr(vars(client._source))


# Interrupts that are not signals.


class Interrupt(BaseException):
    """What a signal handler raises."""


def interrupt_the_next_wait(monkeypatch: pytest.MonkeyPatch, of: type, name: str = "wait") -> None:
    """Have the next wait of this kind interrupted before it waits."""
    wait = getattr(of, name)

    def interrupted(*_: object, **__: object) -> None:
        monkeypatch.setattr(of, name, wait)
        raise Interrupt

    monkeypatch.setattr(of, name, interrupted)


def test_an_interrupt_while_the_loop_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for the loop, not longer than so long; the next call waits for what was interrupted, and loses nothing."""
    monkeypatch.setattr(_hop, "INTERRUPT_SECONDS", 0.02)
    with client_of([say("one"), pause(0.5), say("two")]) as (client, _):
        with client.messages.stream(**PARAMS) as stream:
            texts = stream.text_stream
            assert next(texts) == "one"
            client.in_loop()[0].post(lambda: time.sleep(0.2))
            interrupt_the_next_wait(monkeypatch, _hop.Hop)
            with pytest.raises(Interrupt):
                next(texts)
            assert "".join(texts) == "two"


def test_interrupts_of_opening_and_leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left open, and the client goes on."""
    api = ScriptedAPI(default=[say("one"), stall()])
    with blocking.Client(api_key="test-key", transport=api) as client:
        interrupt_the_next_wait(monkeypatch, _hop.Hop)
        with pytest.raises(Interrupt):
            client.messages.stream(**PARAMS).__enter__()
        until(lambda: api.open_streams == 0)
        manager = client.messages.stream(**PARAMS)
        stream = manager.__enter__()
        interrupt_the_next_wait(monkeypatch, threading.Event)
        with pytest.raises(Interrupt):
            manager.__exit__(None, None, None)
        assert api.open_streams == 0
        with pytest.raises(trio.ClosedResourceError):
            next(stream)
        interrupt_the_next_wait(monkeypatch, _hop.Hop)
        with pytest.raises(Interrupt):
            client.messages.create(**PARAMS)
        assert api.open_streams == 0
        with client.messages.stream(**PARAMS) as stream:
            assert next(stream.text_stream) == "one"


def test_an_interrupt_before_anything_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that was not posted is not made."""
    with client_of([say("one")]) as (client, api):
        assert client.messages.create(**PARAMS).text == "one"
        loop = client.in_loop()[0]
        interrupt_the_next_wait(monkeypatch, type(loop), "post")
        with pytest.raises(Interrupt):
            client.messages.create(**PARAMS)
        interrupt_the_next_wait(monkeypatch, type(loop), "post")
        with pytest.raises(Interrupt):
            client.messages.stream(**PARAMS).__enter__()
        assert loop.live == set()
        assert len(api.requests) == 1


def test_a_call_that_is_given_up_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    with client_of([say("one")]) as (client, api):
        loop = client.in_loop()[0]
        client.messages.count_tokens(model="m", messages=PARAMS["messages"])
        begin = loop.begin

        def interrupted(*args: Any) -> None:
            begin(*args)
            raise Interrupt

        loop.post(lambda: time.sleep(0.05))
        monkeypatch.setattr(loop, "begin", interrupted)
        with pytest.raises(Interrupt):
            client.messages.create(**PARAMS)
        monkeypatch.undo()
        assert client.messages.create(**PARAMS).text == "one"
        assert len(api.requests) == 2


def test_what_waits_when_the_loop_ends() -> None:
    """Also what had not begun by then is told, with the error of the loop."""
    error = ZeroDivisionError()
    call = _loop._Call(LOOP, nothing)
    call.loop_ended(error)
    assert call.done
    assert call.error is error
    call.loop_ended(ValueError())
    assert call.error is error
    with client_of() as (client, _):
        loop, asynchronous = client.in_loop()
        feed: Any = _feed.Feed(loop, asynchronous.messages.stream(**PARAMS), of_message=True)
        loop.begin = lambda waiting, _function: waiting.loop_ended(error)  # type: ignore[method-assign]
        with pytest.raises(ZeroDivisionError):
            feed.open()
        feed._read = _feed._Read(1)
        feed.leave(None)
        feed.loop_ended(error)
        assert feed._read.done
        assert feed.batch.end is error
        feed._read = _feed._Read(1)
        feed._look()
        assert feed._read.done
        feed._read = _feed._Read(1)
        feed._end_read()
        assert feed._read.done
        feed.read()


def test_threads_that_ask_at_the_same_time() -> None:
    """One has waited already for what another one asks for; or the stream has been left by then."""
    with client_of([say("one")]) as (client, _):
        with client.messages.stream(**PARAMS) as stream:
            next(stream)
            feed: Any = stream._reading.feed
            left = feed.batch.left
            feed.read()
            stream._reading.wait()
            feed._read = read = _feed._Read(1)
            feed._ask()
            assert read.wait(10)
            assert feed.batch.left == left
        feed.batch = _batch.Batch([])
        feed.read()
        assert isinstance(feed.batch.end, trio.ClosedResourceError)


def test_leaving_raises_what_leaving_the_block_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """If ever that fails, it is no failure of the loop."""
    with client_of([say("one")], [say("two")]) as (client, _):
        leave = ts.MessageStreamManager.__aexit__

        async def fails(self: Any, *exc: Any) -> bool | None:
            await leave(self, *exc)
            raise ZeroDivisionError

        monkeypatch.setattr(ts.MessageStreamManager, "__aexit__", fails)
        with pytest.raises(ZeroDivisionError), client.messages.stream(**PARAMS):
            pass
        monkeypatch.undo()
        assert client.messages.create(**PARAMS).text == "two"


def test_on_windows_a_wait_looks_up_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait without a timeout would not be interrupted there."""
    monkeypatch.setattr(_hop, "_TICK", 0.01)
    hop = _hop.Hop()
    assert not hop.wait(0.03)
    threading.Timer(0.03, hop.finish).start()
    assert hop.wait()


# The same surface.

NOT_HERE = {
    "Client": {"aclose": "it is `close`"},
    "MessageStream": {
        "aclose": "it is `close`",
        "nursery": "it is for tasks",
        "cancel": "it is for tasks; `close` ends it from another thread",
        "cancel_reason": "there is no `cancel`",
        "close_now": "`close` does not wait on the peer either",
        "keep_raw_data": "events are handed over together, without their data",
        "raw_data": "as `keep_raw_data`",
    },
    "MessageStreamManager": {"keep_raw_data": "as of the stream"},
    "MessageBatchPages": {"get_first_page": "`list` itself returns the first page"},
}
NOT_HERE["EventStream"] = NOT_HERE["BatchResults"] = NOT_HERE["MessageStream"]


def names(of: type) -> set[str]:
    return {name for name in dir(of) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (ts.Client, blocking.Client),
        (ts.MessageStream, blocking.MessageStream),
        (ts.EventStream, blocking.EventStream),
        (ts.BatchResults, blocking.BatchResults),
        (ts.MessageStreamManager, blocking.MessageStreamManager),
        (ts.MessageBatchPage, blocking.MessageBatchPage),
        (ts.PieceView, blocking.PieceView),
        (ts.TextChunks, blocking.TextChunks),
        (type(ts.Client(api_key="k").messages), blocking.Messages),
        (type(ts.Client(api_key="k").beta.messages), blocking.BetaMessages),
        (type(ts.Client(api_key="k").messages.batches), blocking.Batches),
        (type(ts.Client(api_key="k").beta.messages.batches), blocking.BetaBatches),
    ],
    ids=lambda value: value.__name__,
)
def test_it_has_each_name_of_the_asynchronous_one(theirs: type, ours: type) -> None:
    """Or says why not; and each method takes the same parameters."""
    not_here = NOT_HERE.get(theirs.__name__, {}).keys()
    assert names(theirs) - names(ours) == not_here & names(theirs)
    for name in ["__init__", *names(theirs) & names(ours)] if theirs is ts.Client else names(theirs) & names(ours):
        method = getattr(theirs, name)
        if callable(method):
            assert parameters(getattr(ours, name)) == parameters(method), name


def parameters(method: Any) -> list[tuple[str, Any, Any]]:
    return [
        (each.name, each.kind, each.default)
        for each in inspect.signature(method).parameters.values()
        if each.name != "self"
    ]


# Programs.


async def test_a_program_that_ends_with_an_open_stream() -> None:
    """It ends at once with status 0, and its connections are closed."""

    async def script(peer: Peer) -> None:
        await peer.answer(CHUNKED_HEAD + chunked(*BEGIN, *DELTAS))
        await peer.until_closed()

    async with serve(script) as server:
        args = ["-m", "tests.blocking.programs", "exit", server.base_url]
        with trio.fail_after(30):
            done = await FORKS.run(args, env=environment(measured=True), cwd=ROOT)
        assert (done.returncode, done.stdout.decode().strip(), done.stderr) == (0, PIECES[0], b"")
        await server.closed(0)


async def test_a_program_that_forks() -> None:
    """The child uses its own connections, and nothing is sent on those of its parent, whose stream goes on."""
    parents = trio.Event()

    async def script(peer: Peer) -> None:
        if len(server.peers) == 1:
            await peer.answer(CHUNKED_HEAD + chunked(*BEGIN, DELTAS[0]))
            await parents.wait()
            await peer.send(chunked(*DELTAS[1:], *END), LAST_CHUNK)
        else:
            for _ in range(2):
                await peer.answer(CHUNKED_HEAD + chunked(*BEGIN, *DELTAS, *END) + LAST_CHUNK)
            await peer.until_closed()
            parents.set()

    async with serve(script) as server:
        args = ["-m", "tests.blocking.programs", "fork", server.base_url]
        with trio.fail_after(30):
            done = await FORKS.run(args, env=environment(measured=True), cwd=ROOT)
        said = done.stdout.decode().splitlines()
        assert (done.returncode, done.stderr) == (0, b"")
        assert said[0] == "parent: Hello"
        assert [line.partition(" from: ")[0][:50] for line in said[1:4]] == [
            "child: this stream belongs to the process that thi"
        ] * 3
        assert said[4:] == ["child: Hello there, world. 1", "parent:  there, world."]
        assert len(server.peers) == 2
        assert len(server.peers[0].requests) == 1


class NoAnswer(httpx.AsyncBaseTransport):
    """A server that takes requests and never answers."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.set()
        await trio.sleep_forever()


def test_closing_ends_a_call_of_another_thread() -> None:
    """Also one that is no stream: it gets the same error as what is closed."""
    transport = NoAnswer()
    client = blocking.Client(api_key="k", transport=transport)
    errors: list[BaseException] = []

    def count() -> None:
        try:
            client.messages.count_tokens(model="claude-opus-5", messages=PARAMS["messages"])
        except trio.ClosedResourceError as error:
            errors.append(error)

    thread = threading.Thread(target=count)
    thread.start()
    assert transport.asked.wait(10)
    client.close()
    thread.join(10)
    assert len(errors) == 1


def test_it_tells_the_version_of_the_api() -> None:
    with blocking.Client(api_key="k", transport=NoAnswer(), anthropic_version="2023-06-01") as client:
        assert client.anthropic_version == "2023-06-01"
