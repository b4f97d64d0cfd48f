"""The rules of a response, each by its number in docs/web.md. In memory, by a mock clock."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
import trio.testing

import trio_stream as ts
from tests.stream.api import PARAMS, client_of
from tests.web.host import Peer, Starting
from tests.web.reading import events, names, text
from trio_stream import web
from trio_stream.testing import ScriptedAPI, Step, disconnect, fail, http_error, pause, say, stall

SECRET = "the prompt, quoted by the API"


def relay_of(*script: Step, encoder: web.Encoder | None = None, **options: Any) -> tuple[web.Relay, ScriptedAPI]:
    client, api = client_of(list(script))
    return web.Relay(client.messages.stream(**PARAMS), encoder or web.Anthropic(), **options), api


async def served(relay: web.Relay, **options: Any) -> Peer:
    peer = Peer(**options)
    await peer.run(relay)
    return peer


# Rule 1: the head.


async def test_rule_1_the_head_says_what_it_is_and_that_nothing_may_collect_it(autojump_clock):
    """There is no `connection` header, which HTTP/2 forbids."""
    relay, _ = relay_of(say("Hello"))
    peer = await served(relay)
    assert peer.status == 200
    assert peer.headers == {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache, no-transform",
        "x-accel-buffering": "no",
    }
    assert (peer.ended, relay.outcome, text(peer.body)) == (True, "complete", "Hello")


async def test_rule_1_the_head_comes_with_the_first_event(autojump_clock):
    relay, _ = relay_of(pause(3), say("Hello"))
    peer = await served(relay)
    assert peer.sent_at[0] == 3
    assert names(peer.sends[0])[0] == "message_start"


async def test_rule_1_after_head_after_the_head_comes_all_the_same_and_heartbeats_follow(autojump_clock):
    """Though the model is silent."""
    relay, _ = relay_of(pause(40), say("Hello"))
    peer = await served(relay)
    assert peer.sent_at == [5, 20, 35, 40]
    assert [names(sent) for sent in peer.sends[:3]] == [["ping"]] * 3
    assert text(peer.body) == "Hello"


async def test_rule_1_clocks_can_be_turned_off(autojump_clock):
    relay, _ = relay_of(pause(100), say("Hel", pause(200), "lo"), head_after=None, heartbeat=None)
    peer = await served(relay)
    assert peer.sent_at == [100, 300]


async def test_rule_1_what_every_answer_begins_with_waits_for_the_first_event_too(autojump_clock):
    """And goes out with the head; an error instead of the event has it left out."""
    relay, _ = relay_of(pause(3), say("Hello"), encoder=Starting())
    peer = await served(relay)
    assert peer.headers["x-starting"] == "yes"
    assert peer.sent_at == [3]
    assert names(peer.body)[:2] == ["begin", "message_start"]
    assert names(peer.body)[-2:] == ["message_stop", "over"]
    relay, _ = relay_of(pause(7), say("Hello"), encoder=Starting())
    peer = await served(relay)
    assert peer.sent_at == [5, 7]
    assert peer.sends[0] == b"event: begin\ndata: {}\n\n: \n\n"
    relay, _ = relay_of(http_error(529), encoder=Starting())
    peer = await served(relay)
    assert (peer.status, peer.headers["content-type"]) == (503, "text/plain")
    assert peer.body == b"The model is overloaded. Please try again in a moment."


# Rule 2: errors before the head.


class Case:
    def __init__(self, script: list[Step], status: int, kind: str, **headers: str) -> None:
        self.script, self.status, self.kind, self.headers = script, status, kind, headers


REFUSALS = {
    "429": Case([http_error(429, message=SECRET, retry_after=7)], 503, "rate_limit_error", retry_after="7"),
    "503": Case([http_error(503, message=SECRET)], 503, "overloaded_error", retry_after="5"),
    "529": Case([http_error(529, message=SECRET, retry_after=0.2)], 503, "overloaded_error", retry_after="1"),
    "overloaded in the stream": Case([fail("overloaded_error", SECRET)], 503, "overloaded_error", retry_after="5"),
    "rate limit in the stream": Case([fail("rate_limit_error", SECRET)], 503, "rate_limit_error", retry_after="5"),
    "a spent account": Case(
        [http_error(429, message=SECRET, details={"error_code": "enforced_spend_limit_reached"})],
        503,
        "rate_limit_error",
        x_should_retry="false",
    ),
    "a clock": Case([stall()], 504, "timeout_error", x_should_retry="false"),
    "400": Case([http_error(400, message=SECRET)], 502, "api_error", x_should_retry="false"),
    "401": Case([http_error(401, message=SECRET)], 502, "api_error", x_should_retry="false"),
    "500": Case([http_error(500, message=SECRET)], 502, "api_error", x_should_retry="false"),
    "cut": Case([disconnect()], 502, "api_error", x_should_retry="false"),
}


@pytest.mark.parametrize("case", REFUSALS.values(), ids=list(REFUSALS))
@pytest.mark.parametrize("encoder", [web.Anthropic, web.JSONLines])
async def test_rule_2_before_the_head_an_error_is_a_status(case: Case, encoder: Any, autojump_clock):
    """In the API's shape, with nothing that the API has written; `x-should-retry` keeps the API's clients from asking
    again where that does not help."""
    client, api = client_of(case.script, timeout=ts.Timeouts(first_event=2))
    relay = web.Relay(client.messages.stream(**PARAMS), encoder())
    peer = await served(relay)
    assert peer.status == case.status
    assert peer.ended
    assert peer.headers["content-type"] == "application/json"
    assert peer.headers["content-length"] == str(len(peer.body))
    wanted = {name.replace("_", "-"): value for name, value in case.headers.items()}
    assert {name: peer.headers[name] for name in ("retry-after", "x-should-retry") if name in peer.headers} == wanted
    told = msgspec.json.decode(peer.body)
    assert told["type"] == "error"
    assert told["error"]["type"] == case.kind
    assert told["error"]["message"]
    assert SECRET.encode() not in peer.body
    assert isinstance(relay.outcome, ts.APIError)
    assert api.open_streams == 0


async def test_rule_2_describe_says_it_in_other_words(autojump_clock):
    def describe(error: ts.APIError) -> str:
        return f"Sorry! ({type(error).__name__})"

    relay, _ = relay_of(http_error(529), describe=describe)
    peer = await served(relay)
    assert msgspec.json.decode(peer.body)["error"]["message"] == "Sorry! (OverloadedError)"
    relay, _ = relay_of(say("Hel", fail("overloaded_error", SECRET)), describe=describe)
    peer = await served(relay)
    assert events(peer.body)[-1][1]["error"]["message"] == "Sorry! (OverloadedError)"


async def test_rule_2_after_the_head_an_error_is_told_by_the_protocol(autojump_clock):
    """Also where the head was sent because the model was silent for so long."""
    relay, _ = relay_of(pause(10), http_error(529, message=SECRET))
    peer = await served(relay)
    assert (peer.status, peer.ended) == (200, True)
    assert names(peer.body) == ["ping", "error"]
    assert events(peer.body)[-1][1]["error"]["type"] == "overloaded_error"
    assert SECRET.encode() not in peer.body


# Rule 3: a clean end says how.


@pytest.mark.parametrize("encoder", [web.Anthropic, web.JSONLines])
async def test_rule_3_a_body_ends_cleanly_only_after_a_frame_that_says_how(encoder: Any, autojump_clock):
    """Whatever happens after the head: the last frame is `message_stop` or `error`, or the response is cut."""
    scripts: list[list[Step]] = [
        [say("Hello")],
        [say("Hel", disconnect())],
        [say("Hel", disconnect(clean=True))],
        [say("Hel", fail("api_error"))],
        [say("Hel", stall())],
    ]
    for script in scripts:
        client, _ = client_of(script, timeout=ts.Timeouts(silence=100))
        peer = await served(web.Relay(client.messages.stream(**PARAMS), encoder()))
        last = peer.body.strip().splitlines()[-1].removeprefix(b"data: ")
        assert peer.ended
        assert msgspec.json.decode(last)["type"] == ("message_stop" if script == scripts[0] else "error")


@pytest.mark.parametrize("encoder", [web.Anthropic, web.JSONLines])
async def test_rule_3_what_the_program_leaves_early_is_not_complete(encoder: Any, autojump_clock):
    client, _ = client_of([say("Hello there world")])

    async def answer(out: web.Output) -> None:
        async with client.messages.stream(**PARAMS) as stream:
            async for event in stream:
                await out.emit(event)
                if event.type == "text":
                    break

    peer = await served(web.Relay(answer, encoder()))
    last = msgspec.json.decode(peer.body.strip().splitlines()[-1].removeprefix(b"data: "))
    assert peer.ended
    assert last["error"]["type"] == "interrupted"


async def test_rule_3_a_bug_cuts(autojump_clock):
    """Nobody takes the response for complete, and the host learns of the mistake."""
    client, api = client_of([say("Hello there world")])

    async def answer(out: web.Output) -> None:
        async with client.messages.stream(**PARAMS) as stream:
            await out.relay(stream)
            raise KeyError("a mistake")

    relay = web.Relay(answer, web.Anthropic())
    peer = await served(relay)
    assert isinstance(peer.failed, KeyError)
    assert peer.was_cut
    assert relay.outcome is None
    assert api.open_streams == 0


async def test_rule_3_a_bug_before_the_head_is_the_hosts_to_answer(autojump_clock):
    async def answer(out: web.Output) -> None:
        raise KeyError("a mistake")

    peer = await served(web.Relay(answer, web.Anthropic()))
    assert isinstance(peer.failed, KeyError)
    assert peer.status == 0


async def test_rule_3_a_shutdown_cuts(autojump_clock):
    relay, api = relay_of(say("Hello ", stall()))
    peer = Peer()
    with trio.move_on_after(10) as scope:
        await peer.run(relay)
    assert scope.cancelled_caught
    assert peer.was_cut
    assert relay.outcome is None
    assert api.open_streams == 0


async def test_rule_3_a_stop_is_told(autojump_clock):
    """Whoever calls `cancel` of the stream stops the answer, and the last frame says so."""
    relay, api = relay_of(say("Hello ", stall()))
    peer = Peer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.run, relay)
        await peer.came.wait()
        assert isinstance(relay.stream, ts.MessageStream)
        relay.stream.cancel("the user pressed Stop")
    assert events(peer.body)[-1] == (
        "error",
        {"type": "error", "error": {"type": "interrupted", "message": "the user pressed Stop"}},
    )
    assert (peer.ended, relay.outcome, api.open_streams) == (True, "stopped", 0)


# Rule 4: the order.


async def test_rule_4_what_came_before_an_error_is_sent_before_it(autojump_clock):
    """Even out of one segment, in which nothing had to be waited for."""
    relay, _ = relay_of(say("Hello there", fail("overloaded_error")))
    peer = await served(relay)
    assert peer.status == 200
    assert text(peer.body) == "Hello there"
    assert names(peer.body)[-1] == "error"
    assert len(peer.sends) == 1
    assert isinstance(relay.stream, ts.MessageStream)
    assert isinstance(relay.outcome, ts.OverloadedError)
    assert relay.stream.text == "Hello there"


# Rule 5: nobody reads any more.


@pytest.mark.parametrize("loudly", [False, True])
async def test_rule_5_a_peer_that_goes_away_while_text_arrives(loudly: bool, autojump_clock):
    relay, api = relay_of(say("Hello ", stall()))
    peer = Peer(closes_loudly=loudly)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.run, relay)
        await trio.sleep(1)
        peer.disconnect()
    assert peer.elapsed() == peer.elapsed(api.requests[0].closed_at) == 1
    assert relay.outcome == "disconnected"
    assert peer.failed is None
    assert peer.was_cut
    assert isinstance(relay.stream, ts.MessageStream)
    assert relay.stream.text == "Hello "


async def test_rule_5_a_send_that_fails_is_a_peer_that_has_gone_away(autojump_clock):
    """ASGI: "If `send` is called on a closed connection the server should raise an OSError"."""
    relay, api = relay_of(say("Hel", pause(1), "lo ", stall()))

    class Peerless(Peer):
        async def _receive(self) -> dict[str, Any]:
            await trio.sleep_forever()
            raise AssertionError

    peer = Peerless(closes_loudly=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.run, relay)
        await trio.sleep(0.5)
        peer.disconnect()
    assert peer.elapsed() == peer.elapsed(api.requests[0].closed_at) == 1
    assert (relay.outcome, peer.failed) == ("disconnected", None)


async def test_rule_5_a_send_that_fails_where_nothing_can_be_cancelled(autojump_clock):
    """The program has shielded itself, so it gets an error instead."""
    raised: list[Exception] = []

    async def answer(out: web.Output) -> None:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
            try:
                await out.emit({"type": "one"})
            except trio.BrokenResourceError as error:
                raised.append(error)

    relay = web.Relay(answer, web.Anthropic())
    peer = Peer(closes_loudly=True)
    peer.window = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.run, relay)
        await trio.sleep(1)
        peer.disconnect()
    assert isinstance(raised[0].__cause__, OSError)
    assert relay.outcome == "disconnected"


async def test_rule_5_a_peer_that_goes_away_before_the_first_event(autojump_clock):
    relay, api = relay_of(stall())
    peer = Peer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.run, relay)
        await trio.sleep(1)
        peer.disconnect()
    assert peer.elapsed() == peer.elapsed(api.requests[0].closed_at) == 1
    assert (relay.outcome, relay.stream, peer.status) == ("disconnected", None, 0)


async def test_rule_5_a_peer_that_goes_away_while_a_send_is_blocked(autojump_clock):
    """The host shields `send`, so the stream is closed first: cancelling alone would leave the model connected."""
    relay, api = relay_of(say("Hel", pause(1), "lo ", stall()))
    peer = Peer(shielded=True)
    peer.window = 2
    told = trio.Event()

    async def receive() -> dict[str, Any]:
        await told.wait()
        return {"type": "http.disconnect"}

    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay, {"type": "http"}, receive, peer._send)
        await trio.sleep(3)
        assert api.open_streams == 1
        assert peer.sending == 1
        told.set()
        await trio.testing.wait_all_tasks_blocked()
        assert peer.elapsed(api.requests[0].closed_at) == 3
        assert peer.sending == 1  # the host still has it
        peer.read_on()
    assert relay.outcome == "disconnected"


async def test_rule_5_a_peer_that_takes_nothing_for_send_timeout(autojump_clock):
    relay, api = relay_of(say("Hel", pause(1), "lo ", stall()), send_timeout=3)
    peer = Peer(shielded=True)
    peer.window = 2
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.run, relay)
        await trio.sleep(10)
        assert peer.elapsed(api.requests[0].closed_at) == 4
        peer.read_on()
    assert relay.outcome == "not_reading"
    assert peer.was_cut


async def test_rule_5_a_heartbeat_that_is_not_taken_counts_too(autojump_clock):
    relay, api = relay_of(say("Hello ", stall()), send_timeout=3, heartbeat=10)
    peer = Peer()
    peer.window = 2
    await peer.run(relay)
    assert peer.elapsed() == peer.elapsed(api.requests[0].closed_at) == 13
    assert relay.outcome == "not_reading"


async def test_rule_5_a_peer_that_reads_slowly_is_fine(autojump_clock):
    """Each send that is taken is progress."""
    relay, _ = relay_of(say("a", pause(2), "b", pause(2), "c", pause(2), "d"), send_timeout=3)
    peer = Peer()
    peer.window = 2
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.run, relay)
        for _ in range(10):
            await trio.sleep(2.5)
            peer.window = 1
            peer._reads.set()
    assert relay.outcome == "complete"
    assert text(peer.body) == "abcd"


# Rule 6: the end.


async def test_rule_6_a_disconnect_while_the_response_ends_is_ignored(autojump_clock):
    """Hypercorn tells of one then; a task that is cancelled there leaves the socket open for good."""
    relay, _ = relay_of(say("Hello"))
    peer = Peer()
    peer.window = 1  # the head, and not what follows
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.run, relay)
        await trio.testing.wait_all_tasks_blocked()
        assert peer.sending == 1
        peer._gone.set()
        await trio.sleep(100)
        assert peer.sending == 1  # nothing was cancelled, by no clock either
        peer._gone = trio.Event()
        peer.read_on()
    assert (relay.outcome, peer.ended, peer.failed) == ("complete", True, None)
    assert text(peer.body) == "Hello"


async def test_rule_6_a_last_send_that_fails_is_an_end_all_the_same(autojump_clock):
    relay, _ = relay_of(say("Hello"))
    peer = Peer(closes_loudly=True)
    peer.window = 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.run, relay)
        await trio.testing.wait_all_tasks_blocked()
        peer.disconnect()
    assert (relay.outcome, peer.failed) == ("complete", None)


async def test_rule_6_a_shutdown_while_the_response_ends(autojump_clock):
    """It leaves as it came; there is nothing left to be broken."""
    relay, _ = relay_of(say("Hello"))
    peer = Peer()
    peer.window = 1
    with trio.move_on_after(10) as scope:
        await peer.run(relay)
    assert scope.cancelled_caught


async def test_rule_6_nothing_can_be_said_after_the_end(autojump_clock):
    """Whoever has kept the `Output` is told so."""
    kept: list[web.Output] = []

    async def answer(out: web.Output) -> None:
        kept.append(out)

    await served(web.Relay(answer, web.Anthropic()))
    with pytest.raises(RuntimeError, match="ended"):
        await kept[0].emit({"type": "late"})


# Rule 7: sends.


async def test_rule_7_one_send_for_all_that_is_ready(autojump_clock):
    relay, _ = relay_of(say(*["word "] * 500))
    peer = await served(relay)
    assert text(peer.body) == "word " * 500
    assert len(peer.sends) <= 20  # other tasks get a turn every millisecond of decoding, and the peer what there is
    relay, _ = relay_of(say("Hel", pause(1), "lo", " there", pause(1), " world"))
    peer = await served(relay)
    assert [text(sent) for sent in peer.sends] == ["Hel", "lo there", " world"]


async def test_rule_7_max_delay_collects_more(autojump_clock):
    """But the first event is not kept waiting."""
    steps = [part for number in range(20) for part in (f"{number} ", pause(0.03))]
    relay, _ = relay_of(say(*steps), max_delay=0.1)
    peer = await served(relay)
    assert text(peer.body) == "".join(f"{number} " for number in range(20))
    assert 6 <= len(peer.sends) <= 8
    assert peer.sent_at[0] == 0
    # No later than that: each send comes 0.1 s after the first event that was not sent yet.
    assert peer.sent_at[1] == pytest.approx(0.13)
    assert peer.most_sending == 1


async def test_rule_7_never_two_sends_at_once(autojump_clock):
    """Whoever says something: streams, heartbeats, and several tasks of the program."""
    client, _ = client_of([say(*["a", pause(0.7)] * 10)])

    async def answer(out: web.Output) -> None:
        async def chatter(name: str) -> None:
            for number in range(10):
                await out.emit({"type": name, "number": number})
                await trio.sleep(0.5)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(chatter, "one")
            nursery.start_soon(chatter, "two")
            async with client.messages.stream(**PARAMS) as stream:
                await out.relay(stream)

    class Slow(Peer):
        async def _take(self, message: Any) -> None:
            await trio.sleep(0.3)
            await super()._take(message)

    peer = Slow()
    await peer.run(web.Relay(answer, web.Anthropic(), heartbeat=0.2))
    assert peer.most_sending == 1
    assert peer.ended
    assert text(peer.body) == "a" * 10
    assert [data["number"] for name, data in events(peer.body) if name == "one"] == list(range(10))


async def test_rule_7_heartbeats(autojump_clock):
    """`event: ping` for the API's own clients, and an empty line between lines of JSON; only while nothing is said."""
    for encoder, heartbeat in ((web.Anthropic(), b'event: ping\ndata: {"type": "ping"}\n\n'), (web.JSONLines(), b"\n")):
        relay, _ = relay_of(say("Hel", pause(3), "lo", pause(11), "!"), encoder=encoder, heartbeat=5)
        peer = await served(relay)
        assert peer.sent_at == [0, 3, 8, 13, 14]
        assert peer.sends[2] == peer.sends[3] == heartbeat


# Rule 8: backpressure.


async def test_rule_8_the_model_is_read_as_fast_as_the_peer_reads(autojump_clock):
    def endless() -> Any:
        while True:
            yield say(*["word "] * 100)

    client = ts.Client(api_key="test", transport=ScriptedAPI(endless()))
    relay = web.Relay(client.messages.stream(**PARAMS), web.Anthropic(), send_timeout=None)
    peer = Peer()
    peer.window = 5
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.run, relay)
        await trio.sleep(1)
        assert isinstance(relay.stream, ts.MessageStream)
        read = relay.stream.stats.bytes
        await trio.sleep(100)
        assert relay.stream.stats.bytes == read
        peer.disconnect()


# Own code: `tests/test_layering.py` sees to it that no framework is imported and that there is no async generator.
