"""A blocking program that is interrupted (`python -m tests.blocking.interrupted HOW ...`), in a process of its own.

What belongs here: what the program does, and what it says of itself as one line of JSON. What does not: what is expected.

* ``caught`` reads paced streams, is interrupted again and again by a thread, and goes on each time.
* ``anywhere`` is interrupted at random moments of opening, reading and leaving.
* ``wait`` reads a stream until a Ctrl-C comes from outside.
* ``everywhere`` does one thing again and again, interrupted one place of the library later each time.

The handler is set here, so it does not matter how the process was started.
"""

from __future__ import annotations

import gc
import json
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.soak.interrupted import Tracer
from trio_stream import blocking
from trio_stream.blocking import _hop
from trio_stream.testing import ScriptedAPI, pause, say

PARAMS: dict[str, Any] = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 256,
    "messages": [{"role": "user", "content": "Hi"}],
}

WORDS = [f"w{number} " for number in range(60)]
TEXT = "".join(WORDS)

SECONDS = 10.0
"""More than anything here takes on the busiest machine."""


def paced(seconds: float) -> list[Any]:
    return [step for word in WORDS for step in (say(word), pause(seconds))]


def caught(times: int, seed: int) -> dict[str, Any]:
    """Be interrupted so often, wherever this thread is between opening and leaving, and lose nothing."""
    dice = random.Random(seed)
    main = threading.main_thread().ident
    assert main is not None
    reading = threading.Event()
    over = threading.Event()
    interrupts = 0
    wrong: list[str] = []

    def interrupt() -> None:
        while not over.is_set():
            time.sleep(dice.uniform(0.0002, 0.003))
            if reading.is_set():
                signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    while interrupts < times and not wrong:
        api = ScriptedAPI(paced(0.001))
        with blocking.Client(api_key="test-key", transport=api) as client:
            with client.messages.stream(**PARAMS) as stream:
                texts: list[str] = []
                events = 0
                view = stream.text_stream
                while True:
                    try:
                        reading.set()
                        for text in view:
                            texts.append(text)
                            events += 1
                    except KeyboardInterrupt:
                        interrupts += 1
                    else:
                        break
                    finally:
                        reading.clear()
                time.sleep(0.01)  # one that was on its way
            if "".join(texts) != TEXT or stream.text != TEXT:
                wrong.append("".join(texts))
        if api.open_streams:
            wrong.append(f"{api.open_streams} streams open")
    over.set()
    thread.join()
    return {"interrupts": interrupts, "wrong": wrong}


def anywhere(times: int, seed: int) -> dict[str, Any]:
    """Be interrupted so often at a random moment of opening, reading or leaving, and begin again with the same client."""
    dice = random.Random(seed)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    interrupts = 0
    wrong: list[str] = []
    api = ScriptedAPI(default=[pause(0.002), *paced(0.0005)])
    client = blocking.Client(api_key="test-key", transport=api)
    while interrupts < times and not wrong:
        texts: list[str] = []
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, dice.uniform(0.0001, 0.06))
                with client.messages.stream(**PARAMS) as stream:
                    for text in stream.text_stream:
                        texts.append(text)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            interrupts += 1
        if not TEXT.startswith("".join(texts)):
            wrong.append("".join(texts))
        gc.collect()
        if until_zero(lambda: api.open_streams):
            wrong.append("a stream is open")
    client.close()
    return {"interrupts": interrupts, "wrong": wrong}


def read_on(take: Callable[[Any], list[str]]) -> Callable[[blocking.Client], None]:
    """A program that reads one stream in some way, and goes on where it was interrupted while it read."""

    def program(client: blocking.Client) -> None:
        with client.messages.stream(**PARAMS) as stream:
            found: list[str] = []
            steps = iter(take(stream))
            while True:
                try:
                    for text in steps:
                        found.append(text)
                    break
                except KeyboardInterrupt:
                    Caught.count += 1
            assert "".join(found) == TEXT, found
            assert stream.text == TEXT

    return program


class Caught:
    count = 0


class Unheeded:
    """Counts interrupts that the loop did not heed in time: the thread has waited for it in vain."""

    count = 0

    @classmethod
    def watch(cls) -> None:
        wait = _hop.Hop.wait

        def counting(hop: _hop.Hop, seconds: float | None = None) -> bool:
            done = wait(hop, seconds)
            cls.count += not done
            return done

        _hop.Hop.wait = counting  # type: ignore[method-assign]


class Texts:
    """The texts of the events of a stream."""

    def __init__(self, stream: blocking.MessageStream) -> None:
        self.stream = stream

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> str:
        for event in self.stream:
            return event.text if event.type == "text" else ""
        raise StopIteration


def leave_early(client: blocking.Client) -> None:
    with client.messages.stream(**PARAMS) as stream:
        for _ in stream:
            break


def create(client: blocking.Client) -> None:
    assert client.messages.create(**PARAMS).text == TEXT


def raw_events(client: blocking.Client) -> None:
    for _ in client.messages.create(**PARAMS, stream=True):
        pass


USES: dict[str, Callable[[blocking.Client], None]] = {
    "events": read_on(Texts),
    "texts": read_on(lambda stream: stream.text_stream),
    "chunks": read_on(lambda stream: stream.text_chunks(min_chars=7)),
    "leave_early": leave_early,
    "create": create,
    "raw_events": raw_events,
}


def use_once(use: Callable[[blocking.Client], None]) -> ScriptedAPI:
    api = ScriptedAPI([say(*WORDS[:30]), pause(0.001), say(*WORDS[30:])])
    with blocking.Client(api_key="test-key", transport=api) as client:
        use(client)
    return api


def everywhere(name: str, first: int, every: int) -> dict[str, Any]:
    """Interrupt at each place of the library, in the thread of the program, at which Python looks for signals."""
    wrong: list[str] = []
    ignored: list[str] = []
    sys.unraisablehook = lambda args: ignored.append(repr(args.exc_value))
    Unheeded.watch()
    use_once(USES[name])
    at = first
    while True:
        tracer = Tracer(at)
        ended = "nothing"
        Caught.count = 0
        api = ScriptedAPI([say(*WORDS[:30]), pause(0.001), say(*WORDS[30:])])
        began = time.monotonic()
        client = blocking.Client(api_key="test-key", transport=api)
        sys.settrace(tracer)
        try:
            USES[name](client)
        except BaseException as exc:  # noqa: BLE001 - it is reported
            ended = type(exc).__name__
        finally:
            sys.settrace(None)
        if not tracer.place:
            client.close()
            return {"places": at, "wrong": wrong}
        gc.collect()
        open_streams = until_zero(lambda: api.open_streams)
        client.close()
        took = time.monotonic() - began
        if ended not in ("KeyboardInterrupt", "nothing") or (ended == "nothing") != bool(Caught.count):
            wrong.append(f"{tracer.place}: {ended} left")
        if open_streams or ignored or Unheeded.count or took > SECONDS:
            wrong.append(f"{tracer.place}: {open_streams} open, {ignored}, {Unheeded.count} unheeded, {took:.1f} s")
        ignored.clear()
        at += every


def until_zero(count: Callable[[], int]) -> int:
    """The number once it is 0, or after a second."""
    deadline = time.monotonic() + 1
    while count() and time.monotonic() < deadline:
        time.sleep(0.001)
    return count()


def wait(url: str) -> None:
    """Read a stream, until it is interrupted from outside."""
    with blocking.Client(api_key="test-key", base_url=url) as client, client.messages.stream(**PARAMS) as stream:
        stream.until_done()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _, _how, *_more = sys.argv
    if _how == "wait":
        wait(*_more)
    elif _how in ("caught", "anywhere"):
        print(json.dumps({"caught": caught, "anywhere": anywhere}[_how](*map(int, _more))))
    else:
        print(json.dumps(everywhere(_more[0], *map(int, _more[1:]))))
