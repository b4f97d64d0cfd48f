"""The floor over Python's own TLS sockets: what `floor` does, without the Python of `trio.SSLStream`.

What belongs here: the least that a Trio program can do to read from an `ssl.SSLSocket`. What does not: a contender of
the report; only ``python -m tests.bench.tls`` runs it.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

import trio

from tests.bench.clients._run import measure, scenario_and_url
from tests.bench.clients.floor import Floor

RECORD_BYTES = 16_384  # RFC 8446, section 5.1: "The length MUST NOT exceed 2^14 bytes."


class TLSSocketStream(trio.abc.Stream):
    """An `ssl.SSLSocket` that waits for nothing but bytes."""

    def __init__(self, tls: ssl.SSLSocket) -> None:
        self._tls = tls
        self._read = tls.read

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read one record. One call less than `ssl.SSLSocket.recv`."""
        while True:
            try:
                return self._read(max_bytes or RECORD_BYTES)
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self._tls)

    async def send_all(self, data: Any) -> None:
        """Send a request, which fits any send buffer."""
        self._tls.sendall(data)

    async def wait_send_all_might_not_block(self) -> None:
        """There is always room, see above."""

    async def aclose(self) -> None:
        """Close the connection."""
        self._tls.close()


class OpenSSLFloor(Floor):
    """One connection to a stream."""

    async def open(self) -> trio.abc.Stream:
        """As `Floor.open`."""
        assert self.context is not None
        plain = socket.socket()
        plain.setblocking(False)
        try:
            plain.connect((self.host, self.port))
        except BlockingIOError:
            await trio.lowlevel.wait_writable(plain)
        tls = self.context.wrap_socket(plain, server_hostname=self.host, do_handshake_on_connect=False)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(tls)
        stream = TLSSocketStream(tls)
        await stream.send_all(self.request)
        return stream


async def main() -> None:
    """Do what the scenario says."""
    scenario, url, authority = scenario_and_url()
    await measure(scenario, OpenSSLFloor(url, authority))


if __name__ == "__main__":
    trio.run(main)
