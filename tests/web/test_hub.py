"""Answers that outlive their tabs: the rules of a hub, in memory, by a mock clock."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

import trio_stream as ts
from tests.stream.api import PARAMS, client_of
from tests.web.host import Peer, Starting
from tests.web.reading import events, ids, names, text
from trio_stream import web
from trio_stream.testing import ScriptedAPI, Step, call, fail, http_error, pause, say, stall, think


def manager_of(*script: Step) -> tuple[Any, ScriptedAPI]:
    client, api = client_of(list(script))
    return client.messages.stream(**PARAMS), api


async def read(hub: web.Hub, key: str = "chat", after: str | None = None, **options: Any) -> Peer:
    peer = Peer(**options)
    await peer.run(hub.attach(key, after))
    return peer


async def test_a_run_goes_on_without_its_tab(autojump_clock):
    """Disconnect is not stop: whoever comes back gets all of it."""
    answer, api = manager_of(say("one ", pause(5), "two ", pause(5), "three"))
    async with web.Hub() as hub:
        hub.start("chat", answer, web.Anthropic())
        tab = Peer()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tab.run, hub.attach("chat"))
            await trio.sleep(2)
            tab.disconnect()
        assert tab.elapsed() == 2
        assert text(tab.body) == "one "
        assert api.open_streams == 1
        again = await read(hub)
        assert text(again.body) == "one two three"
        assert again.ended
        assert names(again.body)[-1] == "message_stop"


async def test_a_tab_gets_all_it_lacks_in_one_send(autojump_clock):
    """However much has been said meanwhile."""
    answer, _ = manager_of(say(*[part for number in range(50) for part in (f"{number} ", pause(0.1))]), pause(30))
    async with web.Hub() as hub:
        hub.start("chat", answer, web.Anthropic())
        await trio.sleep(10)
        tab = await read(hub)
    assert text(tab.sends[0]) == "".join(f"{number} " for number in range(50))
    assert tab.sent_at == [0, 15, 25]  # all of it, a heartbeat, the end


async def test_frames_have_numbers_and_a_tab_goes_on_after_the_last_one(autojump_clock):
    """`id: epoch-n`; every frame has one, and no two the same."""
    answer, _ = manager_of(say("a", pause(1), "b", pause(1), "c", pause(1), "d"))
    async with web.Hub() as hub:
        hub.start("chat", answer, web.Anthropic())
        whole = await read(hub)
        numbers = ids(whole.body)
        epoch = numbers[0].rpartition("-")[0]
        assert numbers == [f"{epoch}-{n}" for n in range(1, len(numbers) + 1)]
        for place, after in enumerate(numbers[:-1]):
            rest = await read(hub, after=after)
            assert ids(rest.body) == numbers[place + 1 :]
            assert rest.body in whole.body
            assert rest.ended
        for other in (
            "",
            "0-3",
            f"{epoch}-x",
            f"{epoch}-{len(numbers) + 1}",
            f"{epoch}-{'9' * 5000}",
            "nonsense",
            epoch,
        ):
            assert (await read(hub, after=other)).body == whole.body


async def test_a_tab_that_is_cut_off_for_a_moment_misses_nothing(autojump_clock):
    answer, _ = manager_of(say(*[part for number in range(50) for part in (f"{number} ", pause(0.1))]))
    async with web.Hub() as hub:
        hub.start("chat", answer, web.Anthropic())
        body, after = b"", None
        while True:
            tab = Peer()
            with trio.move_on_after(0.73):
                await tab.run(hub.attach("chat", after))
            body += tab.body
            after = ids(body)[-1]
            if tab.ended:
                break
    assert text(body) == "".join(f"{number} " for number in range(50))


async def test_lines_of_json_have_no_numbers_and_are_read_from_the_start(autojump_clock):
    answer, _ = manager_of(say("Hello"))
    async with web.Hub() as hub:
        hub.start("chat", answer, web.JSONLines())
        first, second = await read(hub), await read(hub, after="1-2")
    assert first.body == second.body
    assert b"id:" not in first.body


async def test_204_there_is_no_such_run(autojump_clock):
    async with web.Hub() as hub:
        tab = await read(hub, "nobody")
    assert (tab.status, tab.body, tab.ended) == (204, b"", True)


async def test_204_all_was_seen(autojump_clock):
    """An `EventSource` asks again when a response has ended; a 204 tells it not to."""
    answer, _ = manager_of(say("Hello"))
    async with web.Hub() as hub:
        hub.start("chat", answer, web.Anthropic())
        tab = await read(hub)
        again = await read(hub, after=ids(tab.body)[-1])
        assert (again.status, again.ended) == (204, True)


async def test_keep_a_run_can_be_read_for_a_while_after_its_end(autojump_clock):
    answer, _ = manager_of(say("Hello"))
    async with web.Hub(keep=60) as hub:
        hub.start("chat", answer, web.Anthropic())
        await trio.sleep(59)
        assert "chat" not in hub
        assert (await read(hub)).status == 200
        await trio.sleep(2)
        assert (await read(hub)).status == 204
        assert repr(hub) == "<Hub: 0 runs>"


async def test_grace_runs_from_the_start(autojump_clock):
    answer, api = manager_of(say("Hello ", stall()))
    ended: list[web.HubRun] = []
    began = trio.current_time()
    async with web.Hub(grace=2) as hub:
        hub.start("chat", answer, web.Anthropic(), done=ended.append)
        await trio.sleep(10)
        assert api.requests[0].closed_at == pytest.approx(began + 2)
        tab = await read(hub)
    assert ended[0].outcome == "abandoned"
    assert ended[0].partial is not None
    assert ended[0].partial.text == "Hello "
    assert names(tab.body)[-1] == "error"


async def test_grace_runs_from_the_last_detach(autojump_clock):
    answer, api = manager_of(say("Hello ", stall()))
    async with web.Hub(grace=2) as hub:
        hub.start("chat", answer, web.Anthropic())
        one, two = Peer(), Peer()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.run, hub.attach("chat"))
            nursery.start_soon(two.run, hub.attach("chat"))
            await trio.sleep(10)
            one.disconnect()
            await trio.sleep(10)
            two.disconnect()
        await trio.sleep(10)
    assert one.elapsed(api.requests[0].closed_at) == 22


async def test_grace_ends_when_a_tab_comes_back(autojump_clock):
    answer, _ = manager_of(say("Hello ", pause(100), "there"))
    async with web.Hub(grace=2) as hub:
        hub.start("chat", answer, web.Anthropic())
        for _ in range(5):
            with trio.move_on_after(1.5):
                await read(hub)
            await trio.sleep(1.5)
        tab = await read(hub)
    assert text(tab.body) == "Hello there"


async def test_grace_none_is_to_the_end(autojump_clock):
    answer, _ = manager_of(say("Hello ", pause(200), "there"))
    ended: list[web.HubRun] = []
    async with web.Hub(grace=None) as hub:
        hub.start("chat", answer, web.Anthropic(), done=ended.append)
        await trio.sleep(300)
    assert ended[0].outcome == "complete"


async def test_send_timeout_a_tab_that_takes_nothing_counts_as_gone(autojump_clock):
    """Also while the host shields its `send`; the run does not wait for it, and other tabs get everything."""
    answer, api = manager_of(say(*["a", pause(1)] * 20, stall()))
    async with web.Hub(grace=2, send_timeout=3) as hub:
        hub.start("chat", answer, web.Anthropic())
        tab = Peer(shielded=True)
        tab.window = 2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tab.run, hub.attach("chat"))
            await trio.sleep(30)
            tab.read_on()
    assert tab.elapsed(api.requests[0].closed_at) == 6
    assert tab.was_cut


async def test_a_run_never_waits_for_a_tab(autojump_clock):
    answer, _ = manager_of(say(*["a", pause(1)] * 20))
    async with web.Hub() as hub:
        hub.start("chat", answer, web.Anthropic())
        slow, quick = Peer(), Peer()
        slow.window = 2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(slow.run, hub.attach("chat"))
            nursery.start_soon(quick.run, hub.attach("chat"))
            await trio.sleep(21)
            assert quick.ended
            assert text(slow.body) == "a"
            slow.read_on()
    assert text(slow.body) == text(quick.body) == "a" * 20
    assert len(slow.sends) == 3  # what it had, the blocked one, and all the rest


async def test_stop(autojump_clock):
    """All tabs are told, and the key is free when they have read so."""
    answer, api = manager_of(say("Hello ", stall()))
    ended: list[web.HubRun] = []
    async with web.Hub() as hub:
        hub.start("chat", answer, web.Anthropic(), done=ended.append)
        one, two = Peer(), Peer()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.run, hub.attach("chat"))
            nursery.start_soon(two.run, hub.attach("chat"))
            await trio.sleep(1)
            assert "chat" in hub
            assert hub.stop("chat", "the user pressed Stop")
            assert hub.stop("chat", "once more")
        assert one.elapsed() == one.elapsed(api.requests[0].closed_at) == 1
        for tab in (one, two):
            assert tab.ended
            assert events(tab.body)[-1][1]["error"] == {"type": "interrupted", "message": "the user pressed Stop"}
        assert not hub.stop("chat", "it is over")
        assert not hub.stop("nobody", "it never was")
        again, _ = manager_of(say("next"))
        hub.start("chat", again, web.Anthropic())
        assert text((await read(hub)).body) == "next"
    assert (ended[0].outcome, ended[0].reason) == ("stopped", "the user pressed Stop")
    assert ended[0].partial is not None
    assert ended[0].partial.text == "Hello "


async def test_until_done(autojump_clock):
    """For whoever stops one run to start another; `done` is over by then."""
    answer, _ = manager_of(say("Hello ", stall()))

    async def save(run: web.HubRun) -> None:
        await trio.sleep(3)

    async with web.Hub() as hub:
        await hub.until_done("chat")
        hub.start("chat", answer, web.Anthropic(), done=save)
        began = trio.current_time()
        await trio.sleep(1)
        hub.stop("chat", "another question")
        with trio.move_on_after(1):
            await hub.until_done("chat")
        assert "chat" in hub
        await hub.until_done("chat")
        assert trio.current_time() == pytest.approx(began + 4)
        hub.start("chat", manager_of(say("next"))[0], web.Anthropic())


async def test_stop_by_the_stream_itself(autojump_clock):
    client, _ = client_of([say("Hello ", stall())])
    ended: list[web.HubRun] = []

    async def answer(out: web.Output) -> None:
        async with client.messages.stream(**PARAMS) as stream:
            stream.nursery.start_soon(stop_soon, stream)
            await out.relay(stream)

    async def stop_soon(stream: ts.MessageStream) -> None:
        await trio.sleep(1)
        stream.cancel("enough")

    async with web.Hub() as hub:
        hub.start("chat", answer, web.Anthropic(), done=ended.append)
        tab = await read(hub)
    assert events(tab.body)[-1][1]["error"]["message"] == "enough"
    assert (ended[0].outcome, ended[0].reason) == ("stopped", "enough")


async def test_a_failure_before_anything_was_said_is_a_status(autojump_clock):
    """For the tabs that wait for the head, and for those that come later."""
    answer, _ = manager_of(pause(1), http_error(529, message="quoted"))
    async with web.Hub() as hub:
        hub.start("chat", answer, web.Anthropic())
        waiting = await read(hub)
        later = await read(hub)
    for tab in (waiting, later):
        assert tab.status == 503
        assert tab.headers["retry-after"]
        assert b"quoted" not in tab.body


async def test_a_failure_is_told(autojump_clock):
    for script in ([say("Hel", fail("overloaded_error"))], [pause(10), http_error(529)]):
        answer, _ = manager_of(*script)
        ended: list[web.HubRun] = []
        async with web.Hub(describe=lambda error: "sorry") as hub:
            hub.start("chat", answer, web.Anthropic(), done=ended.append)
            tab = await read(hub)
        assert tab.status == 200
        assert events(tab.body)[-1][1]["error"] == {"type": "overloaded_error", "message": "sorry"}
        assert isinstance(ended[0].outcome, ts.OverloadedError)


async def test_a_bug_cuts_its_tabs_and_nothing_else(autojump_clock, caplog):
    async def answer(out: web.Output) -> None:
        await out.emit({"type": "hello"})
        await trio.sleep(1)
        raise KeyError("a mistake")

    other, _ = manager_of(say("Hello ", pause(5), "there"))
    ended: list[web.HubRun] = []
    async with web.Hub() as hub:
        hub.start("chat", answer, web.Anthropic(), done=ended.append)
        hub.start("other", other, web.Anthropic())
        tab = await read(hub)
        assert names(tab.body) == ["hello"]
        assert tab.was_cut
        assert text((await read(hub, "other")).body) == "Hello there"
    assert isinstance(ended[0].outcome, KeyError)
    assert "a mistake" in caplog.text


async def test_done_comes_before_the_tabs_are_told_of_the_end(autojump_clock):
    """So that a page which asks for the conversation then finds what was saved."""
    answer, _ = manager_of(say("Hello"))
    saved: list[str] = []

    async def save(run: web.HubRun) -> None:
        await trio.sleep(3)
        assert run.partial is not None
        saved.append(run.partial.text)

    async with web.Hub() as hub:
        hub.start("chat", answer, web.Anthropic(), done=save)
        tab = Peer()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tab.run, hub.attach("chat"))
            await trio.sleep(1)
            assert text(tab.body) == "Hello"
            assert not tab.ended
        assert tab.elapsed() == 3
        assert saved == ["Hello"]


async def test_done_that_fails_is_logged(autojump_clock, caplog):
    answer, _ = manager_of(say("Hello"))

    async def save(run: web.HubRun) -> None:
        raise OSError("the disk is full")

    async with web.Hub() as hub:
        hub.start("chat", answer, web.Anthropic(), done=save)
        assert (await read(hub)).ended
    assert "the disk is full" in caplog.text


async def test_close_ends_the_runs_and_done_has_five_seconds(autojump_clock):
    """Those that are being answered, and those whose `done` is under way."""
    calls: list[Any] = []

    async def save(run: web.HubRun) -> None:
        calls.append((run.key, run.outcome, run.partial.text if run.partial else ""))
        await trio.sleep(100 if run.key == "slow" else 4)
        calls.append(run.key)

    began = trio.current_time()
    scripts: dict[str, list[Step]] = {
        "quick": [say("Hello ", stall())],
        "slow": [say("you ", stall())],
        "over": [say("!")],
    }
    tab = Peer()
    async with trio.open_nursery() as nursery:
        async with web.Hub() as hub:
            for key, script in scripts.items():
                hub.start(key, manager_of(*script)[0], web.Anthropic(), done=save)
            nursery.start_soon(tab.run, hub.attach("quick"))
            await trio.sleep(2)
    assert trio.current_time() == pytest.approx(began + 7)
    assert sorted(map(str, calls)) == sorted(
        map(
            str, [("quick", "closed", "Hello "), ("slow", "closed", "you "), ("over", "complete", "!"), "quick", "over"]
        )
    )
    assert tab.was_cut


async def test_close_by_a_cancellation_from_outside(autojump_clock):
    answer, api = manager_of(say("Hello ", stall()))
    ended: list[web.HubRun] = []
    with trio.move_on_after(1):
        async with web.Hub() as hub:
            hub.start("chat", answer, web.Anthropic(), done=ended.append)
            await trio.sleep_forever()
    assert ended[0].outcome == "closed"
    assert api.open_streams == 0


async def test_max_runs(autojump_clock):
    """Runs that are only kept make room; those under way do not."""
    async with web.Hub(max_runs=2) as hub:
        hub.start("a", manager_of(say("a", stall()))[0], web.Anthropic())
        hub.start("b", manager_of(say("b"))[0], web.Anthropic())
        await trio.testing.wait_all_tasks_blocked()
        hub.start("c", manager_of(say("c", stall()))[0], web.Anthropic())
        assert (await read(hub, "b")).status == 204
        with pytest.raises(web.HubFullError, match="2 runs"):
            hub.start("d", manager_of(say("d"))[0], web.Anthropic())
        assert "a" in hub
        assert "c" in hub


async def test_a_key_is_for_one_run_at_a_time(autojump_clock):
    async with web.Hub() as hub:
        hub.start("chat", manager_of(say("a", pause(1)))[0], web.Anthropic())
        with pytest.raises(RuntimeError, match="under way under the key 'chat'"):
            hub.start("chat", manager_of(say("b"))[0], web.Anthropic())
        first = await read(hub)
        hub.start("chat", manager_of(say("b"))[0], web.Anthropic())
        second = await read(hub, after=ids(first.body)[-1])  # of another epoch
    assert (text(first.body), text(second.body)) == ("a", "b")


async def test_replay_bytes_a_snapshot_replaces_old_frames(autojump_clock):
    """A tab that comes late gets the same message in few pieces; those that are there get every piece once."""
    words = [f"{number} " for number in range(300)]
    steps = [part for word in words for part in (word, pause(0.1))]
    whole = "".join(words)
    answer, _ = manager_of(think("Let me ", "see."), call("look", {"where": "there"}), say(*steps))
    async with web.Hub(replay_bytes=4000) as hub:
        hub.start("chat", answer, web.Anthropic())
        always, slow = Peer(), Peer()
        slow.window = 2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(always.run, hub.attach("chat"))
            nursery.start_soon(slow.run, hub.attach("chat"))
            await trio.sleep(20.05)
            late = Peer()
            nursery.start_soon(late.run, hub.attach("chat"))
            await trio.sleep(1)
            slow.read_on()
        after = ids(always.body)
        end = await read(hub)
        near = await read(hub, after=after[-3])
    for tab in (always, slow, late, end):
        assert tab.ended
        assert text(tab.body) == whole
        assert joined(tab.body) == joined(always.body)
    assert len(names(always.body)) > 300
    assert len(names(late.body)) < 250
    assert events(late.body)[0] == events(always.body)[0]  # as the API sent it
    assert ids(near.body) == after[-2:]
    assert ids(slow.body) == after
    assert set(ids(late.body)) < set(after)


def without_nulls(value: Any) -> Any:
    """Which mean the same as members that are not there."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return value


def joined(body: bytes) -> list[Any]:
    """The events with deltas that follow one another joined, as a client has them in the end."""
    found: list[Any] = []
    for name, data in events(body):
        if name != "content_block_delta":
            found.append(without_nulls(data))
            continue
        delta = {key: value for key, value in data["delta"].items() if key != "type"}
        if (
            found and found[-1][0:2] == (data["index"], data["delta"]["type"])
            if isinstance(found[-1], tuple)
            else False
        ):
            before = found.pop()[2]
            delta = {key: before[key] + value for key, value in delta.items()}
        found.append((data["index"], data["delta"]["type"], delta))
    return found


async def test_what_every_answer_begins_with_is_said_once(autojump_clock):
    """With the first event, or before a snapshot; it has no number, for it says nothing yet."""
    for replay_bytes in (4 << 20, 0):
        answer, _ = manager_of(pause(3), say("a", pause(1), "b"))
        async with web.Hub(replay_bytes=replay_bytes) as hub:
            hub.start("chat", answer, Starting())
            tab = await read(hub)
            late = await read(hub)
        assert tab.sent_at == [3, 4, 4]  # the last frames wait for `done`
        for peer in (tab, late):
            assert names(peer.body)[:2] == ["begin", "message_start"]
            assert names(peer.body)[-1] == "over"
            assert names(peer.body).count("begin") == 1
            assert text(peer.body) == "ab"


async def test_a_run_that_took_the_key_is_not_forgotten_with_the_one_before(autojump_clock):
    async with web.Hub(keep=10, grace=None) as hub:
        hub.start("chat", manager_of(say("a"))[0], web.Anthropic())
        await trio.sleep(5)
        hub.start("chat", manager_of(say("b", pause(60)))[0], web.Anthropic())
        await trio.sleep(10)
        assert "chat" in hub


async def test_events_that_make_no_message_are_no_harm(autojump_clock):
    """What the program says by hand may fit nothing; the messages in it are told as far as they do."""
    ended: list[web.HubRun] = []
    client, _ = client_of([say("Hello")])

    async def answer(out: web.Output) -> None:
        async with client.messages.stream(**PARAMS) as stream:
            said = [event async for event in stream]
        for event in (said[-1], said[0], said[1], said[1], said[2], said[0]):
            await out.emit(event)

    async with web.Hub(replay_bytes=0) as hub:
        hub.start("chat", answer, web.Anthropic(), done=ended.append)
        tab = await read(hub)
    assert len(events(tab.body)) == 7  # and that the last message is not complete
    assert [len(message.content) for message in ended[0].messages] == [1, 0]
    assert ended[0].partial is ended[0].messages[-1]


async def test_replay_bytes_of_everything_else_too(autojump_clock):
    """What the program says itself, and messages one after the other."""
    client, _ = client_of([say("one")], [say("two")])

    async def answer(out: web.Output) -> None:
        for number in range(2):
            await out.emit({"type": "data-number", "number": number})
            async with client.messages.stream(**PARAMS) as stream:
                await out.relay(stream)

    ended: list[web.HubRun] = []
    async with web.Hub(replay_bytes=0) as hub:
        hub.start("chat", answer, web.Anthropic(), done=ended.append)
        tab = await read(hub)
        late = await read(hub)
    assert names(late.body) == names(tab.body)
    assert text(late.body) == "onetwo"
    assert [message.text for message in ended[0].messages] == ["one", "two"]


async def test_a_hub_has_to_be_open(autojump_clock):
    hub = web.Hub()
    with pytest.raises(RuntimeError, match="async with"):
        hub.start("chat", manager_of(say("a"))[0], web.Anthropic())
    with pytest.raises(RuntimeError, match="never entered"):
        await hub.__aexit__(None, None, None)
    async with hub:
        with pytest.raises(RuntimeError, match="entered before"):
            await hub.__aenter__()
    with pytest.raises(RuntimeError, match="async with"):
        hub.start("chat", manager_of(say("a"))[0], web.Anthropic())


@pytest.mark.parametrize(
    "options",
    [{"grace": -1}, {"keep": -1}, {"max_runs": 0}, {"replay_bytes": -1}, {"send_timeout": 0}, {"max_delay": -1}],
)
def test_what_is_no_time_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        web.Hub(**options)


async def test_a_tab_is_for_one_request(autojump_clock):
    async with web.Hub() as hub:
        hub.start("chat", manager_of(say("a"))[0], web.Anthropic())
        app = hub.attach("chat")
        await Peer().run(app)
        peer = Peer()
        await peer.run(app)
        assert isinstance(peer.failed, RuntimeError)
        with pytest.raises(RuntimeError, match="HTTP"):
            await hub.attach("chat")({"type": "websocket"}, peer._receive, peer._send)
        with pytest.raises(TypeError, match="async def answer"):
            hub.start("b", 3, web.Anthropic())  # type: ignore[arg-type]
