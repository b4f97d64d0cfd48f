"""Blocking programs that end, or fork (`python -m tests.blocking.programs HOW URL`), in a process of their own.

What belongs here: what the programs do, and say. What does not: what is expected of them.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from contextlib import suppress
from typing import Any

import trio

import trio_stream as ts
from trio_stream import blocking

PARAMS: dict[str, Any] = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 256,
    "messages": [{"role": "user", "content": "Hi"}],
}


def exit_with_an_open_stream(client: blocking.Client) -> None:
    """The program ends in the middle of a block, and another thread waits."""
    stream = client.messages.stream(**PARAMS).__enter__()
    print(next(stream.text_stream), flush=True)
    threading.Thread(target=wait_for_ever, args=(client,), daemon=True).start()
    KEPT.append(stream)


KEPT: list[object] = []


def wait_for_ever(client: blocking.Client) -> None:
    with suppress(trio.ClosedResourceError), client.messages.stream(**PARAMS) as stream:
        stream.until_done()


def fork(client: blocking.Client) -> None:
    """The child has a client, but not the streams of its parent; these go on."""
    with client.messages.stream(**PARAMS) as stream:
        texts = stream.text_stream
        print("parent:", next(texts), flush=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that a program with threads forks
            child = os.fork()
        if not child:
            for use in (lambda: next(texts), stream.until_done, stream.receive_nowait):
                try:
                    use()
                except RuntimeError as error:
                    print("child:", error, flush=True)
            stream.close()
            client.with_options(max_retries=0).messages.create(**PARAMS)
            print("child:", client.messages.create(**PARAMS).text, client.statistics().idle, flush=True)
            return
        assert os.waitpid(child, 0)[1] == 0
        print("parent:", "".join(texts), flush=True)


if __name__ == "__main__":
    _, _how, _url = sys.argv
    {"exit": exit_with_an_open_stream, "fork": fork}[_how](
        blocking.Client(api_key="test-key", base_url=_url, timeout=ts.Timeouts(first_event=30, silence=30))
    )
