"""The server of the benchmark: rendered bytes, sent on time, by one loop over one selector.

What belongs here: getting bytes out cheaply and punctually, in a process of its own. What does not: any protocol
beyond reading one request and writing one chunked answer after another.

Run as ``python -m tests.bench.traffic SCENARIO_JSON [CERT_AND_KEY]``; prints the port, and ends with its standard
input. The first request of all gets a short answer, which is there to warm up the client.
"""

from __future__ import annotations

import heapq
import resource
import selectors
import socket
import ssl
import sys
import time
from itertools import count

import msgspec

from tests.bench.scenarios import Scenario, render, render_event

HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"request-id: req_bench\r\ntransfer-encoding: chunked\r\n\r\n"
)
END = b"0\r\n\r\n"
READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE
WARM_UP = Scenario(name="warm-up", streams=1, deltas=3)
BURST_BYTES = 256 * 1024
"""What is handed to a socket at once: enough that it never runs dry."""


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def chunked(events: list[bytes], events_per_chunk: int) -> list[bytes]:
    """An answer in pieces: its head and first chunk, the others, the last one and the end."""
    pieces = [chunk(b"".join(events[n : n + events_per_chunk])) for n in range(0, len(events), events_per_chunk)]
    pieces[0] = HEAD + pieces[0]
    pieces[-1] += END
    return pieces


def joined(pieces: list[bytes], size: int) -> list[bytes]:
    """The same bytes in fewer pieces."""
    out = [bytearray()]
    for piece in pieces:
        if len(out[-1]) >= size:
            out.append(bytearray())
        out[-1] += piece
    return [bytes(piece) for piece in out]


class Peer:
    """One connection, and how far its answer has got."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = b""
        self.sending = memoryview(b"")
        self.pieces: list[bytes] = []
        self.next_piece = 0
        self.shaken = not isinstance(sock, ssl.SSLSocket)


class Traffic:
    """Sends each stream's pieces: paced ones by the clock, others as fast as they are taken."""

    def __init__(self, scenario: Scenario, context: ssl.SSLContext | None) -> None:
        self.pieces = chunked(render(scenario), scenario.events_per_chunk)
        self.every = scenario.every
        if not self.every:
            self.pieces = joined(self.pieces, BURST_BYTES)
        self.tells_time = scenario.kind == "clock"
        self.waiting_for = scenario.streams if scenario.together else 0
        self.held: list[Peer] = []
        self.context = context
        self.warm = False
        self.selector = selectors.DefaultSelector()
        self.due: list[tuple[float, int, Peer]] = []
        self.order = count()

    def run(self) -> None:
        """Serve until standard input ends."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=16_384)
        listener.setblocking(False)
        self.selector.register(listener, READ)
        self.selector.register(sys.stdin, READ)
        print(listener.getsockname()[1], flush=True)
        while True:
            timeout = max(0.0, self.due[0][0] - time.monotonic()) if self.due else None
            for key, mask in self.selector.select(timeout):
                if key.fileobj is listener:
                    self.accept(listener)
                elif key.fileobj is sys.stdin:
                    return
                else:
                    self.serve(key.data, mask)
            now = time.monotonic()
            while self.due and self.due[0][0] <= now:
                _, _, peer = heapq.heappop(self.due)
                self.send_next(peer)

    def accept(self, listener: socket.socket) -> None:
        """Take every connection that waits."""
        while True:
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.context is not None:
                sock = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            self.selector.register(sock, READ, Peer(sock))

    def serve(self, peer: Peer, mask: int) -> None:
        """A connection can be read or written."""
        try:
            if not peer.shaken:
                peer.sock.do_handshake()  # type: ignore[attr-defined]
                peer.shaken = True
            if mask & WRITE:
                self.flush(peer)
            if mask & READ:
                data = peer.sock.recv(65_536)
                if not data:
                    self.drop(peer)
                    return
                self.receive(peer, data)
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        except OSError:
            self.drop(peer)

    def receive(self, peer: Peer, data: bytes) -> None:
        """Start an answer when a whole request has come."""
        peer.received += data
        head, blank, body = peer.received.partition(b"\r\n\r\n")
        if not blank:
            return
        length = next(
            int(line.partition(b":")[2]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
        )
        if len(body) < length:
            return
        peer.received = b""
        peer.next_piece = 0
        if self.warm:
            peer.pieces = self.pieces
        else:
            self.warm = True
            peer.pieces = joined(chunked(render(WARM_UP), 1), BURST_BYTES)
        self.send_next(peer)

    def send_next(self, peer: Peer) -> None:
        """Send the piece that is due, and plan the one after it."""
        if peer.sock.fileno() < 0:
            return
        piece = peer.pieces[peer.next_piece]
        if self.tells_time and 2 <= peer.next_piece < len(peer.pieces) - 3:
            delta = {"type": "text_delta", "text": f"{time.perf_counter():.7f}"}
            piece = chunk(render_event("content_block_delta", index=0, delta=delta))
        peer.next_piece += 1
        peer.sending = memoryview(bytes(peer.sending) + piece) if peer.sending else memoryview(piece)
        self.flush(peer)
        if peer.next_piece == 1 and self.waiting_for and peer.pieces is self.pieces:
            self.hold(peer)
        elif peer.next_piece < len(peer.pieces) and self.every:
            # From now, not from when this one was due: a server that is late must not make bursts of what is paced.
            heapq.heappush(self.due, (time.monotonic() + self.every, next(self.order), peer))

    def hold(self, peer: Peer) -> None:
        """Wait until every stream has its first event; then let them all go on, one after another."""
        self.held.append(peer)
        if len(self.held) < self.waiting_for:
            return
        now = time.monotonic()
        for n, held in enumerate(self.held):
            heapq.heappush(self.due, (now + self.every * (1 + n / len(self.held)), next(self.order), held))
        self.held = []

    def flush(self, peer: Peer) -> None:
        """Send what the socket takes."""
        try:
            while True:
                while peer.sending:
                    peer.sending = peer.sending[peer.sock.send(peer.sending) :]
                if self.every or peer.next_piece >= len(peer.pieces):
                    break
                peer.sending = memoryview(peer.pieces[peer.next_piece])
                peer.next_piece += 1
        except (BlockingIOError, ssl.SSLWantWriteError):
            self.selector.modify(peer.sock, READ | WRITE, peer)
            return
        except OSError:
            self.drop(peer)
            return
        if self.selector.get_key(peer.sock).events != READ:
            self.selector.modify(peer.sock, READ, peer)

    def drop(self, peer: Peer) -> None:
        """Forget a connection."""
        if peer.sock.fileno() >= 0:
            self.selector.unregister(peer.sock)
            peer.sock.close()


def main() -> None:
    """Serve the scenario that the first argument describes."""
    scenario = msgspec.json.decode(sys.argv[1], type=Scenario)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    context = None
    if scenario.tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(sys.argv[2])
    Traffic(scenario, context).run()


if __name__ == "__main__":
    main()
