"""What clients that use no HTTP library share: the request as bytes, where it goes, and a socket to it.

What belongs here: everything before the first byte of the answer. What does not: reading the answer (`floor`, `bare`).
"""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

from trio_stream._http._socket import begin_tcp, finish_tcp, start_tls

BODY = b'{"model":"claude-sonnet-5-5","max_tokens":1024,"stream":true,"messages":[{"role":"user","content":"Hi"}]}'


class Target:
    """The server, and the request that it is sent.

    Args:
      url: Its base URL.
      authority: The path of the certificate authority to trust; "" without TLS.
    """

    def __init__(self, url: str, authority: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "", parts.port or 0
        self.request = (
            b"POST /v1/messages HTTP/1.1\r\nhost: %s\r\nx-api-key: test\r\nanthropic-version: 2026-10-21\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (parts.netloc.encode(), len(BODY), BODY)
        )
        self.context = ssl.create_default_context(cafile=authority) if authority else None

    async def connect(self) -> socket.socket:
        """Open a non-blocking socket as this library does: an `ssl.SSLSocket` over TLS."""
        sock, connected = begin_tcp(self.host, self.port)
        if sock is None or not connected:
            sock = await finish_tcp(sock, self.host, self.port)
        if self.context is None:
            return sock
        return await start_tls(sock, self.context, server_hostname=self.host)
