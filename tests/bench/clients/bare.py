"""The same work, bare: this library's parser, decoder and accumulator on a socket, in one function.

What belongs here: only what a whole message takes. What does not: anything this library promises beyond it. There is no
object for the stream, no clock, no limit, and no checkpoint but the wait for bytes; nothing is delivered, and nobody
can cancel it between two events or keep the connection.
"""

from __future__ import annotations

import ssl

import httptools
import trio

from tests.bench.clients._plain import Target
from tests.bench.clients._run import Reader, measure, scenario_and_url
from trio_stream._protocol import EventStreamParser, MessageAccumulator, decode_event

RECEIVE_BYTES = 65_536


class Answer:
    """What `httptools` calls back."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.on_body = self.pieces.append
        self.complete = False

    def on_message_complete(self) -> None:
        """The end of the answer."""
        self.complete = True


class Bare(Reader):
    """One connection to a stream."""

    def __init__(self, target: Target) -> None:
        self.target = target

    async def read(self) -> int:
        """As `Reader.read`, but that the events are only counted: what is read is the message."""
        sock = await self.target.connect()
        try:
            sock.sendall(self.target.request)  # fits any send buffer
            fd = sock.fileno()
            held = sock.pending if isinstance(sock, ssl.SSLSocket) else None
            answer = Answer()
            pieces = answer.pieces
            feed_http = httptools.HttpResponseParser(answer).feed_data
            feed_events = EventStreamParser().feed
            accumulator = MessageAccumulator()
            add = accumulator.add
            events = 0
            while not answer.complete:
                await trio.lowlevel.wait_readable(fd)
                drained = False
                while not drained:
                    try:
                        data = sock.recv(RECEIVE_BYTES)
                    except (BlockingIOError, ssl.SSLWantReadError):
                        break  # of TLS, there was only a part of a record
                    assert data, "the connection was closed before the end of the answer"
                    # A short read took all there was. TLS reads one record at a time, and may hold another.
                    drained = len(data) < RECEIVE_BYTES if held is None else not held()
                    feed_http(data)
                    for raw in feed_events(pieces.pop() if len(pieces) == 1 else b"".join(pieces)):
                        add(decode_event(raw))
                        events += 1
                    pieces.clear()
        finally:
            sock.close()
        message = accumulator.snapshot()
        assert accumulator.complete
        assert message is not None
        assert message.stop_reason is not None
        return events


async def main() -> None:
    """Do what the scenario says."""
    scenario, url, authority = scenario_and_url()
    await measure(scenario, Bare(Target(url, authority)))


if __name__ == "__main__":
    trio.run(main)
