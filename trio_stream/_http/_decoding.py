"""Bodies that are compressed although ``accept-encoding: identity`` was asked for, as some gateways send them.

What belongs here: the content codings that the standard library decodes, and the body that is decoded as it is read.
What does not: what is done about a coding that is not known (`_stream`).

What is decoded comes in pieces of bounded size, whatever the compressed bytes may swell to, and the next piece only
when it is asked for. So every limit on what is read holds for it as for a body that is not compressed.
"""

from __future__ import annotations

import zlib
from typing import Final, final

from trio.lowlevel import enable_ki_protection

from trio_stream._errors import IncompleteStreamError, InvalidResponseError
from trio_stream._response import Headers

from ._body import ResponseBody
from ._wrapped_body import WrappedBody

_PIECE_BYTES: Final = 65536
_GZIP: Final = 16 + zlib.MAX_WBITS
_WINDOWS: Final = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": zlib.MAX_WBITS}
_GZIP_MAGIC: Final = b"\x1f"
_ZLIB_HEADER_BYTES: Final = 2

_NO_CODINGS: Final = frozenset({"", "identity", "none", "utf-8", "utf8"})
"""Names in ``content-encoding`` that say nothing was done to the body: a charset is none of its codings."""


def codings_of(headers: Headers) -> list[str]:
    """The content codings of an answer, in the order in which they were applied."""
    value = headers.find(b"content-encoding")
    if not value:
        return []  # nearly always
    return [name for name in (part.strip().lower() for part in value.split(",")) if name not in _NO_CODINGS]


def is_decoded(codings: list[str]) -> bool:
    """Whether `decoded` reads a body with these codings."""
    return not codings or (len(codings) == 1 and codings[0] in _WINDOWS)


def decoded(headers: Headers, body: ResponseBody) -> ResponseBody:
    """The body of an answer as it was before it was compressed, or the same body where nothing can be undone."""
    codings = codings_of(headers)
    return _DecodedBody(body, codings[0]) if codings and is_decoded(codings) else body


@final
class _DecodedBody(WrappedBody):
    """Another body, decompressed."""

    __slots__ = ("_coding", "_header", "_header_bytes", "_rest", "_started", "_zlib")

    def __init__(self, body: ResponseBody, coding: str) -> None:
        super().__init__(body)
        self._coding = coding
        self._rest = b""  # compressed bytes that are still to be decoded
        self._zlib = zlib.decompressobj(_WINDOWS[coding])
        self._started = False
        self._header = b""  # what has come of the first bytes, while these are too few to tell zlib from raw deflate
        self._header_bytes = _ZLIB_HEADER_BYTES

    @enable_ki_protection
    def receive_nowait(self) -> bytes | None:
        """As `ResponseBody.receive_nowait`."""
        while True:
            if not self._rest:
                data = self._body.receive_nowait()
                if data is None:
                    return None
                if not data:
                    return self._end()
                self._rest = self._header + data
                if len(self._rest) < self._header_bytes:
                    self._header, self._rest = self._rest, b""
                    continue
                self._header, self._header_bytes = b"", 0
            piece = self._decode()
            if piece:
                return piece

    def _end(self) -> bytes:
        if not self._zlib.eof:
            raise IncompleteStreamError(f"the stream was cut: the {self._coding} data ends before its end")
        return b""

    def _decode(self) -> bytes:
        if self._zlib.eof:
            # RFC 1952, 2.2: further members may follow. Whatever else does is padding.
            if self._coding == "deflate" or not self._rest.startswith(_GZIP_MAGIC):
                self._rest = b""
                return b""
            self._zlib = zlib.decompressobj(_GZIP)
        data, self._rest = self._rest, b""
        try:
            try:
                piece = self._zlib.decompress(data, _PIECE_BYTES)
            except zlib.error:
                if self._coding != "deflate" or self._started:
                    raise
                # RFC 9110, 8.4.1.2: "Some non-conformant implementations send the "deflate" compressed data without
                # the zlib wrapper".
                self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)
                piece = self._zlib.decompress(data, _PIECE_BYTES)
        except zlib.error as exc:
            raise InvalidResponseError(f"the answer's {self._coding} data cannot be decoded") from exc
        self._started = True
        self._rest = self._zlib.unused_data if self._zlib.eof else self._zlib.unconsumed_tail
        return piece
