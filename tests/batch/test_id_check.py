"""Ids of a fan-out that cannot be: found before the first request where the items are a sequence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import trio_stream as ts
from trio_stream.testing import ScriptedAPI, say

PARAMS: dict[str, Any] = {"model": "m", "max_tokens": 9}


def items(*names: str | None) -> list[ts.Item]:
    return [ts.Item(f"prompt {number}", id=name) for number, name in enumerate(names)]


async def run(api: ScriptedAPI, values: Any, journal: Any, **options: Any) -> list[ts.Outcome]:
    async with ts.Client(api_key="test-key", transport=api) as client:
        return [*await ts.gather_outcomes(client, values, journal=journal, **PARAMS, **options)]


async def test_a_repeated_id_at_the_end_of_a_list(tmp_path: Path) -> None:
    """Nothing is sent, and the run that is corrected sends everything."""
    api = ScriptedAPI(default=[say("x")])
    with pytest.raises(ts.JournalConflictError, match="two items have the id 'a'") as caught:
        await run(api, items("a", None, None, "b", "a"), tmp_path / "j")
    assert (caught.value.id, api.requests) == ("a", [])
    assert len(await run(api, items("a", None, None, "b", "c"), tmp_path / "j")) == 5
    assert len(api.requests) == 5


async def test_all_of_them_are_told(tmp_path: Path) -> None:
    """Ids that are repeated and those of other requests; the first ten in words."""
    api = ScriptedAPI(default=[say("x")])
    await run(api, items(*(f"q{n}" for n in range(12))), tmp_path / "j")
    sent = len(api.requests)
    edited = [ts.Item("edited", id=f"q{n}") for n in range(12)]
    with pytest.raises(ts.JournalConflictError) as caught:
        await run(api, [*items("new", "new"), *edited], tmp_path / "j")
    said = str(caught.value)
    assert said.startswith("13 items: two items have the id 'new'")
    assert "has 'q0' with another request" in said
    assert "has 'q8' with another request" in said
    assert said.endswith("; and 3 more")
    assert (caught.value.id, len(api.requests)) == ("new", sent)


async def test_the_schema_of_the_answers_belongs_to_the_request(tmp_path: Path) -> None:
    """The same items with the same type are known, and others are not."""
    api = ScriptedAPI(default=[say("7")])
    await run(api, items("a"), tmp_path / "j", output=int)
    assert [outcome.status for outcome in await run(api, items("a"), tmp_path / "j", output=int)] == ["cached"]
    with pytest.raises(ts.JournalConflictError):
        await run(api, items("a"), tmp_path / "j", output=float)
    assert len(api.requests) == 1


async def test_what_cannot_be_sent_is_the_outcome_of_its_item(tmp_path: Path) -> None:
    """It costs nothing, and the others are answered."""
    api = ScriptedAPI(default=[say("x")])
    values = [ts.Item({"max_tokens": None, "messages": []}, id="a"), ts.Item("fine", id="b")]
    outcomes = await run(api, values, tmp_path / "j")
    assert [outcome.status for outcome in outcomes] == ["error", "ok"]
    assert "max_tokens" in str(outcomes[0].error)
    assert len(api.requests) == 1


async def test_a_journal_of_ones_own_is_asked(tmp_path: Path) -> None:
    """Whatever it refuses is told before anything is sent."""
    api = ScriptedAPI(default=[say("x")])
    with ts.Journal(tmp_path / "j") as inner:

        class Own:
            def lookup(self, key: str, request_hash: str) -> ts.Outcome | None:
                if key == "c":
                    raise ts.JournalConflictError("not this one", id=key)
                return inner.lookup(key, request_hash)

            def __getattr__(self, name: str) -> Any:
                return getattr(inner, name)

        with pytest.raises(ts.JournalConflictError, match="not this one"):
            await run(api, items("a", "b", "c"), Own())
        assert api.requests == []
        assert len(await run(api, items("a", "b"), Own())) == 2


async def test_a_generator_is_looked_at_as_it_comes(tmp_path: Path) -> None:
    """It can be read once only, so its repeated id is found when it is taken."""
    taken: list[str | None] = []

    def come() -> Iterator[ts.Item]:
        for item in items("a", "a"):
            taken.append(item.id)
            yield item

    api = ScriptedAPI(default=[say("x")])
    with pytest.raises(ts.JournalConflictError, match="two items have the id 'a'"):
        await run(api, come(), tmp_path / "j")
    assert taken == ["a", "a"]
