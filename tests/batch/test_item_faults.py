"""Items that end with a fault of their own, after others have been sent; and files that are not ours to replace."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import trio

import trio_stream as ts
from trio_stream.testing import http_error, say

from .api import PARAMS, Notes, client_of, prompt_of
from .via import api_of, creations, statuses


async def late(fault: str) -> Any:
    """Three items, and then one that cannot be."""
    for number in range(3):
        yield ts.Item(f"prompt {number}", id=f"q{number}")
        await trio.sleep(0.1)
    if fault == "repeated id":
        yield ts.Item("another", id="q1")
    elif fault == "edited prompt":
        yield ts.Item("another", id="known")
    elif fault == "no item":
        yield 7
    else:
        raise LookupError("no such row")
    raise AssertionError("nothing is taken after that")


FAULTS = {
    "repeated id": ts.JournalConflictError,
    "edited prompt": ts.JournalConflictError,
    "no item": TypeError,
    "raises": LookupError,
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_late_fault_lets_what_was_sent_end(autojump_clock, fault):
    """It is paid: the outcomes come first, and the error last."""
    client, api = client_of()
    journal = Notes()
    journal.hashes["known"] = "another hash"
    outcomes: list[ts.Outcome] = []
    with pytest.raises(FAULTS[fault]) as caught:
        async with ts.fan_out(client, late(fault), journal=journal, **PARAMS) as results:
            async for outcome in results:
                outcomes.append(outcome)
    assert statuses(outcomes) == {"ok": 3}
    assert (len(api.requests), api.open_streams, len(journal.ended)) == (3, 0, 3)
    assert caught.value.outcomes == ()  # type: ignore[union-attr]
    assert results.stats.stopped is not None
    assert results.stats.stopped.reason == "items"
    with pytest.raises(FAULTS[fault]):
        await anext(results)


async def test_a_late_fault_in_batches(autojump_clock, tmp_path):
    """The batch is created, collected and noted before the error is raised."""
    client, api = api_of()
    outcomes: list[ts.Outcome] = []
    with pytest.raises(LookupError):
        async with ts.fan_out(client, late("raises"), journal=tmp_path / "j", via="batch", **PARAMS) as results:
            async for outcome in results:
                outcomes.append(outcome)
    assert statuses(outcomes) == {"ok": 1, "skipped": 2}
    assert not creations(api)  # they were in no batch yet: nothing of them was paid


async def test_whoever_wants_the_first_error_gets_it_at_once(autojump_clock):
    """With ``on_error="raise"`` a fault of the items cancels the others, as the error of an item does."""
    client, _ = client_of()
    with pytest.raises(LookupError):
        await ts.gather_texts(client, late("raises"), **PARAMS)
    assert trio.current_time() < 1


async def test_a_fault_that_nobody_waited_for_is_raised_by_the_block(autojump_clock):
    """Leaving early does not hide it."""
    client, _ = client_of()
    with pytest.raises(LookupError):
        async with ts.fan_out(client, late("raises"), **PARAMS) as results:
            await anext(results)
            await trio.sleep(10)


@pytest.mark.parametrize("at_once", [2, 4])
async def test_a_few_that_always_fail_at_the_end_are_no_outage(autojump_clock, at_once):
    """Others were answered before; nothing disproves an outage then, but so few are not waited for for half an hour."""

    def answer(request: Any) -> Any:
        number = int(prompt_of(request))
        return [http_error(503)] if number >= 30 - at_once else [say("ok", ttft=1.0)]

    client, _ = client_of(default=answer)
    outcomes = await ts.gather_outcomes(client, map(str, range(30)), limit=at_once, **PARAMS)
    assert statuses(outcomes) == {"ok": 30 - at_once, "error": at_once}
    assert trio.current_time() < 300


async def test_an_outage_at_the_end_of_a_job_costs_nothing_if_it_is_short(autojump_clock):
    """A minute and a half, with two items left."""
    client, _ = client_of(default=lambda r: [http_error(503)] if 14.5 < r.at - began < 105 else [say("ok", ttft=1.0)])
    began = trio.current_time()
    outcomes = await ts.gather_outcomes(client, map(str, range(30)), limit=2, **PARAMS)
    assert statuses(outcomes) == {"ok": 30}


# Files.


@pytest.mark.parametrize("content", [b"my notes\n", b'{"id":"a"}\n', b"[1,2]\n", b"\xff\xfe\n"])
def test_merging_never_replaces_a_file_that_is_not_ours(tmp_path: Path, content: bytes):
    """With ``overwrite`` neither."""
    ts.Journal(tmp_path / "a").close()
    (tmp_path / "out").write_bytes(content)
    with pytest.raises(ts.JournalError, match="not replaced") as caught:
        ts.merge_journals([tmp_path / "a"], tmp_path / "out", overwrite=True)
    assert caught.value.path == tmp_path / "out"
    assert (tmp_path / "out").read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "out"]


def test_merging_replaces_what_is_ours(tmp_path: Path):
    """A journal, an empty file, and one of the sources; but none that a run has open, and nothing that is no file."""
    ts.Journal(tmp_path / "a").close()
    (tmp_path / "empty").touch()
    for name in ("a", "empty"):
        assert ts.merge_journals([tmp_path / "a"], tmp_path / name, overwrite=True).items == 0
        assert (tmp_path / name).read_bytes().startswith(b'{"record":"journal"')
    with ts.Journal(tmp_path / "busy"), pytest.raises(ts.JournalError, match="in use"):
        ts.merge_journals([tmp_path / "a"], tmp_path / "busy", overwrite=True)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ts.JournalError, match="not a file"):
        ts.merge_journals([tmp_path / "a"], tmp_path / "folder", overwrite=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_journal_is_a_file(tmp_path: Path):
    """Opening a named pipe would wait for ever, and a device keeps nothing."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(ts.JournalError, match="not a file"):
            ts.Journal(path)
        with pytest.raises(ts.JournalError, match="not a file"):
            ts.Journal(path, overwrite=True)
