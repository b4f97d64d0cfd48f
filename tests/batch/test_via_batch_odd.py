"""`fan_out(via="batch")` with a server that does what it should not, and batches of earlier runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import trio

import trio_stream as ts
from trio_stream.batch import ItemEnd, ItemStart
from trio_stream.batch._via_batch_collect import read_result
from trio_stream.testing import Batches, ScriptedAPI, http_error, say
from trio_stream.types import MessageBatchIndividualResponse

from .api import PARAMS, echo, prompt_of
from .via import (
    Odd,
    always,
    api_of,
    asked,
    creations,
    is_creation,
    is_list,
    items_of,
    once,
    reason_of,
    records,
    run,
    statuses,
    streamed,
)

AT_ONCE = ts.ViaBatch(probe=False)


def is_results(request: Any) -> bool:
    return request.path.endswith("/results")


def is_about_batches(request: Any) -> bool:
    return request.path.startswith("/v1/messages/batches")


# Creating.


async def test_a_batch_that_is_too_large_is_halved(autojump_clock):
    """Until it is taken; a single item that is too large is an error."""
    client, api = api_of(Odd(lambda r: http_error(413) if is_creation(r) and len(r.body["requests"]) > 2 else None))
    outcomes, _ = await run(client, items_of(7), via=AT_ONCE)
    assert statuses(outcomes) == {"ok": 7}
    assert sorted(len(request.body["requests"]) for request in creations(api)) == [1, 2, 2, 2, 3, 4, 7]
    client, api = api_of(Odd(always(is_creation, 413)))
    outcomes, _ = await run(client, items_of(2), via=AT_ONCE)
    assert statuses(outcomes) == {"error": 2}


async def test_a_refused_creation(autojump_clock):
    """400 is an error of the items, 402 one of the account."""
    client, _ = api_of(Odd(always(is_creation, 400)))
    outcomes, results = await run(client, items_of(2), via=AT_ONCE)
    assert (statuses(outcomes), results.stats.stopped) == ({"error": 2}, None)
    client, _ = api_of(Odd(always(is_creation, 402)))
    outcomes, results = await run(client, items_of(2), via=AT_ONCE)
    assert statuses(outcomes) == {"skipped": 2}
    assert results.stats.stopped is not None
    assert results.stats.stopped.reason == "spend_limit"


async def test_an_outage_is_borne_for_ten_minutes(autojump_clock):
    """Before the creation it is the list that fails."""
    client, _ = api_of(Odd(once(is_list, 503, "later")))
    assert statuses((await run(client, items_of(2), via=AT_ONCE))[0]) == {"ok": 2}
    client, _ = api_of(Odd(always(is_list, 503)))
    outcomes, results = await run(client, items_of(2), via=AT_ONCE)
    assert (statuses(outcomes), reason_of(results)) == ({"skipped": 2}, "outage")
    assert trio.current_time() > 600


async def test_no_connection_for_the_creation(autojump_clock):
    """Nothing was sent, so it is asked again."""

    class Unplugged(ScriptedAPI):
        left = 2

        async def handle_async_request(self, request: Any) -> Any:
            if request.method == "POST" and self.left:
                self.left -= 1
                raise httpx.ConnectError("refused")
            return await super().handle_async_request(request)

    api = Unplugged(default=echo, batches=Batches())
    client = ts.Client(api_key="test-key", transport=api)
    outcomes, _ = await run(client, items_of(2), via=AT_ONCE)
    assert statuses(outcomes) == {"ok": 2}


async def test_parameters_that_the_client_does_not_send(autojump_clock):
    """They are errors of the items; the journal says that nothing was sent."""
    client, _ = api_of()
    other = client.with_options(anthropic_version="2026-01-01")
    outcomes, _ = await run(other, items_of(2), via=AT_ONCE, temperature=0.5)
    assert statuses(outcomes) == {"error": 2}


async def test_lists_of_many_pages(autojump_clock, monkeypatch):
    """A batch is found on a later page; so is one that is watched."""
    monkeypatch.setattr("trio_stream.batch._via_batch_calls._PAGE", 2)
    client, _ = api_of(Batches(seconds=400, list_lag=20, faults=["lost_answer"]))
    outcomes, _ = await run(client, [f"{n}" for n in range(9)], via=ts.ViaBatch(probe=False, max_requests=1))
    assert statuses(outcomes) == {"ok": 9}


async def test_batches_without_dates(autojump_clock):
    """Then the clock of this machine counts, and any batch may be ours."""

    class Dateless(Batches):
        def _headers(self, *arguments: Any) -> Any:
            return [(name, value) for name, value in super()._headers(*arguments) if name != "date"]

        def _page(self, *arguments: Any) -> Any:
            page = super()._page(*arguments)
            return {**page, "data": [{**batch, "created_at": None} for batch in page["data"]]}

    client, _ = api_of(Dateless(faults=["lost_answer"]))
    assert statuses((await run(client, items_of(2), via=AT_ONCE))[0]) == {"ok": 2}


async def test_a_batch_of_somebody_else_is_not_taken_for_ours(autojump_clock):
    """It is as large, and was made at the same time; ours was never made."""
    client, api = api_of(Odd(lambda request: None))
    await client.messages.batches.create(
        {"custom_id": f"theirs-{n}", "params": {**PARAMS, "messages": [{"role": "user", "content": "x"}]}}
        for n in range(2)
    )
    assert isinstance(api.batches, Odd)
    api.batches.odds = once(is_creation, 502, "Bad Gateway")
    outcomes, _ = await run(client, items_of(2), via=AT_ONCE)
    assert statuses(outcomes) == {"ok": 2}
    assert len(creations(api)) == 3


async def test_probes_that_meet_no_connection(autojump_clock):
    """They fail alike too."""

    class Gone(ScriptedAPI):
        async def handle_async_request(self, request: Any) -> Any:
            raise httpx.ConnectError("refused")

    client = ts.Client(api_key="test-key", transport=Gone(batches=Batches()))
    outcomes, _ = await run(client, items_of(5))
    assert statuses(outcomes) == {"error": 3, "skipped": 2}


async def test_the_search_for_a_lost_batch_meets_an_outage(autojump_clock):
    """It goes on when the outage is over."""
    lists = 0

    def odds(request: Any) -> Any:
        nonlocal lists
        lists += is_list(request)
        return http_error(503) if is_list(request) and 2 <= lists <= 4 else None

    client, api = api_of(Odd(odds, faults=["lost_answer"]))
    assert statuses((await run(client, items_of(2), via=AT_ONCE))[0]) == {"ok": 2}
    assert len(creations(api)) == 1


async def test_an_unknown_creation_at_the_deadline_is_paid_twice(autojump_clock, tmp_path):
    """Nobody knows whether there is a batch."""
    client, _ = api_of(Batches(seconds=9000, faults=["lost_answer"]))
    via = ts.ViaBatch(probe=False, deadline=100, cancel_wait=50)
    outcomes, results = await run(client, items_of(2), via=via, journal=tmp_path / "j")
    assert (statuses(outcomes), results.stats.paid_twice) == ({"ok": 2}, 2)
    assert records(tmp_path / "j")[-1]["record"] == "end"


async def test_detaching_from_an_unknown_creation(autojump_clock, tmp_path):
    """The next run finds the batch."""
    client, api = api_of(Batches(faults=["lost_answer"]))
    async with ts.fan_out(client, items_of(2), via=AT_ONCE, journal=tmp_path / "j", **PARAMS) as results:

        async def later() -> None:
            await trio.sleep(5)
            results.detach()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(later)
            outcomes = [outcome async for outcome in results]
    assert statuses(outcomes) == {"skipped": 2}
    outcomes, _ = await run(client, items_of(2), via=AT_ONCE, journal=tmp_path / "j")
    assert statuses(outcomes) == {"cached": 2}
    assert len(creations(api)) == 1


async def test_detaching_while_the_answer_to_a_creation_is_lost(autojump_clock, tmp_path):
    """There is no wait for the list then."""

    def odds(request: Any) -> Any:
        if is_creation(request):
            results.detach()
            return http_error(502)
        return None

    client, _ = api_of(Odd(odds))
    async with ts.fan_out(client, items_of(2), via=AT_ONCE, journal=tmp_path / "j", **PARAMS) as results:
        assert statuses([outcome async for outcome in results]) == {"skipped": 2}
    assert trio.current_time() < 60


async def test_an_abort_after_detaching_cancels_the_batches(autojump_clock, tmp_path):
    """The last word counts."""
    client, api = api_of()
    async with ts.fan_out(client, items_of(2), via=AT_ONCE, journal=tmp_path / "j", **PARAMS) as results:
        await trio.sleep(5)
        results.detach()
        results.abort()
    assert api.requests[-1].path.endswith("/cancel")


# Watching and collecting.


async def test_a_batch_that_cannot_be_looked_at(autojump_clock):
    """An outage of ten minutes and a refused key stop the job; anything else makes errors of its items."""
    for status, expected in (
        (503, ({"skipped": 2}, "outage")),
        (401, ({"skipped": 2}, "authentication")),
        (405, ({"error": 2}, None)),
    ):
        client, _ = api_of(Odd(always(lambda r: r.method == "GET" and r.path.count("/") == 4, status)))
        outcomes, results = await run(client, items_of(2), via=AT_ONCE)
        assert (statuses(outcomes), reason_of(results)) == expected


def test_a_result_of_an_unknown_kind_is_an_error():
    """The API may add some."""
    line = MessageBatchIndividualResponse.from_dict({"custom_id": "a-0", "result": {"type": "postponed"}})
    assert "postponed" in str(read_result(line.result))


async def test_lines_of_others_are_skipped(autojump_clock):
    """Ids that are not ours, and ours twice."""

    class Strange(Batches):
        def answer(self, request: Any, *arguments: Any, **more: Any) -> Any:
            moments = super().answer(request, *arguments, **more)
            if not is_results(request):
                return moments
            from trio_stream.testing._timeline import Data

            found = list(moments)
            strange = msgspec.json.encode({"custom_id": "strange", "result": {"type": "canceled"}}) + b"\n"
            return iter([found[0], Data(strange), *found[1:]])

    client, _ = api_of(Strange())
    assert statuses((await run(client, items_of(2), via=AT_ONCE))[0]) == {"ok": 2}


async def test_answers_of_a_type(autojump_clock):
    """Those that are no value go into another batch, as often as ``retry_invalid`` says."""
    client, api = api_of(default=lambda r: [say("7" if prompt_of(r) == "prompt 0" else "no number")])
    outcomes, _ = await run(client, items_of(2), via=AT_ONCE, output=int, retry_invalid=1)
    assert {outcome.id: (outcome.status, outcome.value) for outcome in outcomes} == {
        "q0": ("ok", 7),
        "q1": ("invalid", None),
    }
    assert [len(request.body["requests"]) for request in creations(api)] == [2, 1]


@pytest.mark.parametrize("via", [AT_ONCE, "stream"], ids=["batch", "stream"])
async def test_an_answer_of_an_earlier_run_that_is_no_value_counts(autojump_clock, tmp_path, via):
    """``retry_invalid`` is how often an item is sent again, whichever run its answers came in, and by whichever way."""
    client, api = api_of(default=lambda _: [say("no number")])
    options: dict[str, Any] = {"journal": tmp_path / "j", "output": int, "retry_invalid": 1}
    await run(client, items_of(2), via=ts.ViaBatch(probe=False, detach=True), **options)
    await trio.sleep(100)
    outcomes, _ = await run(client, items_of(2), via=via, **options)
    assert statuses(outcomes) == {"invalid": 2}
    assert set(asked(api).values()) == {2}


async def test_answers_that_are_no_value_before_the_deadline_count_after_it(autojump_clock):
    """Failures of the API count for themselves."""
    client, api = api_of(Batches(seconds=50, faults=["errored"]), default=lambda _: [say("no number")])
    via = ts.ViaBatch(probe=False, deadline=150)
    outcomes, _ = await run(client, items_of(2), via=via, output=int, retry_invalid=2)
    assert statuses(outcomes) == {"invalid": 2}
    assert asked(api) == {"prompt 0": 4, "prompt 1": 3}


async def test_instruments_are_told_of_each_item_once(autojump_clock):
    """Whichever way it goes."""
    told: list[Any] = []
    client, _ = api_of(Batches(faults=["expired"]))
    client = client.with_options(instruments=[told.append])
    await run(client, items_of(3), via=ts.ViaBatch(on_expired="stream"))
    for kind in (ItemStart, ItemEnd):
        assert sorted(moment.index for moment in told if isinstance(moment, kind)) == [0, 1, 2]


async def test_a_journal_that_cannot_be_written_ends_the_job(autojump_clock, tmp_path, monkeypatch):
    """Nothing may be created that is not noted."""
    client, api = api_of()

    def full(self: ts.Journal, record: Any) -> None:
        raise ts.JournalError("the disk is full", path=self.path)

    monkeypatch.setattr(ts.Journal, "note_batch", full)
    with pytest.raises(ts.JournalError, match="full"):
        await run(client, items_of(2), via=AT_ONCE, journal=tmp_path / "j")
    assert not creations(api)


# Batches of earlier runs.


async def leave_a_batch(client: ts.Client, journal: Path, count: int = 5) -> None:
    """Make a run that leaves its batch to itself."""

    def items() -> Any:
        yield from items_of(count)
        results.detach()

    async with ts.fan_out(client, items(), via=AT_ONCE, journal=journal, **PARAMS) as results:
        assert statuses([outcome async for outcome in results]) == {"skipped": count}


async def test_a_batch_of_an_earlier_run_has_everything_that_a_batch_may_have(autojump_clock, tmp_path):
    """Answers and errors are noted; what may succeed is sent again."""
    client, api = api_of(
        Batches(faults=["errored", "expired"]),
        default=lambda r: [http_error(400)] if prompt_of(r) == "prompt 2" else echo(r),
    )
    await leave_a_batch(client, tmp_path / "j")
    outcomes, _ = await run(client, items_of(5), via=AT_ONCE, journal=tmp_path / "j")
    assert {outcome.id: outcome.status for outcome in outcomes} == {
        "q0": "ok",
        "q1": "cached",
        "q2": "error",
        "q3": "cached",
        "q4": "ok",
    }
    assert [len(request.body["requests"]) for request in creations(api)] == [5, 2]


async def test_an_earlier_batch_whose_items_expired_or_are_missing(autojump_clock, tmp_path):
    """Both may be errors; prompts without ids are found by their requests."""
    client, _ = api_of(Batches(faults=["expired", *["missing"] * 3]))
    await leave_a_batch(client, tmp_path / "j")
    via = ts.ViaBatch(probe=False, on_expired="error")
    outcomes, _ = await run(client, items_of(5), via=via, journal=tmp_path / "j")
    assert statuses(outcomes) == {"cached": 3, "error": 2}


async def test_an_earlier_batch_at_the_deadline(autojump_clock, tmp_path):
    """It is cancelled, and what it has not answered is streamed."""
    client, api = api_of(Batches(seconds=500, cancel_seconds=10))
    await leave_a_batch(client, tmp_path / "j")
    via = ts.ViaBatch(probe=False, deadline=200)
    outcomes, results = await run(client, items_of(5), via=via, journal=tmp_path / "j")
    assert statuses(outcomes) == {"cached": 2, "ok": 3}
    assert (len(streamed(api)), results.stats.paid_twice) == (3, 0)


@pytest.mark.parametrize("faults", [[], ["lost_answer"]])
async def test_an_earlier_batch_that_does_not_end_after_the_deadline(autojump_clock, tmp_path, faults):
    """Its items are streamed, and may be paid twice."""
    client, api = api_of(Batches(seconds=5000, cancel_seconds=4000, faults=faults))
    await leave_a_batch(client, tmp_path / "j")
    via = ts.ViaBatch(probe=False, deadline=100, cancel_wait=20)
    outcomes, results = await run(client, items_of(5), via=via, journal=tmp_path / "j")
    assert statuses(outcomes) == {"ok": 5}
    assert (len(streamed(api)), results.stats.paid_twice) == (5, 5)
    assert [each["record"] for each in records(tmp_path / "j") if "nonce" in each][-1] == "collected"


async def test_an_earlier_creation_that_made_no_batch(autojump_clock, tmp_path):
    """Its items are sent."""
    client, api = api_of(Odd(once(is_creation, 502, "Bad Gateway")))
    await leave_a_batch(client, tmp_path / "j")
    outcomes, _ = await run(client, items_of(5), via=AT_ONCE, journal=tmp_path / "j")
    assert statuses(outcomes) == {"ok": 5}
    assert len(creations(api)) == 2


async def test_earlier_batches_that_cannot_be_read(autojump_clock, tmp_path):
    """A refused key and an outage of ten minutes stop the job; after ten minutes of another error that is raised."""
    batches = Odd(lambda _: None)
    client, _ = api_of(batches)
    await leave_a_batch(client, tmp_path / "j")
    batches.odds = always(is_about_batches, 401)
    outcomes, results = await run(client, items_of(5), via=AT_ONCE, journal=tmp_path / "j")
    assert statuses(outcomes) == {"skipped": 5}
    assert results.stats.stopped is not None
    assert results.stats.stopped.reason == "authentication"
    batches.odds = always(is_about_batches, 503)
    outcomes, results = await run(client, items_of(5), via=AT_ONCE, journal=tmp_path / "j")
    assert (statuses(outcomes), reason_of(results)) == ({"skipped": 5}, "outage")
    batches.odds = always(is_about_batches, 405)
    with pytest.raises(ts.APIStatusError, match="405"):
        await run(client, items_of(5), via=AT_ONCE, journal=tmp_path / "j")
    batches.odds = lambda _: None
    outcomes, _ = await run(client, items_of(5), via=AT_ONCE, journal=tmp_path / "j")
    assert statuses(outcomes) == {"cached": 5}


async def test_a_billing_error_in_an_earlier_batch_is_not_noted(autojump_clock, tmp_path):
    """The item is sent again, once the account is in order."""
    spent = [True]
    client, _ = api_of(default=lambda r: [http_error(402)] if spent.pop() else echo(r))
    spent += [False, False]
    await leave_a_batch(client, tmp_path / "j", 3)
    spent += [False] * 3
    outcomes, _ = await run(client, items_of(3), via=AT_ONCE, journal=tmp_path / "j")
    assert sorted(statuses(outcomes)) in (["cached", "ok"], ["cached"])


async def test_items_without_ids_are_found_again(autojump_clock, tmp_path):
    """Their keys are made from their requests."""
    client, api = api_of()

    def items() -> Any:
        yield from ["a", "a", "b"]
        results.detach()

    async with ts.fan_out(client, items(), via=AT_ONCE, journal=tmp_path / "j", **PARAMS) as results:
        assert [outcome async for outcome in results]
    outcomes, _ = await run(client, ["a", "a", "b"], via=AT_ONCE, journal=tmp_path / "j")
    assert statuses(outcomes) == {"cached": 3}
    assert [outcome.id for outcome in ts.read_journal(tmp_path / "j")] == [None] * 3
    assert len(creations(api)) == 1


# The journal.


async def test_the_version_of_a_journal_rises_with_its_first_batch(autojump_clock, tmp_path):
    """A program that does not know batches must not take the journal for one without."""
    client, _ = api_of()
    path = tmp_path / "j"
    await run(client, items_of(2), journal=path, via="stream")
    assert records(path)[0] == {"record": "journal", "version": 1}
    await run(client, items_of(4), journal=path, via=AT_ONCE)
    assert records(path)[0] == {"record": "journal", "version": 2}
    with ts.Journal(path) as journal:
        assert journal.answered == 4
        journal.note_batch({"record": "refused", "nonce": "x"})


def test_a_journal_of_a_later_version_is_refused(tmp_path):
    """It may have records whose meaning is unknown."""
    path = tmp_path / "j"
    path.write_bytes(b'{"record":"journal","version":3}\n')
    with pytest.raises(ts.JournalError, match="later version"):
        ts.Journal(path)
    with pytest.raises(ts.JournalError, match="later version"):
        list(ts.read_journal(path))
    with pytest.raises(ts.JournalError, match="later version"):
        ts.merge_journals([path], tmp_path / "merged")
    assert path.read_bytes() == b'{"record":"journal","version":3}\n'


def test_a_version_that_cannot_be_written_is_an_error(tmp_path):
    """Without it no batch may be noted."""
    path = tmp_path / "j"
    with ts.Journal(path) as journal:
        path.unlink()
        with pytest.raises(ts.JournalError, match="cannot be written"):
            journal.note_batch({"record": "refused", "nonce": "x"})


async def test_journals_with_open_batches_are_not_merged(autojump_clock, tmp_path):
    """The result could not find them."""
    client, _ = api_of()
    await leave_a_batch(client, tmp_path / "j")
    with pytest.raises(ts.JournalError, match="not collected"):
        ts.merge_journals([tmp_path / "j"], tmp_path / "merged")
    await run(client, items_of(5), via=AT_ONCE, journal=tmp_path / "j")
    assert ts.merge_journals([tmp_path / "j"], tmp_path / "merged").items == 5


def test_an_answer_of_an_earlier_run_is_never_replaced(tmp_path):
    """It has been paid for; and a batch that nobody intended is only a name."""
    with ts.Journal(tmp_path / "j") as journal:
        journal.start("q", "hash", index=3, custom_id="nonce-0")
        journal.note_batch({"record": "intent", "nonce": "nonce", "n": 1, "since": 1.0, "call": {}})
        journal.note_batch({"record": "created", "nonce": "other", "batch": "msgbatch_other"})
    with ts.Journal(tmp_path / "j") as journal:
        (batch,) = journal.batches.open.values()
        assert (batch.batch_id, batch.requests, journal.batches.ids) == (None, 1, {"msgbatch_other"})
        (item,) = batch.items.values()
        for status in ("ok", "error"):
            journal.end_started(item, ts.Outcome(id="q", index=item.index, status=status))  # type: ignore[arg-type]
    (outcome,) = ts.read_journal(tmp_path / "j")
    assert (outcome.status, outcome.index) == ("ok", 3)
