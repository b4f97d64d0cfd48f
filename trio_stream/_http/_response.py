"""An answer as the layers above see it: its head, and whoever brings its body.

What belongs here: looking at the head. What does not: where it comes from (`_parser`, `_sender`), and what its
headers mean (`_protocol`).
"""

from __future__ import annotations

from typing import final

import msgspec

from ._body import ResponseBody
from ._httpx import httpx
from ._parser import Head as Head


@final
class Response(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The head of an answer, and its body.

    Args:
      head: Status and headers.
      url: Where the request went, without credentials.
      body: Whoever holds it closes it.
    """

    head: Head
    url: str
    body: ResponseBody

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        return self.head.status_code

    @property
    def headers(self) -> httpx.Headers:
        """All headers, made when looked at: names are case-insensitive."""
        return httpx.Headers(self.head.headers)

    def header(self, name: bytes, default: str = "") -> str:
        """The value of one header, as `headers` gives it; that takes a dozen times as long.

        Args:
          name: In lower case.
          default: The value where there is none.
        """
        found: bytes | None = None
        for key, value in self.head.headers:
            if len(key) == len(name) and key.lower() == name:
                found = value if found is None else b"%b, %b" % (found, value)
        if found is None:
            return default
        if not found.isascii():
            # Its coding depends on the other headers.
            return self.headers[name.decode("ascii")]
        return found.decode("ascii")
