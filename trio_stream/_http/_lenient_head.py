"""Heads that break HTTP/1.1 in ways in which a user agent still reads them (RFC 9112), rewritten as they should be.

What belongs here: finding where a head ends, and rewriting. What does not: parsing a head (`_parser`). A head is only
rewritten once the parser has refused it; what is not rewritten here stays refused.
"""

from __future__ import annotations

import re
from typing import Final

_END: Final = re.compile(rb"\n\r?\n")
_LINE_END: Final = re.compile(rb"\r?\n")  # 2.2: "a recipient MAY recognize a single LF as a line terminator"
_USUAL_STATUS: Final = b"HTTP/1.1 200 "
_STATUS: Final = re.compile(rb"HTTP/1\.[01] +([0-9]{3})(?![0-9])")


class NoHeadError(ValueError):
    """It is no head of HTTP/1.1, and cannot become one."""


def end_of_head(data: bytes) -> int | None:
    """Where the final head ends, 1xx answers before it included; None if it does not yet.

    Raises:
      NoHeadError: There is no status line where one has to be.
    """
    if data.startswith(_USUAL_STATUS):
        # Nearly always, at a fifth of the cost: the final head is the first, and its lines end as they should.
        blank_line = data.find(b"\n\r\n")
        if blank_line >= 0 and data.find(b"\n\n", 0, blank_line + 1) < 0:
            return blank_line + 3
    position = 0
    while True:
        while data[position : position + 1] in (b"\r", b"\n"):
            position += 1
        if data.find(b"\n", position) < 0:
            return None
        status = _STATUS.match(data, position)
        if status is None:
            raise NoHeadError
        end = _END.search(data, position)
        if end is None:
            return None
        position = end.end()
        if not status[1].startswith(b"1"):
            return position


def rewrite_head(data: bytes) -> bytes:
    """Rewrite a head, 1xx answers before it included. What is wrong in any other way stays as it is."""
    heads = [head for head in _END.split(data) if head.strip(b"\r\n")]
    return b"".join(_rewrite(head) for head in heads)


def _rewrite(head: bytes) -> bytes:
    first, *lines = _LINE_END.split(head.strip(b"\r\n"))
    fields: list[bytes] = []
    for line in lines:
        if line[:1] in (b" ", b"\t") and fields:
            # 5.2: "A user agent that receives an obs-fold in a response message [...] MUST replace each received
            # obs-fold with one or more SP octets".
            fields[-1] += b" " + line.strip()
        else:
            fields.append(line)
    return b"\r\n".join([first, *_one_length(fields)]) + b"\r\n\r\n"


def _one_length(fields: list[bytes]) -> list[bytes]:
    names = [field.partition(b":")[0].lower() for field in fields]
    if b"content-length" not in names:
        return fields
    others = [field for field, name in zip(fields, names, strict=True) if name != b"content-length"]
    if b"transfer-encoding" in names:
        return others  # 6.3: "the Transfer-Encoding overrides the Content-Length"
    lengths = {
        length.strip()
        for field, name in zip(fields, names, strict=True)
        if name == b"content-length"
        for length in field.partition(b":")[2].split(b",")
    }
    # 6.3: a list in which "all values [...] are valid and the same" counts as that one value.
    return [*others, b"Content-Length: " + lengths.pop()] if len(lengths) == 1 else fields
