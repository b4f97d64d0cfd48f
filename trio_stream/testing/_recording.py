r"""The file format of recorded answers: what its lines hold, and reading a file back.

What belongs here: lines, and the `Recording` that they add up to. What does not: where they come from (`_record`), and
playing them (`_replay`).

A recording is JSON Lines: one line for the head of each answer, one for each arrival of bytes, one for the end::

    {"x":1,"v":1,"request":{"path":"/v1/messages","model":"...","hash":{"messages":"6a31...",...}},
     "status":200,"headers":{...},"at":0.48}
    {"x":1,"at":0.512,"sse":[{"type":"content_block_delta",...}]}
    {"x":1,"at":0.533,"text":"data: {\"ty"}
    {"x":1,"at":1.9,"end":"complete"}

``x`` numbers the requests, since answers to several are mixed; ``at`` counts seconds from the moment at which the
request had been sent. An arrival of whole events in the API's own form is the events' data, verbatim, so that people
can read and search the file; any other is text, or Base64 where it is no text. So the bytes come back exactly, and in
the pieces in which they came.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec

from trio_stream.testing._json import as_object

VERSION = 1
"""The version of the format. A reader refuses a higher one."""


class RecordedEnd(Enum):
    """How the bytes of a recorded answer ended."""

    COMPLETE = "complete"  # the body ended properly, or all of it that matters had been read
    CUT = "cut"  # the connection was closed before the answer's end
    RESET = "reset"  # the connection failed
    LEFT = "left"  # the client went away first: closed the stream, was cancelled, or had waited for too long


class Arrival(msgspec.Struct, frozen=True):
    """A piece of an answer's body, as it arrived.

    Args:
      at: Seconds since the request had been sent.
      data: The bytes, without their content encoding.
    """

    at: float
    data: bytes


class RequestKeys(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a recording tells of a request.

    Args:
      method: The HTTP method.
      path: The path, without a query.
      model: The model, where the request names one.
      hash: For each key of the body a hash of its value. Prompts cannot be read back from them, only compared.
      body: The body itself, where recording was asked for prompts.
    """

    method: str = "POST"
    path: str
    model: str | None = None
    hash: dict[str, str] = {}
    body: dict[str, Any] | None = None

    @classmethod
    def of(cls, *, method: str, path: str, content: bytes, prompts: bool = False) -> RequestKeys:
        """What a recording tells of the request with such a body."""
        try:
            body: Mapping[str, Any] = as_object(msgspec.json.decode(content)) if content else {}
        except msgspec.DecodeError:
            body = {}
        model = body.get("model")
        return cls(
            method=method,
            path=path,
            model=model if isinstance(model, str) else None,
            hash={key: _hash(value) for key, value in body.items()},
            body=dict(body) if prompts and body else None,
        )

    def differences(self, other: RequestKeys) -> list[str]:
        """The names of what is not the same in another request: ``method``, ``path``, and keys of the body."""
        differing = [name for name in ("method", "path") if getattr(self, name) != getattr(other, name)]
        keys = sorted(self.hash.keys() | other.hash.keys())
        return differing + [key for key in keys if self.hash.get(key) != other.hash.get(key)]


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded answer.

    Args:
      number: Its number in the file.
      request: What is known of the request.
      status: The HTTP status; None where the connection ended before there was one.
      headers: The headers that were kept.
      head_at: When the head arrived, in seconds since the request had been sent.
      arrivals: The pieces of the body.
      end: How the bytes ended.
      end_at: When they ended.
    """

    number: int
    request: RequestKeys
    status: int | None
    headers: Mapping[str, str]
    head_at: float
    arrivals: tuple[Arrival, ...]
    end: RecordedEnd
    end_at: float

    @property
    def body(self) -> bytes:
        """All bytes of the body."""
        return b"".join(arrival.data for arrival in self.arrivals)


class RecordingError(ValueError):
    """A file is not a recording, or one of a newer version of this library."""


def read_recordings(path: str | os.PathLike[str]) -> list[Recording]:
    """Read the recorded answers of a file, in the order in which their requests were made.

    An answer whose end is not in the file, because the program was killed, counts as left at its last arrival, and a
    last line that is cut is ignored.

    Args:
      path: The file.

    Raises:
      RecordingError: The file is not a recording; the text says which line.
      OSError: The file cannot be read.
    """
    answers: dict[int, _Unfinished] = {}
    found: list[_Unfinished] = []
    for line, data in read_lines(path):
        if line.request is not None:
            answers[line.x] = answer = _Unfinished(line)
            found.append(answer)
        else:
            answers[line.x].add(line, data)
    return sorted((answer.recording() for answer in found), key=attrgetter("number"))


def read_lines(path: str | os.PathLike[str]) -> Iterator[tuple[Line, bytes]]:
    """Read the lines of a recording one by one, each with the bytes that it holds.

    The head of an answer comes before its other lines.

    Raises:
      RecordingError: The file is not a recording; the text says which line.
      OSError: The file cannot be read.
    """
    name = os.fspath(path)
    begun: set[int] = set()
    with Path(path).open("rb") as file:
        for number, raw in enumerate(file, 1):
            if not raw.strip():
                continue
            try:
                line = _decode_line(raw)
                data = line.data()
            except ValueError as error:
                if not raw.endswith(b"\n"):
                    return  # it was being written when the program was killed
                raise RecordingError(f"{name}, line {number}: this is no line of a recording: {error}") from error
            if line.v > VERSION:
                raise RecordingError(
                    f"{name}, line {number}: a recording of version {line.v}; "
                    f"this library reads up to version {VERSION}"
                )
            if line.request is not None:
                begun.add(line.x)
            elif line.x not in begun:
                raise RecordingError(f"{name}, line {number}: answer {line.x} has no head before this line")
            yield line, data


def is_line(raw: bytes) -> bool:
    """Whether some bytes are a whole line."""
    try:
        _decode_line(raw)
    except ValueError:
        return False
    return True


class Line(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line. Which fields it has says what it is: a head has ``request``, an end has ``end``."""

    x: int
    v: int = 0
    request: RequestKeys | None = None
    status: int | None = None
    headers: dict[str, str] = {}
    at: float
    sse: list[msgspec.Raw] | None = None
    text: str | None = None
    b64: str | None = None
    end: RecordedEnd | None = None

    def data(self) -> bytes:
        """The bytes of an arrival.

        Raises:
          ValueError: They cannot be told from what is written.
        """
        if self.sse is not None:
            return write_events(bytes(event) for event in self.sse)
        return base64.b64decode(self.b64, validate=True) if self.b64 is not None else (self.text or "").encode()


_encode = msgspec.json.Encoder().encode
_decode_line = msgspec.json.Decoder(Line).decode


def head_line(x: int, request: RequestKeys, *, status: int | None, headers: Mapping[str, str], at: float) -> bytes:
    """The line of an answer's head."""
    line = Line(x=x, v=VERSION, request=request, status=status, headers=dict(headers), at=_micros(at))
    return _encode(line) + b"\n"


def arrival_line(x: int, arrival: Arrival) -> bytes:
    """The line of a piece of the body."""
    at, data = _micros(arrival.at), arrival.data
    events = _as_events(data)
    if events is not None:
        return _encode(Line(x=x, at=at, sse=events)) + b"\n"
    try:
        return _encode(Line(x=x, at=at, text=data.decode())) + b"\n"
    except UnicodeDecodeError:
        return _encode(Line(x=x, at=at, b64=base64.b64encode(data).decode())) + b"\n"


def end_line(x: int, end: RecordedEnd, *, at: float) -> bytes:
    """The line of an answer's end."""
    return _encode(Line(x=x, at=_micros(at), end=end)) + b"\n"


class _Typed(msgspec.Struct):
    type: str


_decode_type = msgspec.json.Decoder(_Typed).decode


def _as_events(data: bytes) -> list[msgspec.Raw] | None:
    """The data of the events that some bytes are; None if they are not whole events, written as the API writes them."""
    if not data.endswith(b"\n\n"):
        return None
    events: list[msgspec.Raw] = []
    for written in data[:-2].split(b"\n\n"):
        first, _, second = written.partition(b"\n")
        value = second.removeprefix(b"data: ")
        if len(value) == len(second) or b"\n" in value or b"\r" in value:
            return None
        try:
            value.decode()  # msgspec does not look at the text that it skips
            if first != b"event: " + _decode_type(value).type.encode():
                return None
        except ValueError:
            return None
        events.append(msgspec.Raw(value))
    return events


def write_events(events: Iterable[bytes]) -> bytes:
    """The bytes of events, written as the API writes them, from their data."""
    parts = [b"event: %b\ndata: %b\n\n" % (_decode_type(value).type.encode(), value) for value in map(bytes, events)]
    return b"".join(parts)


class _Unfinished:
    """An answer while its lines are being read."""

    def __init__(self, head: Line) -> None:
        self._head = head
        self._arrivals: list[Arrival] = []
        self._end: Line | None = None

    def add(self, line: Line, data: bytes) -> None:
        if line.end is None:
            self._arrivals.append(Arrival(line.at, data))
        else:
            self._end = line

    def recording(self) -> Recording:
        head, end = self._head, self._end
        assert head.request is not None
        last_at = self._arrivals[-1].at if self._arrivals else head.at
        return Recording(
            number=head.x,
            request=head.request,
            status=head.status,
            headers=head.headers,
            head_at=head.at,
            arrivals=tuple(self._arrivals),
            end=RecordedEnd.LEFT if end is None or end.end is None else end.end,
            end_at=last_at if end is None else end.at,
        )


def _hash(value: object) -> str:
    return hashlib.blake2b(msgspec.json.encode(value, order="sorted"), digest_size=8).hexdigest()


def _micros(seconds: float) -> float:
    return round(seconds, 6)
