"""Requests that wait on the disk."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

import trio_stream as ts
from trio_stream._protocol import BatchContent
from trio_stream.batch import ItemEnd, _spool
from trio_stream.batch._spool import Spool
from trio_stream.testing import Batches, ScriptedAPI, say

from .via import api_of, creations, items_of, run, statuses, streamed

AT_ONCE = ts.ViaBatch(probe=False)


def open_files() -> set[str]:
    """What this process has open and nobody else can."""
    names = {str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    return {name for name in names if "(deleted)" in name}


def test_pieces_come_back_as_they_were(monkeypatch, tmp_path):
    """In any order, while others are written; a file ends when nothing of it is needed any more."""
    monkeypatch.setattr(_spool, "_FULL_BYTES", 100)
    spool = Spool(tmp_path)
    kept = [spool.add(bytes([number]) * 40) for number in range(6)]
    assert spool.files == 2
    for number in (5, 0, 3):
        assert kept[number].read() == bytes([number]) * 40
        kept.append(spool.add(b"more"))
    for number in (0, 1, 2):
        spool.release(kept[number])
    assert spool.files == 2
    assert kept[3].read() == b"\3" * 40
    spool.close()
    spool.close()
    assert spool.files == 0


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="it looks at what Linux says of open files")
def test_nobody_else_can_open_it(tmp_path):
    """It has no name, and is beside the journal; that is all that a killed process leaves: nothing."""
    before = open_files()
    spool = Spool(tmp_path)
    held = spool.add(b"a prompt")
    (name,) = open_files() - before
    assert name.startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    spool.release(held)
    assert open_files() == before


def test_a_folder_in_which_no_file_can_be_made(tmp_path, monkeypatch):
    """Then it is where temporary files are; without such a place there is an error."""
    spool = Spool(tmp_path / "missing")
    assert spool.add(b"a").read() == b"a"
    spool.close()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing too"))
    with pytest.raises(FileNotFoundError):
        Spool(None).add(b"a")


def test_a_file_that_was_cut_is_an_error(tmp_path):
    """What is sent must be what was checked."""
    spool = Spool(tmp_path)
    held = spool.add(b"12345")
    held.read()
    os.ftruncate(held.file._file.fileno(), 2)
    spool.add(b"")
    with pytest.raises(OSError, match="shorter"):
        held.read()
    spool.close()


async def test_a_full_disk_ends_the_job(autojump_clock, monkeypatch, tmp_path):
    """It is raised where the outcomes are taken."""

    class Full:
        def seek(self, offset: int) -> None: ...

        def write(self, data: bytes) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(_spool, "_open", lambda folder: Full())
    client, _ = api_of()
    with pytest.raises(OSError, match="No space"):
        await run(client, items_of(3), via=AT_ONCE)


@pytest.mark.parametrize("transport", ["ours", "httpx"])
async def test_a_body_goes_from_the_disk_to_the_socket(tmp_path, monkeypatch, transport):
    """In pieces, with its length in front; through httpx too. What arrives is the JSON of a batch."""
    monkeypatch.setattr("trio_stream._protocol._batch_body._PIECE_BYTES", 5_000)
    batches = Batches(seconds=0)
    api = ScriptedAPI(default=[say("ok")], batches=batches)
    monkeypatch.setattr("trio_stream.batch._via_batch_calls._FIRST_LOOK_SECONDS", 0.01)
    async with api.serve() as server:
        foreign = {"http_client": httpx.AsyncClient(trust_env=False)} if transport == "httpx" else {}
        async with ts.Client(api_key="test", base_url=server.base_url, **foreign) as client:  # type: ignore[arg-type]
            items = [ts.Item(f"{'x' * 1_000} \u00e9 {number}", id=f"q{number}") for number in range(50)]
            outcomes, _ = await run(client, items, via=AT_ONCE, journal=tmp_path / "journal")
        if transport == "httpx":
            await foreign["http_client"].aclose()
    assert statuses(outcomes) == {"ok": 50}
    (request,) = creations(api)
    assert request.headers["content-length"] == str(len(request.content))
    assert "transfer-encoding" not in request.headers
    requests = request.body["requests"]
    assert [each["params"]["messages"][0]["content"] for each in requests] == [item.request for item in items]
    assert {each["custom_id"].rpartition("-")[2] for each in requests} == {str(number) for number in range(50)}


async def test_what_is_streamed_after_all_is_what_it_was(autojump_clock):
    """With its options: those that are in no body, and members that only ``extra_body`` has."""
    client, api = api_of(Batches(seconds=5000))
    via = ts.ViaBatch(probe=False, deadline=50)
    params: dict[str, Any] = {
        "messages": [{"role": "user", "content": "hello"}],
        "betas": ["context-1m-2025-08-07"],
        "extra_headers": {"x-mine": "1"},
        "extra_body": {"metadata": {"user_id": "u"}},
        "system": "Be brief.",
    }
    outcomes, _ = await run(client, [params], via=via)
    assert statuses(outcomes) == {"ok": 1}
    assert streamed(api) == ["hello"]
    (create,) = creations(api)
    stream = next(request for request in api.requests if request.path == "/v1/messages")
    body = dict(stream.body)
    assert body.pop("stream") is True
    assert body == create.body["requests"][0]["params"]
    assert stream.headers["x-mine"] == create.headers["x-mine"] == "1"
    assert stream.betas == create.betas == ("context-1m-2025-08-07",)


async def test_instruments_still_see_the_prompts(autojump_clock):
    """Where somebody watches, items keep their requests; the call that creates the batch has no content to show."""
    told: list[Any] = []
    client, _ = api_of()
    client = client.with_options(instruments=[told.append])
    await run(client, items_of(2), via=AT_ONCE)
    assert sorted(moment.item.request for moment in told if isinstance(moment, ItemEnd)) == ["prompt 0", "prompt 1"]
    created = [moment.call for moment in told if isinstance(moment, ts.CallStart) and moment.call.method == "POST"]
    assert [(call.content, call.model) for call in created] == [(b"", None)]


def test_the_size_of_a_body_is_known_before_it_is_made():
    """To the byte."""
    requests = [(f"id-{number}", msgspec.json.encode({"n": "\u00e9" * number})) for number in range(30)]
    size = sum(BatchContent.size_in(name, len(params)) for name, params in requests)
    content = BatchContent(size, lambda: iter(requests))
    whole = b"".join(content)
    assert len(content) == len(whole)
    assert whole == b"".join(content)
    assert msgspec.json.decode(whole)["requests"][29]["params"] == {"n": "\u00e9" * 29}
    assert repr(content) == f"<content of {len(whole)} bytes>"
