"""What a stream can tell about itself: its answer's head and its timings.

What belongs here: frozen values that outlive the stream. What does not: how they are measured (`_base`).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from trio_stream._http import Head, Headers, Response


class ResponseInfo(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The head of the HTTP answer. Holds nothing of the request, so no key."""

    _head: Head
    _url: str

    @classmethod
    def of(cls, response: Response) -> ResponseInfo:
        """The head of an answer."""
        return cls(_head=response.head, _url=response.url)

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        return self._head.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers; names are case-insensitive. Made when looked at, and anew each time."""
        return Headers(self._head.headers)

    @property
    def http_version(self) -> str:
        """For example ``"HTTP/1.1"``."""
        return self._head.http_version

    @property
    def url(self) -> str:
        """Where the request went, without credentials."""
        return self._url

    def __repr__(self) -> str:
        return (
            f"ResponseInfo(status_code={self.status_code}, headers={self.headers!r}, "
            f"http_version={self.http_version!r}, url={self.url!r})"
        )


class StreamStats(msgspec.Struct, frozen=True, kw_only=True):
    """Timings and counts of one stream, as of the moment it was asked for.

    Times are seconds since the request that was answered began, its connection included and earlier attempts
    excluded. None: it has not happened.

    Args:
      time_to_first_byte: Until the first byte of the answer's body.
      time_to_first_event: Until the first event other than ``ping``.
      time_to_first_text: Until the first text of the message.
      longest_gap: The longest wait for more bytes after the first ones, in seconds.
      events: Wire events received, ``ping`` excluded.
      bytes: Bytes of the answer's body received.
      attempts: Requests made for this stream, retries included.
    """

    time_to_first_byte: float | None = None
    time_to_first_event: float | None = None
    time_to_first_text: float | None = None
    longest_gap: float = 0.0
    events: int = 0
    bytes: int = 0
    attempts: int = 0
