"""The head of an HTTP answer, as a value that outlives its connection.

What belongs here: status, headers and where the request went, and looking headers up. What does not: where the head
comes from (`_http`), and what its headers mean (`_protocol`).

It stands at the ground of the house because streams, errors and instruments all tell it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import final

import msgspec


@final
class Headers(Mapping[str, str]):
    """The headers of an answer. Names are case-insensitive; the values of a repeated name are joined by ``", "``.

    Args:
      raw: Names and values as they came over the wire, in their order.
    """

    __slots__ = ("_by_name", "_joined", "raw")

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        self.raw: Sequence[tuple[bytes, bytes]] = raw
        # Each is made when it is needed.
        self._by_name: dict[bytes, bytes] | None = None
        self._joined: dict[str, str] | None = None

    def find(self, name: bytes, default: str = "") -> str:
        """Look one header up: as ``get``, at a fraction of its cost: only this one is decoded.

        Args:
          name: The name, in lower case.
          default: The value where there is no such header.
        """
        found = self._undecoded().get(name)
        if found is None:
            return default
        # The coding of anything else depends on the other headers.
        return found.decode("ascii") if found.isascii() else self._all()[name.decode("ascii")]

    def __getitem__(self, name: str) -> str:
        return self._all()[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return f"Headers({self._all()!r})"

    def _undecoded(self) -> dict[bytes, bytes]:
        if self._by_name is None:
            self._by_name = {name.lower(): value for name, value in self.raw}
            if len(self._by_name) < len(self.raw):
                values: dict[bytes, list[bytes]] = {name: [] for name in self._by_name}
                for name, value in self.raw:
                    values[name.lower()].append(value)
                self._by_name = {name: b", ".join(several) for name, several in values.items()}
        return self._by_name

    def _all(self) -> dict[str, str]:
        if self._joined is None:
            # One coding for all of them, the first in which all can be read, is what httpx chooses too.
            coding = "utf-8" if all(_is_utf8(name) and _is_utf8(value) for name, value in self.raw) else "latin-1"
            joined: dict[str, str] = {}
            for raw_name, raw_value in self.raw:
                name, value = raw_name.decode(coding).lower(), raw_value.decode(coding)
                joined[name] = f"{joined[name]}, {value}" if name in joined else value
            self._joined = joined
        return self._joined


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@final
class ResponseInfo(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The head of an HTTP answer. It holds nothing of the request, so no key.

    Args:
      status_code: The HTTP status.
      http_version: For example ``"HTTP/1.1"``.
      url: Where the request went, without credentials.
      raw_headers: Names and values as they came over the wire, in their order.
    """

    status_code: int
    http_version: str
    url: str
    raw_headers: Sequence[tuple[bytes, bytes]] = ()

    @property
    def headers(self) -> Headers:
        """The answer's headers; names are case-insensitive. Made when looked at, and anew each time."""
        return Headers(self.raw_headers)

    def __repr__(self) -> str:
        return (
            f"ResponseInfo(status_code={self.status_code}, headers={self.headers!r}, "
            f"http_version={self.http_version!r}, url={self.url!r})"
        )
