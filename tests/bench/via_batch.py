"""A fan-out by way of message batches, with a journal: ``python -m tests.bench.via_batch --items 100000``.

The server is a process of its own, which takes a batch and sends results of 2 kB for it as fast as they are read.
Prints, for each part of the job, items a second and the CPU time of each in this process (which other programs disturb
less): taking the items in, creating the batch, reading its results. Then the growth of this process from the first
result to the last, and the most that it ever had, in MB.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, process_time
from typing import BinaryIO, Final

import trio

import trio_stream as ts
from tests.bench.batch_results import RESULT
from tests.bench.fan_out_memory import resident

_LINES_PER_CHUNK: Final = 8
_ID: Final = "msgbatch_01"
_KILO: Final = 1024
_COUNTED: Final = b'"custom_id"'

PROMPT: Final = "y" * 1_800


def _batch(count: int, status: str) -> dict[str, object]:
    ended = status == "ended"
    return {
        "id": _ID,
        "type": "message_batch",
        "processing_status": status,
        "request_counts": {"succeeded": count if ended else 0, "processing": 0 if ended else count},
        "created_at": "2026-01-01T00:00:00Z",
    }


def _answer(file: BinaryIO, fields: object) -> None:
    body = json.dumps(fields).encode()
    file.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    file.flush()


def _send_results(file: BinaryIO, nonce: str, count: int) -> None:
    before, after = (json.dumps(RESULT) + "\n").encode().split(b"request-000001")
    file.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-jsonl\r\ntransfer-encoding: chunked\r\n\r\n")
    for first in range(0, count, _LINES_PER_CHUNK):
        places = range(first, min(count, first + _LINES_PER_CHUNK))
        lines = b"".join(b"%b%b-%d%b" % (before, nonce.encode(), place, after) for place in places)
        file.write(b"%x\r\n%b\r\n" % (len(lines), lines))
    file.write(b"0\r\n\r\n")
    file.flush()


def serve() -> None:
    """Print a port, and answer the requests of one client on it, one connection after another."""
    nonce, count = "", 0
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            with connection, connection.makefile("rwb", buffering=1 << 18) as file:
                while line := file.readline():
                    method, path, _ = line.decode().split()
                    length = 0
                    while (header := file.readline()) != b"\r\n":
                        name, _, value = header.decode().partition(":")
                        length = int(value) if name.lower() == "content-length" else length
                    head, tail, left = b"", b"", length
                    while left:
                        data = tail + file.read(min(left, 1 << 20))
                        left -= len(data) - len(tail)
                        head = head or data[:100]
                        count += data.count(_COUNTED)
                        tail = data[-len(_COUNTED) + 1 :]  # one may be in two pieces
                    if method == "POST":
                        found = re.search(rb'"custom_id":"([^"]+)-0"', head)
                        assert found is not None
                        nonce = found[1].decode()
                        _answer(file, _batch(count, "in_progress"))
                    elif path.endswith("/results"):
                        _send_results(file, nonce, count)
                    elif _ID in path:
                        _answer(file, _batch(count, "ended"))
                    else:
                        _answer(file, {"data": [], "has_more": False, "first_id": None, "last_id": None})


def items(count: int) -> Iterator[ts.Item]:
    """The items of the job."""
    for number in range(count):
        yield ts.Item(f"{PROMPT}{number}", id=f"item-{number}")


class Lap:
    """Measures the parts of a job."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._wall, self._cpu = perf_counter(), process_time()

    def lap(self, name: str) -> None:
        """A part is over."""
        wall, cpu = perf_counter(), process_time()
        seconds, on_cpu = wall - self._wall, cpu - self._cpu
        each = on_cpu / self._count * 1e6
        print(f"{name:8} {self._count / seconds:8,.0f} a second, {each:6.1f} us of CPU each, {resident():6.1f} MB")
        self._wall, self._cpu = wall, cpu


async def job(port: int, count: int, journal: Path | None) -> None:
    """Run it, and print the figures."""
    taken = trio.Event()
    lap, done, before = Lap(count), 0, 0.0

    def source() -> Iterator[ts.Item]:
        yield from items(count)
        taken.set()

    async with ts.Client(api_key="test", base_url=f"http://127.0.0.1:{port}") as client:
        via = ts.ViaBatch(max_requests=count, max_queued=count + 1, probe=False)
        async with ts.fan_out(
            client, source(), via=via, journal=journal, model="claude-sonnet-5", max_tokens=512
        ) as results:
            await taken.wait()
            lap.lap("taken in")
            while not results.batches:
                await trio.sleep(0.01)
            lap.lap("created")
            first = await anext(results)
            assert first.status == "ok"
            before = resident()
            lap, done = Lap(count), 1
            async for outcome in results:
                done += outcome.status == "ok"
            lap.lap("results")
    assert done == count
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KILO
    print(f"{resident() - before:.1f} MB more at the end than at the first result; at most {most:.0f} MB")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--no-journal", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    command = [sys.executable, "-m", "tests.bench.via_batch", "--serve"]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
    ):
        try:
            assert server.stdout is not None
            journal = None if options.no_journal else Path(folder, "answers.journal")
            trio.run(job, int(server.stdout.readline()), options.items, journal)
        finally:
            server.kill()


if __name__ == "__main__":
    main()
