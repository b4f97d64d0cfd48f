"""`record`: an instrument that writes the answers of an API to a file, as they arrive.

What belongs here: what of a call is written, and when. What does not: the format (`_recording`), hiding text (`_mask`),
and playing recordings (`_replay`).
"""

from __future__ import annotations

import itertools
import logging
import mmap
import os
import stat
import threading
from collections.abc import Mapping
from enum import Enum
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
from trio_stream.batch import lock_file
from trio_stream.testing._mask import MaskedBody
from trio_stream.testing._recording import (
    Arrival,
    RecordedEnd,
    RecordingError,
    RequestKeys,
    arrival_line,
    end_line,
    head_line,
    is_line,
    read_lines,
)

_log = logging.getLogger("trio_stream")

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
    a killed program leaves all that had arrived. A file that cannot be written to does not disturb the program: the
    first failure is logged. An answer of which a line could not be written ends there in the file, as if it had been
    left. One recording writes to a file at a time, for any number of clients and threads; a process
    that is forked off its own records nothing.

    Args:
      path: The file.
      prompts: Whether to write the body of each request.
      mask: Whether to write letters of the answer's text as ``x`` and digits as ``0``: the length of each delta, the
        kinds of blocks, the names of tools, and token counts can still be seen.
      sample: The share of calls that are recorded, from 0 to 1. A call is recorded with all its attempts, or not.

    Raises:
      RecordingError: The file exists and is no recording, or another recording is writing to it.
      OSError: The file cannot be opened.
    """

    def __init__(self, path: _Path, *, prompts: bool = False, mask: bool = False, sample: float = 1.0) -> None:
        if not 0 <= sample <= 1:
            raise ValueError(f"sample is a share from 0 to 1, not {sample!r}")
        self._prompts = prompts
        self._mask = mask
        self._sample = sample
        self._answers: dict[int, _Answer] = {}  # under way, by the id of the call
        self._path = path
        self._has_failed = False  # it is logged once
        self._process = os.getpid()
        self._lock = threading.Lock()  # of the file: clients may run in several threads
        self._file: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._numbers = itertools.count(_last_number(self._file, Path(path)) + 1)
        except BaseException:
            self.close()
            raise

    def __call__(self, moment: Moment) -> None:
        """Take note of a moment: this is an instrument."""
        if isinstance(moment, CallStart):
            if self._file is not None and os.getpid() == self._process and random() < self._sample:  # noqa: S311
                self._answers[moment.call.id] = _Answer(moment.call, moment.at)
            return
        answer = self._answers.get(moment.call.id) if isinstance(moment, _OF_CALLS) else None
        if answer is None:
            return
        if isinstance(moment, AttemptStart):
            answer.state = _State.ASKED
            answer.number = next(self._numbers)  # of several equal requests the first one asked is answered first
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
            self._end(answer, _end_of_call(moment), moment.at)

    def close(self) -> None:
        """Close the file. Answers that are under way count as left. Closing again does nothing."""
        with self._lock:
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
        answer.state = _State.BEGUN
        call = answer.call
        request = RequestKeys.of(method=call.method, path=call.path, content=call.content, prompts=self._prompts)
        kept = kept_headers(headers)
        answer.masked = MaskedBody(headers.get("content-type", "")) if self._mask else None
        self._write(answer, head_line(answer.number, request, status=status, headers=kept, at=at - answer.sent_at))

    def _arrived(self, answer: _Answer, data: bytes, at: float) -> None:
        arrival = Arrival(at - answer.sent_at, data)
        for shown in (arrival,) if answer.masked is None else answer.masked.feed(arrival):
            self._write(answer, arrival_line(answer.number, shown))

    def _end(self, answer: _Answer, end: RecordedEnd, at: float) -> None:
        """An attempt is over, if there was one: a call may also end while it waits to make the next."""
        if answer.state is _State.ASKED:
            self._begin(answer, None, Headers(()), at)
        if answer.state is _State.BEGUN:
            for shown in () if answer.masked is None else answer.masked.finish():
                self._write(answer, arrival_line(answer.number, shown))
            self._write(answer, end_line(answer.number, end, at=at - answer.sent_at))
        answer.state = _State.IDLE

    def _write(self, answer: _Answer, line: bytes) -> None:
        """Write a line of an answer, or nothing of it.

        After a line that could not be written comes no other: an answer with a gap would pass for what had been said.
        """
        with self._lock:
            if self._file is None or answer.state is not _State.BEGUN:
                return
            left = memoryview(line)
            try:
                while left:
                    left = left[os.write(self._file, left) :]
            except OSError as error:
                answer.state = _State.LOST
                if not self._has_failed:
                    self._has_failed = True
                    _log.error("answers in %s are not recorded whole: %s", self._path, error.strerror)
                if len(left) < len(line):  # the disk took the first part of it
                    os.ftruncate(self._file, os.fstat(self._file).st_size - (len(line) - len(left)))


def _last_number(file: int, path: Path) -> int:
    """Make a file ready to be continued, and tell the highest number in it."""
    if not stat.S_ISREG(os.fstat(file).st_mode):
        return 0  # a pipe or a device: nothing can be read back
    if not lock_file(file, path):
        raise RecordingError(f"{path}: another recording is writing to this file")
    last = max((line.x for line, _ in read_lines(path)), default=0)
    _end_last_line(file)
    return last


def _end_last_line(file: int) -> None:
    """Take away the line that a killed program was writing; end one of which only the end is missing."""
    size = os.fstat(file).st_size
    if not size or os.pread(file, 1, size - 1) == b"\n":
        return
    with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as content:
        start = content.rfind(b"\n") + 1
        whole = is_line(content[start:])
    if whole:
        os.write(file, b"\n")
    else:
        os.ftruncate(file, start)


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Those headers of an answer that a recording keeps; their names are in lower case."""
    return {name: value for name, value in headers.items() if name in _KEPT or name.startswith(_KEPT_FAMILY)}


_OF_CALLS = (AttemptStart, RequestSent, HeadReceived, Retry, CallEnd)


class _State(Enum):
    """How far the answer to an attempt is."""

    IDLE = "no request is under way: the call waits to make one"
    ASKED = "nothing of the answer has been written"
    BEGUN = "its head has been written"
    LOST = "a line of it could not be written, so nothing more is"


@final
class _Answer:
    """The answer to the present attempt of a call.

    Attributes:
      call: The call.
      state: How far it is.
      sent_at: When the request had been sent.
      number: Its number in the file.
      masked: Hides its text, where that is asked for.
    """

    def __init__(self, call: Call, at: float) -> None:
        self.call = call
        self.state = _State.IDLE
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
