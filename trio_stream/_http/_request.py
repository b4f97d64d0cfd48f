"""The bytes of a request.

What belongs here: turning an `httpx.Request` into what goes over the wire, and refusing what cannot. What does
not: sending it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import final

import msgspec

from trio_stream._hidden import Hidden
from trio_stream._protocol import Content

from ._httpx import httpx

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_FIELD_VALUE = re.compile(rb"[^\x00\r\n]*")  # RFC 9110, 5.5: these three can end or split a header
_TARGET = re.compile(rb"[!-~]+")

_METHODS_WITH_CONTENT = ("POST", "PUT", "PATCH")
"""RFC 9110, 8.6: "A user agent SHOULD send Content-Length" with these also where there is no content."""

_JOINED_BYTES = 65536
"""Up to here head and content are one buffer, so that a small request is one packet and one call."""


@final
class WireRequest(Hidden, msgspec.Struct, frozen=True, kw_only=True):
    """The bytes of a request, which can be sent any number of times.

    Args:
      method: The HTTP method.
      buffers: The bytes that are in memory.
      rest: The content that follows, where it is made while it is sent.
    """

    method: str
    buffers: tuple[bytes, ...]
    rest: Content | tuple[()] = ()

    def __repr__(self) -> str:
        return f"<WireRequest {self.method}>"  # the buffers hold key and prompt


@final
class RequestHead(Hidden, msgspec.Struct, frozen=True, kw_only=True):
    """What comes before the content of a request, checked and serialised, except for the length of the content.

    Args:
      method: The HTTP method.
      start: Request line and headers, each with its line end.
      lengths: The values of the ``content-length`` headers among them.
    """

    method: str
    start: bytes
    lengths: tuple[bytes, ...]

    def __repr__(self) -> str:
        return f"<RequestHead {self.method}>"  # the headers hold a key

    def with_content(self, content: bytes | Content) -> WireRequest:
        """The whole request.

        Raises:
          httpx.LocalProtocolError: A header gives another length.
        """
        size = len(content)
        if self.lengths:
            if any(length != b"%d" % size for length in self.lengths):
                raise httpx.LocalProtocolError("content-length is not the content's length")
            head = self.start + b"\r\n"
        elif content or self.method in _METHODS_WITH_CONTENT:
            head = b"%bContent-Length: %d\r\n\r\n" % (self.start, size)
        else:
            head = self.start + b"\r\n"
        if isinstance(content, Content):
            return WireRequest(method=self.method, buffers=(head,), rest=content)
        buffers = (head + content,) if size <= _JOINED_BYTES else (head, content)
        return WireRequest(method=self.method, buffers=buffers)


async def read_request(request: httpx.Request) -> WireRequest:
    """Check a request and serialise it. Content that is a stream is read as a whole first.

    Raises:
      httpx.LocalProtocolError: The request cannot be sent. The text does not repeat any value.
    """
    content = await request.aread()
    return write_request(request.method, request.url.raw_path, request.headers.raw, content)


def write_request(method: str, target: bytes, headers: Iterable[tuple[bytes, bytes]], content: bytes) -> WireRequest:
    """Check the parts of a request and serialise it.

    Raises:
      httpx.LocalProtocolError: The request cannot be sent. The text does not repeat any value.
    """
    return write_head(method, target, headers).with_content(content)


def write_head(method: str, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> RequestHead:
    """Check what comes before the content of a request and serialise it.

    Raises:
      httpx.LocalProtocolError: The request cannot be sent. The text does not repeat any value.
    """
    verb = method.encode("ascii", "replace")
    if not _TOKEN.fullmatch(verb) or verb == b"CONNECT":
        raise httpx.LocalProtocolError("the request's method cannot be sent")
    if not _TARGET.fullmatch(target):
        raise httpx.LocalProtocolError("the request's path cannot be sent")
    lines = [b"%b %b HTTP/1.1\r\n" % (verb, target)]
    lengths: list[bytes] = []
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
            lengths.append(value.strip())
        lines.append(b"%b: %b\r\n" % (name, value))
    return RequestHead(method=method, start=b"".join(lines), lengths=tuple(lengths))
