"""Reading the results of a large batch: ``python -m tests.bench.batch_results --lines 100000``.

The server is a process of its own, which sends lines of 2 kB as fast as they are taken. Prints lines a second, the CPU
time of each in this process (which other programs disturb less), and the growth of this process from the first line to
the last, in MB.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
from time import perf_counter, process_time

import trio

import trio_stream as ts
from tests.bench.fan_out_memory import resident

_LINES_PER_CHUNK = 8

RESULT = {
    "custom_id": "request-000001",
    "result": {
        "type": "succeeded",
        "message": {
            "id": "msg_01",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-5",
            "content": [{"type": "text", "text": "x" * 1500}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "stop_details": None,
            "usage": {
                "input_tokens": 10,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
                "output_tokens": 300,
                "service_tier": "batch",
                "inference_geo": "global",
            },
        },
    },
}


def serve(count: int) -> None:
    """Print a port, and answer one request on it."""
    lines = (json.dumps(RESULT) + "\n").encode() * _LINES_PER_CHUNK
    chunk = b"%x\r\n%b\r\n" % (len(lines), lines)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        connection, _ = listener.accept()
    with connection:
        connection.recv(65_536)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/x-jsonl\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for _ in range(count // _LINES_PER_CHUNK):
            connection.sendall(chunk)
        connection.sendall(b"0\r\n\r\n")
        connection.recv(1)  # until the client has closed it


async def read(port: int) -> tuple[int, float, float, float]:
    """How many lines there were, the seconds they took, those of them on a CPU, and the growth in MB."""
    client = ts.Client(api_key="test", base_url=f"http://127.0.0.1:{port}")
    async with client, client.messages.batches.results("msgbatch_1") as lines:
        await lines.receive()
        before, began, on_cpu, count = resident(), perf_counter(), process_time(), 1
        async for _ in lines:
            count += 1
        return count, perf_counter() - began, process_time() - on_cpu, resident() - before


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.lines)
        return
    command = [sys.executable, "-m", "tests.bench.batch_results", "--serve", "--lines", str(options.lines)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        count, seconds, on_cpu, growth = trio.run(read, int(server.stdout.readline()))
    each = on_cpu / count * 1e6
    print(f"{count} lines, {count / seconds:,.0f} a second, {each:.1f} us of CPU each; {growth:.1f} MB more at the end")


if __name__ == "__main__":
    main()
