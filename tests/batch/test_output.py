"""`fan_out` with ``output=``: values, answers that are none, asking again, and resuming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

import trio_stream as ts
from trio_stream.testing import Step, http_error, say, stop

from .api import PARAMS, Notes, by_prompt, client_of


class Answer(msgspec.Struct):
    number: int


GOOD = [say('{"number": 42}')]
UNFIT = [say('{"number": "x"}')]
CUT = [say('{"number": 4'), stop("max_tokens")]
REFUSED = [say("No."), stop("refusal")]


async def outcomes_of(client: ts.Client, items: Any, **options: Any) -> tuple[list[ts.Outcome], ts.FanOutStats]:
    async with ts.fan_out(client, items, **options, **PARAMS) as results:
        outcomes = [outcome async for outcome in results]
    return sorted(outcomes, key=lambda outcome: outcome.index), results.stats


async def test_values(autojump_clock: Any) -> None:
    """Each answer is a value; the schema is asked for beside what an item's own output config says."""
    client, api = client_of(default=lambda _: GOOD)
    items = ["a", {"messages": [{"role": "user", "content": "b"}], "output_config": {"effort": "low"}}]
    outcomes, stats = await outcomes_of(client, items, output=Answer)
    assert [outcome.value for outcome in outcomes] == [Answer(42), Answer(42)]
    assert [outcome.status for outcome in outcomes] == ["ok", "ok"]
    assert (stats.ok, stats.invalid) == (2, 0)
    configs: list[Any] = [request.body["output_config"] for request in api.requests]  # type: ignore[index]
    assert all(config["format"]["schema"]["additionalProperties"] is False for config in configs)
    assert {config.get("effort") for config in configs} == {None, "low"}


async def test_without_a_type_all_is_as_it_was(autojump_clock: Any) -> None:
    """An answer that was cut or refused is `ok` then, and has no value."""
    client, _ = client_of(default=by_prompt(cut=CUT, refused=REFUSED))
    outcomes, _ = await outcomes_of(client, ["cut", "refused"])
    assert [(outcome.status, outcome.value, outcome.error) for outcome in outcomes] == [("ok", None, None)] * 2


async def test_answers_that_are_no_value(autojump_clock: Any) -> None:
    """The status says why, and the error has the rest; a failure of the request is what it was."""
    failing: list[Step] = [http_error(400)]
    client, _ = client_of(default=by_prompt(good=GOOD, unfit=UNFIT, cut=CUT, refused=REFUSED, failing=failing))
    outcomes, stats = await outcomes_of(client, ["good", "unfit", "cut", "refused", "failing"], output=Answer)
    assert [outcome.status for outcome in outcomes] == ["ok", "invalid", "truncated", "refused", "error"]
    assert [outcome.finished for outcome in outcomes] == [True, False, False, False, False]
    assert (stats.ok, stats.invalid, stats.errors) == (1, 3, 1)
    for outcome in outcomes[1:4]:
        assert isinstance(outcome.error, ts.OutputParseError)
        assert outcome.error.fault == outcome.status
        assert outcome.error.request_id == outcome.request_id is not None
        assert outcome.error.text == outcome.text
        assert outcome.value is None
        assert outcome.usage is not None
        with pytest.raises(ts.OutputParseError):
            outcome.unwrap()


@pytest.mark.parametrize(
    ("more", "status", "requests"), [(0, "invalid", 1), (1, "truncated", 2), (2, "ok", 3), (9, "ok", 3)]
)
async def test_asked_again(autojump_clock: Any, more: int, status: str, requests: int) -> None:
    """As often as ``retry_invalid`` says; every attempt's tokens are counted."""
    client, api = client_of(UNFIT, CUT, GOOD)
    (outcome,), stats = await outcomes_of(client, ["a"], output=Answer, retry_invalid=more)
    assert outcome.status == status
    assert outcome.attempts == stats.requests == len(api.requests) == requests
    assert stats.retries == requests - 1
    assert outcome.usage is not None
    assert stats.output_tokens > outcome.usage.output_tokens or requests == 1
    assert outcome.value == (Answer(42) if status == "ok" else None)


async def test_failures_are_counted_through_all_of_it(autojump_clock: Any) -> None:
    """An answer that does not fit does not give an item new attempts after failures."""
    client, api = client_of([http_error(500)], UNFIT, [http_error(500)], GOOD)
    (outcome,), _ = await outcomes_of(client, ["a"], output=Answer, retry_invalid=5, max_attempts=2)
    assert outcome.status == "error"
    assert len(api.requests) == 3


async def test_the_clock_of_an_item_goes_on(autojump_clock: Any) -> None:
    """Asking again stops when ``item_timeout`` is over."""
    client, _ = client_of(default=lambda _: [say('"x"', ttft=2.0)])
    (outcome,), stats = await outcomes_of(client, ["a"], output=Answer, retry_invalid=100, item_timeout=5.0)
    assert outcome.status == "timeout"
    assert stats.requests == 3


async def test_instruments_are_told_of_asking_again(autojump_clock: Any) -> None:
    """As of any other retry."""
    moments: list[object] = []
    client, _ = client_of(UNFIT, GOOD)
    client = client.with_options(instruments=[moments.append])
    (outcome,), _ = await outcomes_of(client, ["a"], output=Answer, retry_invalid=1)
    assert outcome.status == "ok"
    (retry,) = [moment for moment in moments if isinstance(moment, ts.ItemRetry)]
    assert isinstance(retry.error, ts.OutputParseError)
    assert retry.delay == 0


async def test_an_error_that_is_raised(autojump_clock: Any) -> None:
    """With ``on_error="raise"`` the first answer that is no value ends it."""
    client, _ = client_of(default=by_prompt(good=GOOD, unfit=[say("x", ttft=5.0)]))
    with pytest.raises(ts.OutputParseError) as caught:
        await outcomes_of(client, ["good", "unfit"], output=Answer, on_error="raise", limit=1)
    assert caught.value.fault == "invalid"


async def test_too_many_of_them(autojump_clock: Any) -> None:
    """They count for ``max_errors``."""
    client, _ = client_of(default=lambda _: UNFIT)
    outcomes, stats = await outcomes_of(client, list("abcdef"), output=Answer, max_errors=2, limit=1)
    assert stats.stopped is not None
    assert stats.stopped.reason == "max_errors"
    assert [outcome.status for outcome in outcomes].count("invalid") == 3


async def test_gathering(autojump_clock: Any) -> None:
    """`gather_outcomes` has the values; `gather_texts` has texts."""
    client, _ = client_of(default=lambda _: GOOD)
    outcomes = await ts.gather_outcomes(client, ["a", "b"], output=Answer, **PARAMS)
    assert [outcome.value.number for outcome in outcomes] == [42, 42]
    wrong: Any = {"output": Answer}
    with pytest.raises(TypeError, match="gather_texts returns texts"):
        await ts.gather_texts(client, ["a"], **wrong, **PARAMS)


async def test_options_that_make_no_sense(autojump_clock: Any) -> None:
    """It is said before anything is sent."""
    client, api = client_of()
    with pytest.raises(TypeError, match=r"dict\[str, int\] cannot be asked for"):
        ts.fan_out(client, ["a"], output=dict[str, int], **PARAMS)
    with pytest.raises(ValueError, match="retry_invalid must not be negative"):
        ts.fan_out(client, ["a"], output=Answer, retry_invalid=-1, **PARAMS)
    with pytest.raises(ValueError, match="give that as output"):
        ts.fan_out(client, ["a"], retry_invalid=1, **PARAMS)
    own: Any = {"messages": [], "output_config": {"format": {"type": "json_schema", "schema": {}}}}
    (outcome,), _ = await outcomes_of(client, [own], output=Answer)
    assert outcome.status == "error"
    assert isinstance(outcome.error, TypeError)
    assert api.requests == []


async def test_a_journal_has_no_values_and_gives_them(autojump_clock: Any, tmp_path: Path) -> None:
    """The message is in it, and is decoded again; what was no value stays so, unless errors are tried again."""
    path = tmp_path / "journal"
    scripts = by_prompt(good=GOOD, unfit=UNFIT, cut=CUT, refused=REFUSED)
    prompts = ["good", "unfit", "cut", "refused"]
    client, api = client_of(default=scripts)
    first, _ = await outcomes_of(client, prompts, output=Answer, journal=path)
    again, stats = await outcomes_of(client, prompts, output=Answer, journal=path)
    assert len(api.requests) == 4
    assert stats.requests == 0
    assert [outcome.status for outcome in again] == ["cached", "invalid", "truncated", "refused"]
    assert again[0].value == Answer(42)
    for before, after in zip(first[1:], again[1:], strict=True):
        assert isinstance(before.error, ts.OutputParseError)
        assert isinstance(after.error, ts.OutputParseError)
        assert (after.error.fault, after.error.text) == (before.error.fault, before.error.text)
        assert str(after.error) == str(before.error)
    client, api = client_of(default=lambda _: GOOD)
    with ts.Journal(path, retry_errors=True) as journal:
        third, _ = await outcomes_of(client, prompts, output=Answer, journal=journal)
    assert [outcome.status for outcome in third] == ["cached", "ok", "ok", "ok"]
    assert len(api.requests) == 3


class Stricter(msgspec.Struct):
    """With the schema of `Answer`, but for a rule that only decoding knows."""

    number: int

    def __post_init__(self) -> None:
        if self.number > 10:
            raise ValueError("number must be at most 10")


async def test_an_answer_of_the_journal_that_fits_no_more(autojump_clock: Any) -> None:
    """It is told, or sent again where answers that do not fit are."""
    notes = Notes()
    client, api = client_of(GOOD, [say('{"number": 1}')])
    (first,), _ = await outcomes_of(client, ["a"], output=Stricter, journal=notes)
    assert first.status == "invalid"
    assert "number must be at most 10" in str(first.error)
    # The memory of `Notes` has the text alone, as some journals have.
    (second,), _ = await outcomes_of(client, ["a"], output=Stricter, journal=notes)
    assert second.status == "invalid"
    assert second.attempts == 0
    (third,), _ = await outcomes_of(client, ["a"], output=Stricter, journal=notes, retry_invalid=1)
    assert third.status == "ok"
    assert third.value == Stricter(1)
    assert len(api.requests) == 2
    (fourth,), _ = await outcomes_of(client, ["a"], output=Stricter, journal=notes)
    assert (fourth.status, fourth.value) == ("cached", Stricter(1))


async def test_a_journal_that_is_no_answer(autojump_clock: Any) -> None:
    """What is no answer has no value to be read."""
    client, _ = client_of(default=lambda _: GOOD)

    class Skips(Notes):
        def lookup(self, key: str, request_hash: str) -> ts.Outcome | None:
            return ts.Outcome(status="skipped")

    (outcome,), _ = await outcomes_of(client, ["a"], output=Answer, journal=Skips())
    assert (outcome.status, outcome.value) == ("skipped", None)


def test_generic_types_are_plain_at_run_time() -> None:
    """With one type or both."""
    assert ts.Outcome[int](status="ok") == ts.Outcome[int, Answer](status="ok") == ts.Outcome(status="ok")
    assert ts.FanOut[int] == ts.FanOut[int, Any]
