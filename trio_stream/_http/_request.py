"""The bytes of a request.

What belongs here: turning an `httpx.Request` into what goes over the wire, and refusing what cannot. What does
not: sending it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import final

import msgspec

from ._httpx import httpx

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_FIELD_VALUE = re.compile(rb"[^\x00\r\n]*")  # RFC 9110, 5.5: these three can end or split a header
_TARGET = re.compile(rb"[!-~]+")

_JOINED_BYTES = 65536
"""Up to here head and content are one buffer, so that a small request is one packet and one call."""


@final
class WireRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request that can be sent, any number of times."""

    method: str
    buffers: tuple[bytes, ...]

    def __repr__(self) -> str:
        return f"<WireRequest {self.method}>"  # the buffers hold key and prompt


async def read_request(request: httpx.Request) -> WireRequest:
    """Check a request and serialise it. Content that is a stream is read as a whole first.

    Raises:
      httpx.LocalProtocolError: It cannot be sent. The text does not repeat what is wrong with a value.
    """
    content = await request.aread()
    return write_request(request.method, request.url.raw_path, request.headers.raw, content)


def write_request(method: str, target: bytes, headers: Iterable[tuple[bytes, bytes]], content: bytes) -> WireRequest:
    """Check the parts of a request and serialise it.

    Raises:
      httpx.LocalProtocolError: It cannot be sent. The text does not repeat what is wrong with a value.
    """
    verb = method.encode("ascii", "replace")
    if not _TOKEN.fullmatch(verb) or verb == b"CONNECT":
        raise httpx.LocalProtocolError("the request's method cannot be sent")
    if not _TARGET.fullmatch(target):
        raise httpx.LocalProtocolError("the request's path cannot be sent")
    lines = [b"%b %b HTTP/1.1" % (verb, target)]
    # RFC 9110, 8.6: "A user agent SHOULD send Content-Length" also where the method expects content and there is none.
    needs_length = bool(content) or method in ("POST", "PUT", "PATCH")
    for name, value in headers:
        if not _TOKEN.fullmatch(name):
            raise httpx.LocalProtocolError("a header's name holds characters that no name can")
        if not _FIELD_VALUE.fullmatch(value):
            sentence = f"the value of the header {name.decode('ascii')!r} holds a line end or NUL"
            raise httpx.LocalProtocolError(sentence)
        lowered = name.lower()
        if lowered == b"transfer-encoding":
            continue  # the content is whole, so its length says where it ends
        if lowered == b"content-length":
            if value.strip() != b"%d" % len(content):
                raise httpx.LocalProtocolError("content-length is not the content's length")
            needs_length = False
        lines.append(b"%b: %b" % (name, value))
    if needs_length:
        lines.append(b"Content-Length: %d" % len(content))
    head = b"\r\n".join(lines) + b"\r\n\r\n"
    buffers = (head + content,) if len(content) <= _JOINED_BYTES else (head, content)
    return WireRequest(method=method, buffers=buffers)
