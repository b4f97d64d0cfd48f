"""`record`: an instrument that writes the answers of an API to a file, as they arrive.

What belongs here: what of a call is written, and when. What does not: the format (`_recording`), hiding text (`_mask`),
and playing recordings (`_replay`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from random import random
from types import TracebackType
from typing import TypeAlias, final

from trio_stream._errors import APIConnectionError, APIError, APITimeoutError, IncompleteStreamError
from trio_stream._instruments import (
    AttemptStart,
    Call,
    CallEnd,
    CallOutcome,
    CallStart,
    HeadReceived,
    Moment,
    RequestSent,
    Retry,
)
from trio_stream._response import Headers
from trio_stream.testing._mask import MaskedBody
from trio_stream.testing._recording import (
    Arrival,
    RecordedEnd,
    RequestKeys,
    arrival_line,
    end_line,
    head_line,
    read_recordings,
)

_Path: TypeAlias = str | os.PathLike[str]

_KEPT = frozenset(("content-type", "content-encoding", "request-id", "retry-after", "retry-after-ms", "x-should-retry"))
_KEPT_FAMILY = "anthropic-ratelimit-"


@final
class record:  # noqa: N801 - called as a function, like the other names of this kit
    """An instrument that records answers in a file: bytes, the pieces in which they arrived, and when.

    ::

        with testing.record("weather.jsonl") as recording:
            async with ts.Client(instruments=[recording]) as client:
                ...

    `replay` plays the file; people can read it. It is made for production too: of a request it holds the method, the
    path, the model and hashes of the rest, of the head the status and a few headers (content type, request id, rate
    limits, retries). Keys, cookies and prompts are never written, but the answer is, unless it is masked, and models
    repeat what they are told.

    An existing recording is continued, and only the file's owner may read a new one. Every line is written at once, so
    a killed program leaves all that had arrived. A file that cannot be written to does not disturb the program: as with
    every instrument, the failure is logged once. One process records in a file at a time.

    Args:
      path: The file.
      prompts: Whether to write the body of each request.
      mask: Whether to write letters of the answer's text as ``x`` and digits as ``0``: the length of each delta, the
        kinds of blocks, the names of tools, and token counts can still be seen.
      sample: The share of calls that are recorded, from 0 to 1. A call is recorded with all its attempts, or not.

    Raises:
      RecordingError: The file exists, and is no recording.
      OSError: The file cannot be opened.
    """

    def __init__(self, path: _Path, *, prompts: bool = False, mask: bool = False, sample: float = 1.0) -> None:
        if not 0 <= sample <= 1:
            raise ValueError(f"sample is a share from 0 to 1, not {sample!r}")
        self._prompts = prompts
        self._mask = mask
        self._sample = sample
        self._answers: dict[int, _Answer] = {}  # under way, by the id of the call
        earlier = read_recordings(path) if Path(path).exists() else []
        self._last = max((recording.number for recording in earlier), default=0)
        self._file: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _CLOEXEC, 0o600)
        _drop_torn_line(self._file)

    def __call__(self, moment: Moment) -> None:
        """Take note of a moment: this is an instrument."""
        if isinstance(moment, CallStart):
            if self._file is not None and random() < self._sample:  # noqa: S311 - no secret
                self._answers[moment.call.id] = _Answer(moment.call, moment.at)
            return
        answer = self._answers.get(moment.call.id) if isinstance(moment, _OF_CALLS) else None
        if answer is None:
            return
        if isinstance(moment, AttemptStart):
            answer.sent_at = moment.at  # until it is told better: transports of others may never tell
            moment.tap_bytes(partial(self._arrived, answer))
        elif isinstance(moment, RequestSent):
            answer.sent_at = moment.at
        elif isinstance(moment, HeadReceived):
            self._begin(answer, moment.status_code, moment.response.headers, moment.at)
        elif isinstance(moment, Retry):
            self._end(answer, _end_of_failure(moment.error), moment.at)
        else:
            assert isinstance(moment, CallEnd)
            del self._answers[moment.call.id]
            if moment.call.attempts:  # else it ended while it waited for credentials or for a connection's turn
                self._end(answer, _end_of_call(moment), moment.at)

    def close(self) -> None:
        """Close the file. Answers that are under way count as left. Closing again does nothing."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def __enter__(self) -> record:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self.close()

    def _begin(self, answer: _Answer, status: int | None, headers: Headers, at: float) -> None:
        self._last += 1
        answer.number = self._last
        call = answer.call
        request = RequestKeys.of(method=call.method, path=call.path, content=call.content, prompts=self._prompts)
        kept = kept_headers(headers)
        if self._mask:
            answer.masked = MaskedBody(headers.get("content-type", ""))
        self._write(head_line(answer.number, request, status=status, headers=kept, at=at - answer.sent_at))

    def _arrived(self, answer: _Answer, data: bytes, at: float) -> None:
        arrival = Arrival(at - answer.sent_at, data)
        if answer.masked is None:
            self._write(arrival_line(answer.number, arrival))
            return
        for masked in answer.masked.feed(arrival):
            self._write(arrival_line(answer.number, masked))

    def _end(self, answer: _Answer, end: RecordedEnd, at: float) -> None:
        """An attempt is over."""
        if not answer.number:
            self._begin(answer, None, Headers(()), at)
        if answer.masked is not None:
            for masked in answer.masked.finish():
                self._write(arrival_line(answer.number, masked))
        self._write(end_line(answer.number, end, at=at - answer.sent_at))
        answer.number, answer.masked = 0, None

    def _write(self, line: bytes) -> None:
        if self._file is not None:
            os.write(self._file, line)  # one write a line, so that lines of several threads never mix


def _drop_torn_line(file: int) -> None:
    """Take away the line that a killed program was writing."""
    size = os.fstat(file).st_size
    tail = os.pread(file, size, 0)
    os.ftruncate(file, tail.rfind(b"\n") + 1)


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Those headers of an answer that a recording keeps; their names are in lower case."""
    return {name: value for name, value in headers.items() if name in _KEPT or name.startswith(_KEPT_FAMILY)}


_CLOEXEC: int = getattr(os, "O_CLOEXEC", 0)

_OF_CALLS = (AttemptStart, RequestSent, HeadReceived, Retry, CallEnd)


@final
class _Answer:
    """The answer to the present attempt of a call.

    Attributes:
      call: The call.
      sent_at: When the request had been sent.
      number: Its number in the file, once its head has been written; 0 before.
      masked: Hides its text, where that is asked for.
    """

    def __init__(self, call: Call, at: float) -> None:
        self.call = call
        self.sent_at = at
        self.number = 0
        self.masked: MaskedBody | None = None


def _end_of_call(moment: CallEnd) -> RecordedEnd:
    if moment.outcome is CallOutcome.COMPLETED:
        return RecordedEnd.COMPLETE
    if moment.outcome is CallOutcome.FAILED and isinstance(moment.error, APIError):
        return _end_of_failure(moment.error)
    return RecordedEnd.LEFT


def _end_of_failure(error: APIError) -> RecordedEnd:
    if isinstance(error, IncompleteStreamError):
        return RecordedEnd.CUT
    if isinstance(error, APITimeoutError):
        return RecordedEnd.LEFT  # nothing more came for as long as the client waited
    if isinstance(error, APIConnectionError):
        return RecordedEnd.RESET
    return RecordedEnd.COMPLETE  # the answer says itself what is wrong
