"""The floor over Python's own TLS sockets, opened and read as this library does: what is below its HTTP and its events.

What belongs here: a loop that counts the ends of events. What does not: a contender of the report; only ``python -m
tests.bench.asides`` runs it.
"""

from __future__ import annotations

import ssl

import trio

from tests.bench.clients._run import measure, scenario_and_url
from tests.bench.clients.floor import Floor
from trio_stream._http._socket import begin_tcp, close_socket, finish_tcp, receive, start_tls


class TLSSocketStream(trio.abc.ReceiveStream):
    """What arrives on an `ssl.SSLSocket`."""

    def __init__(self, tls: ssl.SSLSocket) -> None:
        self._tls = tls

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read one record."""
        return await receive(self._tls)

    async def aclose(self) -> None:
        """Close the connection."""
        close_socket(self._tls)


class OpenSSLFloor(Floor):
    """One connection to a stream."""

    async def open(self) -> trio.abc.ReceiveStream:
        """As `Floor.open`."""
        assert self.context is not None
        plain, connected = begin_tcp(self.host, self.port)
        if plain is None or not connected:
            plain = await finish_tcp(plain, self.host, self.port)
        tls = await start_tls(plain, self.context, server_hostname=self.host)
        tls.sendall(self.request)  # fits any send buffer
        return TLSSocketStream(tls)


async def main() -> None:
    """Do what the scenario says."""
    scenario, url, authority = scenario_and_url()
    await measure(scenario, OpenSSLFloor(url, authority))


if __name__ == "__main__":
    trio.run(main)
