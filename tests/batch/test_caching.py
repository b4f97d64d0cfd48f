"""The prompt cache: what is marked, who goes first, and what the figures say of it."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import trio_stream as ts
from trio_stream.batch import request_hash
from trio_stream.batch._caching import mark_shared, with_prefix
from trio_stream.testing import RecordedRequest, Step, http_error, pause, say, usage

from .api import PARAMS, client_of

SYSTEM = "You are a judge. " * 200


class PromptCache:
    """A prompt cache of one entry for each prefix and model: it exists a while after an answer has begun."""

    def __init__(self, *, spread: float = 1.5, lasts: float = 300.0, tokens: int = 2000, first_event: float = 1.0):
        self.spread = spread
        self.lasts = lasts
        self.tokens = tokens
        self.first_event = first_event
        self.entries: dict[tuple[str, bytes], tuple[float, float]] = {}  # from when on, and until when
        self.writes: list[float] = []
        self.reads: list[float] = []

    def answer(self, request: RecordedRequest) -> list[Step]:
        """An answer that takes three seconds."""
        lead = marked_part(request.body)
        now = trio.current_time()
        written = read = 0
        if lead is not None:
            key = (request.body["model"], lead)
            since, until = self.entries.get(key, (0.0, -1.0))
            if since <= now <= until:
                read = self.tokens
                self.reads.append(now)
                self.entries[key] = (since, now + self.lasts)
            else:
                written = self.tokens
                self.writes.append(now)
                begins = now + self.first_event
                self.entries[key] = (begins + self.spread, begins + self.lasts)
        return [
            usage(input_tokens=10, cache_creation_input_tokens=written, cache_read_input_tokens=read),
            say("x", pause(3), ttft=self.first_event),
        ]


def marked_part(body: Any) -> bytes | None:
    """Everything up to the mark, or None without one."""
    system = body.get("system")
    content = body["messages"][0]["content"]
    blocks = [*(system if isinstance(system, list) else []), *(content if isinstance(content, list) else [])]
    for place, block in enumerate(blocks):
        if "cache_control" in block:
            return repr([b["text"] for b in blocks[: place + 1]]).encode()
    return None


@pytest.mark.no_cover
@pytest.mark.parametrize("how", ["system", "prefix"])
async def test_one_write_and_all_others_read(how, autojump_clock):
    """Five hundred items."""
    cache = PromptCache()
    client, api = client_of(default=cache.answer)
    more: dict[str, Any] = {"system": SYSTEM} if how == "system" else {"prompt_prefix": SYSTEM}
    async with ts.fan_out(client, map(str, range(500)), cache="5m", **more, **PARAMS) as results:
        assert {outcome.status async for outcome in results} == {"ok"}
    assert (len(cache.writes), len(cache.reads)) == (1, 499)
    stats = results.stats
    assert (stats.cache_writes, stats.cache_hits, stats.cache_misses) == (1, 499, 1)
    assert stats.cache_hit_rate == pytest.approx(499 * 2000 / (500 * 2010))
    assert stats.costs is not None
    # claude-sonnet-5-5: $2 a million, $2.50 written, $0.10 read.
    assert stats.costs.saved_by_cache == pytest.approx((499 * 1.90 - 0.50) * 2000 / 1e6)
    assert not stats.cache_useless
    # The others follow two seconds after its first event.
    times = [request.at - api.requests[0].at for request in api.requests]
    assert times[1] == pytest.approx(3.0)


async def test_an_entry_that_is_kept_for_an_hour(autojump_clock):
    """It outlasts the pause that one for five minutes does not."""
    cache = PromptCache(lasts=3600)

    async def items():
        for number in range(20):
            if number == 10:
                await trio.sleep(1800)
            yield str(number)

    client, api = client_of(default=cache.answer)
    async with ts.fan_out(client, items(), cache="1h", system=SYSTEM, **PARAMS) as results:
        assert {outcome.status async for outcome in results} == {"ok"}
    assert (len(cache.writes), len(cache.reads)) == (1, 19)
    assert {request.body["system"][0]["cache_control"]["ttl"] for request in api.requests} == {"1h"}


@pytest.mark.parametrize("cause", ["refusal", "slow items", "outage"])
async def test_one_goes_first_again_after_a_pause(cause, autojump_clock):
    """The entry has ended by then; a hundred would write it again."""
    cache = PromptCache()
    began = trio.current_time()

    def answer(request: RecordedRequest) -> list[Step]:
        at = request.at - began
        if cause == "refusal" and 20 < at < 24:
            return [http_error(429, retry_after=400)]
        if cause == "outage" and 20 < at < 500:
            return [http_error(503)]
        return cache.answer(request)

    async def items():
        for number in range(100):
            if cause == "slow items" and number == 50:
                await trio.sleep(400)
            yield str(number)

    client, _ = client_of(default=answer)
    async with ts.fan_out(client, items(), limit=10, cache="5m", system=SYSTEM, **PARAMS) as results:
        assert {outcome.status async for outcome in results} == {"ok"}
    assert len(cache.writes) == 2
    assert cache.writes[1] - cache.writes[0] > 300


@pytest.mark.no_cover
async def test_a_cache_that_is_read_all_the_time_does_not_end(autojump_clock):
    """Each read renews it, so nobody waits again."""
    cache = PromptCache()
    client, _ = client_of(default=cache.answer)
    async with ts.fan_out(client, map(str, range(400)), limit=2, cache="5m", system=SYSTEM, **PARAMS) as results:
        assert {outcome.status async for outcome in results} == {"ok"}
    assert results.stats.seconds > 600
    assert len(cache.writes) == 1


async def test_each_model_has_its_entry(autojump_clock):
    """Two models are warmed up beside each other."""
    cache = PromptCache()
    client, _ = client_of(default=cache.answer)
    items = [{"model": f"claude-{n % 2}", "messages": [{"role": "user", "content": str(n)}]} for n in range(40)]
    await ts.gather_outcomes(client, items, cache="5m", system=SYSTEM, max_tokens=10)
    assert cache.writes == [cache.writes[0]] * 2


async def test_a_first_item_that_fails_is_followed_by_another_alone(autojump_clock):
    """It has written nothing."""
    cache = PromptCache()
    client, _ = client_of([pause(1), http_error(400)], default=cache.answer)
    outcomes = await ts.gather_outcomes(client, map(str, range(20)), cache="5m", system=SYSTEM, **PARAMS)
    assert [outcome.status for outcome in outcomes].count("error") == 1
    assert len(cache.writes) == 1


async def test_the_next_runs_read_what_is_there(autojump_clock):
    """Who reads at first lets the others go at once."""
    cache = PromptCache()
    client, api = client_of(default=cache.answer)
    for _ in range(2):
        await ts.gather_outcomes(client, map(str, range(10)), cache="5m", system=SYSTEM, **PARAMS)
    assert len(cache.writes) == 1
    assert api.requests[11].at - api.requests[10].at == pytest.approx(1.0)


async def test_a_prefix_that_is_too_short_is_said_and_nobody_waits(autojump_clock):
    """The API caches nothing below a length, and says nothing about it."""
    cache = PromptCache(tokens=0)
    client, api = client_of(default=cache.answer)
    async with ts.fan_out(client, ["a", "b", "c"], cache="5m", system="short", **PARAMS) as results:
        async for _ in results:
            pass
    assert results.stats.cache_useless
    assert results.stats.cache_misses == 3
    assert [request.at - api.requests[0].at for request in api.requests] == [0, 1, 1]


async def test_nothing_shared_means_nothing_to_wait_for(autojump_clock):
    """All go at once, without marks."""
    client, api = client_of()
    async with ts.fan_out(client, ["a", "b", "c"], cache="5m", **PARAMS) as results:
        async for _ in results:
            pass
    assert {request.at for request in api.requests} == {api.requests[0].at}
    assert b"cache_control" not in b"".join(request.content for request in api.requests)
    assert (results.stats.cache_hits, results.stats.cache_misses, results.stats.cache_useless) == (0, 0, False)


@pytest.mark.parametrize("warmup", [True, False])
async def test_what_the_journal_knows_warms_up_nothing(warmup, tmp_path, autojump_clock):
    """The first item that is sent goes alone, not the first of all."""
    cache = PromptCache()
    path = tmp_path / "journal"
    client, _ = client_of(default=cache.answer)
    await ts.gather_outcomes(client, ["a", "b"], journal=path, system=SYSTEM, **PARAMS)
    more: dict[str, Any] = {"warmup": True} if warmup else {"cache": "5m"}
    with trio.fail_after(100):
        outcomes = await ts.gather_outcomes(client, ["a", "b", "c", "d"], journal=path, system=SYSTEM, **more, **PARAMS)
    # With or without the cache they are the same requests.
    assert [outcome.status for outcome in outcomes] == ["cached", "cached", "ok", "ok"]
    assert len(cache.writes) == (0 if warmup else 1)


async def test_drain_while_one_goes_first(autojump_clock):
    """Those that wait for it are skipped."""
    client, api = client_of(default=PromptCache(first_event=50).answer)
    async with ts.fan_out(client, map(str, range(20)), cache="5m", system=SYSTEM, **PARAMS) as results:
        await trio.sleep(1)
        results.drain()
        statuses = [outcome.status async for outcome in results]
    assert statuses.count("ok") == 1
    assert set(statuses) == {"ok", "skipped"}
    assert len(api.requests) == 1


# Marks.


def marks(params: Any) -> list[str]:
    """Where the marks are."""
    found: list[str] = []

    def look(value: Any, path: str) -> None:
        if isinstance(value, dict):
            if "cache_control" in value:
                found.append(path)
            for name, item in value.items():
                look(item, f"{path}.{name}".lstrip("."))
        elif isinstance(value, list):
            for place, item in enumerate(value):
                look(item, f"{path}.{place}")

    look(params, "")
    return found


MESSAGES = [{"role": "user", "content": "q"}]
TOOLS = [{"name": "a"}, {"name": "b"}]


@pytest.mark.parametrize(
    ("params", "where"),
    [
        ({"system": "s"}, ["system.0"]),
        ({"system": "s", "tools": TOOLS}, ["system.0"]),
        ({"system": [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}]}, ["system.1"]),
        ({"tools": TOOLS}, ["tools.1"]),
        ({"system": "", "tools": tuple(TOOLS)}, ["tools.1"]),
        ({"system": [], "tools": []}, None),
        ({"tools": [...]}, None),
        ({}, None),
    ],
    ids=str,
)
def test_the_last_shared_block_is_marked(params, where):
    """The system prompt comes after the tools in the prompt, so its mark covers both."""
    before = repr(params)
    marked = mark_shared({**params, "messages": MESSAGES}, "1h", prefixed=False)
    assert (None if marked is None else marks(marked)) == where
    assert repr(params) == before


def test_a_mark_that_is_there_is_kept():
    """It may ask for another time."""
    block = {"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    assert mark_shared({"system": [block]}, "5m", prefixed=False) == {"system": [block]}


def text(words: str, ttl: str | None = None) -> dict[str, Any]:
    mark = {} if ttl is None else {"cache_control": {"type": "ephemeral", "ttl": ttl}}
    return {"type": "text", "text": words, **mark}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


THREE = [text("q", "5m")] * 3
AUTOMATIC = {"cache_control": {"type": "ephemeral"}}
TOOL = {"name": "a", "input_schema": {"type": "object"}}


@pytest.mark.parametrize(
    ("params", "duration", "new"),
    [
        ({"system": "s", "tools": [{**TOOL, **AUTOMATIC}]}, "1h", {"system.0": "5m"}),
        ({"system": [text("1", "5m"), text("2")]}, "1h", {"system.1": "5m"}),
        ({"system": [text("1", "1h"), text("2")]}, "5m", {"system.1": "5m"}),
        ({"system": "s", "messages": [user(text("q", "1h"))]}, "5m", {"system.0": "1h"}),
        ({"system": "s", "cache_control": {"type": "ephemeral", "ttl": "1h"}}, "5m", {"system.0": "1h"}),
        ({"system": "s", "messages": [user(*THREE)]}, "1h", {"system.0": "1h"}),
        ({"system": "s", "messages": [user(*THREE, text("q", "5m"))]}, "5m", {}),
        ({"system": "s", "messages": [user(*THREE)], **AUTOMATIC}, "5m", {"system.0": "5m"}),
        ({"system": "s", "messages": [user(*THREE, text("q"))], **AUTOMATIC}, "5m", {}),
        ({"system": [text("s", "5m")], "tools": [TOOL]}, "1h", {}),
        ({"tools": [TOOL], "messages": [user(*THREE, text("q", "5m"))]}, "5m", {}),
    ],
)
async def test_the_new_mark_fits_among_those_that_are_there(params, duration, new):
    """There are no more than four, and none lasts longer than one before it: the API refuses all others."""
    before = {"messages": MESSAGES, **params}
    marked: Any = mark_shared(before, duration, prefixed=False)
    found = {}
    for name in set(marks(marked)).difference(marks(before)):
        kind, place = name.split(".")
        found[name] = marked[kind][int(place)]["cache_control"]["ttl"]
    assert found == new
    client, _ = client_of(default=[say("x")])
    assert (await client.messages.create(**{**PARAMS, **marked})).text == "x"


def test_marks_in_the_results_of_tools_count():
    """They are blocks of the prompt too. What is no block is left to the API."""
    result = {"type": "tool_result", "content": [text("r", "1h")]}
    marked: Any = mark_shared({"system": "s", "messages": ["?", user("?", result)]}, "5m", prefixed=False)
    assert marked["system"] == [text("s", "1h")]


def test_a_prefix_between_marks_of_ones_own():
    """It comes after ``system``, and before what the item says."""
    for system, words, expected in (("5m", None, "5m"), ("1h", "1h", "1h"), (None, "1h", "1h"), (None, None, "5m")):
        params = {"system": [text("s", system)], "messages": [user(text("q", words))]}
        marked = mark_shared(with_prefix(params, "document"), "5m", prefixed=True)
        assert marked is not None
        assert marked["messages"][0]["content"][0] == text("document", expected)


@pytest.mark.parametrize(
    "content", ["q", [{"type": "text", "text": "q"}], ({"type": "text", "text": "q"},)], ids=["str", "list", "tuple"]
)
def test_a_prefix_leads_the_first_message(content):
    """As a block of its own, which is the one that is marked."""
    params = {"system": "s", "messages": [{"role": "user", "content": content}, {"role": "assistant", "content": "a"}]}
    prefixed = with_prefix(params, "document")
    blocks = [{"type": "text", "text": "document"}, {"type": "text", "text": "q"}]
    assert prefixed["messages"] == [{"role": "user", "content": blocks}, {"role": "assistant", "content": "a"}]
    marked = mark_shared(prefixed, "5m", prefixed=True)
    assert marks(marked) == ["messages.0.content.0"]
    assert marks(prefixed) == []


@pytest.mark.parametrize("messages", [None, [], "q", ["q"], [{"role": "user"}]], ids=str)
async def test_a_prefix_needs_a_message_to_lead(messages, autojump_clock):
    """Otherwise it is the error of the item."""
    client, api = client_of(default=[say("x")])
    items: list[Any] = [{"messages": messages}, "good"]
    outcomes = await ts.gather_outcomes(client, items, prompt_prefix="document", **PARAMS)
    assert [outcome.status for outcome in outcomes] == ["error", "ok"]
    assert isinstance(outcomes[0].error, TypeError)
    assert len(api.requests) == 1


async def test_the_prefix_is_a_part_of_the_request_and_its_mark_is_not(tmp_path, autojump_clock):
    """Another document is another request; the cache is a matter of cost."""
    path = tmp_path / "journal"
    client, api = client_of(default=[say("x")])
    item = ts.Item("q", id="1")
    await ts.gather_outcomes(client, [item], journal=path, prompt_prefix="document", **PARAMS)
    (outcome,) = await ts.gather_outcomes(client, [item], journal=path, prompt_prefix="document", cache="1h", **PARAMS)
    assert outcome.status == "cached"
    with pytest.raises(ts.JournalConflictError):
        await ts.gather_outcomes(client, [item], journal=path, prompt_prefix="another", **PARAMS)
    assert len(api.requests) == 1
    assert request_hash(with_prefix({**PARAMS, "messages": MESSAGES}, "a")) != request_hash(
        {**PARAMS, "messages": MESSAGES}
    )


@pytest.mark.parametrize("wrong", [{"cache": "2h"}, {"cache": True}, {"prompt_prefix": " \n"}], ids=str)
async def test_options_that_cannot_be(wrong):
    """They are told before anything is sent."""
    client, _ = client_of()
    with pytest.raises(ValueError, match=next(iter(wrong))):
        await ts.gather_outcomes(client, ["a"], **wrong, **PARAMS)
