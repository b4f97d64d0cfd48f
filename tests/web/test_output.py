"""What a program may say in a response, and what comes out of it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

import trio_stream as ts
from tests.agent.talking import conversation, wait
from tests.stream.api import PARAMS, client_of
from tests.web.host import Peer
from tests.web.reading import events, names, text
from trio_stream import web
from trio_stream.testing import ScriptedAPI, call, event, fail, http_error, pause, say, stall


async def served(answer: Any, encoder: web.Encoder | None = None, **options: Any) -> tuple[Peer, web.Relay]:
    relay = web.Relay(answer, encoder or web.Anthropic(), **options)
    peer = Peer()
    await peer.run(relay)
    return peer, relay


def lines(body: bytes) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in body.split(b"\n") if line]


async def test_several_streams_and_data_of_ones_own(autojump_clock):
    """In the order in which they are said."""
    client, _ = client_of([say("one")], [say("two")])

    async def answer(out: web.Output) -> None:
        for number in (1, 2):
            await out.emit({"type": "data-number", "number": number})
            async with client.messages.stream(**PARAMS) as stream:
                await out.relay(stream)

    peer, relay = await served(answer)
    assert text(peer.body) == "onetwo"
    assert [name for name in names(peer.body) if name in ("data-number", "message_stop")] == [
        "data-number",
        "message_stop",
    ] * 2
    assert relay.outcome == "complete"


async def test_what_is_said_last_does_not_wait_for_the_end_of_the_answer(autojump_clock):
    """The function may still have much to do: save, for example."""
    client, _ = client_of([say("Hello")])

    async def answer(out: web.Output) -> None:
        async with client.messages.stream(**PARAMS) as stream:
            await out.relay(stream)
        await trio.sleep(10)

    peer, _ = await served(answer)
    assert peer.sent_at[0] == 0
    assert names(peer.sends[0])[-1] == "message_stop"
    assert peer.elapsed() == 10


async def test_an_event_stream_too(autojump_clock):
    """Encoders get the same events of it as of a `MessageStream`: blocks and messages in the events that end them."""

    class Checking:
        """Wraps an encoder, and looks at what it is given."""

        def __init__(self) -> None:
            self.inner = web.Anthropic()
            self.seen: list[Any] = []

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        def event(self, event: Any, data: bytes | None) -> web.Frames:
            self.seen.append(event)
            return self.inner.event(event, data)

    script = [say("Hello "), call("look", {"where": "there"}), event({"type": "new"})]
    client, _ = client_of(script, script)
    first, second = Checking(), Checking()
    peer, relay = await served(await client.messages.create(stream=True, **PARAMS), first)
    assert isinstance(relay.stream, ts.EventStream)
    again, _ = await served(client.messages.stream(**PARAMS), second)
    assert [type(seen) for seen in first.seen] == [type(seen) for seen in second.seen]
    stops = [seen for seen in first.seen if isinstance(seen, ts.ContentBlockStopEvent)]
    assert [stop.content_block.type for stop in stops] == ["text", "tool_use"]
    assert isinstance(first.seen[-1], ts.MessageStopEvent)
    assert first.seen[-1].message.text == "Hello "
    assert names(peer.body) == names(again.body)


async def test_an_unknown_event_keeps_its_name_and_its_fields(autojump_clock):
    """Everything that this version does not know goes on to the page."""
    script = [say("Hello"), event({"type": "new_kind", "depth": 3})]
    client, _ = client_of(script, script)
    peer, _ = await served(client.messages.stream(**PARAMS))
    assert ("new_kind", {"type": "new_kind", "depth": 3}) in events(peer.body)
    peer, _ = await served(client.messages.stream(**PARAMS), web.JSONLines())
    assert {"type": "new_kind", "depth": 3} in lines(peer.body)


async def test_a_run(autojump_clock):
    """Its turns and tools, between the events of its messages."""
    api = ScriptedAPI([call("wait", {"seconds": 1}, id="toolu_1")], [say("Done.")])
    peer, relay = await served(conversation(api, wait).run("Wait!"), web.JSONLines())
    said = lines(peer.body)
    assert [line["type"] for line in said if not line["type"].startswith(("content_", "message_"))] == [
        "turn_start",
        "tool_start",
        "tool_stop",
        "turn_stop",
        "turn_start",
        "turn_stop",
    ]
    started = next(line for line in said if line["type"] == "tool_start")
    stopped = next(line for line in said if line["type"] == "tool_stop")
    assert started == {"type": "tool_start", "id": "toolu_1", "name": "wait", "input": {"seconds": 1}}
    assert stopped["result"]["content"] == "waited 1"
    assert relay.outcome == "complete"
    assert isinstance(relay.stream, ts.Run)


async def test_a_long_run(autojump_clock):
    """What is ready goes out in few sends, and others get their turn in between."""
    api = ScriptedAPI([say(*["word "] * 2000)])
    peer = Peer()
    peer.window = 2
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.run, web.Relay(conversation(api).run("Hi"), web.Anthropic()))
        await trio.testing.wait_all_tasks_blocked()
        peer.read_on()
    assert text(peer.body) == "word " * 2000
    assert 1 < len(peer.sends) < 400


async def test_a_run_whose_events_are_emitted(autojump_clock):
    api = ScriptedAPI([say("Hello")])

    async def answer(out: web.Output) -> None:
        async with conversation(api).run("Hi") as run:
            async for said in run:
                await out.emit(said)

    peer, _ = await served(answer)
    assert text(peer.body) == "Hello"
    assert names(peer.body)[0] == "turn_start"


async def test_a_run_that_is_interrupted_is_stopped(autojump_clock):
    api = ScriptedAPI([say("Hello ", stall())])
    chat = conversation(api)

    async def answer(out: web.Output) -> None:
        async with chat.run("Hi") as run:
            run.nursery.start_soon(interrupt_soon, run)
            await out.relay(run)

    async def interrupt_soon(run: ts.Run) -> None:
        await trio.sleep(1)
        run.interrupt("the user pressed Stop")

    peer, relay = await served(answer)
    assert relay.outcome == "stopped"
    assert events(peer.body)[-1][1]["error"] == {"type": "interrupted", "message": "the user pressed Stop"}


async def test_a_run_that_fails(autojump_clock):
    """Before it has said more than that a turn begins, it is a status; later it is told."""
    for script, status in (([http_error(400, message="quoted")], 502), ([pause(9), http_error(400)], 200)):
        peer, relay = await served(conversation(ScriptedAPI(script)).run("Hi"))
        assert isinstance(relay.outcome, ts.BadRequestError)
        assert peer.status == status
        assert b"quoted" not in peer.body
    assert names(peer.body) == ["turn_start", "ping", "turn_stop", "error"]
    api = ScriptedAPI([call("wait", {"seconds": 1})], [http_error(529)])
    peer, _ = await served(conversation(api, wait).run("Hi"))
    assert names(peer.body)[0] == "turn_start"
    assert names(peer.body)[-1] == "error"


async def test_a_tab_that_goes_away_ends_a_run(autojump_clock):
    api = ScriptedAPI([say("Hello ", stall())])
    relay = web.Relay(conversation(api).run("Hi"), web.Anthropic())
    peer = Peer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.run, relay)
        await trio.sleep(1)
        peer.disconnect()
    assert (relay.outcome, api.open_streams, peer.elapsed()) == ("disconnected", 0, 1)


async def test_two_streams_at_once_are_refused(autojump_clock):
    """Protocols have no place for two messages at once."""
    client, _ = client_of([say("Hello ", pause(1), "there")], [say("Hello")])

    async def answer(out: web.Output) -> None:
        async with client.messages.stream(**PARAMS) as one, client.messages.stream(**PARAMS) as two:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(out.relay, one)
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(trio.BusyResourceError):
                    await out.relay(two)

    peer, _ = await served(answer)
    assert text(peer.body) == "Hello there"


@pytest.mark.parametrize("thing", ["a manager", 3, None])
async def test_what_cannot_be_relayed_is_refused(thing, autojump_clock):
    client, _ = client_of([say("Hello")])

    async def answer(out: web.Output) -> None:
        with pytest.raises(TypeError, match="within its `async with` block"):
            await out.relay(client.messages.stream(**PARAMS) if thing == "a manager" else thing)

    peer, _ = await served(answer)
    assert peer.failed is None
    if thing != "a manager":
        with pytest.raises(TypeError, match="what is relayed is"):
            web.Relay(thing, web.Anthropic())


@pytest.mark.parametrize("value", [{}, {"type": ""}, {"type": 3}, {"type": "a\nb"}])
@pytest.mark.parametrize("encoder", [web.Anthropic, web.JSONLines])
async def test_data_without_a_type_is_refused(value, encoder, autojump_clock):
    async def answer(out: web.Output) -> None:
        with pytest.raises(ValueError, match="`type`"):
            await out.emit(value)

    peer, _ = await served(answer, encoder())
    assert peer.failed is None
    assert peer.body == b""


async def test_data_that_is_no_json_is_refused(autojump_clock):
    async def answer(out: web.Output) -> None:
        with pytest.raises(TypeError):
            await out.emit({"type": "data-x", "value": object()})

    peer, _ = await served(answer, web.JSONLines())
    assert peer.failed is None


async def test_data_as_a_line(autojump_clock):
    async def answer(out: web.Output) -> None:
        await out.emit({"type": "data-x", "value": [1]})

    peer, _ = await served(answer, web.JSONLines())
    assert lines(peer.body) == [{"type": "data-x", "value": [1]}]


async def test_events_that_say_nothing_new_are_left_out(autojump_clock):
    """Helper events repeat the delta before them; also within the events of another run."""
    client, _ = client_of([say("Hello")])

    async def answer(out: web.Output) -> None:
        async with client.messages.stream(**PARAMS) as stream:
            async for said in stream:
                await out.emit(ts.NestedEvent(id="t", name="f", event=said))

    peer, _ = await served(answer)
    assert len(events(peer.body)) == 6
    assert all(data["event"]["type"] != "text" for _, data in events(peer.body))


async def test_a_stream_that_the_program_closes(autojump_clock):
    """It gets the error of its own doing."""
    client, _ = client_of([say("Hello ", stall())])

    async def answer(out: web.Output) -> None:
        async with client.messages.stream(**PARAMS) as stream:
            stream.nursery.start_soon(stream.aclose)
            await out.relay(stream)

    peer, relay = await served(answer)
    assert isinstance(peer.failed, trio.ClosedResourceError)
    assert relay.outcome is None


async def test_events_that_only_an_event_stream_has_are_refused(autojump_clock):
    """Relaying the stream gives encoders what is missing in them."""
    client, _ = client_of([say("Hello")])

    async def answer(out: web.Output) -> None:
        async with await client.messages.create(stream=True, **PARAMS) as stream:
            async for said in stream:
                if isinstance(said, ts.RawMessageStopEvent):
                    with pytest.raises(TypeError, match="can be said"):
                        await out.emit(said)  # type: ignore[arg-type]

    peer, _ = await served(answer)
    assert peer.failed is None


async def test_an_empty_answer_is_a_response(autojump_clock):
    async def answer(out: web.Output) -> None:
        pass

    peer, relay = await served(answer)
    assert (peer.status, peer.body, peer.ended, relay.outcome) == (200, b"", True, "complete")


async def test_an_error_of_a_task_of_the_answer(autojump_clock):
    """Nurseries wrap it: a group of nothing but `APIError` is told like one, any other group is a mistake."""
    client, _ = client_of([http_error(529)], [http_error(529)], [http_error(529)])

    async def ask() -> None:
        await client.messages.create(**PARAMS)

    async def fail_too() -> None:
        raise KeyError("a mistake")

    async def answer(out: web.Output) -> None:
        async with trio.open_nursery() as nursery, trio.open_nursery() as inner:
            nursery.start_soon(ask)
            inner.start_soon(ask)

    peer, relay = await served(answer)
    assert peer.status == 503
    assert isinstance(relay.outcome, ts.OverloadedError)

    async def worse(out: web.Output) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(fail_too)

    peer, relay = await served(worse)
    assert isinstance(peer.failed, ExceptionGroup)
    assert relay.outcome is None


async def test_what_is_cancelled_while_it_sends_breaks_the_response(autojump_clock):
    """How much of it has gone out is not known, so nothing more can be said, and the host cuts the response."""
    raised: list[type[BaseException]] = []

    async def answer(out: web.Output) -> None:
        with trio.move_on_after(1):
            await out.emit({"type": "one"})
        with trio.move_on_after(1):
            await out.emit({"type": "two"})
        try:
            await out.emit({"type": "three"})
        except trio.BrokenResourceError as error:
            raised.append(type(error))
            raise

    relay = web.Relay(answer, web.Anthropic())
    peer = Peer()
    peer.window = 2
    await peer.run(relay)
    assert raised == [trio.BrokenResourceError]
    assert names(peer.body) == ["one"]
    assert peer.was_cut


async def test_what_is_cancelled_while_it_waits_its_turn_is_said_later(autojump_clock):
    async def answer(out: web.Output) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(out.emit, {"type": "one"})
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(1):
                await out.emit({"type": "two"})

    class Slow(Peer):
        async def _take(self, message: Any) -> None:
            await trio.sleep(2)
            await super()._take(message)

    peer = Slow()
    await peer.run(web.Relay(answer, web.Anthropic()))
    assert names(peer.body) == ["one", "two"]
    assert peer.ended


async def test_much_at_once_is_sent_in_pieces(autojump_clock):
    """So that a slow line is not taken for one that takes nothing."""

    async def answer(out: web.Output) -> None:
        await out.emit({"type": "big", "value": "x" * 3_000_000})

    peer, _ = await served(answer, max_delay=1)
    assert [len(sent) for sent in peer.sends[:2]] == [1 << 20] * 2
    assert len(events(peer.body)[0][1]["value"]) == 3_000_000


async def test_max_delay_waits_for_a_send_that_is_under_way(autojump_clock):
    """Or a program would run ahead of a peer that does not read."""
    said: list[int] = []

    async def answer(out: web.Output) -> None:
        for number in range(100):
            await out.emit({"type": "data", "number": number})
            said.append(number)
            await trio.sleep(0.01)

    relay = web.Relay(answer, web.Anthropic(), max_delay=0.1)
    peer = Peer()
    peer.window = 3
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.run, relay)
        await trio.sleep(20)
        assert len(said) < 30
        peer.read_on()
    assert [data["number"] for _, data in events(peer.body)] == list(range(100))


def test_under_asyncio_it_says_that_trio_is_needed():
    """An ASGI application is easily given to a host that runs on something else."""

    async def answer(out: web.Output) -> None:
        raise AssertionError

    async def nothing(*_: Any) -> Any:
        return {"type": "http.disconnect"}

    with pytest.raises(RuntimeError, match="needs Trio"):
        asyncio.run(web.Relay(answer, web.Anthropic())({"type": "http"}, nothing, nothing))

    async def enter() -> None:
        async with web.Hub():
            raise AssertionError

    with pytest.raises(RuntimeError, match="needs Trio"):
        asyncio.run(enter())


async def test_a_relay_is_for_one_request(autojump_clock):
    client, _ = client_of([say("Hello")])
    relay = web.Relay(client.messages.stream(**PARAMS), web.Anthropic())
    assert repr(relay) == "<Relay: None>"
    await Peer().run(relay)
    assert repr(relay) == "<Relay: complete>"
    peer = Peer()
    await peer.run(relay)
    assert isinstance(peer.failed, RuntimeError)
    with pytest.raises(RuntimeError, match="lifespan"):
        await relay({"type": "lifespan"}, peer._receive, peer._send)
    relay = web.Relay(conversation(ScriptedAPI([fail("api_error")])).run("Hi"), web.Anthropic())
    await Peer().run(relay)
    assert repr(relay) == "<Relay: InternalServerError>"


@pytest.mark.parametrize("options", [{"heartbeat": 0}, {"head_after": -1}, {"send_timeout": -1}, {"max_delay": -0.1}])
def test_what_is_no_time_is_refused(options):
    client, _ = client_of()
    with pytest.raises(ValueError, match=next(iter(options))):
        web.Relay(client.messages.stream(**PARAMS), web.Anthropic(), **options)
